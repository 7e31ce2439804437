"""What changed from one run to another: a candidate against a baseline, cell by cell and as a whole.

Computed from two plans and two sets of rows alone. A verdict needs two things at once: that
chance does not explain the difference (exact tests, adjusted for the number of cells), and that it
is large enough to matter (the margin). Where the trials cannot tell, the verdict says so instead of
calling it the same: how small a fall they would have shown stands beside every comparison.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from salvo_core.manifest.rows import SCORED, Row
from salvo_core.run.contrasts import (
    USUAL,
    Demands,
    IntervalName,
    Rates,
    Verdict,
    Whole,
    contrast_of,
    interval_of,
    overall,
    ruling,
)
from salvo_core.run.pairing import pairs_of, unlike
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.stopping import DECIDED
from salvo_core.stats.contrast import Directed, adjusted, detectable_drop, median_ratio
from salvo_core.trace.frozen import Frozen

__all__ = [
    "CellChange",
    "Demands",
    "Moved",
    "Rates",
    "RatioFound",
    "RunChange",
    "Side",
    "Undetectable",
    "Verdict",
    "change",
]


Undetectable = Literal["too_few_trials", "stopped_early"]


class RatioFound(Frozen):
    """The candidate's median by the baseline's; above 1 it needs more."""

    ratio: float
    low: float
    high: float | None
    """None where the interval has no upper end."""


class Moved(Frozen):
    """The assertion whose failures moved most, with two trials to open side by side."""

    assertion: str
    failed: int
    """Graded trials of the candidate in which it did not pass."""
    failed_before: int
    trace_id: str
    """A trial of the candidate in which it did not pass."""
    trace_id_before: str
    """One of the baseline in which it did; empty when there is none."""


class CellChange(Frozen):
    """One cell against itself."""

    cell: int
    """Its place in the candidate's plan, 0-based."""
    cell_before: int
    scenario_name: str
    model: str
    model_before: str
    verdict: Verdict
    reason: str
    now: Rates
    before: Rates
    difference: float | None
    """Of the pass rates; None when either has no graded trial."""
    difference_low: float
    """95 % interval."""
    difference_high: float
    p_worse: float
    """One-sided, adjusted for the number of cells."""
    p_better: float
    detectable: float | None
    """The smallest fall that these trials would have shown (power 0.8); None where that cannot be said."""
    undetectable: Undetectable | None = None
    """Why it cannot; None where it can. too_few_trials: not even a fall to zero would have shown.
    stopped_early: a rule stopped the cell, and a deeper fall would have stopped it after other trials."""
    interval: IntervalName = "newcombe"
    """Of the difference; always_valid where a rule stopped the cell early, and then p is, too."""
    cost: RatioFound | None
    latency: RatioFound | None
    tokens: RatioFound | None
    moved: Moved | None
    """Where the verdict is REGRESSED and some assertion failed more often."""

    @property
    def stopped(self) -> bool:
        """Whether a rule stopped the cell early, in either run."""
        return self.now.stopped or self.before.stopped


class RunChange(Frozen):
    """A run against another."""

    run_id: str
    run_id_before: str
    verdict: Verdict
    reason: str
    margin: float
    alpha: float
    difference: float | None
    """Of the mean pass rates over the cells; those that a rule stopped early are left out here and below."""
    difference_low: float | None
    difference_high: float | None
    p_worse: float
    """One-sided, exact, each cell compared with itself only."""
    p_better: float
    chi_squared: float | None
    """Cochran-Mantel-Haenszel, one degree of freedom; None where no cell can tell anything."""
    p: float | None
    """Two-sided, of that statistic."""
    cells: tuple[CellChange, ...]
    added: tuple[str, ...] = ()
    """Cells of the candidate that the baseline has not."""
    removed: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    """What differs in what was compared all the same."""


@dataclass
class _Fold:
    """The rows of one cell of one run."""

    cell: Cell
    place: int
    trials: int
    passed: int = 0
    scored: int = 0
    decided: int = 0
    costs_usd: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    failing: dict[str, str] = field(default_factory=dict)
    """Label to the trace id of the lowest index."""
    passing: str = ""

    def add(self, row: Row) -> None:
        self.decided += row.status == "skipped" and row.reason == DECIDED
        if row.status not in SCORED or row.result is None:
            return
        result = row.result
        self.scored += 1
        self.passed += row.status == "passed"
        if result.cost_usd is not None:
            self.costs_usd.append(result.cost_usd)
        self.latencies_s.append(result.latency_s)
        self.tokens.append(result.input_tokens + result.output_tokens)
        labels = {self._label(index) for index, _ in result.failed}
        self.failed.update(labels)
        for label in labels:
            self.failing.setdefault(label, row.trace_id)
        if row.status == "passed" and not self.passing:
            self.passing = row.trace_id

    def _label(self, index: int) -> str:
        labels = self.cell.assertions
        return labels[index] if index < len(labels) else f"assertion {index + 1}"

    @property
    def rates(self) -> Rates:
        return Rates(
            passed=self.passed,
            scored=self.scored,
            missing=self.trials - self.scored - self.decided,
            decided=self.decided,
        )


