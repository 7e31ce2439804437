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
from statistics import NormalDist
from typing import Literal

from salvo_core.manifest.rows import SCORED, Row
from salvo_core.run.pairing import pairs_of, unlike
from salvo_core.run.plan import Cell, Plan
from salvo_core.stats.contrast import (
    Directed,
    adjusted,
    detectable_drop,
    difference_interval,
    fisher,
    median_ratio,
    stratified,
)
from salvo_core.stats.pooled import Counted, of_these_cells
from salvo_core.trace.model import Frozen

Verdict = Literal["REGRESSED", "IMPROVED", "SAME", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Demands:
    """What a difference must be to count.

    Attributes:
        margin: Differences of a pass rate below it do not matter, dimensionless, 0 < margin < 1.
        alpha: Chance of calling a difference where there is none, one-sided, over all cells.
    """

    margin: float = 0.05
    alpha: float = 0.05


class Rates(Frozen):
    """One side of a comparison."""

    passed: int
    scored: int
    """Graded trials."""
    missing: int
    """Ordered trials without a grade, whatever the reason."""

    @property
    def counted(self) -> Counted:
        """Passes and graded trials."""
        return Counted(self.passed, self.scored)

    @property
    def rate(self) -> float | None:
        """Of graded trials; None when there are none."""
        return self.passed / self.scored if self.scored else None


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
    """The smallest fall that these trials would have shown (power 0.8); None where no fall would show."""
    cost: RatioFound | None
    latency: RatioFound | None
    tokens: RatioFound | None
    moved: Moved | None
    """Where the verdict is REGRESSED and some assertion failed more often."""


class RunChange(Frozen):
    """A run against another."""

    run_id: str
    run_id_before: str
    verdict: Verdict
    reason: str
    margin: float
    alpha: float
    difference: float | None
    """Of the mean pass rates over the cells."""
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
    costs_usd: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    failing: dict[str, str] = field(default_factory=dict)
    """Label to the trace id of the lowest index."""
    passing: str = ""

    def add(self, row: Row) -> None:
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
        return Rates(passed=self.passed, scored=self.scored, missing=self.trials - self.scored)


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


def change(now: Side, before: Side, demands: Demands = Demands()) -> RunChange:
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
    raw = [fisher(a.rates.counted, b.rates.counted) for a, b in pairs]
    worse, better = adjusted([p.worse for p in raw]), adjusted([p.better for p in raw])
    cells = tuple(
        _cell(a, b, Directed(p_worse, p_better), demands)
        for (a, b), p_worse, p_better in zip(pairs, worse, better, strict=True)
    )
    whole = _Whole.of([(a.rates, b.rates) for a, b in pairs], demands.alpha)
    verdict, reason = _overall(cells, whole, demands)
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
    interval = difference_interval(now.counted, before.counted)
    difference = None if now.rate is None or before.rate is None else now.rate - before.rate
    verdict, reason = _ruling(now, before, p, demands)
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
        detectable=detectable_drop(now.scored, before.scored, before.rate or 0.0, alpha=demands.alpha),
        cost=_ratio(a.costs_usd, b.costs_usd, seed),
        latency=_ratio(a.latencies_s, b.latencies_s, seed),
        tokens=_ratio(a.tokens, b.tokens, seed),
        moved=_moved(a, b) if verdict == "REGRESSED" else None,
    )


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


def _ruling(now: Rates, before: Rates, p: Directed, demands: Demands) -> tuple[Verdict, str]:
    """Return a cell's verdict with its sentence."""
    if now.rate is None or before.rate is None:
        return "INCONCLUSIVE", f"{'now' if now.rate is None else 'before'} no trial was graded"
    delta = now.rate - before.rate
    told = f"{before.rate:.0%} then, {now.rate:.0%} now"
    lowest = _bounded(now, before)
    highest = -_bounded(before, now)
    if p.worse < demands.alpha and delta <= -demands.margin:
        if highest > -demands.margin:
            return "INCONCLUSIVE", f"{told}; trials without a grade could explain it"
        return "REGRESSED", f"{told} (p = {p.worse:.2g})"
    if p.better < demands.alpha and delta >= demands.margin:
        if lowest < demands.margin:
            return "INCONCLUSIVE", f"{told}; trials without a grade could explain it"
        return "IMPROVED", f"{told} (p = {p.better:.2g})"
    # Not worse by the margin, with the same one-sided confidence that a fall is called with.
    bound = difference_interval(now.counted, before.counted, 1 - 2 * demands.alpha).low
    if bound > -demands.margin and lowest > -demands.margin:
        return "SAME", f"{told}: not worse by {demands.margin:.0%}"
    return "INCONCLUSIVE", f"{told}: too few trials to tell a fall of {demands.margin:.0%} from chance"


