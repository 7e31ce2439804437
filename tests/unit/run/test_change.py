"""A candidate against a baseline: what counts as changed, what does not, and what cannot be told."""

import random

import pytest

from salvo_core.manifest.rows import Row
from salvo_core.run.change import Demands, Side, change
from salvo_core.run.pairing import pairs_of, unlike
from salvo_core.run.stopping import DECIDED
from tests.unit.run.builders import plan, row

BASELINE_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c333"


def rows(order, *cells):
    """Return rows of an order: per cell (passes, fails), what is left over is missing."""
    found = []
    for index in range(order.total):
        passes, fails = cells[order.cell_index(index)]
        trial = order.trial_index(index)
        if trial < passes:
            found.append(row(index))
        elif trial < passes + fails:
            found.append(row(index, "failed", 0.0, failed=((0, 0.0),)))
        else:
            found.append(row(index, "infra_error"))
    return found


def changed(now, before, *, trials=100, demands=None, **cells):
    candidate = plan(trials=trials, **cells)
    baseline = candidate.model_copy(update={"run_id": BASELINE_ID})
    return change(
        Side(candidate, rows(candidate, *now)), Side(baseline, rows(baseline, *before)), demands or Demands()
    )


def stopped(order, passes, fails):
    """Return rows of a run of one cell that a rule decided after these trials."""
    ended = rows(order, (passes, fails))[: passes + fails]
    left = range(passes + fails, order.total)
    return ended + [Row(index, "skipped", 0, order.trace_id(index), reason=DECIDED) for index in left]


def against(now, before, *, trials=50):
    order = plan(trials=trials)
    baseline = order.model_copy(update={"run_id": BASELINE_ID})
    return change(Side(order, now(order)), Side(baseline, before(baseline)))


def test_a_run_that_stopped_early_is_judged_by_what_holds_whatever_stopped_it():
    fell = against(lambda order: stopped(order, 3, 12), lambda order: rows(order, (48, 2)))
    (cell,) = fell.cells
    assert (fell.verdict, cell.interval, cell.detectable) == ("REGRESSED", "always_valid", None)
    assert (cell.now.decided, cell.now.missing, cell.before.decided) == (35, 0, 0)
    assert "whatever stopped it early" in cell.reason
    assert cell.moved is not None
    rose = against(lambda order: rows(order, (50, 0)), lambda order: stopped(order, 3, 12))
    assert rose.verdict == "IMPROVED"


def test_a_run_that_stopped_too_early_to_tell_says_so_and_what_would():
    found = against(lambda order: stopped(order, 12, 3), lambda order: rows(order, (48, 2)))
    assert found.verdict == "INCONCLUSIVE"
    assert found.reason == (
        "96% then, 80% now, but the candidate stopped early after 15 of 50 trials, which leaves -62 to +10 "
        "points (90% interval): run it without --early-stop to tell"
    )
    both = against(lambda order: stopped(order, 12, 3), lambda order: stopped(order, 14, 0))
    assert "the candidate stopped early after 15 of 50 trials and the baseline stopped" in both.reason


def test_trials_that_a_stopped_run_lost_could_still_explain_a_fall():
    def lossy(order):
        lost = [row(index, "infra_error") for index in range(15, 49)]
        return [*stopped(order, 0, 15)[:15], *lost, *stopped(order, 0, 15)[49:]]

    found = against(lossy, lambda order: rows(order, (36, 14)))
    assert (found.verdict, found.cells[0].now.decided) == ("INCONCLUSIVE", 1)
    assert "without a grade" in found.reason


def mixed(*cells, before, trials=500):
    """Compare runs of several cells: (passes, fails), and what is left over was skipped as decided."""
    order = plan(trials=trials, cells=len(cells))
    baseline = order.model_copy(update={"run_id": BASELINE_ID})
    found = [
        Row(one.index, "skipped", 0, one.trace_id, reason=DECIDED) if one.status == "infra_error" else one
        for one in rows(order, *cells)
    ]
    return change(Side(order, found), Side(baseline, rows(baseline, *before)))


def test_a_cell_that_stopped_is_left_out_of_the_mean_and_is_not_hidden_by_it():
    found = mixed((480, 20), (12, 3), before=[(480, 20), (480, 20)])
    assert [cell.verdict for cell in found.cells] == ["SAME", "INCONCLUSIVE"]
    assert found.difference == 0
    assert found.verdict == "INCONCLUSIVE"
    assert "over the 1 cells that ran" not in found.reason
    assert "1 that stopped early cannot tell" in found.reason


def test_cells_that_all_stopped_speak_each_for_itself():
    assert mixed((99, 1), (99, 1), before=[(300, 200)] * 2).verdict == "IMPROVED"
    nothing = mixed((12, 3), (12, 3), before=[(480, 20)] * 2)
    assert (nothing.verdict, nothing.difference) == ("INCONCLUSIVE", None)
    assert nothing.reason.startswith("every cell stopped early, so there is nothing to take a mean of")


def test_a_clear_fall_is_a_regression_with_two_traces_to_open():
    found = changed([(70, 30)], [(95, 5)])
    (cell,) = found.cells
    assert (found.verdict, cell.verdict) == ("REGRESSED", "REGRESSED")
    assert cell.difference == pytest.approx(-0.25)
    assert cell.difference_high < 0
    assert cell.p_worse < 0.001
    assert cell.moved is not None
    assert (cell.moved.failed, cell.moved.failed_before) == (30, 5)
    assert cell.moved.trace_id
    assert cell.moved.trace_id_before


