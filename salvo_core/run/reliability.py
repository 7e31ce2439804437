"""How far the figures of a run can be trusted, worked out from its summary when somebody asks.

Nothing of it is stored: the summary holds the counts, so what is asked (which k, which interval) may
differ from one report to the next, and older summaries are answered as far as they can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from salvo_core.run.cells import CellSummary
from salvo_core.run.stopping import DECIDED
from salvo_core.run.summary import Summary
from salvo_core.stats.contrast import stratified
from salvo_core.stats.homogeneity import Label, homogeneity_in_strata, label
from salvo_core.stats.intervals import Interval, clopper_pearson, mean_interval, missing_bounds, wilson
from salvo_core.stats.pooled import Counted, Pooled, of_their_population, of_these_cells
from salvo_core.stats.reliability import pass_at_k, pass_hat_k, pass_hat_k_interval
from salvo_core.stats.sequential import confidence_sequence
from salvo_core.trace.frozen import Frozen

TRIES: tuple[int, ...] = (1, 2, 4, 8)
"""The k of pass@k and pass^k where nobody asks for others."""

ALPHA = 0.01
"""Chance that a run in order is warned about, for each of the two checks."""

IntervalName = Literal["wilson", "clopper_pearson", "always_valid"]


class Tries(Frozen):
    """What k trials in a row come to."""

    k: int
    at_least_one: float
    """pass@k, unbiased."""
    every_one: float
    """pass^k, unbiased."""
    every_one_low: float
    """Interval of pass^k, 95 %; as of the pass rate, it allows for an early stop."""
    every_one_high: float


class CellReliability(Frozen):
    """How far one cell's figures can be trusted."""

    cell: int
    """Its place in the plan, 0-based."""
    label: Label
    """By a 95 % interval that may be read at any time; stable from 0.95."""
    interval: IntervalName
    """Of the pass rate; always_valid in a cell that stopped early, where the others do not hold."""
    pass_rate_low: float
    """95 %."""
    pass_rate_high: float
    missing: int
    """Trials without a grade that should have had one: those that a decided cell skipped are not meant."""
    all_low: float
    """The pass rate of all trials that should have had a grade, if the missing ones failed."""
    all_high: float
    """If they passed."""
    score_low: float | None
    """Interval of the mean score, 95 %; None in older summaries, without two graded trials, and in a cell
    that stopped early: no interval of a mean here holds at every number of trials."""
    score_high: float | None
    tries: tuple[Tries, ...]
    """By k; those with more tries than graded trials are left out."""
    saved_trials: int
    """Not run, because the cell was decided without them."""
    saved_usd: float | None
    """What they would have cost, at the mean of those that ran; None when that is not known."""


class MeanRate(Frozen):
    """The mean pass rate over cells, of equal weight."""

    mean: float
    low: float
    """95 %."""
    high: float


class OddWorker(Frozen):
    """A worker whose trials came out as no chance explains."""

    worker: str
    passed: int
    scored: int
    expected: float
    """Passes that its trials would give if it did not matter who runs them."""
    residual: float
    """How far it is from there, standard deviations."""


class WorkerCheck(Frozen):
    """Whether it matters who runs a trial: chi-squared over workers, each cell compared with itself."""

    statistic: float
    degrees: int
    p: float
    odd: tuple[OddWorker, ...]
    """The oddest first; where one is much below, others may be above for that reason alone."""


class RetryCheck(Frozen):
    """Whether trials that were retried come out otherwise: exact, each cell compared with itself."""

    passed: int
    scored: int
    never_passed: int
    never_scored: int
    p: float
    """Two-sided."""

    @property
    def differs(self) -> bool:
        """Whether no chance explains it, at ``ALPHA``."""
        return self.p < ALPHA


class Reliability(Frozen):
    """How far the figures of a run can be trusted."""

    cells: tuple[CellReliability, ...]
    """In the summary's order."""
    these_cells: MeanRate | None
    """Would the same scenarios, tried again, come out like this? None where a cell has too few trials."""
    population: MeanRate | None
    """Would other scenarios of their kind? Over scenarios, their models taken together; None below two."""
    workers: WorkerCheck | None
    """None with a single worker, or where all trials of each cell ended alike."""
    retries: RetryCheck | None
    """None where nothing was retried, or all was."""


