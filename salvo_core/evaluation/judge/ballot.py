"""The votes that one judge assertion rests on, with all that it takes to count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from salvo_core.trace.model import Vote


@dataclass(frozen=True, slots=True)
class Ballot:
    """What was asked of a judge for one assertion, and what came of it.

    Attributes:
        votes: By number, those that could not be read included; at most k.
        k: How many were to be asked, 1 or more.
        threshold: The weighted score from which a vote is in favour, 0-1.
        weights: By criterion; not negative, and more than 0 together.
        model: Who was asked.
        request: Digest of the question.
    """

    votes: tuple[Vote, ...]
    k: int
    threshold: float
    weights: Mapping[str, float]
    model: str
    request: str


def quorum(k: int) -> int:
    """Return how many of k votes must be heard for a judgement to count: more than half."""
    return k // 2 + 1
