"""Where two tellings of one conversation part: the same turn, as recorded and as said now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from salvo_core.evaluation.matching import same
from salvo_core.trace.model import ToolCall, Turn

Kind = Literal["calls", "tool", "order", "arguments", "answer"]
"""What differs: whether tools are called at all, which, in which order, with what; the final answer."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first turn that two conversations do not share.

    Attributes:
        kind: What differs.
        told: One sentence for a person; names of tools and providers' words may stand in it.
        recorded: The turn of the recording.
        live: The turn that came instead.
    """

    kind: Kind
    told: str
    recorded: Turn
    live: Turn


def divergence(recorded: Turn, live: Turn, *, answers: bool = True) -> Divergence | None:
    """Return how a turn differs from the recorded one, None if it does not.

    Tool calls are compared one by one: names, order, arguments as JSON values. What is said
    beside a call is not compared. A final answer is, but for its white space.

    Args:
        recorded: What was said then.
        live: What is said now, after the same past.
        answers: Whether a final answer in other words is a difference.
    """
    then, now = recorded.tool_calls, live.tool_calls
    if then and not now:
        return Divergence("calls", f"recorded: {_names(then)}; now: an answer instead", recorded, live)
    if now and not then:
        return Divergence("calls", f"recorded: a final answer; now: {_names(now)}", recorded, live)
    if then:
        return _between_calls(recorded, live)
    if answers and _words(recorded.content) != _words(live.content):
        return Divergence("answer", "the final answer is in other words", recorded, live)
    return None


def _between_calls(recorded: Turn, live: Turn) -> Divergence | None:
    then, now = recorded.tool_calls, live.tool_calls
    if len(then) == len(now) and all(map(_same, then, now)):
        return None
    names_then, names_now = ([call.name for call in calls] for calls in (then, now))
    if _rearranged(then, now) or (names_then != names_now and sorted(names_then) == sorted(names_now)):
        return Divergence("order", f"recorded: {_names(then)}; now the same in another order", recorded, live)
    if names_then != names_now:
        return Divergence("tool", f"recorded: {_names(then)}; now: {_names(now)}", recorded, live)
    place = next(
        place for place, (one, other) in enumerate(zip(then, now, strict=True)) if not _same(one, other)
    )
    which = f" (call {place + 1} of {len(then)})" if len(then) > 1 else ""
    return Divergence(
        "arguments", f"{then[place].name}{which} is called with other arguments", recorded, live
    )


def _rearranged(then: Sequence[ToolCall], now: Sequence[ToolCall]) -> bool:
    """Tell whether both hold the same calls, in whatever order."""
    left = list(now)
    for call in then:
        match = next((place for place, other in enumerate(left) if _same(call, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


def _same(one: ToolCall, other: ToolCall) -> bool:
    """Tell whether two calls ask for the same; the ids that providers give them mean nothing."""
    return (one.name, one.malformed) == (other.name, other.malformed) and same(one.arguments, other.arguments)


def _names(calls: Sequence[ToolCall]) -> str:
    return "calls " + ", ".join(call.name for call in calls)


def _words(text: str | None) -> list[str]:
    return (text or "").split()
