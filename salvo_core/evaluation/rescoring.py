"""What a recorded trial is asked again, and which findings of it stand as they are.

A check that neither changed nor can come out differently is not made again: its recorded
finding stands, made on the conversation as it was, where a stored record may have had
secrets struck out. Only how much it counts (weight, required) is the scenario's of today. A team's
own functions are always called again, and judges as ``Judging`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.trace.model import Finding

Judging = Literal["too", "skip", "only"]
"""Judges are asked ``too``, or their findings stand (``skip``), or ``only`` judges are asked."""


@dataclass(frozen=True, slots=True)
class Division:
    """What becomes of each assertion, by its place in the list in force.

    Attributes:
        kept: Findings that stand, for the place they have now.
        again: Places to check again, ascending.
        left_out: Places that cannot be answered: they leave the score, weights and all.
    """

    kept: Mapping[int, Finding]
    again: tuple[int, ...]
    left_out: tuple[int, ...]


def divide(
    assertions: Sequence[AssertionSpec],
    recorded: Sequence[AssertionSpec],
    findings: Sequence[Finding],
    *,
    judging: Judging = "too",
    fresh_votes: bool = False,
    redacted: bool = False,
    content: bool = True,
) -> Division:
    """Return which recorded findings stand and what is checked again.

    Args:
        assertions: Those in force now.
        recorded: Those of the recording, in the order that ``findings`` count in; none if they
            are not known any more, and then everything is checked again.
        findings: What the recording found.
        judging: What becomes of judges.
        fresh_votes: Whether judges are to vote anew on what they voted on before.
        redacted: Whether something in what was said has been struck out since the findings were made.
        content: Whether the record holds what was said.
    """
    found = {finding.assertion: finding for finding in findings}
    kept: dict[int, Finding] = {}
    again, left_out = [], []
    for place, assertion in enumerate(assertions):
        before = _recorded_finding(assertion, recorded, found)
        if not content and assertion.needs_content():
            left_out.append(place)
        elif before is not None and _stands(
            assertion, before, judging=judging, fresh_votes=fresh_votes, redacted=redacted
        ):
            kept[place] = before.model_copy(
                update={"assertion": place, "weight": assertion.weight, "required": assertion.required}
            )
        elif judging == "skip" and "judge" in kinds(assertion):
            left_out.append(place)
        else:
            again.append(place)
    return Division(kept, tuple(again), tuple(left_out))


def kinds(assertion: AssertionSpec) -> frozenset[str]:
    """Return the types of an assertion and of all inside it."""
    return frozenset({assertion.type}).union(*(kinds(member) for _, member in assertion.members()))


def asks_the_same(one: AssertionSpec, other: AssertionSpec) -> bool:
    """Tell whether two assertions check the same, however much each of them counts."""
    return one == other or (
        type(one) is type(other)
        and one == other.model_copy(update={"weight": one.weight, "required": one.required})
    )


def _recorded_finding(
    assertion: AssertionSpec, recorded: Sequence[AssertionSpec], found: Mapping[int, Finding]
) -> Finding | None:
    for place, before in enumerate(recorded):
        if place in found and asks_the_same(assertion, before):
            return found[place]
    return None


def _stands(
    assertion: AssertionSpec, before: Finding, *, judging: Judging, fresh_votes: bool, redacted: bool
) -> bool:
    """Tell whether the finding of an assertion that did not change is still the answer."""
    types = kinds(assertion)
    if "judge" in types:
        if judging == "skip":
            return True
        # What a judge would read now is not what it read then: its votes on that are worth more than
        # new ones on a text with holes. Otherwise the same question has the same votes anyway.
        return redacted and not fresh_votes and before.error is None
    if judging == "only":
        return True
    return "custom" not in types and before.error is None
