"""Do groups of the same trials differ by more than chance: workers, nights, retried and not?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

from salvo_core.stats.pooled import Counted
from salvo_core.stats.sequential import confidence_sequence

Label = Literal["stable", "stable failing", "flaky", "undetermined"]
STABLE_FROM = 0.95


class Homogeneity(NamedTuple):
    """Whether groups share one pass rate.

    Attributes:
        statistic: Chi-squared over the groups; beyond its degrees of freedom by much: they do not.
        degrees: Groups with trials, less one.
        p: Chance of such a statistic or a larger one if they share it.
        residuals: By group, in standard deviations: how far each is from the common rate, 0 without trials.
        flagged: Places of groups whose residual no chance explains, at the level asked for in all.
    """

    statistic: float
    degrees: int
    p: float
    residuals: tuple[float, ...]
    flagged: tuple[int, ...]


class Placed(NamedTuple):
    """A group's trials of one stratum, or of several summed, beside what its place makes likely.

    Attributes:
        counted: Its trials.
        expected: Passes at the common rate of each stratum.
        variance: Of the passes, at that rate.
    """

    counted: Counted
    expected: float
    variance: float


def placed(groups: Sequence[Counted]) -> list[Placed]:
    """Return each group of one stratum beside what the stratum's common rate makes likely.

    Args:
        groups: Counts by group, shape (g,).
    """
    total = sum(n for _, n in groups)
    rate = sum(group.passed for group in groups) / total if total else 0.0
    noise = rate * (1 - rate)
    return [Placed(g, g.n * rate, g.n * noise * (1 - g.n / total) if g.n else 0.0) for g in groups]


def homogeneity(groups: Sequence[Counted], *, alpha: float = 0.01) -> Homogeneity | None:
    """Return a test of one pass rate for all groups, and which group stands out.

    Over workers it finds a machine that skews results; over nights the same statistic separates an
    agent that is flaky in itself from surroundings that drift.

    Args:
        groups: Counts by group, shape (g,).
        alpha: Chance that any group is flagged without cause, over all groups (Bonferroni).

    Returns:
        None when fewer than two groups have trials, or all trials ended alike.

    Source:
        Pearson (1900); adjusted residuals: Haberman, Biometrics 29 (1973).
    """
    return homogeneity_in_strata(placed(groups), alpha=alpha)


def homogeneity_in_strata(groups: Sequence[Placed], *, alpha: float = 0.01) -> Homogeneity | None:
    """Return ``homogeneity`` for groups whose trials are of several strata, each with a rate of its own.

    A worker that happened to get the hard cells is no bad worker: groups are compared within strata, and
    the differences summed. With one stratum it is the same test; with several, the statistic is a close
    approximation as long as groups share strata roughly alike.

    Args:
        groups: Sums over strata by group, shape (g,).
        alpha: As there.

    Returns:
        As there.
    """
    total = sum(group.counted.n for group in groups)
    told = [group for group in groups if group.counted.n]
    if len(told) < 2 or not any(group.variance > 0 for group in told):
        return None
    from scipy.special import chdtrc  # a quarter of a second, for few commands

    residuals = tuple(
        (g.counted.passed - g.expected) / math.sqrt(g.variance) if g.variance > 0 else 0.0 for g in groups
    )
    statistic = math.fsum(
        residual**2 * (1 - g.counted.n / total) for residual, g in zip(residuals, groups, strict=True)
    )
    bound = NormalDist().inv_cdf(1 - alpha / len(told) / 2)
    flagged = tuple(place for place, residual in enumerate(residuals) if abs(residual) > bound)
    degrees = len(told) - 1
    return Homogeneity(statistic, degrees, float(chdtrc(degrees, statistic)), residuals, flagged)


def label(passed: int, n: int, confidence: float = 0.95) -> Label:
    """Return what to call a cell: stable, stable failing, flaky, or undetermined.

    By the confidence sequence, so that the word may be read at any time: stable when the rate is
    surely 0.95 or more, stable failing when surely 0.05 or less, flaky when surely between the two.

    Args:
        passed: Trials that passed, 0 <= passed <= n.
        n: Graded trials.
        confidence: Level of the sequence, dimensionless.
    """
    low, high = confidence_sequence(passed, n, confidence)
    if low >= STABLE_FROM:
        return "stable"
    if high <= 1 - STABLE_FROM:
        return "stable failing"
    if low > 1 - STABLE_FROM and high < STABLE_FROM:
        return "flaky"
    return "undetermined"
