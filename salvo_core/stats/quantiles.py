"""Quantiles of a finite set of numbers, never beyond the numbers themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], q: float) -> float:
    """Return the value below which a share q of the values lies, interpolated between neighbours.

    The "exclusive" estimate: rank h = q * (n + 1), linear between the values of rank
    floor(h) and floor(h) + 1. For small n that rank lies outside 1..n; the answer is then
    the smallest or largest value, never an extrapolation (p95 of the scores 1, 0, 0 is 1,
    not 1.8).

    Args:
        values: Finite numbers of any one unit, shape (n,), n >= 1, any order. Sorting is
            linear when they are sorted already, so several quantiles of one set are cheap.
        q: Share, dimensionless, 0 <= q <= 1.

    Returns:
        A number in the unit of the values, min(values) <= it <= max(values).

    Raises:
        ValueError: There are no values, or q is outside 0..1.

    Source:
        Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996), definition 6.

    Example:
        >>> quantile([0.4, 0.1, 0.3, 0.2], 0.5)
        0.25
    """
    if not values:
        raise ValueError("no values: there is no quantile of nothing")
    if not 0 <= q <= 1:
        raise ValueError(f"quantile {q} is outside 0..1")
    ordered = sorted(values)
    rank = q * (len(ordered) + 1)
    below = math.floor(rank)
    if below < 1:
        return ordered[0]
    if below >= len(ordered):
        return ordered[-1]
    low, high = ordered[below - 1], ordered[below]
    share = rank - below
    # Weighted rather than low + share * (high - low), whose difference can overflow; and rounding
    # must not carry the answer past a neighbour.
    return min(max(low * (1 - share) + high * share, low), high)
