"""How far a run's figures can be trusted: labels, tries in a row, bounds, and what should not matter."""

import random

import pytest

from salvo_core.manifest.rows import Row
from salvo_core.run.reliability import reliability
from salvo_core.run.stopping import DECIDED
from salvo_core.run.summary import Summary, summarise
from salvo_core.run.workers import WORKERS_MAX
from salvo_core.stats.intervals import clopper_pearson, wilson
from salvo_core.stats.sequential import confidence_sequence
from tests.unit.run.builders import plan, row, rows


def summary(given, *, cells=1, trials=None, order=None):
    order = order or plan(trials=trials or len(given) // cells, cells=cells)
    return summarise(order, given, {}, started_ms=None, finished_ms=None, state="sealed")


def passes_and_fails(passes, fails, **more):
    return [row(i, "passed" if i < passes else "failed", **more) for i in range(passes + fails)]


def test_tries_in_a_row_are_told_for_each_k_that_the_trials_support():
    (cell,) = reliability(summary(passes_and_fails(8, 2)), (8, 1, 2, 11, 2)).cells
    assert [one.k for one in cell.tries] == [1, 2, 8]
    assert cell.tries[1].at_least_one == pytest.approx(1 - 1 / 45)
    assert cell.tries[1].every_one == pytest.approx(28 / 45)
    assert cell.tries[2].every_one == pytest.approx(1 / 45)
    assert all(one.every_one_low <= one.every_one <= one.every_one_high for one in cell.tries)


def test_the_interval_is_the_one_that_was_asked_for():
    run = summary(passes_and_fails(18, 2))
    (near,), (exact,) = reliability(run).cells, reliability(run, exact=True).cells
    assert (near.interval, near.pass_rate_low, near.pass_rate_high) == ("wilson", *wilson(18, 20))
    assert (exact.interval, exact.pass_rate_low) == ("clopper_pearson", clopper_pearson(18, 20).low)


def test_a_cell_that_stopped_early_has_an_interval_that_allows_for_it_and_tells_what_it_saved():
    order = plan(trials=30).model_copy(update={"early_stop": True})
    given = [row(0, "hard_fail")]
    given += [Row(i, "skipped", 0, order.trace_id(i), reason=DECIDED) for i in range(1, 30)]
    (cell,) = reliability(summary(given, order=order), exact=True).cells
    assert cell.interval == "always_valid"
    assert (cell.pass_rate_low, cell.pass_rate_high) == confidence_sequence(0, 1)
    assert cell.tries[0].every_one_low == cell.pass_rate_low
    assert cell.tries[0].every_one_high == cell.pass_rate_high
    assert cell.score_low is None
    assert (cell.saved_trials, cell.saved_usd) == (29, pytest.approx(0.29))
    assert (cell.missing, cell.all_low, cell.all_high) == (
        0,
        0,
        0,
    )  # what a decided cell skipped is not missing


def test_trials_without_a_grade_are_bounds():
    (cell,) = reliability(summary(rows(1, 1, 0, "infra_error", "cancelled"))).cells
    assert (cell.missing, cell.all_low, cell.all_high) == (2, 2 / 5, 4 / 5)
    (nothing,) = reliability(summary(rows("infra_error"))).cells
    assert (nothing.label, nothing.tries, nothing.score_low) == ("undetermined", (), None)


@pytest.mark.parametrize(
    ("passes", "fails", "label"),
    [(200, 0, "stable"), (0, 200, "stable failing"), (20, 20, "flaky"), (5, 0, "undetermined")],
    ids=["stable", "failing", "flaky", "undetermined"],
)
def test_a_cell_is_called_what_its_trials_prove(passes, fails, label):
    assert reliability(summary(passes_and_fails(passes, fails))).cells[0].label == label


def test_these_cells_and_their_population_are_two_questions():
    given = [row(i, "passed" if i % 2 or i < 6 else "failed") for i in range(40)]
    known = reliability(summary(given, cells=2))
    assert known.these_cells is not None
    assert known.population is not None
    assert known.these_cells.mean == known.population.mean == pytest.approx((3 / 20 + 1) / 2)
    assert known.population.low < known.these_cells.low
    alone = reliability(summary(passes_and_fails(3, 3)))
    assert (alone.these_cells is None, alone.population) == (False, None)


def test_models_of_one_scenario_are_no_population_of_scenarios():
    order = plan(trials=4, cells=2)
    first = order.cells[0]
    order = order.model_copy(update={"cells": (first, first.model_copy(update={"model": "other"}))})
    known = reliability(summary(rows(*[1] * 8), order=order))
    assert (known.population, known.these_cells is None) == (None, False)


def test_a_worker_that_skews_results_is_named_though_it_had_every_kind_of_cell():
    chance = random.Random(5)
    given = []
    for index in range(600):
        worker = f"w{chance.randrange(4)}"
        rate = (0.9, 0.6, 0.3)[index % 3] * (0.4 if worker == "w3" else 1)
        given.append(row(index, "passed" if chance.random() < rate else "failed", worker=worker))
    run = summary(given, cells=3)
    assert sum(one.scored for one in run.workers) == 600
    known = reliability(run)
    assert known.workers is not None
    assert known.workers.odd[0].worker == "w3"
    assert known.workers.odd[0].residual < -4
    assert known.workers.p < 1e-4


def test_a_worker_that_had_the_hard_cells_is_not_odd():
    given = [
        row(i, "passed" if i % 2 == 0 or i % 20 == 1 else "failed", worker=f"w{i % 2 if i % 8 else 0}")
        for i in range(400)
    ]  # every trial of cell 0 passes and a tenth of cell 1, and w1 had hardly any of cell 0
    known = reliability(summary(given, cells=2))
    assert known.workers is None or not known.workers.odd


def test_workers_are_kept_up_to_a_bound_those_of_most_trials_first():
    given = [row(i, worker=f"w{i if i else 1:03}") for i in range(WORKERS_MAX + 20)]
    kept = summary(given).workers
    assert len(kept) == WORKERS_MAX
    assert (kept[0].worker, kept[0].scored) == ("w001", 2)


@pytest.mark.parametrize(("passes", "differs"), [(2, True), (18, False)], ids=["rarely", "alike"])
def test_retried_trials_that_come_out_otherwise_are_told(passes, differs):
    given = [row(i, "passed" if i < passes else "failed", retries=1) for i in range(20)]
    given += [row(20 + i, "passed" if i < 90 else "failed") for i in range(100)]
    known = reliability(summary(given))
    assert known.retries is not None
    assert (known.retries.passed, known.retries.scored) == (passes, 20)
    assert (known.retries.never_passed, known.retries.never_scored) == (90, 100)
    assert known.retries.differs is differs


def test_an_older_summary_is_answered_as_far_as_it_can_be():
    document = summary(rows(1, 0.5, 1)).model_dump(mode="json")
    del document["workers"]
    (cell,) = document["cells"]
    del cell["retried_scored"], cell["retried_passed"], cell["score"]["sd"]
    known = reliability(Summary.model_validate(document))
    assert (known.workers, known.retries, known.cells[0].score_low) == (None, None, None)
    assert known.cells[0].tries
