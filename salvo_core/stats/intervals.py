"""Intervals: what n trials say about the agent's true pass rate, or about its true mean score."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """A range for a rate, dimensionless, 0 <= low <= high <= 1."""

    low: float
    high: float


def wilson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval for a pass rate.

    Holds its promise where the textbook interval does not: at n = 10 and a true rate of
    0.95 the latter covers 40 % of the time, this one 91 %. Ten passes of ten support no more
    than a rate of 0.72.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Independent trials with a grade; infrastructure errors are left out (I6). With
            n = 0 nothing is known and the answer is (0, 1).
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        An interval that contains passed / n.

    Raises:
        ValueError: A count or the level is out of range.

    Source:
        E. B. Wilson, JASA 22 (1927); Brown, Cai and DasGupta, Statistical Science 16 (2001).
    """
    _mind(passed, n, confidence)
    if n == 0:
        return Interval(0.0, 1.0)
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    rate = passed / n
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # In exact arithmetic the ends are 0 at no passes and 1 at all passes, and contain the rate.
    return Interval(max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate)))


def clopper_pearson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval for a pass rate: it covers at least as often as it says, for any true rate.

    The one to use where a guarantee must hold, and wider for it: thirty passes of thirty support a
    rate of 0.88 here and 0.89 by Wilson.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Independent trials with a grade. With n = 0 the answer is (0, 1).
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        An interval that contains passed / n.

    Raises:
        ValueError: A count or the level is out of range.

    Source:
        C. J. Clopper and E. S. Pearson, Biometrika 26 (1934).
    """
    _mind(passed, n, confidence)
    if n == 0:
        return Interval(0.0, 1.0)
    from scipy.special import betaincinv  # costs a quarter of a second, for few commands

    tail = (1 - confidence) / 2
    low = 0.0 if passed == 0 else float(betaincinv(passed, n - passed + 1, tail))
    high = 1.0 if passed == n else float(betaincinv(passed + 1, n - passed, 1 - tail))
    return Interval(low, high)


def mean_interval(mean: float, sd: float, n: int, confidence: float = 0.95) -> Interval:
    """Return an interval for the true mean of scores between 0 and 1.

    Student's t, cut to 0..1. Scores that are all the same have no spread to estimate anything from,
    and a width of zero would be a lie: n equal scores leave room for a share of trials, up to
    ``1 - (1 - confidence) ** (1 / n)``, that nobody has seen yet and that may score anything.

    Args:
        mean: Of the scores, 0 <= mean <= 1.
        sd: Their standard deviation, n - 1 in the denominator, >= 0.
        n: How many scores, >= 0. With n < 2 nothing is known and the answer is (0, 1).
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        An interval that contains the mean.

    Raises:
        ValueError: An argument is out of range.

    Source:
        Student, Biometrika 6 (1908); for equal scores, the exact bound for zero events of n.
    """
    if n < 0 or not 0 <= mean <= 1 or sd < 0:
        raise ValueError(f"no scores have the mean {mean}, the deviation {sd} and the number {n}")
    _mind(0, n, confidence)
    if n < 2:
        return Interval(0.0, 1.0)
    if sd == 0:
        unseen = 1 - (1 - confidence) ** (1 / n)
        return Interval(mean * (1 - unseen), mean + (1 - mean) * unseen)
    from scipy.special import stdtrit  # as above

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))


def missing_bounds(passed: int, scored: int, ordered: int) -> Interval:
    """Return the range in which the pass rate of all ordered trials lies, whatever the missing ones did.

    Not a confidence interval: arithmetic. Ten passes of ten graded trials, with ten more lost, are
    a rate between 0.5 and 1.

    Args:
        passed: Trials that passed, 0 <= passed <= scored.
        scored: Trials with a grade, scored <= ordered.
        ordered: Trials that the estimate should have rested on, >= 1.

    Raises:
        ValueError: The counts contradict each other.
    """
    if not 0 <= passed <= scored <= ordered or ordered < 1:
        raise ValueError(f"{passed} passed of {scored} graded of {ordered} ordered trials is impossible")
    return Interval(passed / ordered, (passed + ordered - scored) / ordered)


def _mind(passed: int, n: int, confidence: float) -> None:
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} trials cannot have passed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside 0..1")
