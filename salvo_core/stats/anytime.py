"""Two pass rates against each other where either run may have stopped when it liked what it saw.

The number of trials of a run that a rule stopped depends on how they came out. Fisher's test and
Newcombe's interval take it for fixed, and then err more often than they say. What is bet against each
rate here may be cashed at any time: ``e_value`` of either run, multiplied, is a fair game at every pair
of rates that could be true, whatever stopped the one or the other.
"""

from __future__ import annotations

import math

from salvo_core.stats.contrast import Directed
from salvo_core.stats.intervals import Interval
from salvo_core.stats.pooled import Counted
from salvo_core.stats.sequential import log_e_value

_GOLDEN = (math.sqrt(5) - 1) / 2


def anytime_contrast(a: Counted, b: Counted) -> Directed:
    """Return one-sided p-values of a against b that hold whatever stopped either.

    Args:
        a: The candidate's counts.
        b: The baseline's.

    Returns:
        (1, 1) when either has no trials. Larger than Fisher's: that is the price.

    Source:
        The product of two independent e-values at the pair of rates of the null that it speaks least
        against (which has equal rates, the evidence being convex), and Ville's inequality: p = 1 / e.
    """
    if not a.n or not b.n or a.passed * b.n == b.passed * a.n:
        return Directed(1.0, 1.0)
    p = min(1.0, math.exp(-_least_evidence(a, b, 0.0)))
    return Directed(p, 1.0) if a.passed * b.n < b.passed * a.n else Directed(1.0, p)


def anytime_difference(a: Counted, b: Counted, confidence: float = 0.95) -> Interval:
    """Return an interval for the difference of two pass rates, a's less b's, whatever stopped either.

    Args:
        a: The candidate's counts.
        b: The baseline's.
        confidence: Of the whole interval, and so of each of its ends at least; 0 < confidence < 1.

    Returns:
        Within -1..1; it contains the observed difference. (-1, 1) when either has no trials.

    Raises:
        ValueError: The level is out of range.

    Source:
        As ``anytime_contrast``: all differences against which the evidence is below 1 / (1 - confidence).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside 0..1")
    if not a.n or not b.n:
        return Interval(-1.0, 1.0)
    bound = -math.log(1 - confidence)
    observed = a.passed / a.n - b.passed / b.n
    return Interval(*(_edge(a, b, bound, outside=end, inside=observed) for end in (-1.0, 1.0)))


def _edge(a: Counted, b: Counted, bound: float, *, outside: float, inside: float) -> float:
    """Return where the evidence crosses the bound; it grows with the distance from what was observed."""
    if _least_evidence(a, b, outside) <= bound:
        return outside
    for _ in range(30):
        middle = (outside + inside) / 2
        if _least_evidence(a, b, middle) <= bound:
            inside = middle
        else:
            outside = middle
    return outside


def _least_evidence(a: Counted, b: Counted, difference: float) -> float:
    """Return the logarithm of the evidence against the rates of that difference it speaks least against."""

    def against(rate: float) -> float:
        return log_e_value(*a, min(max(rate + difference, 0.0), 1.0)) + log_e_value(*b, rate)

    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    if high - low < 1e-12:
        return against(low)
    # Convex: a golden section finds its floor. Its ends may be impossible, its inside never is.
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = against(left), against(right)
    for _ in range(36):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = against(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = against(right)
    return min(at_left, at_right, against(max(0.0, -difference)), against(min(1.0, 1.0 - difference)))
