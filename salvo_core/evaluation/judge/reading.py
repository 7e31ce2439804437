"""From what a judge answered to a vote, or to the reason why it is none.

A judge should call ``score_criteria``. Many models cannot, or do not, so scores are also read from
text: the whole of it as JSON, else the JSON objects in it, fenced or not. What a text quotes of the
agent is not the judge's opinion: an object that stands in what was judged is never a vote, and
objects that contradict one another are none either, because nobody could say which is meant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salvo_core.adapters.protocol import TurnReply
from salvo_core.adapters.strict_json import well_formed
from salvo_core.evaluation.wording import quoted

TOOL_NAME = "score_criteria"
RAW_CHARS_MAX = 20_000
REASONING_CHARS_MAX = 4_000
_OBJECTS_MAX = 1_000
_DEPTH_MAX = 6
_QUOTED_CHARS_MAX = 60

_DECODER = json.JSONDecoder()  # takes NaN too, so that an error can name it


class Unreadable(Exception):
    """An answer that is no vote; the text says why, and may quote the answer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A vote as read.

    Attributes:
        scores: By criterion, 0-1; at least one.
        reasoning: By criterion, where the judge gave any.
    """

    scores: Mapping[str, float]
    reasoning: Mapping[str, str]


def raw_text(reply: TurnReply) -> str:
    """Return what the judge said as it is kept: the arguments of its calls, else its text; bounded."""
    calls = [call for call in reply.tool_calls if call.name == TOOL_NAME]
    said = "\n".join(
        json.dumps(call.arguments, ensure_ascii=False) if call.malformed is None else call.malformed
        for call in calls
    )
    said = said or reply.content or ""
    return well_formed(said if len(said) <= RAW_CHARS_MAX else said[: RAW_CHARS_MAX - 1] + "…")


def read(reply: TurnReply, names: Mapping[str, str], planted: frozenset[str] = frozenset()) -> Reading:
    """Return the vote in a judge's answer.

    Args:
        reply: What the adapter gave back.
        names: From the key that the judge was told to write to the criterion's name; a criterion may
            be written by its name as well.
        planted: ``votes_in`` what was judged.

    Raises:
        Unreadable: There is no vote in it, or several that contradict one another.
    """
    calls = [call for call in reply.tool_calls if call.name == TOOL_NAME]
    called = [dict(call.arguments) for call in calls if call.malformed is None]
    called = [arguments for arguments in called if _criteria_in(arguments, names)]
    if called:
        for arguments in called:
            # A plain number may be like the agent's by chance; whole sentences are not.
            if _spoken(arguments, names) and _form(arguments, names) in planted:
                raise Unreadable("the judge repeats a vote that stands in what it was to judge")
        return _merged([_reading(arguments, names) for arguments in called])
    text = (reply.content or "")[:RAW_CHARS_MAX]
    found = list(_votes(text, names))
    own = [candidate for candidate in found if _form(candidate, names) not in planted]
    if own:
        return _agreed([_reading(candidate, names) for candidate in own])
    if found:
        raise Unreadable("the judge only quotes a vote that stands in what it was to judge")
    if calls:
        raise Unreadable(_why_not_called(calls[0].malformed))
    if not text.strip():
        raise Unreadable("the judge said nothing")
    raise Unreadable(f"no scores are in the judge's answer: {quoted(text, _QUOTED_CHARS_MAX)}")


def votes_in(texts: Sequence[str], names: Mapping[str, str]) -> frozenset[str]:
    """Return what in these texts looks like a vote, in a form that ``read`` compares with."""
    return frozenset(_form(candidate, names) for text in texts for candidate in _votes(text, names))


def _why_not_called(malformed: str | None) -> str:
    if malformed is not None:
        return f"the arguments of {TOOL_NAME} are no JSON object: {quoted(malformed, _QUOTED_CHARS_MAX)}"
    return f"the judge called {TOOL_NAME} without a score for any criterion"


def _votes(text: str, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the outermost objects in a text that have a criterion's key, those inside other objects too."""
    for value in _objects(text):
        yield from _within(value, names, 0)


def _objects(text: str) -> Iterator[Any]:
    """Yield the whole text as JSON if it is that, else each object in it that stands in no other."""
    whole = _decoded(text.strip(), 0)
    if whole is not None and whole[1] == len(text.strip()):
        yield whole[0]
        return
    at, tried = text.find("{"), 0
    while at >= 0 and tried < _OBJECTS_MAX:
        tried += 1
        found = _decoded(text, at)
        if found is not None:
            yield found[0]
        at = text.find("{", at + 1 if found is None else found[1])


def _decoded(text: str, at: int) -> tuple[Any, int] | None:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


def _within(value: Any, names: Mapping[str, str], depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, dict):
        if _criteria_in(value, names):
            yield value
            return
        for inner in value.values():
            yield from _within(inner, names, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner, names, depth + 1)


def _criteria_in(candidate: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return what a candidate says by criterion; the key that was asked for goes before the name."""
    by_key = {name: candidate[key] for key, name in names.items() if key in candidate}
    by_name = {name: candidate[name] for name in names.values() if name in candidate}
    return by_name | by_key


def _form(candidate: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return json.dumps(_criteria_in(candidate, names), sort_keys=True)


def _spoken(candidate: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    return any(_reasoning(value) for value in _criteria_in(candidate, names).values())


def _reading(candidate: Mapping[str, Any], names: Mapping[str, str]) -> Reading:
    found = _criteria_in(candidate, names)
    reasoning = {name: _reasoning(value) for name, value in found.items()}
    return Reading(
        scores={name: _score(name, value) for name, value in found.items()},
        reasoning={name: text for name, text in reasoning.items() if text},
    )


def _reasoning(value: Any) -> str:
    text = value.get("reasoning") if isinstance(value, dict) else None
    return well_formed(text[:REASONING_CHARS_MAX]) if isinstance(text, str) else ""


def _score(name: str, value: Any) -> float:
    """Return a criterion's score, brought within 0-1."""
    given = value
    if isinstance(value, dict):
        if "score" not in value:
            raise Unreadable(f"{name} has no score")
        given = value["score"]
    number = math.nan
    if isinstance(given, int | float | str) and not isinstance(given, bool):
        try:
            number = float(given)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise Unreadable(
            f"the score of {name} is {quoted(given, _QUOTED_CHARS_MAX)}, not a number from 0 to 1"
        )
    return min(1.0, max(0.0, number))


def _merged(readings: Sequence[Reading]) -> Reading:
    """Return several calls as one vote: models may put each criterion into a call of its own."""
    scores: dict[str, float] = {}
    reasoning: dict[str, str] = {}
    for one in readings:
        if any(scores.get(name, score) != score for name, score in one.scores.items()):
            raise Unreadable(f"the judge called {TOOL_NAME} several times, with different scores")
        scores.update(one.scores)
        reasoning.update(one.reasoning)
    return Reading(scores, reasoning)


def _agreed(readings: Sequence[Reading]) -> Reading:
    """Return the one opinion that several objects in a text agree on."""
    if any(one.scores != readings[0].scores for one in readings):
        raise Unreadable(f"{len(readings)} votes are in the judge's answer, and they contradict one another")
    return readings[0]
