"""Student's t, chi-squared and beta, for whole degrees of freedom and counts.

SciPy knows them too, and takes longer to import than a report takes to make.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_SUMMED_MAX = 1000
"""Degrees of freedom up to which the distribution is summed up; beyond them four terms of its expansion
about the normal distribution are exact to more digits than a float has."""

_STEPS_MAX = 200
_TERMS_MAX = 10_000
"""Of a continued fraction, which needs about as many as the root of the larger count."""


def two_sided_t(confidence: float, degrees: int) -> float:
    """Return the t that ``|T| <= t`` holds for with that probability.

    Args:
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.
        degrees: Of freedom, >= 1.

    Returns:
        A positive number, dimensionless; correct to ten digits up to a confidence of 0.99999.

    Raises:
        ValueError: An argument is out of range.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions (1964): 26.7.3 and 26.7.4 (the
        distribution as a finite sum), 26.7.5 (its expansion).

    Example:
        >>> round(two_sided_t(0.95, 19), 4)
        2.093
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"there is no t at the level {confidence} with {degrees} degrees of freedom")
    if degrees == 1:
        return math.tan(math.pi * confidence / 2)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    if degrees > _SUMMED_MAX:
        return _expanded(z, degrees)
    # Newton's method climbs to the answer from below: the normal quantile is less, and the curve is concave.
    t, scale = z, _density_at_0(degrees)
    for _ in range(_STEPS_MAX):
        density = 2 * scale * math.exp(-(degrees + 1) / 2 * math.log1p(t * t / degrees))
        step = (confidence - _within(t, degrees)) / density
        t += step
        if step <= 1e-13 * t:  # rounding may push it back at the end
            break
    return t


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return the chance of such a statistic or a larger one.

    Args:
        statistic: >= 0, dimensionless.
        degrees: Of freedom, >= 1.

    Returns:
        A probability, correct to ten digits where it is above 1e-300.

    Raises:
        ValueError: An argument is out of range.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions (1964): 26.4.4 and 26.4.5.

    Example:
        >>> round(chi_squared_tail(3.841459, 1), 6)
        0.05
    """
    if not statistic >= 0 or degrees < 1:
        raise ValueError(f"there is no chi-squared {statistic} with {degrees} degrees of freedom")
    half = statistic / 2
    if half == 0:
        return 1.0
    # Terms e^-h h^k / k! for k = 0, 1, 2 ... or 1/2, 3/2 ...; by logarithms, since either factor may be
    # more than a float can hold.
    odd = degrees % 2
    log_half = math.log(half)
    terms = (
        math.exp(k * log_half - half - math.lgamma(k + 1))
        for k in (step + odd / 2 for step in range(degrees // 2))
    )
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(half)) if odd else 0.0))


def beta_quantile(chance: float, a: int, b: int) -> float:
    """Return the x that a beta distributed number stays below with that chance.

    Args:
        chance: Dimensionless, 0 < chance < 1.
        a: First parameter, >= 1.
        b: Second parameter, >= 1.

    Returns:
        0 < x < 1, correct to seven digits for parameters up to a million and chances from 1e-5 to
        1 - 1e-5, and to more the smaller they are.

    Raises:
        ValueError: An argument is out of range.

    Source:
        NIST Digital Library of Mathematical Functions, 8.17.22 (the distribution as a continued fraction)
        and 8.17.4; Newton's method within a bracket.

    Example:
        >>> round(beta_quantile(0.025, 30, 1), 4)
        0.8843
    """
    if not 0 < chance < 1 or a < 1 or b < 1:
        raise ValueError(f"there is no quantile {chance} of a beta with parameters {a} and {b}")
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(_STEPS_MAX):
        log_density = log_scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
        below = _below(x, a, b, log_scale)
        low, high = (x, high) if below < chance else (low, x)
        before, density = x, math.exp(log_density)
        x = before + (chance - below) / density if density else -1.0
        if not low < x < high:
            x = (low + high) / 2
        if abs(x - before) <= 1e-13 * before:
            break
    return x


def _below(x: float, a: int, b: int, log_scale: float) -> float:
    """Return the chance that a beta distributed number is below x: its regularised incomplete function."""
    if x > (a + 1) / (a + b + 2):  # there the fraction is slow, and that of the rest is not
        return 1 - _below(1 - x, b, a, log_scale)
    fraction, upper, lower = 1.0, 1.0, 0.0  # Lentz: the fraction, and the last factors above and below
    for step in range(1, _TERMS_MAX):
        m, odd = divmod(step, 2)
        over = -(a + m) * (a + b + m) if odd else m * (b - m)
        part = over * x / ((a + step - 1) * (a + step))
        lower = 1 / (1 + part * lower)
        upper = 1 + part / upper
        fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return math.exp(log_scale + a * math.log(x) + b * math.log1p(-x)) / (a * fraction)


def _within(t: float, degrees: int) -> float:
    """Return the probability of ``|T| <= t``."""
    cos2 = degrees / (degrees + t * t)
    sin = t / math.sqrt(degrees + t * t)
    odd = degrees % 2
    term = math.sqrt(cos2) if odd else 1.0
    total = term
    for factor in range(2 + odd, degrees - 1, 2):
        term *= (factor - 1) / factor * cos2
        total += term
    return 2 / math.pi * (math.asin(sin) + sin * total) if odd else sin * total


def _density_at_0(degrees: int) -> float:
    log = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    return math.exp(log) / math.sqrt(degrees * math.pi)


def _expanded(z: float, degrees: int) -> float:
    z2 = z * z
    terms = (
        (z2 + 1) * z / 4,
        ((5 * z2 + 16) * z2 + 3) * z / 96,
        (((3 * z2 + 19) * z2 + 17) * z2 - 15) * z / 384,
        ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) * z / 92160,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))
