"""Quantiles stay within the data and agree with known answers."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.quantiles import quantile

numbers = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60)
shares = st.floats(0, 1)


def test_t30_the_p95_of_three_scores_is_not_above_the_best_score():
    assert quantile([1, 0, 0], 0.5) == 0
    assert quantile([1, 0, 0], 0.95) == 1
    assert quantile([1, 0], 0.95) == 1


def test_t30_the_quantile_of_one_value_is_the_value():
    assert [quantile([0.25], q) for q in (0, 0.5, 0.95, 1)] == [0.25] * 4


def test_the_median_of_ten_evenly_spread_scores_is_between_the_middle_two():
    scores = [k / 10 for k in range(1, 11)]
    assert quantile(scores, 0.5) == pytest.approx(0.55)
    assert quantile(scores, 0.95) == 1.0  # unclamped it would be 1.045


def test_where_it_needs_no_clamp_it_is_the_exclusive_percentile_of_the_standard_library():
    values = [math.sqrt(k) for k in range(40)]
    cuts = statistics.quantiles(values, n=20, method="exclusive")
    assert [quantile(values, (k + 1) / 20) for k in range(19)] == pytest.approx(cuts)


def test_no_values_have_no_quantile():
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_share_outside_0_to_1_is_refused(q):
    with pytest.raises(ValueError, match="outside"):
        quantile([1.0], q)


@given(numbers, shares)
def test_a_quantile_lies_within_the_data(values, q):
    assert min(values) <= quantile(values, q) <= max(values)


@given(numbers, shares, shares)
def test_a_higher_share_never_has_a_lower_quantile(values, one, other):
    # Neighbouring shares may round to neighbouring floats in either order.
    slack = 1e-12 * max(1.0, max(abs(value) for value in values))
    assert quantile(values, min(one, other)) <= quantile(values, max(one, other)) + slack


@given(st.data(), numbers, shares)
def test_the_order_of_the_values_does_not_matter(data, values, q):
    assert quantile(data.draw(st.permutations(values)), q) == quantile(values, q)
