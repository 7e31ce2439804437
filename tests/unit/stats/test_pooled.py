"""The mean over cells, as an estimate of two different things."""

import random

import pytest

from salvo_core.stats.pooled import Counted, of_their_population, of_these_cells


def test_these_cells_have_only_their_own_noise():
    pooled = of_these_cells([Counted(18, 20), Counted(10, 20)])
    assert pooled is not None
    assert pooled.mean == pytest.approx(0.7)
    assert pooled.se == pytest.approx(((0.9 * 0.1 / 19 + 0.5 * 0.5 / 19) ** 0.5) / 2)


def test_their_population_differs_between_cells_too():
    pooled = of_their_population([Counted(18, 20), Counted(10, 20), Counted(20, 20)])
    assert pooled is not None
    assert pooled.se == pytest.approx(0.1527525)
    assert pooled.interval.low == pytest.approx(0.8 - 4.302653 * 0.1527525, abs=1e-5)


def test_cells_without_repetition_have_no_noise_to_measure():
    assert of_these_cells([Counted(1, 1), Counted(5, 5)]) is None
    assert of_these_cells([]) is None
    assert of_their_population([Counted(5, 5)]) is None


def test_an_unbroken_row_of_passes_is_not_certainty():
    pooled = of_these_cells([Counted(10, 10)] * 5)
    assert pooled is not None
    assert pooled.mean == 1
    assert 0.9 < pooled.interval.low < 0.99


def test_the_interval_of_these_cells_covers_the_mean_of_their_true_rates():
    chance = random.Random(20261124)
    covered, rounds = 0, 2000
    rates = [0.95, 0.9, 0.7, 0.5, 0.85, 0.99, 0.8, 0.6]
    for _ in range(rounds):
        cells = [Counted(sum(chance.random() < rate for _ in range(20)), 20) for rate in rates]
        pooled = of_these_cells(cells)
        assert pooled is not None
        covered += pooled.interval.low <= sum(rates) / len(rates) <= pooled.interval.high
    assert 0.93 <= covered / rounds <= 0.985


@pytest.mark.parametrize(
    "cells", [[Counted(40, 40)] * 2, [Counted(0, 9)] * 2, [Counted(3, 10), Counted(6, 20)]]
)
def test_cells_of_one_rate_promise_nothing_certain_of_others(cells):
    found = of_their_population(cells)
    assert found is not None
    assert found.interval.high - found.interval.low == pytest.approx(
        1 - 0.05**0.5
    )  # of two unseen, any table
    assert found.interval.low <= found.mean <= found.interval.high
