"""How one cell's pass rate went from run to run, with an interval at every run, from summaries alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from salvo_core.run.cells import CellSummary
from salvo_core.run.reliability import IntervalName, rate_interval
from salvo_core.run.summary import Summary
from salvo_core.run.verdict import Verdict, worst
from salvo_core.stats.homogeneity import homogeneity
from salvo_core.stats.pooled import Counted

_Name = tuple[str, str]
"""Scenario and model."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one cell came to in one run.

    Attributes:
        run_id: Of the run.
        at: When it was ordered.
        counted: Trials that passed, and graded trials.
        low: Of the pass rate's interval, 95 %, 0-1.
        high: As low.
        interval: Which interval that is.
        verdict: The cell's.
        digests: Of its scenario; several where cells of one name were put together.
    """

    run_id: str
    at: datetime
    counted: Counted
    low: float
    high: float
    interval: IntervalName
    verdict: Verdict
    digests: frozenset[str]

    @property
    def rate(self) -> float | None:
        """Of the graded trials, 0-1; None when there are none."""
        return self.counted.passed / self.counted.n if self.counted.n else None


@dataclass(frozen=True, slots=True)
class Trend:
    """One cell's pass rates from run to run.

    Attributes:
        scenario: Its name.
        model: Its model.
        points: One per run, oldest first; None where the run lacks the cell.
    """

    scenario: str
    model: str
    points: tuple[Point | None, ...]

    @property
    def rates(self) -> tuple[float | None, ...]:
        """One per run, oldest first; None where the run lacks the cell or graded none of it."""
        return tuple(None if point is None else point.rate for point in self.points)

    @property
    def graded(self) -> list[Point]:
        """The points that have a rate, oldest first."""
        return [point for point in self.points if point is not None and point.counted.n]

    @property
    def known(self) -> list[float]:
        """The rates there are, oldest first."""
        return [rate for rate in self.rates if rate is not None]

    @property
    def edits(self) -> list[int]:
        """Places in ``points`` from which on the scenario is another one than before."""
        found: list[int] = []
        before: frozenset[str] | None = None
        for place, point in enumerate(self.points):
            if point is None:
                continue
            if before is not None and point.digests != before:
                found.append(place)
            before = point.digests
        return found

    @property
    def edited(self) -> bool:
        """Whether the scenario's digest changed on the way."""
        return bool(self.edits)

    @property
    def chance(self) -> float | None:
        """How probable such differences from run to run, or larger ones, are by chance alone, 0-1.

        Over the runs since the scenario was last edited: before it, another question was asked. None
        where fewer than two of them graded the cell. Chi-squared over runs; a run that a rule stopped
        early counts with the trials it has, which makes it differ a little more than chance would.
        """
        since = self.edits[-1] if self.edits else 0
        counts = [point.counted for point in self.points[since:] if point is not None and point.counted.n]
        if len(counts) < 2:
            return None
        found = homogeneity(counts)
        return 1.0 if found is None else found.p  # all trials ended alike


def trends(runs: Sequence[tuple[Summary, Sequence[CellSummary]]]) -> list[Trend]:
    """Return how each cell went, in the order in which runs first had them.

    Cells are told apart by scenario name and model: an edited scenario is the same cell here.

    Args:
        runs: (summary, the cells of it that are asked for), oldest run first.
    """
    found: dict[_Name, list[Point | None]] = {}
    for place, (summary, cells) in enumerate(runs):
        named: dict[_Name, list[CellSummary]] = {}
        for cell in cells:
            named.setdefault((cell.scenario_name, cell.model), []).append(cell)
        for name in named:
            found.setdefault(name, [None] * place)
        for name, points in found.items():
            points.append(_point(summary, named[name]) if name in named else None)
    return [Trend(scenario, model, tuple(points)) for (scenario, model), points in found.items()]


def _point(summary: Summary, cells: Sequence[CellSummary]) -> Point:
    counted = Counted(sum(cell.counts["passed"] for cell in cells), sum(cell.scored for cell in cells))
    name, interval = rate_interval(counted, stopped=any(cell.early_stop for cell in cells))
    return Point(
        run_id=summary.run_id,
        at=summary.created_at,
        counted=counted,
        low=interval.low,
        high=interval.high,
        interval=name,
        verdict=worst(cell.verdict for cell in cells),
        digests=frozenset(cell.scenario_digest for cell in cells),
    )
