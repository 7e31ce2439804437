"""What a cell that was stopped early comes to: its verdict, its sentence, the same bytes twice."""

import random

import pytest

from salvo_core.manifest.rows import Row
from salvo_core.run.stopping import DECIDED
from salvo_core.run.summary import Summary, summarise
from tests.unit.run.builders import plan, row, rows


def stopped(given, trials, *, reason=DECIDED, early_stop=True):
    """The summary of a cell of which the trials after the given ones were skipped."""
    order = plan(trials=trials).model_copy(update={"early_stop": early_stop})
    skipped = [Row(i, "skipped", 0, order.trace_id(i), reason=reason) for i in range(len(given), trials)]
    ended = [*given, *skipped]
    random.Random(7).shuffle(ended)
    return summarise(order, ended, {}, started_ms=1_000, finished_ms=5_000, state="sealed")


def test_an_average_out_of_reach_is_a_fail_and_not_inconclusive():
    (cell,) = stopped(rows(0, 0, 0), 10).cells
    assert (cell.verdict, cell.verdict_allow_infra) == ("FAIL", "FAIL")
    assert cell.reason == (
        "average score stays below the threshold 0.80: no result from 7 of 10 trials, and even perfect "
        "scores there would make it 0.70; stopped early after 3 of 10 trials, 7 skipped"
    )


def test_with_a_pass_among_the_trials_it_is_partial():
    assert stopped(rows(1, 0, 0, 0), 10).cells[0].verdict == "PARTIAL"


def test_a_hard_fail_stays_one_whatever_was_skipped():
    summary = stopped([row(0), row(1, "hard_fail", 0.9)], 5)
    assert (summary.verdict, summary.exit_code) == ("HARD FAIL", 2)
    assert summary.reason == (
        "1 of 5 trials failed a required assertion; stopped early after 2 of 5 trials, 3 skipped"
    )


def test_an_infrastructure_error_before_the_stop_is_reported_first_and_the_rest_can_be_judged():
    (cell,) = stopped([row(0, "infra_error"), *[row(i, "failed", 0.0) for i in (1, 2)]], 6).cells
    assert (cell.verdict, cell.verdict_allow_infra) == ("INFRA_ERROR", "FAIL")
    assert cell.early_stop.after == 3


@pytest.mark.parametrize(("reason", "early_stop"), [("budget", True), ("budget", False)])
def test_trials_skipped_for_another_reason_leave_the_verdict_open(reason, early_stop):
    (cell,) = stopped(rows(1, 1, 1), 10, reason=reason, early_stop=early_stop).cells
    assert (cell.verdict, cell.early_stop, cell.skipped) == ("INCONCLUSIVE", None, {reason: 7})


def test_the_same_rows_give_the_same_bytes_and_a_summary_of_before_can_be_read():
    once, again = stopped(rows(0, 0, 0), 10), stopped(rows(0, 0, 0), 10)
    assert once.encode() == again.encode()
    assert Summary.decode(once.encode()[0], "x").cells[0].early_stop.after == 3
    before = once.model_dump(mode="json")
    for name in ("skipped", "early_stop"):
        del before["cells"][0][name]
    assert Summary.model_validate(before).cells[0].early_stop is None
