"""A recording put to a live model: where it first says something else.

The model is asked the scenario's question with the scenario's tools, and hears for each call
what the recorded agent heard, not the mock. The comparison ends with the first turn that
differs: from there on the recording holds no answer to what the model asks. Nothing is stored.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from salvo_core.adapters.gate import Price
from salvo_core.adapters.prices import rounded_usd
from salvo_core.adapters.protocol import Adapter, TurnConfig
from salvo_core.adapters.retrying import Backoff, TurnFailed, send_with_retries
from salvo_core.clock import Clock
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Message, Outcome, ToolCall, Trace, TrialError, Turn, Usage
from salvo_core.trace.redaction import Redactor
from salvo_core.trial.conversation import opening
from salvo_core.trial.divergence import Divergence, divergence
from salvo_core.trial.limits import Limits
from salvo_core.trial.tools import MockTools, journalable


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a live model said to the recorded questions.

    Attributes:
        turns: What it said, redacted; the last one is where it diverged, if it did.
        divergence: The first turn that differs, None if none did.
        error: Why it gave no further turn: a provider's failure says nothing about the model.
        limit: The scenario's limit that was reached first, None if none was.
        usage: Tokens billed, failed exchanges included.
        cost_usd: Of these; None when the price is not known.
    """

    turns: tuple[Turn, ...]
    divergence: Divergence | None
    error: TrialError | None
    limit: Outcome | None
    usage: Usage
    cost_usd: float | None

    @property
    def complete(self) -> bool:
        """Whether every recorded turn was compared, or a difference found."""
        return self.error is None and self.limit is None


@dataclass(frozen=True, slots=True)
class Live:
    """The model that is asked.

    ``redactor`` strikes out of its words what was struck out of the recording's, or the same
    words would seem to differ.
    """

    adapter: Adapter
    model: str
    backoff: Backoff
    price: Price
    redactor: Redactor
    clock: Clock


def calls_max(trace: Trace, backoff: Backoff) -> int:
    """Return how many provider calls ``compare`` makes at most: each recorded turn, with every retry."""
    return len(trace.turns) * (1 + backoff.retries_max)


async def compare(trace: Trace, scenario: Scenario, live: Live, *, answers: bool = True) -> Comparison:
    """Return where a live model first says something else than the recorded one, if it does.

    Args:
        trace: The recording. Its turns are compared; how it ended is not.
        scenario: The trial's.
        live: Whom to ask.
        answers: Whether a final answer in other words counts as a difference.
    """
    asking = _Asking(trace, scenario, live)
    found: Divergence | None = None
    error: TrialError | None = None
    limit: Outcome | None = None
    try:
        async with asyncio.timeout(scenario.timeout_s):
            for recorded, results in zip(trace.turns, _results(trace), strict=False):
                turn = await asking.turn(recorded.index)
                found = divergence(_redacted(recorded, live.redactor), turn, answers=answers)
                limit = asking.limit() if found is None and turn.tool_calls else None
                if found or limit:
                    break
                asking.hear(results)
    except TurnFailed as failure:
        asking.charge(sum((retry.usage for retry in failure.retries), Usage()), failure.cost_usd)
        error = failure.as_trial_error(len(asking.turns))
    except TimeoutError:
        limit = "timeout"
    return Comparison(tuple(asking.turns), found, error, limit, asking.usage, asking.cost_usd())


class _Asking:
    """A conversation with a live model that hears recorded tool results."""

    def __init__(self, trace: Trace, scenario: Scenario, live: Live) -> None:
        self._trace = trace
        self._scenario = scenario
        self._live = live
        self._specs = MockTools(scenario.tools, live.clock).specs()
        self._limits = Limits(
            scenario.max_turns, tokens_max=scenario.max_tokens, cost_usd_max=scenario.max_cost_usd
        )
        self._rng = random.Random(trace.trace_id)  # noqa: S311 - jitter, not a secret
        self._messages = opening(scenario)
        self._said: tuple[ToolCall, ...] = ()
        self._costs_usd: list[float | None] = []
        self.turns: list[Turn] = []
        self.usage = Usage()

    async def turn(self, index: int) -> Turn:
        """Return what the model says next, redacted."""
        live, scenario = self._live, self._scenario
        config = TurnConfig(
            model=live.model,
            temperature=scenario.temperature,
            seed=scenario.seed,
            extras=scenario.extras,
            trace_id=self._trace.trace_id,
            trial=self._trace.trial,
            turn=index,
        )
        answered = await send_with_retries(
            live.adapter,
            self._messages,
            self._specs,
            config,
            backoff=live.backoff,
            clock=live.clock,
            rng=self._rng,
            price=live.price,
        )
        reply = answered.reply
        said = Turn(
            index=index,
            content=reply.content,
            tool_calls=tuple(map(journalable, reply.tool_calls)),
            finish_reason=reply.finish_reason,
            model=reply.model,
            usage=reply.usage,
            cost_usd=answered.cost_usd,
            latency_s=answered.latency_s,
            retries=answered.retries,
        )
        self.charge(said.billed, answered.cost_usd)
        self._said = said.tool_calls
        self._messages.append(
            Message(role="assistant", content=said.content, tool_calls=said.tool_calls or None)
        )
        self.turns.append(_redacted(said, live.redactor))
        return self.turns[-1]

    def hear(self, results: Sequence[Message]) -> None:
        """Answer the calls of the last turn, which equal the recorded ones, as those were answered."""
        self._messages += [
            result.model_copy(update={"tool_call_id": call.id, "latency_s": None})
            for call, result in zip(self._said, results, strict=False)
        ]

    def charge(self, usage: Usage, cost_usd: float | None) -> None:
        """Count what was billed."""
        self.usage += usage
        self._costs_usd.append(cost_usd)

    def limit(self) -> Outcome | None:
        """Return which of the scenario's spending limits is used up."""
        return self._limits.reached(self.usage, self.cost_usd())

    def cost_usd(self) -> float | None:
        """Return what was billed so far; None when a price is not known."""
        known = [cost for cost in self._costs_usd if cost is not None]
        return rounded_usd(math.fsum(known)) if len(known) == len(self._costs_usd) else None


def _results(trace: Trace) -> list[list[Message]]:
    """Return the tool results that followed each of the agent's turns."""
    found: list[list[Message]] = []
    for message in trace.messages:
        if message.role == "assistant":
            found.append([])
        elif message.role == "tool_result" and found:
            found[-1].append(message)
    return found


def _redacted(turn: Turn, redactor: Redactor) -> Turn:
    return Turn.model_validate(redactor.document(turn.model_dump(mode="json")))
