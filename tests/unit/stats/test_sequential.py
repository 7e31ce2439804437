"""Rules that look after every trial keep their stated error, where naive looking does not."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.intervals import wilson
from salvo_core.stats.sequential import Sprt, confidence_sequence, e_value


def decided(chance, rate, n_max=10_000, **levels):
    rule = Sprt(0.7, 0.9, **levels)
    for n in range(1, n_max + 1):
        if rule.add(chance.random() < rate):
            return rule.decision, n
    raise AssertionError("no decision")


@pytest.mark.parametrize(("rate", "wrong", "error_max"), [(0.7, "good", 0.05), (0.9, "bad", 0.055)])
def test_the_sequential_test_errs_no_more_often_than_it_says(rate, wrong, error_max):
    chance = random.Random(7)
    rounds = [decided(chance, rate) for _ in range(4000)]
    assert sum(decision == wrong for decision, _ in rounds) / len(rounds) <= error_max


@pytest.mark.parametrize(("rate", "mean"), [(0.95, 17), (0.9, 25), (0.8, 37), (0.7, 20), (0.5, 8)])
def test_it_takes_far_fewer_trials_than_the_fixed_design_of_41(rate, mean):
    chance = random.Random(11)
    lengths = [decided(chance, rate)[1] for _ in range(3000)]
    assert sum(lengths) / len(lengths) == pytest.approx(mean, rel=0.1)


def test_a_decision_stands_whatever_comes_after():
    rule = Sprt(0.7, 0.9)
    while rule.add(False) is None:
        pass
    assert [rule.add(True) for _ in range(50)] == ["bad"] * 50


def test_looking_after_every_trial_misses_rarely_with_the_sequence_and_often_with_wilson():
    chance = random.Random(3)
    rounds, missed, missed_by_wilson = 600, 0, 0
    for _ in range(rounds):
        passed, ever, ever_wilson = 0, False, False
        for n in range(1, 201):
            passed += chance.random() < 0.8
            ever |= e_value(passed, n, 0.8) >= 20
            low, high = wilson(passed, n)
            ever_wilson |= not low <= 0.8 <= high
        missed += ever
        missed_by_wilson += ever_wilson
    assert missed / rounds <= 0.05
    assert missed_by_wilson / rounds >= 0.25


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_sequence_holds_exactly_the_rates_that_the_evidence_allows(counts):
    passed, n = counts
    low, high = confidence_sequence(passed, n)
    assert 0 <= low <= passed / n <= high <= 1
    for rate in (low - 1e-6, high + 1e-6):
        if 0 < rate < 1:
            assert e_value(passed, n, rate) >= 20 * (1 - 1e-3)
    for rate in (low + 1e-6, high - 1e-6):
        if low < rate < high:
            assert e_value(passed, n, rate) <= 20 * (1 + 1e-3)


def test_evidence_against_an_impossible_rate_is_without_bound():
    assert e_value(1, 1, 0.0) == math.inf
    assert e_value(0, 1, 1.0) == math.inf
    assert e_value(0, 0, 0.5) == pytest.approx(1)
    assert confidence_sequence(0, 0) == (0.0, 1.0)


def test_an_average_bet_against_the_truth_wins_nothing():
    n, rate = 12, 0.3
    mean = sum(math.comb(n, c) * rate**c * (1 - rate) ** (n - c) * e_value(c, n, rate) for c in range(n + 1))
    assert mean == pytest.approx(1)


@pytest.mark.parametrize(("bad", "good"), [(0.9, 0.7), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_rates_out_of_order_are_refused(bad, good):
    with pytest.raises(ValueError, match="order"):
        Sprt(bad, good)


def test_in_index_order_slow_failures_do_not_flatter():
    # Failures take twice as long; 50 at once of 200. The first to finish are no fair sample.
    chance = random.Random(5)
    by_completion, by_index, rounds = 0, 0, 300
    for _ in range(rounds):
        passes = [chance.random() < 0.8 for _ in range(200)]
        free, ends = [0.0] * 50, []
        for index, passed in enumerate(passes):
            slot = min(range(50), key=free.__getitem__)
            free[slot] += chance.expovariate(1.0) * (1 if passed else 2)
            ends.append((free[slot], index))
        by_completion += sum(passes[index] for _, index in sorted(ends)[:50])
        by_index += sum(passes[:50])
    assert by_completion / rounds / 50 > 0.84
    assert by_index / rounds / 50 == pytest.approx(0.8, abs=0.01)
