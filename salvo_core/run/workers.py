"""How the trials of each worker came out: a machine that skews results is to stand out.

Workers do not get the same mix of cells, so each one's passes are compared with what its own trials
would give at their cells' rates, never with one rate for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from salvo_core.stats.homogeneity import Placed, placed
from salvo_core.stats.pooled import Counted
from salvo_core.trace.frozen import Frozen

WORKERS_MAX = 256


class WorkerTally(Frozen):
    """One worker's graded trials, over all cells."""

    worker: str
    passed: int
    scored: int
    expected: float
    """Passes that its trials would give if it did not matter who runs them."""
    variance: float
    """Of the passes, then."""

    @property
    def placed(self) -> Placed:
        """The same, as ``stats.homogeneity`` reads it."""
        return Placed(Counted(self.passed, self.scored), self.expected, self.variance)


class WorkerFold:
    """Counts one cell's graded trials by who ended them, in any order."""

    def __init__(self) -> None:
        self._passed: dict[str, int] = {}
        self._scored: dict[str, int] = {}

    def add(self, worker: str, *, passed: bool) -> None:
        """Take in one graded trial."""
        self._passed[worker] = self._passed.get(worker, 0) + passed
        self._scored[worker] = self._scored.get(worker, 0) + 1

    @property
    def counted(self) -> Mapping[str, Counted]:
        """Counts by worker."""
        return {worker: Counted(self._passed[worker], n) for worker, n in self._scored.items()}


def worker_tallies(cells: Sequence[WorkerFold]) -> tuple[WorkerTally, ...]:
    """Return how each worker's trials came out, those of most trials first.

    Args:
        cells: Of one run, in the plan's order.

    Returns:
        At most ``WORKERS_MAX``; of a run with more, those who did least are left out.
    """
    by_worker: dict[str, list[Placed]] = {}
    for fold in cells:
        counted = fold.counted
        for worker, one in zip(counted, placed(list(counted.values())), strict=True):
            by_worker.setdefault(worker, []).append(one)
    tallies = [
        WorkerTally(
            worker=worker,
            passed=sum(part.counted.passed for part in parts),
            scored=sum(part.counted.n for part in parts),
            expected=math.fsum(part.expected for part in parts),
            variance=math.fsum(part.variance for part in parts),
        )
        for worker, parts in by_worker.items()
    ]
    return tuple(sorted(tallies, key=lambda one: (-one.scored, one.worker))[:WORKERS_MAX])
