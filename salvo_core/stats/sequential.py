"""Stopping early with a stated error: rules that may look after every trial.

All of them read trials in index order, on the longest finished prefix. Fast trials are not a fair
sample: where failures take twice as long, the first fifty of two hundred to *finish* show 91 % of
a true 80 %.
"""

from __future__ import annotations

import math
from typing import Literal

from salvo_core.stats.intervals import Interval

Decision = Literal["good", "bad"]


class Sprt:
    """Wald's test of a bad against a good pass rate, one trial at a time.

    Between the two rates lies the indifference zone: an agent in it may be called either. An agent at
    ``bad`` or worse is called good with a chance of about alpha at most, one at ``good`` or better bad
    with about beta at most.

    Args:
        bad: Pass rate that must not be called good, dimensionless.
        good: Pass rate that must not be called bad, 0 < bad < good < 1.
        alpha: Chance of calling a bad agent good, 0 < alpha < 0.5.
        beta: Chance of calling a good agent bad, 0 < beta < 0.5.

    Raises:
        ValueError: The rates or chances are out of range or order.

    Source:
        A. Wald, "Sequential Tests of Statistical Hypotheses", Ann. Math. Stat. 16 (1945).
    """

    def __init__(self, bad: float, good: float, *, alpha: float = 0.05, beta: float = 0.05) -> None:
        if not 0 < bad < good < 1:
            raise ValueError(f"the rates {bad} and {good} are not in the order 0 < bad < good < 1")
        if not 0 < alpha < 0.5 or not 0 < beta < 0.5:
            raise ValueError(f"the chances {alpha} and {beta} are not both between 0 and 0.5")
        self._up, self._down = math.log(good / bad), math.log((1 - good) / (1 - bad))
        self._ceiling = math.log((1 - beta) / alpha)
        self._floor = math.log(beta / (1 - alpha))
        self._evidence = 0.0
        self.decision: Decision | None = None

    def add(self, passed: bool) -> Decision | None:
        """Take the next trial, in index order; return the decision once there is one, for good."""
        if self.decision is None:
            self._evidence += self._up if passed else self._down
            if self._evidence >= self._ceiling:
                self.decision = "good"
            elif self._evidence <= self._floor:
                self.decision = "bad"
        return self.decision


def e_value(passed: int, n: int, rate: float) -> float:
    """Return the evidence against a pass rate after n trials: how many times better a mixture bets.

    The beta(1/2, 1/2) mixture of all rates against the one. Under that rate its expectation is 1 at
    any time one stops, so it exceeds 1 / alpha with a chance of alpha at most, ever.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Trials of the longest finished prefix.
        rate: The rate in question, 0 <= rate <= 1.

    Returns:
        >= 0; infinity where the rate is impossible. 1 for n = 0.

    Source:
        Howard et al., Ann. Stat. 49 (2021); Waudby-Smith and Ramdas, NeurIPS 2020.
    """
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} trials cannot have passed")
    if (rate <= 0 and passed) or (rate >= 1 and passed < n):
        return math.inf
    log = _log_mixture(passed, n) - _log_likelihood(passed, n, rate)
    return math.exp(log) if log < 700 else math.inf


def confidence_sequence(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """Return an interval that may be looked at after every trial: it misses, ever, with 1 - confidence.

    A Wilson interval that is computed again after each of 200 trials misses at some of the looks in
    nearly one run of two; this one in fewer than one of twenty. Width is the price.

    Args:
        passed: Trials that passed, 0 <= passed <= n, of the longest finished prefix.
        n: Its length.
        confidence: Level over all looks together, dimensionless, 0 < confidence < 1.

    Returns:
        All rates whose ``e_value`` is below 1 / (1 - confidence).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside 0..1")
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} trials cannot have passed")
    if n == 0:
        return Interval(0.0, 1.0)
    bound = _log_mixture(passed, n) + math.log(1 - confidence)
    rate = passed / n
    low = 0.0 if passed == 0 else _edge(passed, n, bound, outside=0.0, inside=rate)
    high = 1.0 if passed == n else _edge(passed, n, bound, outside=1.0, inside=rate)
    return Interval(low, high)


def _edge(passed: int, n: int, bound: float, *, outside: float, inside: float) -> float:
    """Return where the likelihood crosses the bound; it is monotone on either side of the rate."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if _log_likelihood(passed, n, middle) > bound:
            inside = middle
        else:
            outside = middle
    return outside


def _log_likelihood(passed: int, n: int, rate: float) -> float:
    if (rate <= 0 and passed) or (rate >= 1 and passed < n):
        return -math.inf
    up = passed * math.log(rate) if passed else 0.0
    return up + ((n - passed) * math.log1p(-rate) if passed < n else 0.0)


def _log_mixture(passed: int, n: int) -> float:
    a = b = 0.5
    return _log_beta(a + passed, b + n - passed) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
