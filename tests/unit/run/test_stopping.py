"""Where a cell may stop: never before its verdict is certain, and the same however its trials ended."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.manifest.rows import Row
from salvo_core.run.stopping import DECIDED, Curtailment, StopFold, first_stop
from salvo_core.run.verdict import cell_verdict
from tests.unit.run.builders import plan, row

statuses_and_scores = st.one_of(
    st.floats(0, 1).map(lambda score: ("passed" if score >= 0.8 else "failed", score)),
    st.sampled_from([("passed", 1.0), ("failed", 0.0), ("failed", 0.7), ("infra_error", None)]),
    st.floats(0, 1).map(lambda score: ("hard_fail", score)),
)
cells = st.lists(statuses_and_scores, min_size=1, max_size=12)
thresholds = st.sampled_from([0.0, 0.5, 0.7, 0.8, 1.0]) | st.floats(0, 1)


def stopped(trials, ended, threshold=0.8):
    """Where a cell of so many trials stops, given its first ones: a status, or a score."""
    given_trials = [
        (one, 0.0 if one == "hard_fail" else None) if isinstance(one, str) else ("failed", one)
        for one in ended
    ]
    return first_stop(Curtailment(trials, threshold), given_trials)


def test_t42_ten_zeros_at_four_fifths_are_decided_after_three():
    assert stopped(10, [0, 0]) is None  # eight perfect scores of ten would be enough
    found = stopped(10, [0, 0, 0])
    assert (found.after, found.rule) == (3, "unreachable")
    assert (
        found.reason == "perfect scores in all others would make the average 0.70, below the threshold 0.80"
    )
    assert found.told(10, 7) == "stopped early after 3 of 10 trials, 7 skipped"


def test_t42_a_hard_fail_stops_at_once_and_is_named():
    found = stopped(5, [1, "hard_fail"])
    assert (found.after, found.rule) == (2, "hard_fail")
    assert found.reason == "trial 1, the last of them, failed a required assertion"
    assert stopped(5, ["hard_fail"]).reason == "trial 0 failed a required assertion"


def test_t42_three_trials_of_which_the_first_scores_nothing_stop_after_it():
    assert stopped(3, [0]).after == 1


@pytest.mark.parametrize("last", ["hard_fail", 0, "infra_error"])
def test_t42_after_the_last_trial_there_is_nothing_to_stop(last):
    assert stopped(3, [1, 1, last]) is None
    assert stopped(1, [last]) is None


def test_t43_an_infrastructure_error_counts_neither_way():
    assert stopped(3, ["infra_error"]) is None
    assert stopped(3, ["infra_error", 1]) is None
    assert stopped(3, ["infra_error", 0]).after == 2
    assert stopped(3, ["infra_error", 0]).reason.startswith("perfect scores in all others would make")
    assert stopped(9, ["infra_error"] * 8) is None


def test_what_only_rounding_puts_below_the_threshold_goes_on():
    # (0.1 + 8) / 9 is 0.9 in numbers and a hair below it in floats.
    assert (0.1 + 8) / 9 < 0.9
    assert stopped(9, [0.1], threshold=0.9) is None
    assert stopped(9, [0.1], threshold=0.9000001).after == 1


def test_trials_behind_one_that_goes_on_are_not_looked_at():
    ended = [("failed", 0.0), ("running", None), ("hard_fail", 0.0), ("failed", 0.0), ("failed", 0.0)]
    assert first_stop(Curtailment(10, 0.8), ended) is None


def test_a_cancelled_trial_might_have_been_perfect():
    assert stopped(10, [0, 0, "cancelled"]) is None
    assert stopped(10, [0, 0, "cancelled", 0]).after == 4


@given(cells, thresholds)
def test_a_cell_that_could_still_have_passed_is_never_stopped(trials, threshold):
    found = first_stop(Curtailment(len(trials), threshold), trials)
    if found is None:
        return
    assert found.after < len(trials)
    perfect = [("passed", 1.0)] * (len(trials) - found.after)
    for rest in (trials[found.after :], perfect):
        whole = [*trials[: found.after], *rest]
        ended = [row(index, status, score) for index, (status, score) in enumerate(whole)]
        if any(status != "infra_error" for status, _ in whole):
            assert cell_verdict(ended, threshold, allow_infra=True).verdict != "PASS"


@given(cells, thresholds)
def test_it_stops_at_the_first_trial_after_which_nothing_could_help(trials, threshold):
    found = first_stop(Curtailment(len(trials), threshold), trials)
    for after in range(1, found.after if found else len(trials)):
        perfect = [("passed", 1.0)] * (len(trials) - after)
        best = [
            row(index, status, score) for index, (status, score) in enumerate([*trials[:after], *perfect])
        ]
        assert cell_verdict(best, threshold, allow_infra=True).verdict == "PASS"


@given(cells, thresholds, st.randoms(use_true_random=False))
def test_what_a_report_says_does_not_depend_on_the_order_in_which_trials_ended(trials, threshold, chance):
    found = first_stop(Curtailment(len(trials), threshold), trials)
    after = found.after if found else len(trials)
    ran = after + chance.randint(0, len(trials) - after)  # some were under way when it was decided
    order = plan(trials=len(trials))
    rows = [row(index, status, score) for index, (status, score) in enumerate(trials[:ran])]
    rows += [
        Row(index, "skipped", 0, order.trace_id(index), reason=DECIDED) for index in range(ran, len(trials))
    ]
    random.Random(chance.random()).shuffle(rows)
    fold = StopFold(plan(trials=len(trials), threshold=threshold), 0)
    for one in rows:
        fold.add(one, one.index)
    assert fold.skipped == ({DECIDED: len(trials) - ran} if ran < len(trials) else {})
    assert fold.stop() == (found if ran < len(trials) else None)


def test_rows_that_were_skipped_for_another_reason_are_no_early_stop():
    fold = StopFold(plan(trials=3), 0)
    fold.add(row(0, "failed", 0.0), 0)
    fold.add(Row(1, "skipped", 0, plan().trace_id(1), reason="budget"), 1)
    fold.add(row(2, "skipped"), 2)
    assert fold.stop() is None
    assert fold.skipped == {"budget": 1, "unknown": 1}
