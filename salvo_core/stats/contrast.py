"""Two runs against each other: tests, intervals for a difference, and what could have been seen at all.

By convention the first argument is the candidate, the second the baseline, and a positive
difference is an improvement. Nothing here compares intervals for overlap: two that overlap may
still differ, and the tests say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from salvo_core.stats.intervals import Interval, wilson
from salvo_core.stats.pooled import Counted

if TYPE_CHECKING:
    from numpy import float64
    from numpy.random import Generator
    from numpy.typing import NDArray


class Directed(NamedTuple):
    """One-sided p-values of one comparison, dimensionless: how surprising under "no difference"."""

    worse: float
    better: float


class Contrast(NamedTuple):
    """Many strata in one test.

    Attributes:
        statistic: Cochran-Mantel-Haenszel chi-squared with one degree of freedom, continuity corrected.
        p: Two-sided, from that statistic.
        exact: One-sided p-values from the exact conditional distribution of the passes, stratum by stratum.
    """

    statistic: float
    p: float
    exact: Directed


def fisher(a: Counted, b: Counted) -> Directed:
    """Return Fisher's exact test of a against b, in both directions.

    Args:
        a: The candidate's counts.
        b: The baseline's.

    Returns:
        (1, 1) when either has no trials: then nothing is surprising.

    Source:
        R. A. Fisher, "The Design of Experiments" (1935); the hypergeometric tails.
    """
    passed, n = a.passed + b.passed, a.n + b.n
    if not a.n or not b.n:
        return Directed(1.0, 1.0)
    from scipy.stats import hypergeom  # slow to import, and few commands compare

    tail = hypergeom(n, passed, a.n)
    return Directed(min(1.0, float(tail.cdf(a.passed))), min(1.0, float(tail.sf(a.passed - 1))))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, so that the share of false discoveries is bounded.

    Args:
        p_values: Shape (m,), each in 0..1, any order.

    Returns:
        Shape (m,), in the same order; comparing each with alpha keeps the expected share of false ones
        among those below it at alpha at most.

    Source:
        Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995).
    """
    if not p_values:
        return []
    from scipy.stats import false_discovery_control  # as above

    return [float(p) for p in false_discovery_control(p_values, method="bh")]


def difference_interval(a: Counted, b: Counted, confidence: float = 0.95) -> Interval:
    """Return an interval for the difference of two pass rates, a's less b's.

    Args:
        a: The candidate's counts.
        b: The baseline's.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        Within -1..1; it contains the observed difference. (-1, 1) when either has no trials.

    Source:
        R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10: from Wilson intervals.
    """
    if not a.n or not b.n:
        return Interval(-1.0, 1.0)
    rate_a, rate_b = a.passed / a.n, b.passed / b.n
    (low_a, high_a), (low_b, high_b) = wilson(*a, confidence), wilson(*b, confidence)
    delta = rate_a - rate_b
    return Interval(
        delta - math.hypot(rate_a - low_a, high_b - rate_b),
        delta + math.hypot(high_a - rate_a, rate_b - low_b),
    )


def stratified(pairs: Sequence[tuple[Counted, Counted]]) -> Contrast | None:
    """Return one test over many cells, each compared with itself only.

    Args:
        pairs: Candidate and baseline by cell, any number.

    Returns:
        None where no cell can tell anything: every pair lacks trials, or passed (or failed) throughout.

    Source:
        Cochran (1954), Mantel and Haenszel (1959). The exact tails are those of a sum of independent
        hypergeometric counts, by convolution.
    """
    import numpy as np  # as above
    from scipy.special import chdtrc
    from scipy.stats import hypergeom

    excess = variance = 0.0
    observed, distribution, low = 0, np.ones(1), 0
    for a, b in pairs:
        n, passed = a.n + b.n, a.passed + b.passed
        if not a.n or not b.n or passed in (0, n):
            continue
        excess += a.passed - a.n * passed / n
        variance += a.n * b.n * passed * (n - passed) / (n * n * (n - 1))
        least, most = max(0, passed - b.n), min(passed, a.n)
        observed, low = observed + a.passed, low + least
        distribution = np.convolve(distribution, hypergeom.pmf(np.arange(least, most + 1), n, passed, a.n))
    if not variance:
        return None
    statistic = max(0.0, abs(excess) - 0.5) ** 2 / variance
    at = observed - low
    exact = Directed(min(1.0, float(distribution[: at + 1].sum())), min(1.0, float(distribution[at:].sum())))
    return Contrast(statistic, float(chdtrc(1, statistic)), exact)


