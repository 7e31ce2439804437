"""What counts as changed: a verdict on one cell's two pass rates, and on all cells together.

A cell that a rule stopped early has as many trials as its outcomes made of it, and its rate leans
towards what stopped it. It is judged by an interval that holds whatever stopped it, all of which must lie
beyond the margin; where that cannot tell, the verdict says so and names what would. Cells that ran to
their end are judged by exact tests of fixed numbers: where a rule was on and did not stop them, they are
what they would have been without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, Protocol

from salvo_core.stats.anytime import anytime_contrast, anytime_difference
from salvo_core.stats.contrast import Directed, difference_interval, fisher, stratified
from salvo_core.stats.intervals import Interval
from salvo_core.stats.pooled import Counted, of_these_cells
from salvo_core.trace.frozen import Frozen

Verdict = Literal["REGRESSED", "IMPROVED", "SAME", "INCONCLUSIVE"]


IntervalName = Literal["newcombe", "always_valid"]
"""newcombe: of fixed numbers of trials; always_valid: whatever stopped either side."""

_ALL_STOPPED = "every cell stopped early, so there is nothing to take a mean of"


@dataclass(frozen=True)
class Demands:
    """What a difference must be to count.

    Attributes:
        margin: Differences of a pass rate below it do not matter, dimensionless, 0 < margin < 1.
        alpha: Chance of calling a difference where there is none, one-sided, over all cells.
    """

    margin: float = 0.05
    alpha: float = 0.05


USUAL = Demands()


class Rates(Frozen):
    """One side of a comparison."""

    passed: int
    scored: int
    """Graded trials."""
    missing: int
    """Ordered trials that should have had a grade and have none, whatever the reason."""
    decided: int = 0
    """Ordered trials that were skipped because a rule had decided the cell without them."""

    @property
    def counted(self) -> Counted:
        """Passes and graded trials."""
        return Counted(self.passed, self.scored)

    @property
    def stopped(self) -> bool:
        """Whether a rule stopped the cell early: how many trials it has depends on how they went."""
        return self.decided > 0

    @property
    def ordered(self) -> int:
        """Trials that were ordered."""
        return self.scored + self.missing + self.decided

    @property
    def rate(self) -> float | None:
        """Of graded trials; None when there are none."""
        return self.passed / self.scored if self.scored else None


class Compared(Protocol):
    """A cell that has been ruled on."""

    @property
    def scenario_name(self) -> str: ...  # noqa: D102
    @property
    def verdict(self) -> Verdict: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def stopped(self) -> bool: ...  # noqa: D102


def contrast_of(now: Rates, before: Rates) -> Directed:
    """Return one-sided p-values of the candidate against the baseline, by the test that holds."""
    test = anytime_contrast if now.stopped or before.stopped else fisher
    return test(now.counted, before.counted)


def interval_of(now: Rates, before: Rates, confidence: float = 0.95) -> tuple[IntervalName, Interval]:
    """Return an interval for the difference of the pass rates that holds, with its name."""
    if now.stopped or before.stopped:
        return "always_valid", anytime_difference(now.counted, before.counted, confidence)
    return "newcombe", difference_interval(now.counted, before.counted, confidence)


def ruling(now: Rates, before: Rates, p: Directed, demands: Demands) -> tuple[Verdict, str]:
    """Return a cell's verdict with its sentence.

    Args:
        now: The candidate's.
        before: The baseline's.
        p: Of ``contrast_of``, adjusted for the number of cells.
        demands: What a difference must be to count.
    """
    if now.rate is None or before.rate is None:
        return "INCONCLUSIVE", f"{'now' if now.rate is None else 'before'} no trial was graded"
    if now.stopped or before.stopped:
        return _anytime_ruling(now, before, p, demands)
    delta = now.rate - before.rate
    told = f"{_percent(before.rate)} then, {_percent(now.rate)} now"
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
        return "SAME", f"{told}: not worse by {_points(demands.margin)}"
    return "INCONCLUSIVE", f"{told}: too few trials to tell a fall of {_points(demands.margin)} from chance"


def _anytime_ruling(now: Rates, before: Rates, p: Directed, demands: Demands) -> tuple[Verdict, str]:
    """Judge by an interval alone: the observed difference leans towards what stopped the cell."""
    # Each end with the one-sided confidence that a fall is called with elsewhere.
    _, (low, high) = interval_of(now, before, 1 - 2 * demands.alpha)
    told = f"{_percent(before.rate or 0)} then, {_percent(now.rate or 0)} now"
    ends = f"{100 * low:+.0f} to {100 * high:+.0f} points ({1 - 2 * demands.alpha:.0%} interval)"
    within = f"{ends}, whatever stopped it early"
    fell = p.worse < demands.alpha and high <= -demands.margin
    rose = p.better < demands.alpha and low >= demands.margin
    lost = -_bounded(before, now) > -demands.margin if fell else _bounded(now, before) < demands.margin
    if (fell or rose) and lost:
        return "INCONCLUSIVE", f"{told}; trials without a grade could explain it"
    if fell:
        return "REGRESSED", f"{told}: {within} (p = {p.worse:.2g})"
    if rose:
        return "IMPROVED", f"{told}: {within} (p = {p.better:.2g})"
    if low > -demands.margin and _bounded(now, before) > -demands.margin:
        return "SAME", f"{told}: not worse by {_points(demands.margin)}, whatever stopped it early"
    short = " and ".join(
        f"the {side} stopped early after {rates.scored:,} of {rates.ordered:,} trials"
        for side, rates in (("candidate", now), ("baseline", before))
        if rates.stopped
    )
    return "INCONCLUSIVE", (f"{told}, but {short}, which leaves {ends}: run it without --early-stop to tell")


def _points(share: float) -> str:
    """Return a share in percentage points: a fall by 5 % of a rate would be something else."""
    shown = f"{100 * share:.3g}"
    return f"{shown} point" + ("" if shown == "1" else "s")


def _percent(rate: float) -> str:
    """Return a rate as a whole percentage that never rounds a miss, or a pass, away."""
    whole = round(100 * rate)
    return f"{whole if rate in (0, 1) else min(99, max(1, whole))}%"


def _bounded(now: Rates, before: Rates) -> float:
    """Return the lowest difference of the pass rates that the trials without a grade leave possible."""
    ordered, ordered_before = max(1, now.scored + now.missing), max(1, before.scored + before.missing)
    return now.passed / ordered - (before.passed + before.missing) / ordered_before


@dataclass(frozen=True)
class Whole:
    """All cells together, but for those that a rule stopped early on either side.

    A mean over cells, and a test over them, take the numbers of trials for fixed; in a cell that
    stopped they are not. Such cells speak for themselves alone.
    """

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
    def of(cls, pairs: Sequence[tuple[Rates, Rates]], alpha: float) -> Whole:
        """Return what pairs of (now, before) come to together; alpha as in ``Demands``."""
        pairs = [(now, before) for now, before in pairs if not now.stopped and not before.stopped]
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


def overall(cells: Sequence[Compared], whole: Whole, demands: Demands) -> tuple[Verdict, str]:
    """Return the run's verdict with its sentence.

    Args:
        cells: Each ruled already.
        whole: Of the same cells.
        demands: What a difference must be to count.
    """
    if not cells:
        return "INCONCLUSIVE", "the two runs have no cell in common"
    if len(cells) == 1:
        return cells[0].verdict, cells[0].reason
    fallen = [cell for cell in cells if cell.verdict == "REGRESSED"]
    risen = sum(cell.verdict == "IMPROVED" for cell in cells)
    if fallen:
        first = fallen[0]
        return "REGRESSED", f"{len(fallen)} of {len(cells)} cells; {first.scenario_name}: {first.reason}"
    open_ = [cell for cell in cells if cell.verdict == "INCONCLUSIVE"]
    stopped = sum(cell.stopped for cell in cells)
    beside = f"; {len(open_)} of {len(cells)} cells alone cannot tell" if open_ else ""
    if stopped == len(cells) and not open_:
        told = f"every cell stopped early, and none is worse by {_points(demands.margin)}"
        return ("IMPROVED", f"{told}; {risen} improved") if risen else ("SAME", told)
    if whole.difference is None or whole.bound is None:
        return "INCONCLUSIVE", ("too few graded trials" if stopped < len(cells) else _ALL_STOPPED) + beside
    over = "the cells that ran to their end" if stopped else "all cells"
    told = f"{100 * whole.difference:+.1f} points over {over}"
    if whole.p.worse < demands.alpha and whole.difference <= -demands.margin:
        if whole.most > -demands.margin:
            return "INCONCLUSIVE", f"{told}; trials without a grade could explain it{beside}"
        return "REGRESSED", f"{told} (p = {whole.p.worse:.2g}), though no cell alone shows it"
    if whole.bound <= -demands.margin:
        return "INCONCLUSIVE", f"{told}: a fall of {_points(demands.margin)} is not ruled out{beside}"
    if untold := sum(cell.stopped for cell in open_):
        # No mean over cells covers for them.
        return "INCONCLUSIVE", f"{told}; {untold} that stopped early cannot tell{beside}"
    if risen or (whole.p.better < demands.alpha and whole.difference >= demands.margin):
        return "IMPROVED", f"{told}; {risen} of {len(cells)} cells improved{beside}"
    return "SAME", f"{told}: not worse by {_points(demands.margin)}{beside}"
