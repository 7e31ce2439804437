"""Verdicts then and now, which trials flipped and why, from two manifests alone."""

import pytest

from salvo_core.errors import ObjectCorrupt
from salvo_core.run.comparison import FLIPS_MAX, Comparison, Side, compare
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.plan import Rescore
from tests.unit.run.builders import RUN_ID, plan, row

REEVAL_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c222"
LABELS = ("first", "second")


def facts(*labels, required=()):
    return {0: tuple(AssertionFacts(label, required=label in required) for label in labels)}


def reeval_of(source, *, threshold=0.8, assertions=LABELS, index=None, **more):
    cells = [
        cell.model_copy(update={"threshold": threshold, "assertions": assertions}) for cell in source.cells
    ]
    if index is not None:
        cells, more = (
            [cells[source.cell_index(index)]],
            {"trials": 1, "trace_ids": (source.trace_id(index),)} | more,
        )
    update = {"run_id": REEVAL_ID, "cells": tuple(cells), "rescore": Rescore(run_id=RUN_ID, index=index)}
    return source.model_copy(update=update | more)


def compared(then, now, *, before=None, after=None, threshold=0.8, labels=LABELS):
    source = plan(trials=len(then))
    return compare(
        Side(source, then, before or facts(*LABELS)),
        Side(reeval_of(source, threshold=threshold, assertions=labels), now, after or facts(*labels)),
    )


def why(comparison):
    return [(reason.why, reason.what) for flip in comparison.flips for reason in flip.reasons]


def test_nothing_flips_when_every_status_is_what_it_was():
    same = [row(0), row(1, "failed", 0.5, failed=((0, 0.0),)), row(2, "infra_error")]
    found = compared(same, same)
    assert (found.flipped, found.flips, found.changes, found.reasons) == (0, (), {}, ())
    assert found.verdict_before == found.verdict_after == "INFRA_ERROR"


def test_an_assertion_that_fails_now_and_one_that_does_so_no_more():
    then = [row(0), row(1, "failed", 0.0, failed=((1, 0.0),))]
    now = [row(0, "failed", 0.5, failed=((0, 0.0),)), row(1)]
    found = compared(then, now)
    assert why(found) == [("newly_failing", "first"), ("no_longer_failing", "second")]
    assert found.changes == {"failed > passed": 1, "passed > failed": 1}
    assert (found.cells[0].before.passed, found.cells[0].after.score_mean) == (1, 0.75)


def test_an_edited_assertion_is_one_that_is_gone_and_one_that_is_new():
    then, now = [row(0, "failed", 0.0, failed=((0, 0.0),))], [row(0)]
    assert why(compared(then, now, labels=("edited", "second"))) == [("removed", "first")]
    now = [row(0, "hard_fail", 0.0, failed=((0, 0.0),))]
    assert why(compared(then, now, labels=("edited", "second"))) == [
        ("newly_failing", "edited"),
        ("removed", "first"),
    ]


def test_another_threshold_flips_a_trial_of_the_same_score():
    then, now = [row(0, "passed", 0.8)], [row(0, "failed", 0.8)]
    assert why(compared(then, now, threshold=0.9)) == [("threshold", "0.8 > 0.9")]


def test_an_assertion_that_is_required_now_makes_a_fail_hard():
    failed = {"failed": ((0, 0.0),)}
    then, now = [row(0, "failed", 0.5, **failed)], [row(0, "hard_fail", 0.5, **failed)]
    assert why(compared(then, now, after=facts(*LABELS, required=("first",)))) == [("required", "first")]


def test_other_weights_are_what_is_left_to_explain_a_flip():
    failed = {"failed": ((0, 0.0),)}
    assert why(compared([row(0, "passed", 0.9, **failed)], [row(0, "failed", 0.5, **failed)])) == [
        ("weights", "")
    ]


def test_a_flip_that_may_be_redactions_doing_says_so():
    then = [row(0), row(1)]
    now = [row(0, "failed", 0.5, failed=((1, 0.0),), struck_out=(1,)), row(1, struck_out=(1,))]
    assert why(compared(then, now)) == [("newly_failing", "second"), ("struck_out", "second")]
    then = [row(0, "failed", 0.5, failed=((0, 0.0),))]
    now = [row(0, struck_out=(1,))]
    assert why(compared(then, now)) == [("no_longer_failing", "first"), ("struck_out", "second")]


def test_votes_that_came_out_otherwise_are_told_beside_the_assertion():
    then = [row(0, judged=((1, 3, 3, 2),))]
    now = [row(0, "failed", 0.5, failed=((1, 0.4),), judged=((1, 3, 3, 1),))]
    assert why(compared(then, now)) == [("newly_failing", "second"), ("judge", "second: 2/3 of 3 > 1/3 of 3")]


def test_a_trial_without_a_grade_now_and_one_that_has_its_judge_now():
    then = [row(0), row(1, "infra_error", error="judge"), row(2)]
    now = [row(0, "infra_error", error="store"), row(1), row(2, "cancelled")]
    assert why(compared(then, now)) == [("ungraded", "store"), ("judged", ""), ("ungraded", "cancelled")]


def test_flips_are_listed_by_index_up_to_a_bound_and_counted_beyond_it():
    count = FLIPS_MAX + 5
    found = compared(
        [row(i) for i in range(count)], [row(i, "failed", 0.0, failed=((0, 0.0),)) for i in range(count)]
    )
    assert (found.flipped, len(found.flips)) == (count, FLIPS_MAX)
    assert [flip.index for flip in found.flips] == list(range(FLIPS_MAX))
    assert [(one.why, one.what, one.flips) for one in found.reasons] == [("newly_failing", "first", count)]


def test_one_trial_is_compared_with_its_own_row_and_cell():
    source = plan(trials=2, cells=3)
    then, now = row(4), row(0, "failed", 0.0, failed=((0, 0.0),))
    now = type(now)(0, "failed", 1, then.trace_id, result=now.result)
    found = compare(
        Side(source, [then], {1: facts("a", "b")[0]}),
        Side(reeval_of(source, index=4), [now], facts("a", "b")),
    )
    assert (found.index, found.flips[0].index, found.flips[0].trial, found.flips[0].cell) == (4, 4, 1, 0)
    assert found.cells[0].scenario_name == "scenario 1"


def test_rows_of_other_trials_are_refused():
    with pytest.raises(ValueError, match="not of"):
        compared([row(0), row(1)], [row(0), row(2)])


def test_the_same_manifests_give_the_same_bytes_and_what_is_damaged_is_refused():
    then = [row(0), row(1, "failed", 0.0, failed=((1, 0.0),))]
    now = [row(0, "failed", 0.5, failed=((0, 0.0),)), row(1)]
    stored = compared(then, now).encode()
    assert stored == compared(then, now).encode()
    assert Comparison.decode(stored, "here") == compared(then, now)
    with pytest.raises(ObjectCorrupt):
        Comparison.decode(stored.replace(b"first", b"worst"), "here")
