"""Reliability over k tries: does it work at least once, does it work every time?"""

from __future__ import annotations

from math import comb

from salvo_core.stats.intervals import Interval, clopper_pearson
from salvo_core.stats.sequential import confidence_sequence


def pass_at_k(passed: int, n: int, k: int) -> float:
    """Return pass@k: the chance that at least one of k trials passes, estimated without bias.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Independent trials with a grade.
        k: Tries, 1 <= k <= n: fewer trials than tries say nothing about it.

    Returns:
        1 - C(n - passed, k) / C(n, k), dimensionless.

    Raises:
        ValueError: A count is out of range.

    Source:
        Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374 (2021).
    """
    _mind(passed, n, k)
    return 1 - comb(n - passed, k) / comb(n, k)


def pass_hat_k(passed: int, n: int, k: int) -> float:
    """Return pass^k: the chance that all of k trials pass, estimated without bias.

    Raising the observed rate to the power of k instead reads too high, the more the fewer trials:
    at a true rate of 0.8, ten trials and k = 8 it shows 0.287 where the truth is 0.168.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Independent trials with a grade.
        k: Tries, 1 <= k <= n.

    Returns:
        C(passed, k) / C(n, k), dimensionless.

    Raises:
        ValueError: A count is out of range.

    Source:
        Yao et al., "tau-bench", arXiv 2406.12045 (2024).
    """
    _mind(passed, n, k)
    return comb(passed, k) / comb(n, k)


def pass_hat_k_interval(
    passed: int, n: int, k: int, confidence: float = 0.95, *, stopped: bool = False
) -> Interval:
    """Return an interval for the chance that all of k trials pass.

    The exact interval for the rate, through p -> p ** k: monotone, so it covers as often.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Independent trials with a grade, n >= 1.
        k: Tries, 1 <= k; more than n is allowed, the rate carries it.
        confidence: Two-sided level, dimensionless, 0 < confidence < 1.
        stopped: A rule that looked at the trials decided how many there are: the rate's interval is then
            the one that holds at every number (``sequential.confidence_sequence``).

    Raises:
        ValueError: An argument is out of range.
    """
    if k < 1:
        raise ValueError(f"{k} tries are none")
    low, high = (confidence_sequence if stopped else clopper_pearson)(passed, n, confidence)
    return Interval(low**k, high**k)


def _mind(passed: int, n: int, k: int) -> None:
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n} trials cannot have passed")
    if not 1 <= k <= n:
        raise ValueError(f"{n} trials say nothing about {k} tries")
