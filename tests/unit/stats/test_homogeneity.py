"""Groups of the same trials that differ, and cells by their name."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.stats.homogeneity import Placed, homogeneity, homogeneity_in_strata, label, placed
from salvo_core.stats.pooled import Counted


def test_a_worker_that_skews_results_stands_out():
    found = homogeneity([Counted(90, 100), Counted(88, 100), Counted(91, 100), Counted(60, 100)])
    assert found is not None
    assert found.degrees == 3
    assert found.p < 1e-6
    assert min(range(4), key=found.residuals.__getitem__) == 3
    assert 3 in found.flagged


def test_the_statistic_is_pearsons():
    # 10 of 20 against 18 of 20: a 2 x 2 table's chi-squared without correction is 7.619.
    found = homogeneity([Counted(10, 20), Counted(18, 20)])
    assert found is not None
    assert found.statistic == pytest.approx(7.6190, abs=1e-4)
    assert found.residuals[1] ** 2 == pytest.approx(found.statistic)


def test_equal_workers_are_flagged_no_more_often_than_asked():
    chance = random.Random(31)
    rounds, flagged = 400, 0
    for _ in range(rounds):
        groups = [Counted(sum(chance.random() < 0.8 for _ in range(50)), 50) for _ in range(6)]
        found = homogeneity(groups, alpha=0.05)
        flagged += bool(found and found.flagged)
    assert flagged / rounds <= 0.08


@pytest.mark.parametrize(
    "groups", [[], [Counted(5, 5)], [Counted(5, 5), Counted(0, 0)], [Counted(5, 5), Counted(9, 9)]]
)
def test_what_cannot_differ_is_not_tested(groups):
    assert homogeneity(groups) is None


@pytest.mark.parametrize(
    ("passed", "n", "word"),
    [
        (500, 500, "stable"),
        (0, 500, "stable failing"),
        (30, 60, "flaky"),
        (10, 10, "undetermined"),
        (0, 0, "undetermined"),
    ],
)
def test_a_cell_is_named_by_what_is_sure(passed, n, word):
    assert label(passed, n) == word


@given(st.lists(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), max_size=6))
def test_strata_of_one_are_the_plain_test_and_strata_that_repeat_it_agree(counts):
    groups = [Counted(*one) for one in counts]
    once = homogeneity(groups)
    twice = homogeneity_in_strata(
        [
            Placed(Counted(2 * a.counted.passed, 2 * a.counted.n), 2 * a.expected, 2 * a.variance)
            for a in placed(groups)
        ]
    )
    doubled = homogeneity([Counted(2 * passed, 2 * n) for passed, n in groups])
    assert (once is None) == (twice is None) == (doubled is None)
    if twice is not None and doubled is not None:
        assert twice.residuals == pytest.approx(doubled.residuals)
        assert twice.statistic == pytest.approx(doubled.statistic)


def test_equal_workers_with_unequal_cells_are_flagged_no_more_often_than_asked():
    chance = random.Random(37)
    rounds, flagged = 300, 0
    for _ in range(rounds):
        sums = [Placed(Counted(0, 0), 0.0, 0.0)] * 4
        for rate in (0.9, 0.5, 0.2):
            sizes = [chance.randrange(10, 40) for _ in range(4)]
            groups = [Counted(sum(chance.random() < rate for _ in range(n)), n) for n in sizes]
            sums = [
                Placed(
                    Counted(s.counted.passed + p.counted.passed, s.counted.n + p.counted.n),
                    s.expected + p.expected,
                    s.variance + p.variance,
                )
                for s, p in zip(sums, placed(groups), strict=True)
            ]
        found = homogeneity_in_strata(sums, alpha=0.05)
        flagged += bool(found and found.flagged)
    assert flagged / rounds <= 0.09
