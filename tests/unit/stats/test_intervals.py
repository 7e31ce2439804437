"""The Wilson interval: known answers and what always holds of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.intervals import Interval, clopper_pearson, mean_interval, missing_bounds, wilson


@st.composite
def tallies(draw):
    n = draw(st.integers(1, 2000))
    return draw(st.integers(0, n)), n


@pytest.mark.parametrize(("n", "low"), [(10, 0.7225), (30, 0.8865), (50, 0.9287)])
def test_zero_failures_support_only_so_high_a_rate(n, low):
    assert wilson(n, n).low == pytest.approx(low, abs=1e-4)
    assert wilson(n, n).high == 1.0


@pytest.mark.parametrize(
    ("passed", "n", "expected"),
    [
        (8, 10, (0.4902, 0.9433)),
        (12, 20, (0.3866, 0.7812)),
        (0, 20, (0.0, 0.1611)),
        (40, 50, (0.6696, 0.8876)),
    ],
)
def test_it_agrees_with_published_values(passed, n, expected):
    assert wilson(passed, n) == pytest.approx(expected, abs=1e-4)


def test_without_trials_nothing_is_known():
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("passed", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(passed, n):
    with pytest.raises(ValueError, match="cannot have passed"):
        wilson(passed, n)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


@given(tallies(), st.floats(0.01, 0.9999999999999999))
def test_it_lies_in_0_to_1_and_contains_the_observed_rate(tally, confidence):
    passed, n = tally
    low, high = wilson(passed, n, confidence)
    assert 0 <= low <= passed / n <= high <= 1


@given(tallies())
def test_passes_and_failures_are_mirror_images(tally):
    passed, n = tally
    low, high = wilson(passed, n)
    assert wilson(n - passed, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(tallies())
def test_one_more_pass_moves_both_ends_up(tally):
    passed, n = tally
    more, less = wilson(passed, n), wilson(max(passed - 1, 0), n)
    assert more.low >= less.low
    assert more.high >= less.high


@given(tallies(), st.floats(0.5, 0.9), st.floats(0.9, 0.999))
def test_more_confidence_is_never_narrower(tally, low_confidence, high_confidence):
    narrow, wide = wilson(*tally, low_confidence), wilson(*tally, high_confidence)
    assert wide.low <= narrow.low
    assert wide.high >= narrow.high


@pytest.mark.parametrize(
    ("n", "rate", "by_wilson", "exactly"),
    [(10, 0.95, 0.914, 0.988), (20, 0.95, 0.925, 0.984), (50, 0.8, 0.951, 0.967)],
)
def test_how_often_each_interval_covers_is_known(n, rate, by_wilson, exactly):
    def coverage(interval):
        return sum(
            math.comb(n, c) * rate**c * (1 - rate) ** (n - c)
            for c in range(n + 1)
            if interval(c, n).low <= rate <= interval(c, n).high
        )

    assert coverage(wilson) == pytest.approx(by_wilson, abs=0.001)
    assert coverage(clopper_pearson) == pytest.approx(exactly, abs=0.001)


@pytest.mark.parametrize(("n", "low"), [(10, 0.69), (30, 0.88), (50, 0.93)])
def test_no_failure_at_all_supports_exactly_so_much(n, low):
    assert clopper_pearson(n, n) == (pytest.approx(low, abs=0.005), 1.0)


def test_missing_trials_are_bounds_not_silence():
    assert missing_bounds(10, 10, 20) == (0.5, 1.0)
    assert missing_bounds(8, 10, 10) == (0.8, 0.8)
    with pytest.raises(ValueError, match="impossible"):
        missing_bounds(11, 10, 20)


def test_a_mean_score_has_students_interval():
    low, high = mean_interval(0.8, 0.2, 20)
    assert (low, high) == (
        pytest.approx(0.8 - 2.093024 * 0.2 / 20**0.5),
        pytest.approx(0.8 + 2.093024 * 0.2 / 20**0.5),
    )


def test_equal_scores_do_not_make_a_mean_certain():
    low, high = mean_interval(1.0, 0.0, 20)
    assert high == 1.0
    assert low == pytest.approx(0.05 ** (1 / 20))
    assert mean_interval(0.5, 0.0, 1) == (0.0, 1.0)
