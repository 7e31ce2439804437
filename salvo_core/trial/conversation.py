"""The turn loop: a model and its mock tools, until somebody has said the last word.

Each completed turn is given to the journal before the next begins (I3), so whoever
continues this trial after a crash starts from ``past`` and pays only for the exchange that
was in flight. The loop itself never raises for what a model or a provider did: it ends in
an outcome. It raises only when this attempt must not go on: ``LeaseLost``, ``Leaving``.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from salvo_core.adapters.gate import OPEN_GATE, Barred, Gate, Price
from salvo_core.adapters.prices import rounded_usd
from salvo_core.adapters.protocol import Adapter, TurnConfig
from salvo_core.adapters.retrying import Backoff, TurnFailed, send_with_retries
from salvo_core.clock import Clock
from salvo_core.errors import ContextFull, LeaseLost
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Message, Outcome, TrialError, Turn, Usage
from salvo_core.trial.endings import barred
from salvo_core.trial.limits import Limits
from salvo_core.trial.timer import StandingGate, Timer
from salvo_core.trial.tools import MockTools, journalable


class Leaving(Exception):
    """The worker is shutting down: give the trial back at this turn boundary."""


class Hold(Protocol):
    """What the loop asks of whoever holds the trial."""

    def interruption(self) -> Literal["cancelled", "leaving", "lost"] | None:
        """Return why the trial must not begin another turn, None while it may."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether the run was cancelled at once: what is under way is not waited for."""
        ...

    def exchange(self, limit: asyncio.Timeout) -> AbstractContextManager[None]:
        """Let the limit end what is under way in the block as soon as ``abandoned`` is set."""
        ...

    async def keep(self, turn: Turn) -> None:
        """Journal a completed turn.

        Raises:
            LeaseLost: Another attempt holds the trial; nothing was kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Who speaks: everything a conversation needs besides its past.

    ``trial`` is the repetition within the cell, 0-based, and the seed of scripted variation. ``retried`` says
    that an attempt had ended before: what that took is told of, whatever becomes of this one.
    """

    scenario: Scenario
    model: str
    adapter: Adapter
    limits: Limits
    backoff: Backoff
    price: Price
    trace_id: str
    trial: int
    attempt: int
    worker: str
    gate: Gate = OPEN_GATE
    retried: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said and how it ended."""

    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    outcome: Outcome
    error: TrialError | None
    usage: Usage
    cost_usd: float | None
    latency_s: float

    @property
    def finish_reason(self) -> str:
        """The provider's word for why its last turn ended; ``error`` when there was none."""
        if self.outcome == "infra_error":
            return "error"
        return self.turns[-1].finish_reason if self.turns else ""


def opening(scenario: Scenario) -> list[Message]:
    """Return what is said before the agent's first turn."""
    system = scenario.system_prompt
    before = [Message(role="system", content=system)] if system else []
    return [*before, Message(role="user", content=scenario.prompt)]


async def converse(part: Part, past: Sequence[Turn], hold: Hold, clock: Clock) -> Conversation:
    """Return the whole conversation, having continued it from its completed turns.

    Args:
        part: Who speaks.
        past: Turns that earlier attempts completed and paid for; they are not asked for again.
        hold: The right to go on.
        clock: Measures, and waits.

    Raises:
        LeaseLost: This attempt no longer holds the trial.
        Leaving: The worker is shutting down; all completed turns are journaled.
        Barred: The provider is to be awaited by a later attempt, all completed turns are journaled; or the
            budget does not reach for the first turn, and nothing was said at all.
    """
    talk = _Talk(part, clock)
    for turn in past:
        await talk.take(turn, replayed=True)
    if talk.outcome is None:
        talk.refuse_unpriced()
    timer = Timer(part.limits.time_s_max, talk.latency_s, clock)
    while talk.outcome is None:
        interruption = hold.interruption()
        if interruption == "lost":
            raise LeaseLost(f"trial {part.trace_id} is held by another attempt")
        if interruption == "leaving":
            raise Leaving
        if interruption == "cancelled":
            talk.outcome = "cancelled"
            break
        if timer.left_s() == 0:  # a timeout of nothing would still let a request out, and it may be billed
            talk.outcome = "timeout"
            break
        asked = await _asked(talk, timer, hold)
        if asked is None:
            continue  # it has ended, or an interruption is acted upon above
        # Outside the time limit: a paid turn must reach the journal whatever the clock says.
        with timer.standing():  # a journal that is away takes none of the agent's time (I6)
            await hold.keep(asked)
        try:
            async with timer.limit() as limit:
                with hold.exchange(limit):
                    await talk.take(asked)
        except TimeoutError:
            talk.outcome = "cancelled" if hold.abandoned else "timeout"
    return talk.ended()


async def _asked(talk: _Talk, timer: Timer, hold: Hold) -> Turn | None:
    """Return the next turn. None when there is none: the talk has ended, or must not go on."""
    try:
        async with timer.limit() as limit:
            with hold.exchange(limit):
                return await talk.ask(timer)
    except TimeoutError:
        if hold.abandoned:
            talk.abandon()
        else:
            talk.outcome = "timeout"
    except TurnFailed as failure:
        talk.fail(failure)
    except Barred as bar:
        if bar.bar != "interrupted":
            talk.bar(bar)
    return None


