"""From votes to one check: medians, a score, and a strict majority.

The score and the majority answer two questions and may disagree. The score is what most votes say
of each criterion by itself (the median over votes, weighted over criteria); the majority is how
many judges would let the whole pass. Three votes that each find another fault can have perfect
medians and no majority: such an assertion has not passed, whatever its score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from salvo_core.evaluation.assertion import DETAILS_CHARS_MAX, Check
from salvo_core.evaluation.judge.ballot import Ballot, quorum
from salvo_core.evaluation.threshold import reaches
from salvo_core.evaluation.wording import one_line
from salvo_core.trace.model import Vote


@dataclass(frozen=True, slots=True)
class Count:
    """What votes come to.

    Attributes:
        heard: Votes that could be read.
        in_favour: Of those, how many reach the threshold.
        medians: By criterion, over the heard votes that scored it, 0-1; None if none did.
        score: The weighted mean of the medians, 0-1; a criterion that no vote scored counts 0.
    """

    heard: int
    in_favour: int
    medians: Mapping[str, float | None]
    score: float

    @property
    def passed(self) -> bool:
        """Whether more than half of the heard votes are in favour; a tie is not."""
        return 2 * self.in_favour > self.heard


def vote_score(vote: Vote, weights: Mapping[str, float]) -> float:
    """Return a vote's weighted mean, 0-1; a criterion that it left out counts 0."""
    return _weighted({name: vote.scores.get(name, 0.0) for name in weights}, weights)


def count(ballot: Ballot) -> Count:
    """Return what the votes come to, whether or not they are enough."""
    heard = [vote for vote in ballot.votes if vote.heard]
    medians: dict[str, float | None] = {}
    for name in ballot.weights:
        scored = [vote.scores[name] for vote in heard if name in vote.scores]
        medians[name] = median(scored) if scored else None
    return Count(
        heard=len(heard),
        in_favour=sum(reaches(vote_score(vote, ballot.weights), ballot.threshold) for vote in heard),
        medians=medians,
        score=_weighted({name: one or 0.0 for name, one in medians.items()}, ballot.weights),
    )


def verdict_of(ballot: Ballot, redacted: Callable[[Any], Any]) -> Check:
    """Return the check that a ballot comes to; without a quorum it is infrastructure's failure.

    Args:
        ballot: The votes.
        redacted: Takes secrets out of what is quoted of a vote that could not be read.
    """
    counted = count(ballot)
    if counted.heard < quorum(ballot.k):
        why = next(
            (vote.error for vote in ballot.votes if vote.error is not None), "the others were not asked"
        )
        return Check.impossible(
            f"{counted.heard} of {ballot.k} votes could be read, and it takes {quorum(ballot.k)}: "
            f"{redacted(why)}",
            infra=True,
        )
    medians = ", ".join(
        f"{name} {'not scored' if one is None else format(one, '.2f')}"
        for name, one in counted.medians.items()
    )
    details = (
        f"{ballot.model}: {counted.heard} of {ballot.k} votes heard, {counted.in_favour} in favour "
        f"(from {ballot.threshold:g}); {medians}"
    )
    return Check(counted.score, counted.passed, one_line(details, DETAILS_CHARS_MAX))


def _weighted(scores: Mapping[str, float], weights: Mapping[str, float]) -> float:
    total = math.fsum(weights.values())
    return min(1.0, math.fsum(scores[name] * weight for name, weight in weights.items()) / total)
