"""Two rates against each other whatever stopped either run: known answers, and how often it errs."""

import functools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.run.contrasts import USUAL, Rates, contrast_of, ruling
from salvo_core.stats.anytime import _against, _rates, anytime_contrast, anytime_difference
from salvo_core.stats.contrast import difference_interval, fisher
from salvo_core.stats.pooled import Counted
from salvo_core.stats.sequential import Sprt

counts = st.integers(0, 60).flatmap(lambda n: st.integers(0, n).map(lambda passed: Counted(passed, n)))


def test_none_of_five_against_five_of_five():
    # The common rate that explains both best is one half. Against it, the candidate's bet is the mean of
    # (1 - q)^5 over the rates q below one half; with q = sin^2, the beta(1/2, 1/2) is even in the angle.
    steps = 20_000
    mean = math.fsum(math.cos(math.pi / 4 * (step + 0.5) / steps) ** 10 for step in range(steps)) / steps
    found = anytime_contrast(Counted(0, 5), Counted(5, 5))
    assert found.worse == pytest.approx((0.5**5 / mean) ** 2, rel=1e-4)
    assert found.better == 1
    low, high = anytime_difference(Counted(0, 5), Counted(5, 5), 0.9)
    assert low == -1
    assert high == pytest.approx(-0.3414, abs=1e-3)


@pytest.mark.parametrize("n", [1, 12, 60])
def test_a_bet_against_the_truth_wins_nothing_on_average(n):
    rates = _rates()
    for place in (3, 900, 2000, 3500):
        rate = float(rates[place])
        total = math.fsum(
            math.comb(n, passed) * rate**passed * (1 - rate) ** (n - passed)
            * math.exp(float(_against(passed, n)[place]))
            for passed in range(n + 1)
        )  # fmt: skip
        assert total == pytest.approx(1, rel=1e-6)


def test_the_price_of_stopping_when_one_likes():
    a, b = Counted(6, 15), Counted(48, 50)
    assert fisher(a, b).worse < anytime_contrast(a, b).worse / 10 < 0.05 / 10


def test_thousands_of_trials_leave_no_numbers_behind():
    found = anytime_contrast(Counted(20_000, 20_000), Counted(10_000, 20_000))
    assert (found.worse, found.better) == (1, 0)
    low, high = anytime_difference(Counted(19_000, 20_000), Counted(19_100, 20_000))
    assert -0.02 < low < -0.005 < high < 0.01


@settings(deadline=None, max_examples=60)
@given(counts, counts)
def test_the_interval_holds_what_was_seen_agrees_with_the_test_and_turns_round_with_the_sides(a, b):
    low, high = anytime_difference(a, b)
    assert -1 <= low <= high <= 1
    turned = anytime_difference(b, a)
    assert (turned.low, turned.high) == (pytest.approx(-high, abs=1e-6), pytest.approx(-low, abs=1e-6))
    found = anytime_contrast(a, b)
    assert all(0 <= p <= 1 for p in found)
    if not a.n or not b.n:
        assert (low, high) == (-1, 1)
        return
    observed = a.passed / a.n - b.passed / b.n
    assert low - 1e-9 <= observed <= high + 1e-9
    if abs(found.worse - 0.025) > 1e-5:
        assert (high < 0) == (found.worse < 0.025)
    if abs(found.better - 0.025) > 1e-5:
        assert (low > 0) == (found.better < 0.025)


def test_without_trials_nothing_is_known_and_equal_rates_surprise_nobody():
    assert anytime_contrast(Counted(0, 0), Counted(5, 5)) == (1, 1)
    assert anytime_contrast(Counted(3, 6), Counted(4, 8)) == (1, 1)
    with pytest.raises(ValueError, match="confidence"):
        anytime_difference(Counted(1, 2), Counted(1, 2), 1.0)


def test_it_is_wider_than_for_a_fixed_number_and_narrows_with_trials():
    few, many = Counted(15, 20), Counted(150, 200)
    few_low, few_high = anytime_difference(few, few)
    many_low, many_high = anytime_difference(many, many)
    fixed = difference_interval(few, few)
    assert few_low < fixed.low < many_low < 0 < many_high < fixed.high < few_high
    assert math.isclose(many_low, -many_high, abs_tol=1e-6)


def stopping(chance, rate, trials, *, sprt):
    """A cell of so many trials that a sequential test of 0.75 against 0.85 may stop, in index order."""
    test, passed = Sprt(0.75, 0.85), 0
    for ended in range(1, trials + 1):
        ok = chance.random() < rate
        passed += ok
        if sprt and test.add(ok) is not None:
            return Rates(passed=passed, scored=ended, missing=0, decided=trials - ended)
    return Rates(passed=passed, scored=trials, missing=0)


@functools.cache
def called(now, before, *, as_if_fixed):
    if as_if_fixed:
        now, before = (one.model_copy(update={"decided": 0}) for one in (now, before))
    return ruling(now, before, contrast_of(now, before), USUAL)[0]


@pytest.mark.parametrize("both", [False, True])
def test_runs_that_stopped_when_they_liked_are_called_changed_no_more_often_than_promised(both):
    chance, rounds = random.Random(20261124), 600
    wrong = naive = 0
    for _ in range(rounds):
        now = stopping(chance, 0.8, 60, sprt=True)
        before = stopping(chance, 0.8, 60, sprt=both)
        wrong += called(now, before, as_if_fixed=False) in ("REGRESSED", "IMPROVED")
        naive += called(now, before, as_if_fixed=True) in ("REGRESSED", "IMPROVED")
    assert wrong / rounds <= 0.10  # alpha for either direction, 0.05 each
    assert wrong < naive


def test_a_deep_fall_is_found_though_the_run_stopped_early():
    chance, rounds, found = random.Random(20261124), 200, 0
    for _ in range(rounds):
        now, before = stopping(chance, 0.3, 60, sprt=True), stopping(chance, 0.95, 60, sprt=False)
        found += called(now, before, as_if_fixed=False) == "REGRESSED"
    assert found / rounds >= 0.8
