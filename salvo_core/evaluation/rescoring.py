"""What a recorded trial is asked again, and which findings of it stand as they are.

A check that neither changed nor can come out differently is not made again: its recorded
finding stands, made on the conversation as it was, where a stored record may have had
secrets struck out. Only how much it counts (weight, required) is the scenario's of today. A team's
own functions are always called again, and judges as ``Judging`` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.judge.defaults import Judging
from salvo_core.trace.model import Finding, Judged, Judgement, Trace, Vote


@dataclass(frozen=True, slots=True)
class Division:
    """What becomes of each assertion, by its place in the list in force.

    Attributes:
        kept: Findings that stand, for the place they have now.
        origin: For each of those, its place in the recording.
        again: Places to check again, ascending.
        left_out: Places that cannot be answered: they leave the score, weights and all.
    """

    kept: Mapping[int, Finding]
    origin: Mapping[int, int]
    again: tuple[int, ...]
    left_out: tuple[int, ...]


Known = AssertionSpec | None
"""An assertion; None where a record has not kept it, so that it can only be told by its place."""


def divide(
    assertions: Sequence[Known],
    recorded: Sequence[Known],
    findings: Sequence[Finding],
    *,
    same: bool = False,
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
        same: Whether the two lists are of one scenario, so that places are enough to tell what is what.
        judging: What becomes of judges.
        fresh_votes: Whether judges are to vote anew on what they voted on before.
        redacted: Whether something in what was said has been struck out since the findings were made.
        content: Whether the record holds what was said.
    """
    found = {finding.assertion: finding for finding in findings}
    kept: dict[int, Finding] = {}
    origin: dict[int, int] = {}
    again, left_out = [], []
    for place, assertion in enumerate(assertions):
        before = found.get(place) if same else _recorded_finding(assertion, recorded, found)
        if not content and (assertion is None or assertion.needs_content()):
            left_out.append(place)
        elif assertion is None:
            if before is None:
                left_out.append(place)
            else:
                kept[place], origin[place] = before, place
        elif before is not None and _stands(
            assertion, before, judging=judging, fresh_votes=fresh_votes, redacted=redacted
        ):
            origin[place] = before.assertion
            kept[place] = before.model_copy(
                update={"assertion": place, "weight": assertion.weight, "required": assertion.required}
            )
        elif judging == "skip" and "judge" in kinds(assertion):
            left_out.append(place)
        else:
            again.append(place)
    return Division(kept, origin, tuple(again), tuple(left_out))


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
    assertion: Known, recorded: Sequence[Known], found: Mapping[int, Finding]
) -> Finding | None:
    for place, before in enumerate(recorded):
        if place in found and assertion and before and asks_the_same(assertion, before):
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


def known_votes(trace: Trace) -> dict[tuple[str, int], Vote]:
    """Return the votes of a recording that answer the same question again, by question and number.

    Failed votes are among them, since they decided what was decided; unless they are why something could
    not be decided at all: then those are asked for again.
    """
    undecided = {finding.assertion for finding in trace.findings if finding.infra}
    return {
        (judgement.request, vote.number): vote
        for judgement in trace.judgements
        for vote in judgement.votes
        if vote.heard or undecided.isdisjoint(judgement.assertions)
    }


def cost_of_new_usd(judgements: Sequence[Judgement], past: Mapping[tuple[str, int], Vote]) -> float | None:
    """Return what the votes cost that are not of the past, US dollars; None when a price is unknown."""
    costs_usd = [
        vote.cost_usd
        for judgement in judgements
        for vote in judgement.votes
        if past.get((judgement.request, vote.number)) != vote
    ]
    known = [cost for cost in costs_usd if cost is not None]
    return round(math.fsum(known), 6) if len(known) == len(costs_usd) else None


def judged_before(
    trace: Trace, origin: Mapping[int, int]
) -> tuple[tuple[Judgement, ...], tuple[Judged, ...]]:
    """Return what judges said for findings that stand, by the places that those have now.

    Args:
        trace: The recording.
        origin: Of each finding that stands: place now, place then.
    """
    now: dict[int, list[int]] = {}
    for place, then in origin.items():
        now.setdefault(then, []).append(place)
    judgements = tuple(
        judgement.model_copy(update={"assertions": tuple(places)})
        for judgement in trace.judgements
        if (places := sorted(place for then in judgement.assertions for place in now.get(then, ())))
    )
    judged = tuple(
        one.model_copy(update={"assertion": place})
        for one in trace.judged
        for place in now.get(one.assertion, ())
    )
    return judgements, judged
