"""Two pass rates against each other where either run may have stopped when it liked what it saw.

The number of trials of a run that a rule stopped depends on how they came out. Fisher's test and
Newcombe's interval take it for fixed, and then err more often than they say. What is bet against a rate
here may be cashed at any time: the bets on either run, multiplied, are a fair game at every pair of rates
that could be true, whatever stopped the one or the other.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from salvo_core.stats.contrast import Directed
from salvo_core.stats.intervals import Interval
from salvo_core.stats.pooled import Counted

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

_RATES = 4000
"""Rates that are looked at; so close, at equal distances in arcsin of the root, that none hides between."""


def anytime_contrast(a: Counted, b: Counted) -> Directed:
    """Return one-sided p-values of a against b that hold whatever stopped either.

    Args:
        a: The candidate's counts.
        b: The baseline's.

    Returns:
        (1, 1) when either has no trials. Larger than Fisher's: that is the price.

    Source:
        Of each side the beta(1/2, 1/2) mixture of the rates on one side of a rate, against that rate
        (Howard et al., Ann. Stat. 49 (2021)); their product at the pair of rates of the null that it speaks
        least against; Ville's inequality: p = 1 / evidence.
    """
    if not a.n or not b.n:
        return Directed(1.0, 1.0)
    return Directed(
        *(min(1.0, math.exp(-_Evidence(one, other).that_fell_from(0.0))) for one, other in ((a, b), (b, a)))
    )


def anytime_difference(a: Counted, b: Counted, confidence: float = 0.95) -> Interval:
    """Return an interval for the difference of two pass rates, a's less b's, whatever stopped either.

    Args:
        a: The candidate's counts.
        b: The baseline's.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1; each end misses with half the rest.

    Returns:
        Within -1..1; it contains the observed difference. (-1, 1) when either has no trials.

    Raises:
        ValueError: The level is out of range.

    Source:
        All differences that ``anytime_contrast`` would not rule out.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside 0..1")
    if not a.n or not b.n:
        return Interval(-1.0, 1.0)
    wanted = -math.log((1 - confidence) / 2)
    return Interval(-_Evidence(b, a).ceiling(wanted), _Evidence(a, b).ceiling(wanted))


class _Evidence:
    """What two sides say against the first being so much above the second."""

    def __init__(self, a: Counted, b: Counted) -> None:
        import numpy as np  # costs a tenth of a second, for few commands

        self._observed = a.passed / a.n - b.passed / b.n
        # Of all rates at least, or at most, as high: whichever is spoken against least.
        falls = _against(a.passed, a.n)
        self._a: NDArray[float64] = np.minimum.accumulate(falls[::-1])[::-1]
        # Rates stand symmetrically: what is said of 1 - p in failures is said of p in passes.
        self._b: NDArray[float64] = np.minimum.accumulate(_against(b.n - b.passed, b.n)[::-1])

    def that_fell_from(self, difference: float) -> float:
        """Return the logarithm of the evidence against a - b >= difference; it grows with the difference."""
        import numpy as np

        rates = _rates()
        falls = np.interp(rates + difference, rates, self._a, right=math.inf)
        return float(np.min(falls + self._b))

    def ceiling(self, wanted: float) -> float:
        """Return the difference from which on there is as much evidence as is wanted, nats."""
        low, high = self._observed, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.that_fell_from(middle) >= wanted else (middle, high)
        return high


@lru_cache(maxsize=1)
def _rates() -> NDArray[float64]:
    """Return the rates that are looked at, ascending, shape (r,), within 0..1 and symmetric about 1/2."""
    import numpy as np

    return np.asarray(np.sin(np.linspace(0, math.pi / 2, _RATES + 2)[1:-1]) ** 2)


def _against(passed: int, n: int) -> NDArray[float64]:
    """Return how much better the rates below each rate explain the trials, logarithms, shape (r,)."""
    import numpy as np
    from scipy.special import betaln

    rates = _rates()
    up, down = passed + 0.5, n - passed + 0.5
    likelihood = passed * np.log(rates) + (n - passed) * np.log1p(-rates)
    mixture = _log_share_below(up, down) + betaln(up, down)
    return np.asarray(mixture - (_log_share_below(0.5, 0.5) + betaln(0.5, 0.5)) - likelihood)


def _log_share_below(up: float, down: float) -> NDArray[float64]:
    """Return the logarithm of a beta distribution's share below each rate, shape (r,).

    Where that is too small for a float, the first term of its series, which is below it.
    """
    import numpy as np
    from scipy.special import betainc, betaln

    rates = _rates()
    first = up * np.log(rates) + down * np.log1p(-rates) - math.log(up) - betaln(up, down)
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.log(betainc(up, down, rates)), first))