class _Talk:
    """A conversation under way."""

    def __init__(self, part: Part, clock: Clock) -> None:
        self.part = part
        self.clock = clock
        self.rng = random.Random(part.trace_id)  # noqa: S311 - jitter, not a secret
        self.tools = MockTools(part.scenario.tools, clock)
        self.specs = self.tools.specs()
        self.messages = opening(part.scenario)
        self.turns: list[Turn] = []
        self.usage = Usage()
        self.costs_usd: list[float | None] = []
        self.latency_s = 0.0
        self.outcome: Outcome | None = None
        self.error: TrialError | None = None

    async def ask(self, timer: Timer) -> Turn:
        """Return the model's next turn, retries and price included; nothing of it is taken yet.

        Args:
            timer: How long it may take. A wait for a provider that would pass its end is not begun:
                that trial ends as the provider's failure, not as the agent's timeout (I6).
        """
        part, scenario = self.part, self.part.scenario
        config = TurnConfig(
            model=part.model,
            temperature=scenario.temperature,
            seed=scenario.seed,
            extras=scenario.extras,
            trace_id=part.trace_id,
            trial=part.trial,
            turn=len(self.turns),
        )
        answered = await send_with_retries(
            part.adapter,
            self.messages,
            self.specs,
            config,
            backoff=part.backoff,
            clock=self.clock,
            rng=self.rng,
            price=part.price,
            deadline_s=timer.deadline_s(),
            gate=StandingGate(part.gate, timer),
        )
        reply = answered.reply
        return Turn(
            index=len(self.turns),
            content=reply.content,
            tool_calls=tuple(map(journalable, reply.tool_calls)),
            finish_reason=reply.finish_reason,
            model=reply.model,
            usage=reply.usage,
            cost_usd=answered.cost_usd,
            latency_s=answered.latency_s,
            retries=answered.retries,
            attempt=part.attempt,
            worker=part.worker,
        )

    async def take(self, turn: Turn, *, replayed: bool = False) -> None:
        """Let a completed turn be said, answer its tool calls, and see whether that was the end."""
        self.turns.append(turn)
        self.usage += turn.billed
        self.costs_usd.append(turn.cost_usd)
        self.latency_s += turn.latency_s
        self.messages.append(
            Message(role="assistant", content=turn.content, tool_calls=turn.tool_calls or None)
        )
        invented = any(not self.tools.knows(call.name) for call in turn.tool_calls)
        for call in turn.tool_calls:
            result = await self.tools.answer(call, replayed=replayed)
            self.latency_s += result.latency_s or 0.0
            self.messages.append(result)
        if not turn.tool_calls:
            self.outcome = "completed"
        elif invented and self.part.scenario.unknown_tool == "fail":
            self.outcome = "unknown_tool"
        elif len(self.turns) >= self.part.limits.turns_max:
            self.outcome = "max_turns"
        else:
            self.outcome = self.part.limits.reached(self.usage, self.cost_usd())

    def fail(self, failure: TurnFailed) -> None:
        """End: the provider gave no turn, and that is not the agent's doing unless it talked too long."""
        if isinstance(failure.error, ContextFull) and self.turns:
            self.outcome = (
                "context_full"  # it talked itself there; a first prompt that long is the scenario's
            )
        else:
            self.outcome = "infra_error"
            self.error = failure.as_trial_error(len(self.turns))
        self.usage = sum((retry.usage for retry in failure.retries), self.usage)
        self.costs_usd.append(failure.cost_usd)

    def bar(self, bar: Barred) -> None:
        """End, or raise where a later attempt can go on: an exchange may not be sent."""
        unsaid = bar.bar == "budget" and not self.turns and not bar.retries and not self.part.retried
        if unsaid or bar.bar in ("patience", "refused"):
            raise bar
        self.outcome = "budget" if bar.bar == "budget" else "infra_error"
        self.error = barred(bar, len(self.turns))
        self.usage = sum((retry.usage for retry in bar.retries), self.usage)
        self.costs_usd.append(bar.cost_usd)

    def abandon(self) -> None:
        """End in the midst of an exchange: the provider may bill it, and nobody will hear how much."""
        self.outcome = "cancelled"
        self.costs_usd.append(None)
        self.error = TrialError(
            kind="abandoned",
            message=f"the run was cancelled at once while turn {len(self.turns) + 1} was under way: "
            "what that cost is not known",
            turn=len(self.turns),
        )

    def refuse_unpriced(self) -> None:
        """End before anything is sent when a cost limit was set that nobody could keep."""
        part = self.part
        if part.limits.cost_usd_max is not None and part.price(part.model, Usage()) is None:
            self.outcome = "infra_error"
            self.error = TrialError(
                kind="scenario",
                message=f"max_cost_usd is set, but the price of {part.model!r} is not known",
                hint="add the model under `prices:` in salvo.yaml, or remove max_cost_usd",
            )

    def cost_usd(self) -> float | None:
        """Return what has been billed, failed exchanges included; None when a price is not known."""
        known = [cost for cost in self.costs_usd if cost is not None]
        return rounded_usd(math.fsum(known)) if len(known) == len(self.costs_usd) else None

    def ended(self) -> Conversation:
        """Return the conversation as it stands."""
        assert self.outcome is not None
        return Conversation(
            messages=tuple(self.messages),
            turns=tuple(self.turns),
            outcome=self.outcome,
            error=self.error,
            usage=self.usage,
            cost_usd=self.cost_usd(),
            latency_s=round(self.latency_s, 6),
        )
