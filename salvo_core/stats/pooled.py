"""Many cells in one number: the mean pass rate, and of what it is an estimate.

Two questions look alike. *These cells*: would the same scenarios, tried again, come out like
this? *Their population*: would other scenarios of this kind? The second has more that may differ,
and its interval is wider; a number without its question misleads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from salvo_core.stats.intervals import Interval


class Counted(NamedTuple):
    """One cell's graded trials: 0 <= passed <= n."""

    passed: int
    n: int


class Pooled(NamedTuple):
    """A mean over cells with its standard error and interval, dimensionless."""

    mean: float
    se: float
    interval: Interval


def of_these_cells(cells: Sequence[Counted], confidence: float = 0.95) -> Pooled | None:
    """Return the mean pass rate of exactly these cells, each cell weighing the same.

    Every cell's own sampling noise, and nothing else: SE^2 = sum(p (1 - p) / (n - 1)) / S^2.

    Args:
        cells: Counts, shape (S,), S >= 1.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        None where the counts cannot tell: a cell with fewer than two graded trials has no noise to
        measure. Cells that all passed (or failed) every trial show no noise either: the interval then
        has a Wilson interval's width for all their trials together instead of none.

    Source:
        Miller, "Adding Error Bars to Evals", arXiv 2411.00640 (2024).
    """
    if not cells or any(n < 2 for _, n in cells):
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rates = [passed / n for passed, n in cells]
    mean = math.fsum(rates) / len(cells)
    # Noise by the rate with two trials added to either side: an unbroken row of passes is not certainty.
    noise = math.fsum(_noise(passed, n) for passed, n in cells)
    se = math.sqrt(noise) / len(cells)
    return Pooled(mean, se, Interval(max(0.0, mean - z * se), min(1.0, mean + z * se)))


def _noise(passed: int, n: int) -> float:
    rate = passed / n
    seen = rate * (1 - rate) / (n - 1)
    if seen > 0:
        return seen
    rate = (passed + 2) / (n + 4)
    return rate * (1 - rate) / (n + 4)


def of_their_population(cells: Sequence[Counted], confidence: float = 0.95) -> Pooled | None:
    """Return the mean pass rate that other scenarios of this kind would have.

    SE^2 = sum((p - mean)^2) / (S (S - 1)), with Student's t of S - 1 degrees of freedom. The spread
    between cells contains the noise within them already.

    Args:
        cells: Counts, shape (S,); cells without graded trials are not among them.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.

    Returns:
        None with fewer than two cells.
    """
    if len(cells) < 2 or any(n < 1 for _, n in cells):
        return None
    from scipy.special import stdtrit  # costs a quarter of a second, for few commands

    count = len(cells)
    rates = [passed / n for passed, n in cells]
    mean = math.fsum(rates) / count
    se = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates) / (count * (count - 1)))
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * se
    return Pooled(mean, se, Interval(max(0.0, mean - half), min(1.0, mean + half)))