def test_a_fall_within_the_margin_is_none_however_sure():
    found = changed([(9700, 300)], [(9900, 100)], trials=10_000)
    assert found.cells[0].p_worse < 1e-6
    assert found.verdict == "SAME"


def test_reasons_speak_of_points_as_the_margin_was_given_and_never_round_a_miss_away():
    found = changed(
        [(298, 2), (299, 1)], [(300, 0), (299, 1)], trials=300, demands=Demands(margin=0.025), cells=2
    )
    assert found.cells[0].reason == "100% then, 99% now: not worse by 2.5 points"
    assert found.reason == "-0.3 points over all cells: not worse by 2.5 points"
    few = changed([(9, 1)], [(9, 1)], trials=10, demands=Demands(margin=0.01))
    assert few.reason.endswith("too few trials to tell a fall of 1 point from chance")


def test_few_trials_cannot_tell_and_it_is_said_what_they_could_have():
    found = changed([(18, 2)], [(20, 0)], trials=20)
    (cell,) = found.cells
    assert found.verdict == "INCONCLUSIVE"
    assert "too few trials" in cell.reason
    assert cell.detectable is not None
    assert cell.detectable > 0.1


def test_a_rise_is_an_improvement():
    assert changed([(95, 5)], [(70, 30)]).verdict == "IMPROVED"


def test_the_same_again_is_the_same_when_there_were_enough():
    assert changed([(480, 20)], [(481, 19)], trials=500).verdict == "SAME"


def test_a_fall_that_lost_trials_could_explain_is_no_regression():
    found = changed([(51, 9)], [(95, 5)])
    assert found.verdict == "INCONCLUSIVE"
    assert "without a grade" in found.cells[0].reason


def test_a_rise_that_lost_trials_could_explain_is_no_improvement():
    assert changed([(65, 0)], [(70, 30)]).verdict == "INCONCLUSIVE"


def test_without_any_grade_nothing_is_known():
    found = changed([(0, 0)], [(95, 5)])
    assert found.verdict == "INCONCLUSIVE"
    assert found.cells[0].difference is None


def test_small_falls_of_many_cells_are_one_regression():
    cells = {"cells": 12}
    found = changed([(32, 8)] * 12, [(37, 3)] * 12, trials=40, **cells)
    assert {cell.verdict for cell in found.cells} == {"INCONCLUSIVE"}
    assert found.verdict == "REGRESSED"
    assert "no cell alone" in found.reason


def test_cells_that_differ_by_chance_alone_page_nobody():
    chance = random.Random(20261124)
    rounds, alarms, demands = 200, 0, Demands()

    def drawn():
        passes = [sum(chance.random() < 0.85 for _ in range(20)) for _ in range(10)]
        return [(passed, 20 - passed) for passed in passes]

    for _ in range(rounds):
        alarms += changed(drawn(), drawn(), trials=20, demands=demands, cells=10).verdict == "REGRESSED"
    assert alarms / rounds <= 0.12  # alpha for the cells, alpha for the whole


def test_two_models_are_compared_where_each_run_has_one():
    candidate = plan(trials=2)
    other = candidate.model_copy(
        update={"cells": tuple(cell.model_copy(update={"model": "gpt-next"}) for cell in candidate.cells)}
    )
    assert pairs_of(other, candidate) == [(0, 0)]


def test_what_is_graded_otherwise_is_told():
    candidate = plan(trials=2)
    (cell,) = candidate.cells
    edited = candidate.model_copy(
        update={"cells": (cell.model_copy(update={"scenario_digest": "f" * 64, "agent_digest": ""}),)}
    )
    stricter = candidate.model_copy(update={"cells": (cell.model_copy(update={"threshold": 0.99}),)})
    assert unlike(candidate, candidate) == []
    assert "asked something else" in unlike(edited, candidate)[0]
    assert "threshold" in unlike(stricter, candidate)[0]


def test_cells_without_a_counterpart_are_listed():
    candidate = plan(trials=2, cells=2)
    baseline = candidate.model_copy(update={"cells": candidate.cells[:1]})
    found = change(Side(candidate, []), Side(baseline, []))
    assert len(found.cells) == 1
    assert found.added == (candidate.cells[1].label,)
    assert found.removed == ()


def test_the_same_rows_give_the_same_bytes():
    once, again = changed([(70, 30)], [(95, 5)]), changed([(70, 30)], [(95, 5)])
    assert once.model_dump_json() == again.model_dump_json()


def test_a_cell_that_lost_all_its_trials_is_not_hidden_by_the_others():
    found = changed([(490, 10), (0, 0)], [(490, 10), (490, 10)], trials=500, cells=2)
    assert found.cells[0].verdict == "SAME"
    assert found.verdict == "INCONCLUSIVE"


def test_a_fall_over_all_cells_that_lost_trials_could_explain_is_no_regression():
    kept, lost = [(30, 8)] * 12, [(26, 4)] * 12
    before = [(37, 3)] * 12
    assert changed(kept, before, trials=40, cells=12).verdict == "REGRESSED"
    found = changed(lost, before, trials=40, cells=12)
    assert found.p_worse < 0.05
    assert found.verdict == "INCONCLUSIVE"
    assert "without a grade" in found.reason


def test_no_assertion_is_blamed_that_did_not_fail_more_often():
    order = plan(trials=40)
    baseline = order.model_copy(update={"run_id": BASELINE_ID})
    silent = [row(index, "failed" if index < 30 else "passed") for index in range(40)]
    found = change(Side(order, silent), Side(baseline, rows(baseline, (40, 0))))
    assert found.verdict == "REGRESSED"
    assert found.cells[0].moved is None
