"""Money over trials: what is known of it, and for how many trials it is not. Unknown is never zero."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from salvo_core.trace.frozen import Frozen


class Cost(Frozen):
    """Money spent on every trial that left a result, infrastructure errors included, US dollars."""

    total_usd: float | None
    """Sum of the known costs; None when none is known."""
    mean_usd: float | None
    """Per trial of known cost."""
    per_pass_usd: float | None
    """Total over passed trials; None without a pass, or when a cost is unknown: it would be too low."""
    known: int
    """Trials of known cost."""
    unknown: int
    """Trials whose model has no known price."""


NO_COST = Cost.model_construct(total_usd=None, mean_usd=None, per_pass_usd=None, known=0, unknown=0)
"""Of no trials."""


class CostFold:
    """Collects what trials cost, in any order."""

    def __init__(self) -> None:
        self.known_usd = array("d")
        self.unknown = 0

    def add(self, cost_usd: float | None) -> None:
        """Take in one trial's, US dollars; None if it is not known."""
        if cost_usd is None:
            self.unknown += 1
        else:
            self.known_usd.append(cost_usd)


def cost_of(folds: Sequence[CostFold], passed: int) -> Cost:
    """Return what the trials of these folds cost together.

    Args:
        folds: At least one.
        passed: How many of their trials passed.
    """
    known = sum(len(fold.known_usd) for fold in folds)
    unknown = sum(fold.unknown for fold in folds)
    if not known:
        return NO_COST.model_copy(update={"unknown": unknown})
    total = math.fsum(cost for fold in folds for cost in fold.known_usd)
    return Cost(
        total_usd=total,
        mean_usd=total / known,
        per_pass_usd=total / passed if passed and not unknown else None,
        known=known,
        unknown=unknown,
    )
