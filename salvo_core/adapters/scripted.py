"""A pretend model in the same process: follows a script, costs nothing, needs no network.

For tests, demos and dry rehearsals of a scenario. The trial's number and the turn say which
step of the script is played, so a run gives the same conversations every time, in whatever
order and on whichever workers its trials are played.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence

from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.script import Failure, Script, ScriptedError, ScriptTurn, Step
from salvo_core.clock import Clock
from salvo_core.errors import (
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)
from salvo_core.trace.model import Message, ToolCall, Usage

HANG_S = 3600.0
"""How long a scripted hang lasts, seconds, unless the caller gives up first; even a hang has a bound."""

_USAGE = Usage(input_tokens=100, output_tokens=50)

_ERRORS: dict[Failure, type[ProviderError]] = {
    "rate_limited": RateLimited,
    "transient": ProviderTransient,
    "permanent": ProviderPermanent,
    "authentication": ProviderAuthentication,
}


class Exchanges:
    """How often each unfinished turn has failed so far, so that "an error, then ok" can be played.

    Holds only turns that failed and have not come back: a turn that is asked for again later (a
    trial that another worker resumes) starts from its first exchange and sees the same as before.

    Args:
        held_max: Turns held at most; beyond it, the turn that failed longest ago starts afresh.
    """

    def __init__(self, held_max: int = 10_000) -> None:
        self._failed: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._held_max = held_max

    def play(self, script: Script, trial_key: str | int, turn: int, *, counted_as: str) -> tuple[int, Step]:
        """Return the number of this exchange within its turn, 0-based, and its step; and count it.

        Args:
            script: What to follow.
            trial_key: The trial's number or name; decides what is drawn.
            turn: Turns that came back before, 0-based.
            counted_as: Whose failures are counted together.
        """
        place = (counted_as, turn)
        exchange = self._failed.pop(place, 0)
        step = script.next_step(trial_key, turn, exchange)
        if isinstance(step.answer, ScriptedError):
            self._failed[place] = exchange + 1
            if len(self._failed) > self._held_max:
                self._failed.popitem(last=False)
        return exchange, step


class ScriptedAdapter:
    """An adapter that answers from a script; ``config.trial`` and ``config.turn`` choose the step.

    Args:
        script: What to follow.
        clock: Sleeps the scripted latencies.
    """

    name = "scripted"

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock
        self._exchanges = Exchanges()

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        """Return the script's next turn, after its latency.

        The messages and tools are not read: a script knows what it wants to say. Without a
        trace id, trials of the same number share their count of failed exchanges.

        Raises:
            ProviderError: The script says that this exchange fails.
        """
        counted_as = config.trace_id or str(config.trial)
        _, step = self._exchanges.play(self._script, config.trial, config.turn, counted_as=counted_as)
        if isinstance(step.answer, ScriptedError):
            await self._clock.sleep(HANG_S if step.answer.kind == "hang" else step.latency_s)
            raise _provider_error(step.answer)
        await self._clock.sleep(step.latency_s)
        return _reply(step.answer, step.usage or _USAGE, config)

    async def aclose(self) -> None:
        """Do nothing: there is no connection to close."""


def _provider_error(error: ScriptedError) -> ProviderError:
    shape = error.shape
    return _ERRORS[shape.failure](
        f"the script says: {shape.message}",
        status_code=shape.status,
        retry_after_s=error.retry_after_s,
        input_tokens=error.usage.input_tokens,
        output_tokens=error.usage.output_tokens,
    )


def _reply(turn: ScriptTurn, usage: Usage, config: TurnConfig) -> TurnReply:
    calls = tuple(
        ToolCall(
            id=f"call_{config.turn}_{place}",
            name=call.name,
            # a copy: whoever edits a reply must not edit the script of the next trial
            arguments=copy.deepcopy(call.arguments),
            malformed=call.malformed,
        )
        for place, call in enumerate(turn.tool_calls)
    )
    return TurnReply(
        content=turn.text,
        tool_calls=calls,
        usage=usage,
        finish_reason=turn.finish_reason or ("tool_calls" if calls else "stop"),
        model=config.model,
    )
