"""How many trials: answers that exact sums gave."""

import random
from math import comb, sqrt
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.planning import Seen, half_width_of_total, together, trials_per_arm, trials_to_tell


@pytest.mark.parametrize(
    ("bad", "good", "n"),
    [(0.7, 0.9, 41), (0.8, 0.9, 135), (0.85, 0.95, 93), (0.9, 0.95, 298), (0.6, 0.8, 60)],
)
def test_the_smallest_exact_design(bad, good, n):
    design = trials_to_tell(bad, good)
    assert design is not None
    assert design.n == n

    def tail(rate):
        return sum(comb(n, c) * rate**c * (1 - rate) ** (n - c) for c in range(design.passes_min, n + 1))

    assert tail(bad) <= 0.05
    assert tail(good) >= 0.95


def test_41_trials_need_34_passes():
    assert trials_to_tell(0.7, 0.9) == (41, 34)


@pytest.mark.parametrize(
    ("rate_a", "rate_b", "n"), [(0.8, 0.9, 155), (0.85, 0.9, 538), (0.7, 0.8, 229), (0.9, 0.95, 340)]
)
def test_two_runs_need_this_many_each(rate_a, rate_b, n):
    assert trials_per_arm(rate_a, rate_b) == pytest.approx(n, abs=1)


def test_rates_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="different"):
        trials_per_arm(0.9, 0.9)
    with pytest.raises(ValueError, match="order"):
        trials_to_tell(0.9, 0.7)


def seen(values):
    return Seen(mean(values), stdev(values) if len(values) > 1 else 0.0, len(values))


@given(st.lists(st.lists(st.floats(0, 1000), min_size=1, max_size=9), min_size=1, max_size=6))
def test_sets_of_trials_put_together_are_the_one_set_that_they_are(sets):
    whole = seen([value for one in sets for value in one])
    assert together([seen(one) for one in sets]) == pytest.approx(whole, rel=1e-9, abs=1e-6)


def test_of_no_trials_nothing_is_known():
    assert together([]) is None
    assert half_width_of_total(Seen(1.0, 0.0, 1), 10) is None


def test_a_total_lies_within_students_t_of_what_is_expected():
    # t(0.975, 9) = 2.262157
    assert half_width_of_total(Seen(5.0, 2.0, 10), 40) == pytest.approx(
        2.262157 * 2 * sqrt(40 + 160), rel=1e-6
    )


def test_totals_lie_within_it_as_often_as_it_says():
    chance = random.Random(47)
    rounds, inside = 2000, 0
    for _ in range(rounds):
        known = seen([chance.gauss(10, 3) for _ in range(8)])
        half = half_width_of_total(known, 20)
        assert half is not None
        inside += abs(sum(chance.gauss(10, 3) for _ in range(20)) - 20 * known.mean) <= half
    assert inside / rounds == pytest.approx(0.95, abs=0.015)
