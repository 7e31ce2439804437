"""How a number lies over the trials of a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from salvo_core.stats.quantiles import quantile
from salvo_core.trace.frozen import Frozen


class Spread(Frozen):
    """How a number lies over trials; every field is in the number's own unit."""

    mean: float
    min: float
    p50: float
    p95: float
    max: float
    sd: float | None = None
    """Standard deviation, n - 1 in the denominator; None for a single value, and in older summaries."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        ordered = sorted(values)
        low, high = ordered[0], ordered[-1]
        return cls(
            # Rounding must not carry it past the data: the mean of three 0.1 is not 0.10000000000000002.
            mean=min(max(math.fsum(ordered) / len(ordered), low), high),
            min=low,
            p50=quantile(ordered, 0.5),
            p95=quantile(ordered, 0.95),
            max=high,
            sd=_sd(ordered) if len(ordered) > 1 else None,
        )


def _sd(values: Sequence[float]) -> float:
    if values[0] == values[-1]:
        return 0.0  # exactly, which rounding of the mean would not give
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
