"""Two rates against each other whatever stopped either run: known answers, and how often it errs."""

import functools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.run.contrasts import USUAL, Rates, contrast_of, ruling
from salvo_core.stats.anytime import anytime_contrast, anytime_difference
from salvo_core.stats.contrast import difference_interval, fisher
from salvo_core.stats.pooled import Counted
from salvo_core.stats.sequential import Sprt, e_value

counts = st.integers(0, 60).flatmap(lambda n: st.integers(0, n).map(lambda passed: Counted(passed, n)))


def test_none_of_five_against_five_of_five():
    # The mixture gives every outcome of five alike 63/256; at the common rate that explains both best,
    # one half, each side has the chance 1/32: p = (1/32 / (63/256))^2.
    found = anytime_contrast(Counted(0, 5), Counted(5, 5))
    assert found.worse == pytest.approx((8 / 63) ** 2)
    assert found.better == 1
    low, high = anytime_difference(Counted(0, 5), Counted(5, 5))
    assert low == -1
    assert high == pytest.approx(-0.1198, abs=1e-4)


def test_the_evidence_is_that_at_the_common_rate_it_speaks_least_against():
    a, b = Counted(6, 15), Counted(48, 50)
    least = min(e_value(*a, rate / 10_000) * e_value(*b, rate / 10_000) for rate in range(1, 10_000))
    assert anytime_contrast(a, b).worse == pytest.approx(1 / least, rel=1e-4)
    assert 10 * fisher(a, b).worse < anytime_contrast(a, b).worse  # the price


@settings(deadline=None, max_examples=60)
@given(counts, counts)
def test_the_interval_holds_what_was_seen_agrees_with_the_test_and_turns_round_with_the_sides(a, b):
    low, high = anytime_difference(a, b)
    assert -1 <= low <= high <= 1
    turned = anytime_difference(b, a)
    assert (turned.low, turned.high) == (pytest.approx(-high, abs=1e-6), pytest.approx(-low, abs=1e-6))
    found = anytime_contrast(a, b)
    assert max(found) == 1
    if not a.n or not b.n:
        assert (low, high) == (-1, 1)
        return
    assert low <= a.passed / a.n - b.passed / b.n <= high
    if abs(found.worse - 0.05) > 1e-6:
        assert (high < 0) == (found.worse < 0.05)
    if abs(found.better - 0.05) > 1e-6:
        assert (low > 0) == (found.better < 0.05)


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
    assert found / rounds >= 0.7
