"""What each formula must give: answers that were published, or that sums and tables give by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from salvo_core.stats.anytime import anytime_contrast, anytime_difference
from salvo_core.stats.contrast import (
    adjusted,
    detectable_drop,
    difference_interval,
    fisher,
    median_ratio,
    stratified,
)
from salvo_core.stats.homogeneity import homogeneity
from salvo_core.stats.intervals import clopper_pearson, mean_interval, missing_bounds, wilson
from salvo_core.stats.nights import Night, Watch
from salvo_core.stats.planning import Seen, half_width_of_total, trials_per_arm, trials_to_tell
from salvo_core.stats.pooled import Counted, of_their_population, of_these_cells
from salvo_core.stats.quantiles import quantile
from salvo_core.stats.reliability import pass_at_k, pass_hat_k, pass_hat_k_interval
from salvo_core.stats.sequential import confidence_sequence, e_value

NONE_OF_ALL = (Counted(0, 5), Counted(5, 5))
"""The plainest fall there is, by a sum that can be written down."""

ADMISSIONS = (
    (Counted(512, 825), Counted(89, 108)),
    (Counted(353, 560), Counted(17, 25)),
    (Counted(120, 325), Counted(202, 593)),
    (Counted(138, 417), Counted(131, 375)),
    (Counted(53, 191), Counted(94, 393)),
    (Counted(22, 373), Counted(24, 341)),
)
"""Admissions to six departments, men and women (Bickel et al., Science 187, 1975)."""


@dataclass(frozen=True, slots=True)
class Known:
    """One answer that is known beforehand.

    Attributes:
        rule: What is computed.
        given: In words.
        expected: The numbers, in order.
        ours: What our formula gives.
        within: How far each may be off: half of the last digit that is stated.
        source: Who says so.
    """

    rule: str
    given: str
    expected: Sequence[float]
    ours: Callable[[], Sequence[float]]
    within: float
    source: str

    @property
    def holds(self) -> bool:
        """Whether ours is the answer."""
        ours = self.ours()
        return len(ours) == len(self.expected) and all(
            abs(a - b) <= self.within for a, b in zip(ours, self.expected, strict=True)
        )


def _pooled() -> list[float]:
    found = of_these_cells([Counted(18, 20), Counted(10, 20)])
    return [found.mean, found.se] if found else []


def _population() -> list[float]:
    found = of_their_population([Counted(18, 20), Counted(10, 20), Counted(20, 20)])
    return [found.mean, found.se, found.interval.low] if found else []


def _admissions() -> list[float]:
    found = stratified(ADMISSIONS)
    return [found.statistic, found.p] if found else []


def _pearson() -> list[float]:
    found = homogeneity([Counted(10, 20), Counted(18, 20)])
    return [found.statistic] if found else []


def _halved() -> list[float]:
    found = median_ratio([1, 2, 3, 4, 5] * 20, [2, 4, 6, 8, 10] * 20, seed=1)
    return [found.ratio] if found else []


def _night() -> list[float]:
    watch = Watch(baseline=0.85)
    watch.add(Night(10, 20))
    return [watch.evidence]


def _or_nothing(value: float | None) -> list[float]:
    return [] if value is None else [value]


WILSON = "Wilson interval, 95 %"
EXACT = "Clopper-Pearson interval, 95 %"
NEWCOMBE_1998 = "Newcombe, Stat. Med. 17 (1998), 873, table II"

KNOWN = (
    Known(WILSON, "81 of 263", (0.2553, 0.3662), lambda: wilson(81, 263), 5e-5,
          "Newcombe, Stat. Med. 17 (1998), 857, table I"),
    Known(WILSON, "15 of 148", (0.0624, 0.1605), lambda: wilson(15, 148), 5e-5, "the same"),
    Known(WILSON, "0 of 20", (0.0, 0.1611), lambda: wilson(0, 20), 5e-5, "the same"),
    Known(EXACT, "81 of 263", (0.2527, 0.3676), lambda: clopper_pearson(81, 263), 5e-5, "the same"),
    Known(EXACT, "0 of 20", (0.0, 0.1684), lambda: clopper_pearson(0, 20), 5e-5,
          "the same; 1 - 0.025^(1/20)"),
    Known("Student's interval of a mean score", "mean 0.8, sd 0.2, n 20", (0.70640, 0.89360),
          lambda: mean_interval(0.8, 0.2, 20), 5e-6, "t(0.975, 19) = 2.093024, any table"),
    Known("the same, all scores equal", "mean 1, sd 0, n 20", (0.8609, 1.0),
          lambda: mean_interval(1.0, 0.0, 20), 5e-5, "0.05^(1/20)"),
    Known("bounds for missing trials", "10 of 10 graded, 20 ordered", (0.5, 1.0),
          lambda: missing_bounds(10, 10, 20), 0.0, "arithmetic"),
    Known("quantile", "p50 and p95 of 1, 0, 0", (0.0, 1.0),
          lambda: [quantile([1, 0, 0], q) for q in (0.5, 0.95)], 0.0, "never beyond the data"),
    Known("pass@k", "3 of 5, k 2", (0.9,), lambda: [pass_at_k(3, 5, 2)], 1e-12, "1 - C(2,2)/C(5,2)"),
    Known("pass^k", "3 of 5, k 2", (0.3,), lambda: [pass_hat_k(3, 5, 2)], 1e-12, "C(3,2)/C(5,2)"),
    Known("interval of pass^k", "10 of 10, k 8", (0.0523, 1.0),
          lambda: pass_hat_k_interval(10, 10, 8), 5e-5, "0.6915029^8, from the exact interval"),
    Known("mean of these cells, and its standard error", "18/20, 10/20", (0.7, 0.066886),
          _pooled, 5e-7, "sqrt(0.09/19 + 0.25/19) / 2"),
    Known("mean of their population, standard error, low end", "18/20, 10/20, 20/20",
          (0.8, 0.1527525, 0.142759), _population, 5e-7, "t(0.975, 2) = 4.302653"),
    Known("Fisher's exact test, one-sided", "1/10 against 11/14", (0.001379728,),
          lambda: [fisher(Counted(1, 10), Counted(11, 14)).worse], 5e-10, "the hypergeometric tail"),
    Known("Benjamini-Hochberg", "0.01, 0.04, 0.03, 0.005", (0.02, 0.04, 0.04, 0.02),
          lambda: adjusted([0.01, 0.04, 0.03, 0.005]), 1e-12, "by hand"),
    Known("interval of a difference, 95 %", "56/70 less 48/80", (0.0524, 0.3339),
          lambda: difference_interval(Counted(56, 70), Counted(48, 80)), 5e-5, NEWCOMBE_1998 + ", (a)"),
    Known("the same", "9/10 less 3/10", (0.1705, 0.8090),
          lambda: difference_interval(Counted(9, 10), Counted(3, 10)), 5e-5, NEWCOMBE_1998 + ", (b)"),
    Known("the same", "10/10 less 0/10", (0.6075, 1.0),
          lambda: difference_interval(Counted(10, 10), Counted(0, 10)), 5e-5, NEWCOMBE_1998 + ", (h)"),
    Known("Cochran-Mantel-Haenszel, and its p", "Berkeley's six departments", (1.4269, 0.2323),
          _admissions, 5e-5, "R's manual of mantelhaen.test on UCBAdmissions"),
    Known("p of a fall, whatever stopped either run", "0/5 against 5/5; 3/6 against 4/8", (0.0040872, 1.0),
          lambda: [anytime_contrast(*pair).worse for pair in (NONE_OF_ALL, (Counted(3, 6), Counted(4, 8)))],
          5e-8, "(1/32 over the mean of cos^10 from 0 to pi/4)^2; equal rates"),
    Known("interval of a difference, whatever stopped either run, 90 %", "0/5 less 5/5; 0/0 less 0/0",
          (-1.0, -0.341416, -1.0, 1.0),
          lambda: [
              end for pair in (NONE_OF_ALL, (Counted(0, 0),) * 2) for end in anytime_difference(*pair, 0.9)
          ],
          5e-7, "where that square, at a rate below 1/2, is 1/20, by the midpoint rule; nothing is known"),
    Known("Pearson's chi-squared", "10/20 and 18/20", (7.6190,), _pearson, 5e-5,
          "40 (10*2 - 10*18)^2 / (20*20*28*12)"),
    Known("ratio of medians", "a sample and its double", (0.5,), _halved, 1e-12, "by construction"),
    Known("smallest fall to be found, power 0.8", "155 a side, 90 %", (0.1,),
          lambda: _or_nothing(detectable_drop(155, 155, 0.9)), 1e-3, "the inverse of the line below"),
    Known("trials a side, power 0.8", "0.9 to 0.8; 0.9 to 0.85; 0.8 to 0.7", (155, 538, 229),
          lambda: [trials_per_arm(a, b) for a, b in ((0.8, 0.9), (0.85, 0.9), (0.7, 0.8))], 1.0,
          "(1.645 + 0.842)^2 (pq + pq) / d^2"),
    Known("smallest exact design: trials, passes", "0.7 against 0.9; 0.8 against 0.9", (41, 34, 135, 116),
          lambda: [x for pair in ((0.7, 0.9), (0.8, 0.9)) for x in trials_to_tell(*pair) or ()], 0.0,
          "exact binomial sums"),
    Known("prediction of a total: half width", "mean 5, sd 2, n 10; 40 more", (63.9835,),
          lambda: _or_nothing(half_width_of_total(Seen(5.0, 2.0, 10), 40)), 5e-5,
          "t(0.975, 9) = 2.262157, times 2 sqrt(40 + 160)"),
    Known("e-value", "1 of 1 against 0.5; 0 of 0", (1.0, 1.0),
          lambda: [e_value(1, 1, 0.5), e_value(0, 0, 0.3)], 1e-12, "B(3/2, 1/2) / B(1/2, 1/2) = 1/2"),
    Known("confidence sequence", "0 of 0", (0.0, 1.0), lambda: confidence_sequence(0, 0), 0.0,
          "nothing is known"),
    Known("evidence of a night, nats", "10 of 20, 0.85 against 0.70", (4.989912,), _night, 5e-7,
          "10 ln(0.70/0.85) + 10 ln(0.30/0.15)"),
)  # fmt: skip
