"""How many trials: answers that exact sums gave."""

from math import comb

import pytest

from salvo_core.stats.planning import trials_per_arm, trials_to_tell


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
