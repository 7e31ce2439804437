"""Comparisons of two runs, against published answers and by simulation."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.contrast import (
    adjusted,
    detectable_drop,
    difference_interval,
    fisher,
    median_ratio,
    stratified,
)
from salvo_core.stats.pooled import Counted

# Admissions to six departments, men and women: the textbook example of strata (Bickel et al., Science 1975).
ADMISSIONS = [
    (Counted(512, 825), Counted(89, 108)),
    (Counted(353, 560), Counted(17, 25)),
    (Counted(120, 325), Counted(202, 593)),
    (Counted(138, 417), Counted(131, 375)),
    (Counted(53, 191), Counted(94, 393)),
    (Counted(22, 373), Counted(24, 341)),
]
COUNTS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n)).map(lambda c: Counted(*c))
)


def test_fisher_gives_the_published_tail():
    # One of ten men and eleven of fourteen women study: p = 0.001379728 one-sided.
    assert fisher(Counted(1, 10), Counted(11, 14)).worse == pytest.approx(0.001379728, abs=1e-9)


@given(COUNTS, COUNTS)
def test_the_two_directions_mirror_each_other(a, b):
    forth, back = fisher(a, b), fisher(b, a)
    assert forth.worse == pytest.approx(back.better)
    assert forth.better == pytest.approx(back.worse)
    assert forth.worse + forth.better >= 1 - 1e-9


def test_without_trials_nothing_is_surprising():
    assert fisher(Counted(0, 0), Counted(5, 5)) == (1.0, 1.0)
    assert difference_interval(Counted(0, 0), Counted(5, 5)) == (-1.0, 1.0)
    assert stratified([(Counted(0, 0), Counted(5, 5)), (Counted(5, 5), Counted(9, 9))]) is None
    assert adjusted([]) == []


def test_p_values_are_adjusted_for_their_number():
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_the_interval_of_a_difference_is_the_published_one():
    low, high = difference_interval(Counted(56, 70), Counted(48, 80))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@given(COUNTS, COUNTS)
def test_the_interval_holds_the_observed_difference(a, b):
    low, high = difference_interval(a, b)
    assert -1 - 1e-9 <= low <= a.passed / a.n - b.passed / b.n <= high <= 1 + 1e-9


def test_strata_are_compared_each_with_itself():
    contrast = stratified(ADMISSIONS)
    assert contrast is not None
    assert (round(contrast.statistic, 4), round(contrast.p, 4)) == (1.4269, 0.2323)
    assert contrast.exact.worse == pytest.approx(contrast.p / 2, abs=0.01)


@given(COUNTS, COUNTS)
def test_one_stratum_alone_is_fishers_test(a, b):
    contrast = stratified([(a, b)])
    if contrast is None:
        assert a.passed + b.passed in (0, a.n + b.n)
    else:
        assert contrast.exact == pytest.approx(fisher(a, b), abs=1e-9)


def test_the_stratified_test_alarms_no_more_often_than_it_says():
    chance = random.Random(17)
    rates = [0.95, 0.8, 0.6, 0.9, 0.5]
    rounds = 500

    def drawn(rate):
        return Counted(sum(chance.random() < rate for _ in range(20)), 20)

    contrasts = [stratified([(drawn(rate), drawn(rate)) for rate in rates]) for _ in range(rounds)]
    assert sum(c is not None and c.exact.worse <= 0.05 for c in contrasts) / rounds <= 0.07


def test_half_the_latency_is_a_ratio_of_a_half():
    found = median_ratio([1, 2, 3, 4, 5] * 20, [2, 4, 6, 8, 10] * 20, seed=1)
    assert found is not None
    assert found.ratio == pytest.approx(0.5)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found == median_ratio([5, 4, 3, 2, 1] * 20, [2, 4, 6, 8, 10] * 20, seed=1)


def test_a_ratio_needs_values_and_something_to_divide_by():
    assert median_ratio([1.0], [1.0, 2.0], seed=1) is None
    assert median_ratio([1.0, 2.0], [0.0, 0.0], seed=1) is None


@pytest.mark.parametrize("n", [31, 40])
def test_drawing_the_middle_alone_spreads_as_drawing_every_value_does(n):
    chance = random.Random(23)
    a, b = [chance.expovariate(1.0) for _ in range(n)], [1.0] * n
    found = median_ratio(a, b, seed=9)
    whole = sorted(statistics.median(chance.choices(a, k=n)) for _ in range(4000))
    assert found is not None
    assert found.interval[0] == pytest.approx(whole[100], rel=0.12)
    assert found.interval[1] == pytest.approx(whole[3899], rel=0.12)


def test_the_ratio_covers_the_truth_about_as_often_as_it_says():
    chance = random.Random(29)
    covered, rounds = 0, 300
    for _ in range(rounds):
        a = [1.2 * chance.lognormvariate(0, 0.5) for _ in range(40)]
        b = [chance.lognormvariate(0, 0.5) for _ in range(40)]
        found = median_ratio(a, b, seed=1, draws=400)
        assert found is not None
        covered += found.interval[0] <= 1.2 <= found.interval[1]
    assert covered / rounds >= 0.9


def test_what_could_have_been_found_is_said():
    assert detectable_drop(155, 155, 0.9) == pytest.approx(0.1, abs=0.001)
    assert detectable_drop(2, 2, 0.5) is None
    assert detectable_drop(0, 100, 0.9) is None
