"""A gate on the pass rate: passed only where the trials prove it, decided early only with a stated error."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.gate import Gate
from salvo_core.run.sequential import Evidence, Sequential
from salvo_core.run.stopping import DECIDED, Curtailment, first_stop, rule_of
from salvo_core.run.summary import summarise
from salvo_core.run.verdict import cell_verdict
from salvo_core.stats.sequential import confidence_sequence
from tests.unit.run.builders import Row, plan, row

GATE = Gate(pass_rate=0.8)
SPRT = Sequential(rule="sprt", indifference=0.1)


def ended(passes, fails, infra=0):
    kinds = ["passed"] * passes + ["failed"] * fails + ["infra_error"] * infra
    return [row(index, kind) for index, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("passes", "fails", "verdict"),
    [(20, 0, "PASS"), (15, 0, "INCONCLUSIVE"), (48, 2, "PASS"), (10, 10, "PARTIAL"), (0, 20, "FAIL")],
)
def test_a_gate_is_passed_where_the_interval_clears_it(passes, fails, verdict):
    assert cell_verdict(ended(passes, fails), 0.5, gate=GATE).verdict == verdict


def test_the_average_score_decides_nothing_about_a_gate():
    rows = [row(index, "failed", 0.79) for index in range(30)]
    assert cell_verdict(rows, 0.5).verdict == "FAIL"  # none passed, though the average reaches it
    assert cell_verdict(ended(24, 6), 0.5, gate=GATE).verdict == "INCONCLUSIVE"
    assert cell_verdict(ended(24, 6), 0.5).verdict == "PASS"


def test_trials_without_a_result_count_against_either_answer():
    assert cell_verdict(ended(30, 0), 0.5, trials=30, gate=GATE).verdict == "PASS"
    ruling = cell_verdict(ended(30, 0), 0.5, trials=45, gate=GATE)
    assert ruling.verdict == "INCONCLUSIVE"
    assert "no result from 15" in ruling.reason


def test_an_end_of_the_interval_that_misses_the_gate_by_a_hair_is_not_shown_as_the_gate():
    ruling = cell_verdict(ended(15, 0), 0.5, gate=GATE)
    assert ruling.verdict == "INCONCLUSIVE"
    assert "the pass rate is 0.80 to" not in ruling.reason
    assert "the pass rate is 0.79" in ruling.reason


def test_a_rule_that_could_not_decide_says_which_interval_kept_it_from_it():
    order = plan(trials=60)
    (cell,) = order.cells
    rule = Sequential(rule="confidence")
    order = order.model_copy(
        update={"cells": (cell.model_copy(update={"gate": GATE}),), "early_stop": True, "sequential": rule}
    )
    kinds = ["failed" if index in (5, 15, 25, 35) else "passed" for index in range(60)]
    found = summarised(order, [row(index, kind) for index, kind in enumerate(kinds)])
    assert found.verdict == "INCONCLUSIVE"
    low, high = confidence_sequence(56, 60)
    assert found.pass_rate_low > GATE.pass_rate > low  # of fixed numbers it would have cleared the gate
    assert f"always-valid, alpha 0.05, gives {low:.2f} to {high:.2f}" in found.reason


def test_infrastructure_and_hard_fails_come_first():
    assert cell_verdict(ended(50, 0, infra=1), 0.5, gate=GATE).verdict == "INFRA_ERROR"
    assert cell_verdict([*ended(50, 0), row(50, "hard_fail")], 0.5, gate=GATE).verdict == "HARD FAIL"


@given(st.lists(st.sampled_from(["passed", "failed", "infra_error"]), min_size=2, max_size=60))
def test_a_curtailed_gate_could_not_have_been_passed(kinds):
    trials = [(kind, 1.0 if kind == "passed" else 0.0) for kind in kinds]
    stop = first_stop(Curtailment(len(trials), 0.5, GATE), trials)
    if stop is not None:
        best = kinds[: stop.after] + ["passed"] * (len(kinds) - stop.after)
        rows = [row(index, kind) for index, kind in enumerate(best)]
        assert cell_verdict(rows, 0.5, gate=GATE, allow_infra=True).verdict != "PASS"


@pytest.mark.parametrize("rule", ["sprt", "confidence"])
def test_a_sequential_rule_decides_both_ways_and_passes_over_infrastructure(rule):
    good = Evidence(Sequential(rule=rule, indifference=0.1), GATE)
    bad = Evidence(Sequential(rule=rule, indifference=0.1), GATE)
    for _ in range(200):
        good.add("infra_error")
        assert good.decision is None or good.decision == "good"
        good.add("passed")
        bad.add("failed")
    assert (good.decision, bad.decision) == ("good", "bad")


@pytest.mark.parametrize(("rate", "wrong"), [(0.7, "good"), (0.9, "bad")])
def test_the_sequential_test_errs_no_more_often_than_it_says(rate, wrong):
    chance = random.Random(41)
    rounds, errors = 3000, 0
    for _ in range(rounds):
        evidence = Evidence(SPRT, GATE)
        while evidence.add("passed" if chance.random() < rate else "failed") is None:
            pass
        errors += evidence.decision == wrong
    assert errors / rounds <= 0.055


@pytest.mark.parametrize(("rate", "wrong"), [(0.8, "bad"), (0.799, "good")])
def test_the_always_valid_rule_is_wrong_at_the_gate_itself_rarely(rate, wrong):
    chance = random.Random(43)
    rounds, errors = 400, 0
    for _ in range(rounds):
        evidence = Evidence(Sequential(rule="confidence"), GATE)
        for _ in range(300):
            if evidence.add("passed" if chance.random() < rate else "failed"):
                break
        errors += evidence.decision == wrong
    assert errors / rounds <= 0.05


def summarised(order, rows):
    return summarise(order, rows, {}, started_ms=None, finished_ms=None, state="sealed").cells[0]


def decided_run(kind, *, ran):
    order = plan(trials=100)
    (cell,) = order.cells
    order = order.model_copy(
        update={"cells": (cell.model_copy(update={"gate": GATE}),), "early_stop": True, "sequential": SPRT}
    )
    rows = [row(index, kind) for index in range(ran)]
    rows += [Row(i, "skipped", 0, order.trace_id(i), reason=DECIDED) for i in range(ran, 100)]
    return order, rows


@pytest.mark.parametrize(("kind", "verdict"), [("passed", "PASS"), ("failed", "FAIL")])
def test_what_a_sequential_rule_decided_is_the_cells_verdict(kind, verdict):
    order, rows = decided_run(kind, ran=20)
    cell = summarised(order, rows)
    assert cell.verdict == verdict
    assert cell.early_stop is not None
    assert cell.early_stop.rule == "sprt"
    assert "decided" in cell.reason
    assert "alpha 0.05" in cell.reason
    assert f"{cell.skipped[DECIDED]} skipped" in cell.reason


def test_trials_that_were_over_before_a_decision_leave_it_open():
    order, _ = decided_run("passed", ran=1)
    order = order.model_copy(update={"trials": 4})
    cell = summarised(order, [row(index) for index in range(4)])
    assert cell.verdict == "INCONCLUSIVE"
    assert cell.early_stop is None


def test_the_rule_of_a_cell_is_the_plans():
    order, _ = decided_run("passed", ran=1)
    assert type(rule_of(order, 0)).__name__ == "Deciding"
    assert type(rule_of(plan(), 0)).__name__ == "Curtailment"


@pytest.mark.parametrize(
    ("gate", "rule", "problem"),
    [
        (None, "sprt", "average score"),
        (Gate(pass_rate=0.98), "sprt", "no room"),
        (Gate(pass_rate=0.98), "confidence", ""),
        (Gate(pass_rate=0.9), "sprt", ""),
    ],
)
def test_what_cannot_be_decided_is_said(gate, rule, problem):
    told = Sequential(rule=rule).problem(gate)
    assert problem in told
    assert bool(told) == bool(problem)