def _bounded(now: Rates, before: Rates) -> float:
    """Return the lowest difference of the pass rates that the trials without a grade leave possible."""
    ordered, ordered_before = now.scored + now.missing, before.scored + before.missing
    return now.passed / ordered - (before.passed + before.missing) / ordered_before


@dataclass(frozen=True)
class _Whole:
    """All cells together."""

    difference: float | None
    """Of the mean pass rates."""
    low: float | None
    """95 % interval."""
    high: float | None
    bound: float | None
    """What it is at least, with one-sided confidence 1 - alpha, and whatever trials without a grade did."""
    least: float
    """What trials without a grade leave possible, those of cells without any grade too."""
    most: float
    p: Directed
    chi_squared: float | None
    two_sided: float | None

    @classmethod
    def of(cls, pairs: Sequence[tuple[Rates, Rates]], alpha: float) -> _Whole:
        told = [(now, before) for now, before in pairs if now.scored and before.scored]
        least = math.fsum(_bounded(a, b) for a, b in pairs) / len(pairs) if pairs else -1.0
        most = -math.fsum(_bounded(b, a) for a, b in pairs) / len(pairs) if pairs else 1.0
        contrast = stratified([(now.counted, before.counted) for now, before in told])
        p = Directed(1.0, 1.0) if contrast is None else contrast.exact
        chi, two_sided = (None, None) if contrast is None else (contrast.statistic, contrast.p)
        now = of_these_cells([a.counted for a, _ in told])
        before = of_these_cells([b.counted for _, b in told])
        if now is None or before is None:
            return cls(None, None, None, None, least, most, p, chi, two_sided)
        difference, se = now.mean - before.mean, math.hypot(now.se, before.se)
        normal = NormalDist(sigma=se)
        half = normal.inv_cdf(0.975)
        bound = min(difference - normal.inv_cdf(1 - alpha), least)
        return cls(difference, difference - half, difference + half, bound, least, most, p, chi, two_sided)


def _overall(cells: Sequence[CellChange], whole: _Whole, demands: Demands) -> tuple[Verdict, str]:
    """Return the run's verdict with its sentence."""
    if not cells:
        return "INCONCLUSIVE", "the two runs have no cell in common"
    if len(cells) == 1:
        return cells[0].verdict, cells[0].reason
    fallen = [cell for cell in cells if cell.verdict == "REGRESSED"]
    risen = [cell for cell in cells if cell.verdict == "IMPROVED"]
    open_ = sum(cell.verdict == "INCONCLUSIVE" for cell in cells)
    if fallen:
        first = fallen[0]
        return "REGRESSED", f"{len(fallen)} of {len(cells)} cells; {first.scenario_name}: {first.reason}"
    beside = f"; {open_} of {len(cells)} cells alone cannot tell" if open_ else ""
    if whole.difference is None or whole.bound is None:
        return "INCONCLUSIVE", "too few graded trials" + beside
    told = f"{whole.difference:+.1%} over all cells"
    if whole.p.worse < demands.alpha and whole.difference <= -demands.margin:
        if whole.most > -demands.margin:
            return "INCONCLUSIVE", f"{told}; trials without a grade could explain it{beside}"
        return "REGRESSED", f"{told} (p = {whole.p.worse:.2g}), though no cell alone shows it"
    if whole.bound <= -demands.margin:
        return "INCONCLUSIVE", f"{told}: a fall of {demands.margin:.0%} is not ruled out{beside}"
    if risen or (whole.p.better < demands.alpha and whole.difference >= demands.margin):
        return "IMPROVED", f"{told}; {len(risen)} of {len(cells)} cells improved{beside}"
    return "SAME", f"{told}: not worse by {demands.margin:.0%}{beside}"
