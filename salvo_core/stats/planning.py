"""How many trials a question needs, before any is paid for."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple


class ExactDesign(NamedTuple):
    """A fixed number of trials and how many of them must pass for "good"."""

    n: int
    passes_min: int


N_MAX = 100_000


def trials_to_tell(bad: float, good: float, *, alpha: float = 0.05, beta: float = 0.05) -> ExactDesign | None:
    """Return the smallest exact test that tells a bad pass rate from a good one.

    Args:
        bad: Pass rate that must not be called good, dimensionless.
        good: Pass rate that must not be called bad, 0 < bad < good < 1.
        alpha: Chance of calling the bad one good, at most.
        beta: Chance of calling the good one bad, at most.

    Returns:
        None when more than ``N_MAX`` trials would be needed.

    Raises:
        ValueError: The rates are not in order.

    Example:
        >>> trials_to_tell(0.7, 0.9)
        ExactDesign(n=41, passes_min=34)
    """
    if not 0 < bad < good < 1:
        raise ValueError(f"the rates {bad} and {good} are not in the order 0 < bad < good < 1")
    normal = NormalDist()
    about = (
        normal.inv_cdf(1 - alpha) * math.sqrt(bad * (1 - bad))
        + normal.inv_cdf(1 - beta) * math.sqrt(good * (1 - good))
    ) / (good - bad)
    # The exact answer is near the approximate one; being a saw-tooth in n, it is searched upwards.
    for n in range(max(1, int(about * about * 0.6) - 10), N_MAX + 1):
        passes = _passes_min(n, bad, alpha)
        if _at_least(passes, n, good) >= 1 - beta:
            return ExactDesign(n, passes)
    return None


def _passes_min(n: int, rate: float, alpha: float) -> int:
    """Return from how many passes on an agent of that rate is as rare as alpha; n + 1 if never."""
    return bisect_left(range(n + 1), True, key=lambda passes: _at_least(passes, n, rate) <= alpha)


def _at_least(passes: int, n: int, rate: float) -> float:
    """Return the chance that at least so many of n trials pass."""
    from scipy.special import bdtrc  # a quarter of a second, for few commands

    return 1.0 if passes <= 0 else 0.0 if passes > n else float(bdtrc(passes - 1, n, rate))


def trials_per_arm(rate_a: float, rate_b: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return how many trials each of two runs needs so that a comparison finds this difference.

    Args:
        rate_a: The candidate's pass rate, dimensionless, 0..1.
        rate_b: The baseline's, another one.
        alpha: One-sided chance of a false alarm.
        power: Chance of finding the difference.

    Raises:
        ValueError: The rates are equal or out of range.

    Source:
        The normal approximation: n = (z_alpha + z_power)^2 (p_a q_a + p_b q_b) / (p_a - p_b)^2.

    Example:
        >>> trials_per_arm(0.8, 0.9)
        155
    """
    if not 0 <= rate_a <= 1 or not 0 <= rate_b <= 1 or rate_a == rate_b:
        raise ValueError(f"the rates {rate_a} and {rate_b} are not two different rates")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    noise = rate_a * (1 - rate_a) + rate_b * (1 - rate_b)
    return math.ceil(z * z * noise / (rate_a - rate_b) ** 2)


class Seen(NamedTuple):
    """What trials used of some one unit: n of them, their mean, their standard deviation (n - 1)."""

    mean: float
    sd: float
    n: int


def together(parts: Sequence[Seen]) -> Seen | None:
    """Return several sets of trials as the one set that they are, exactly.

    Args:
        parts: Of one unit, each of n >= 1 trials; of a single trial the deviation is 0.

    Returns:
        None where there are none.
    """
    n = sum(part.n for part in parts)
    if n < 1:
        return None
    mean = math.fsum(part.mean * part.n for part in parts) / n
    squares = math.fsum((part.n - 1) * part.sd**2 + part.n * (part.mean - mean) ** 2 for part in parts)
    return Seen(mean, math.sqrt(squares / (n - 1)) if n > 1 else 0.0, n)


def half_width_of_total(seen: Seen, trials: int, confidence: float = 0.95) -> float | None:
    """Return how far the total of so many new trials may lie from ``trials * seen.mean``, either way.

    A prediction, not an interval for the mean: the new trials scatter, and the mean that they scatter
    about is known from ``seen.n`` trials only.

    Args:
        seen: Earlier trials of the same kind.
        trials: New ones, >= 1.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        In the unit of the trials; None from fewer than two trials, which show no scatter.

    Source:
        Student's t for the difference of a future sum and its estimate: sd * sqrt(m + m^2 / n).
    """
    if seen.n < 2:
        return None
    from scipy.special import stdtrit  # a quarter of a second, for few commands

    t = float(stdtrit(seen.n - 1, (1 + confidence) / 2))
    return t * seen.sd * math.sqrt(trials + trials * trials / seen.n)