def reliability(summary: Summary, tries: Sequence[int] = TRIES, *, exact: bool = False) -> Reliability:
    """Return how far the figures of a run can be trusted.

    Args:
        summary: The run.
        tries: Each k to tell, >= 1.
        exact: Take Clopper-Pearson intervals for pass rates, which never cover less than they say.
    """
    counted = [Counted(cell.counts["passed"], cell.scored) for cell in summary.cells]
    scenarios: dict[str, Counted] = {}
    for cell, one in zip(summary.cells, counted, strict=True):
        before = scenarios.get(cell.scenario_digest, Counted(0, 0))
        scenarios[cell.scenario_digest] = Counted(before.passed + one.passed, before.n + one.n)
    return Reliability(
        cells=tuple(_cell(cell, tries, exact) for cell in summary.cells),
        these_cells=_mean(of_these_cells(counted)),
        population=_mean(of_their_population([one for one in scenarios.values() if one.n])),
        workers=_workers(summary),
        retries=_retries(summary.cells),
    )


def rate_interval(counted: Counted, *, stopped: bool, exact: bool = False) -> tuple[IntervalName, Interval]:
    """Return the interval of a cell's pass rate that holds, 95 %, with its name.

    Args:
        counted: Trials that passed, and graded trials.
        stopped: Whether the cell stopped early: then only an interval that allows for it holds.
        exact: Take Clopper-Pearson's where nothing stopped.
    """
    if stopped:
        return "always_valid", confidence_sequence(*counted)
    return ("clopper_pearson", clopper_pearson(*counted)) if exact else ("wilson", wilson(*counted))


def _cell(cell: CellSummary, tries: Sequence[int], exact: bool) -> CellReliability:
    passed, n = cell.counts["passed"], cell.scored
    stopped = cell.early_stop is not None
    name, (low, high) = rate_interval(Counted(passed, n), stopped=stopped, exact=exact)
    saved = cell.skipped.get(DECIDED, 0)
    wanted = max(1, cell.wanted)
    bounds = missing_bounds(passed, n, wanted)
    score = None
    if n > 1 and cell.score.sd is not None and not stopped:
        # A weighted mean of scores may lie beyond 1 by rounding.
        score = mean_interval(min(max(cell.score.mean, 0.0), 1.0), cell.score.sd, n)
    return CellReliability(
        cell=cell.cell,
        label=label(passed, n),
        interval=name,
        pass_rate_low=low,
        pass_rate_high=high,
        missing=wanted - n,
        all_low=bounds.low,
        all_high=bounds.high,
        score_low=score.low if score else None,
        score_high=score.high if score else None,
        tries=tuple(_tries(passed, n, k, stopped=stopped) for k in sorted(set(tries)) if k <= n),
        saved_trials=saved,
        saved_usd=saved * cell.cost.mean_usd if saved and cell.cost.mean_usd is not None else None,
    )


def _tries(passed: int, n: int, k: int, *, stopped: bool) -> Tries:
    low, high = pass_hat_k_interval(passed, n, k, stopped=stopped)
    return Tries(
        k=k,
        at_least_one=pass_at_k(passed, n, k),
        every_one=pass_hat_k(passed, n, k),
        every_one_low=low,
        every_one_high=high,
    )


def _mean(pooled: Pooled | None) -> MeanRate | None:
    return (
        None
        if pooled is None
        else MeanRate(mean=pooled.mean, low=pooled.interval.low, high=pooled.interval.high)
    )


def _workers(summary: Summary) -> WorkerCheck | None:
    found = homogeneity_in_strata([tally.placed for tally in summary.workers], alpha=ALPHA)
    if found is None:
        return None
    oddest = sorted(found.flagged, key=lambda place: -abs(found.residuals[place]))
    odd = [(summary.workers[place], found.residuals[place]) for place in oddest]
    return WorkerCheck(
        statistic=found.statistic,
        degrees=found.degrees,
        p=found.p,
        odd=tuple(
            OddWorker(
                worker=tally.worker,
                passed=tally.passed,
                scored=tally.scored,
                expected=tally.expected,
                residual=residual,
            )
            for tally, residual in odd
        ),
    )


def _retries(cells: Sequence[CellSummary]) -> RetryCheck | None:
    retried = [Counted(cell.retried_passed, cell.retried_scored) for cell in cells]
    if not any(one.n for one in retried):
        return None
    never = [
        Counted(cell.counts["passed"] - one.passed, cell.scored - one.n)
        for cell, one in zip(cells, retried, strict=True)
    ]
    found = stratified(list(zip(retried, never, strict=True)))
    if found is None:
        return None
    return RetryCheck(
        passed=sum(one.passed for one in retried),
        scored=sum(one.n for one in retried),
        never_passed=sum(one.passed for one in never),
        never_scored=sum(one.n for one in never),
        p=min(1.0, 2 * min(found.exact)),
    )