class Ratio(NamedTuple):
    """A ratio of two medians with its bootstrap interval; above 1 the candidate needs more."""

    ratio: float
    interval: tuple[float, float]


def median_ratio(
    a: Sequence[float], b: Sequence[float], *, seed: int, confidence: float = 0.95, draws: int = 2000
) -> Ratio | None:
    """Return the ratio of the medians of a and b, with an interval from the bootstrap.

    A resample is not drawn value by value: the places of its middle values among the sorted ones are
    drawn, which comes to the same and does not grow with the number of trials.

    Args:
        a: The candidate's values of one unit, each >= 0, any order.
        b: The baseline's.
        seed: Of the draws: the same values and seed give the same interval.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.
        draws: Resamples.

    Returns:
        None when either has fewer than two values or the baseline's median is 0.

    Source:
        Efron, Ann. Stat. 7 (1979), percentile interval; order statistics of uniforms are beta.
    """
    if len(a) < 2 or len(b) < 2:
        return None
    sorted_a, sorted_b = sorted(a), sorted(b)
    middle_a, middle_b = _median(sorted_a), _median(sorted_b)
    if middle_b <= 0:
        return None
    import numpy as np  # as above

    chance = np.random.default_rng(seed)
    ratios = np.sort(
        _resampled_medians(sorted_a, draws, chance)
        / np.maximum(_resampled_medians(sorted_b, draws, chance), 1e-300)
    )
    tail = (1 - confidence) / 2
    low, high = float(ratios[int(tail * (draws - 1))]), float(ratios[math.ceil((1 - tail) * (draws - 1))])
    return Ratio(middle_a / middle_b, (low, high if high < 1e200 else math.inf))


def _median(ordered: Sequence[float]) -> float:
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _resampled_medians(ordered: Sequence[float], draws: int, chance: Generator) -> NDArray[float64]:
    """Return the medians of resamples, shape (draws,)."""
    import numpy as np  # as above

    values: NDArray[float64] = np.asarray(ordered, dtype=float)
    n = len(ordered)
    rank = (n + 1) // 2
    first = chance.beta(rank, n - rank + 1, draws)
    lower: NDArray[float64] = values[np.minimum(n - 1, (n * first).astype(int))]
    if n % 2:
        return lower
    second = first + (1 - first) * chance.beta(1, n - rank, draws)
    upper: NDArray[float64] = values[np.minimum(n - 1, (n * second).astype(int))]
    return np.add(lower, upper) / 2


def detectable_drop(
    n_a: int, n_b: int, rate_b: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the smallest fall of a pass rate that a comparison of this size would have found.

    To be printed with every comparison: "no regression" from ten trials a side means little.

    Args:
        n_a: The candidate's graded trials.
        n_b: The baseline's.
        rate_b: The baseline's pass rate, 0..1; rates at the very ends are drawn in by a trial.
        alpha: One-sided chance of a false alarm, dimensionless.
        power: Chance of finding such a fall, dimensionless.

    Returns:
        The fall, 0 < it <= rate; None where not even a fall to zero would be found.

    Source:
        The normal approximation for two rates: (z_alpha + z_power)^2 = d^2 / (p_a q_a / n_a + p_b q_b / n_b).
    """
    if n_a < 1 or n_b < 1:
        return None
    normal = NormalDist()
    wanted = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    rate_b = min(max(rate_b, 1 / (n_b + 2)), 1 - 1 / (n_b + 2))

    def is_found(drop: float) -> bool:
        rate_a = rate_b - drop
        noise = rate_a * (1 - rate_a) / n_a + rate_b * (1 - rate_b) / n_b
        return drop >= wanted * math.sqrt(noise)

    if not is_found(rate_b):
        return None
    low, high = 0.0, rate_b
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high
