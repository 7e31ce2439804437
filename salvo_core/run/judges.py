"""What the judges of a cell said, and how far their votes agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from salvo_core.evaluation.judge.agreement import agreement
from salvo_core.evaluation.judge.ballot import quorum
from salvo_core.manifest.rows import SCORED, Row
from salvo_core.run.facts import AssertionFacts
from salvo_core.trace.frozen import Frozen


class JudgeSummary(Frozen):
    """What one judge of a cell said, over every trial in which it was asked."""

    assertion: int
    """Its place in the scenario's list, 0-based; of a judge inside a group, the group's."""
    label: str
    model: str
    """Who was asked; empty when the scenario could not be read."""
    k: int
    """Votes a trial."""
    trials: int
    """In which it was asked."""
    votes: int
    """Asked for, over all trials."""
    votes_heard: int
    """That could be counted."""
    unheard: int
    """Trials in which too few votes could be counted to decide: that says nothing about the agent (I6)."""
    graded_without: int
    """Of those, trials that were graded without the assertion: it left the score."""
    unanimous: float | None
    """Share of trials whose votes all agree, of those with at least two that were heard; None without any."""
    alpha: float | None
    """Krippendorff's alpha of votes for and against: 1 perfect, 0 as chance would have it; None if
    undefined, as when every vote is the same."""


@dataclass
class _Votes:
    trials: int = 0
    k: int = 0
    asked: int = 0
    heard: int = 0
    unheard: int = 0
    graded_without: int = 0
    by_trial: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(votes heard, votes in favour) -> trials."""


class JudgeFold:
    """Collects what judges said in one cell's rows, one row at a time, in any order.

    Args:
        facts: Of the cell's assertions, in the scenario's order.
    """

    def __init__(self, facts: Sequence[AssertionFacts]) -> None:
        self._facts = facts
        self._judges: dict[tuple[int, int], _Votes] = {}

    def add(self, row: Row) -> None:
        """Take a row in. Votes on a trial without a grade are votes all the same."""
        if row.result is None or not row.result.judged:
            return
        met: Counter[int] = Counter()
        for assertion, asked, heard, in_favour in row.result.judged:
            # A group may hold several judges: they are told apart by their order.
            votes = self._judges.setdefault((assertion, met[assertion]), _Votes())
            met[assertion] += 1
            votes.trials += 1
            votes.k = max(votes.k, asked)
            votes.asked += asked
            votes.heard += heard
            votes.by_trial[heard, in_favour] += 1
            if heard < quorum(asked):
                votes.unheard += 1
                # A group without its judge's word may have been decided by its other members.
                votes.graded_without += row.status in SCORED and assertion in row.result.undecided

    def summaries(self) -> tuple[JudgeSummary, ...]:
        """Return one summary a judge, in the scenario's order."""
        return tuple(self._summary(place, nth) for place, nth in sorted(self._judges))

    def _summary(self, assertion: int, nth: int) -> JudgeSummary:
        votes = self._judges[assertion, nth]
        known = assertion < len(self._facts)
        facts = self._facts[assertion] if known else AssertionFacts(f"assertion {assertion}")
        agreed = agreement(votes.by_trial)
        return JudgeSummary(
            assertion=assertion,
            label=facts.label,
            model=facts.judge_models[nth] if nth < len(facts.judge_models) else "",
            k=votes.k,
            trials=votes.trials,
            votes=votes.asked,
            votes_heard=votes.heard,
            unheard=votes.unheard,
            graded_without=votes.graded_without,
            unanimous=agreed.unanimous_share,
            alpha=agreed.alpha,
        )
