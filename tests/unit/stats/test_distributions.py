"""Student's t, chi-squared and beta, against printed tables and against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv, chdtrc, stdtrit

from salvo_core.stats.distributions import beta_quantile, chi_squared_tail, two_sided_t


@pytest.mark.parametrize(
    ("confidence", "degrees", "t"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 5, 2.5706),
        (0.99, 10, 3.1693),
        (0.90, 30, 1.6973),
        (0.95, 120, 1.9799),
        (0.95, 10**9, 1.9600),
    ],
)
def test_t_is_that_of_every_table(confidence, degrees, t):
    assert two_sided_t(confidence, degrees) == pytest.approx(t, abs=5e-5)


@given(confidence=st.floats(0.05, 0.99999), degrees=st.integers(1, 3000) | st.integers(1, 10**7))
def test_t_is_scipys_to_ten_digits(confidence, degrees):
    assert two_sided_t(confidence, degrees) == pytest.approx(
        float(stdtrit(degrees, (1 + confidence) / 2)), rel=1e-10
    )


@given(confidence=st.floats(0.5, 0.99999), degrees=st.integers(1, 3000))
def test_t_falls_as_more_is_known(confidence, degrees):
    assert two_sided_t(confidence, degrees + 1) <= two_sided_t(confidence, degrees) * (1 + 1e-10)


@pytest.mark.parametrize("degrees", [999, 1000, 1001, 1002])
def test_both_ways_of_computing_t_meet(degrees):
    assert two_sided_t(0.99, degrees) == pytest.approx(float(stdtrit(degrees, 0.995)), rel=1e-12)


@pytest.mark.parametrize(
    ("statistic", "degrees", "chance"),
    [(3.8415, 1, 0.05), (5.9915, 2, 0.05), (7.8147, 3, 0.05), (23.2093, 10, 0.01), (0.0, 4, 1.0)],
)
def test_the_tail_of_chi_squared_is_that_of_every_table(statistic, degrees, chance):
    assert chi_squared_tail(statistic, degrees) == pytest.approx(chance, abs=1e-5)


@given(statistic=st.floats(0, 1200), degrees=st.integers(1, 2000))
def test_the_tail_of_chi_squared_is_scipys_to_ten_digits(statistic, degrees):
    found = chi_squared_tail(statistic, degrees)
    assert 0 <= found <= 1
    assert found == pytest.approx(float(chdtrc(degrees, statistic)), rel=1e-10, abs=1e-290)


@pytest.mark.parametrize(("confidence", "degrees"), [(0, 1), (1, 1), (float("nan"), 1), (0.95, 0)])
def test_what_no_t_belongs_to_is_refused(confidence, degrees):
    with pytest.raises(ValueError, match="there is no t"):
        two_sided_t(confidence, degrees)


@pytest.mark.parametrize(("statistic", "degrees"), [(-1, 1), (float("nan"), 1), (1, 0)])
def test_what_no_chi_squared_is_refused(statistic, degrees):
    with pytest.raises(ValueError, match="there is no chi-squared"):
        chi_squared_tail(statistic, degrees)


@given(
    chance=st.floats(1e-5, 1 - 1e-5),
    a=st.integers(1, 50) | st.integers(1, 10**6),
    b=st.integers(1, 50) | st.integers(1, 10**6),
)
def test_the_quantile_of_beta_is_scipys_to_seven_digits(chance, a, b):
    assert beta_quantile(chance, a, b) == pytest.approx(float(betaincinv(a, b, chance)), rel=3e-8)


@pytest.mark.parametrize("n", [1, 2, 30, 1000, 100_000])
def test_the_quantile_of_beta_is_a_root_where_one_parameter_is_1(n):
    assert beta_quantile(0.025, n, 1) == pytest.approx(0.025 ** (1 / n), rel=1e-9)
    assert 1 - beta_quantile(0.975, 1, n) == pytest.approx(0.025 ** (1 / n), rel=1e-9)


@pytest.mark.parametrize(("chance", "a", "b"), [(0, 1, 1), (1, 1, 1), (0.5, 0, 1), (0.5, 1, 0)])
def test_what_no_beta_belongs_to_is_refused(chance, a, b):
    with pytest.raises(ValueError, match="there is no quantile"):
        beta_quantile(chance, a, b)