@dataclass(frozen=True)
class Side:
    """A run to compare: its order, and its rows in index order."""

    plan: Plan
    rows: Iterable[Row]

    def folded(self) -> list[_Fold]:
        """Return its cells' rows, counted."""
        plan = self.plan
        folds = [_Fold(cell, place, plan.trials) for place, cell in enumerate(plan.cells)]
        for row in self.rows:
            folds[plan.cell_index(row.index)].add(row)
        return folds


def change(now: Side, before: Side, demands: Demands = USUAL) -> RunChange:
    """Return what changed from a baseline to a candidate.

    Args:
        now: The candidate.
        before: The baseline.
        demands: What a difference must be to count.

    Returns:
        Cells in the candidate's order. The same plans and rows give the same answer.
    """
    folds, folds_before = now.folded(), before.folded()
    places = pairs_of(now.plan, before.plan)
    pairs = [(folds[place], folds_before[other]) for place, other in places]
    raw = [contrast_of(a.rates, b.rates) for a, b in pairs]
    worse, better = adjusted([p.worse for p in raw]), adjusted([p.better for p in raw])
    cells = tuple(
        _cell(a, b, Directed(p_worse, p_better), demands)
        for (a, b), p_worse, p_better in zip(pairs, worse, better, strict=True)
    )
    whole = Whole.of([(a.rates, b.rates) for a, b in pairs], demands.alpha)
    verdict, reason = overall(cells, whole, demands)
    return RunChange(
        run_id=now.plan.run_id,
        run_id_before=before.plan.run_id,
        verdict=verdict,
        reason=reason,
        margin=demands.margin,
        alpha=demands.alpha,
        difference=whole.difference,
        difference_low=whole.low,
        difference_high=whole.high,
        p_worse=whole.p.worse,
        p_better=whole.p.better,
        chi_squared=whole.chi_squared,
        p=whole.two_sided,
        cells=cells,
        added=_others(now.plan, {place for place, _ in places}),
        removed=_others(before.plan, {place for _, place in places}),
        unlike=tuple(unlike(now.plan, before.plan)),
    )


def _others(plan: Plan, paired: set[int]) -> tuple[str, ...]:
    return tuple(cell.label for place, cell in enumerate(plan.cells) if place not in paired)


def _cell(a: _Fold, b: _Fold, p: Directed, demands: Demands) -> CellChange:
    now, before = a.rates, b.rates
    name, interval = interval_of(now, before)
    difference = None if now.rate is None or before.rate is None else now.rate - before.rate
    verdict, reason = ruling(now, before, p, demands)
    detectable, undetectable = _detectable(now, before, demands)
    seed = int(a.cell.scenario_digest[:8], 16)
    return CellChange(
        cell=a.place,
        cell_before=b.place,
        scenario_name=a.cell.scenario_name,
        model=a.cell.model,
        model_before=b.cell.model,
        verdict=verdict,
        reason=reason,
        now=now,
        before=before,
        difference=difference,
        difference_low=interval.low,
        difference_high=interval.high,
        p_worse=p.worse,
        p_better=p.better,
        interval=name,
        detectable=detectable,
        undetectable=undetectable,
        cost=_ratio(a.costs_usd, b.costs_usd, seed),
        latency=_ratio(a.latencies_s, b.latencies_s, seed),
        tokens=_ratio(a.tokens, b.tokens, seed),
        moved=_moved(a, b) if verdict == "REGRESSED" else None,
    )


def _detectable(now: Rates, before: Rates, demands: Demands) -> tuple[float | None, Undetectable | None]:
    if now.stopped or before.stopped:
        return None, "stopped_early"
    drop = detectable_drop(now.scored, before.scored, before.rate or 0.0, alpha=demands.alpha)
    return drop, "too_few_trials" if drop is None else None


def _ratio(now: Sequence[float], before: Sequence[float], seed: int) -> RatioFound | None:
    found = median_ratio(now, before, seed=seed)
    if found is None:
        return None
    low, high = found.interval
    return RatioFound(ratio=found.ratio, low=low, high=high if math.isfinite(high) else None)


def _moved(a: _Fold, b: _Fold) -> Moved | None:
    if not a.failed or not b.scored:
        return None
    rise = {label: count / a.scored - b.failed[label] / b.scored for label, count in a.failed.items()}
    label = max(rise, key=lambda one: (rise[one], one))
    if rise[label] <= 0:  # the fall is of what no assertion says
        return None
    return Moved(
        assertion=label,
        failed=a.failed[label],
        failed_before=b.failed[label],
        trace_id=a.failing[label],
        trace_id_before=b.passing,
    )
