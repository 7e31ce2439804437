"""pass@k and pass^k against their definitions: all ways to draw k of n trials."""

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.reliability import pass_at_k, pass_hat_k, pass_hat_k_interval
from salvo_core.stats.sequential import confidence_sequence

COUNTS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n)),
)


@given(COUNTS)
def test_both_are_the_share_of_all_ways_to_draw_k_trials(counts):
    passed, n, k = counts
    trials = [True] * passed + [False] * (n - passed)
    ways = list(combinations(trials, k))
    assert pass_at_k(passed, n, k) == pytest.approx(sum(map(any, ways)) / len(ways))
    assert pass_hat_k(passed, n, k) == pytest.approx(sum(map(all, ways)) / len(ways))


@pytest.mark.parametrize(
    ("n", "k", "rate", "truth", "plug_in"), [(10, 8, 0.8, 0.168, 0.287), (5, 4, 0.8, 0.410, 0.523)]
)
def test_pass_hat_k_is_right_on_average_where_the_plug_in_estimate_is_not(n, k, rate, truth, plug_in):
    def chance(passed):
        return comb(n, passed) * rate**passed * (1 - rate) ** (n - passed)

    unbiased = sum(chance(c) * pass_hat_k(c, n, k) for c in range(n + 1))
    naive = sum(chance(c) * (c / n) ** k for c in range(n + 1))
    assert unbiased == pytest.approx(rate**k)
    assert (round(unbiased, 3), round(naive, 3)) == (truth, plug_in)


def test_one_try_is_the_pass_rate_itself():
    assert pass_at_k(7, 10, 1) == pass_hat_k(7, 10, 1) == pytest.approx(0.7)


def test_its_interval_is_the_exact_one_of_the_rate_to_the_power_of_k():
    low, high = pass_hat_k_interval(10, 10, 8)
    assert (round(low, 3), high) == (round(0.6915029**8, 3), 1.0)


def test_where_a_rule_stopped_the_trials_its_interval_is_of_the_one_that_holds_at_every_number():
    low, high = confidence_sequence(16, 20)
    found = pass_hat_k_interval(16, 20, 4, stopped=True)
    assert found == (low**4, high**4)
    assert found.low < pass_hat_k_interval(16, 20, 4).low


@pytest.mark.parametrize("counts", [(3, 2, 1), (1, 5, 0), (1, 5, 6), (-1, 5, 2)])
def test_counts_that_say_nothing_are_refused(counts):
    with pytest.raises(ValueError, match="trials"):
        pass_hat_k(*counts)
