"""The verdict of a cell, of a run, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.grading import grade
from salvo_core.run.verdict import EXIT_CODES, WORST_FIRST, Ruling, cell_verdict, worst
from salvo_core.trace.model import Finding
from tests.unit.run.builders import row, rows


def verdict(given_rows, threshold=0.8, **more):
    return cell_verdict(given_rows, threshold, **more).verdict


def exit_code(given_rows, **more):
    return EXIT_CODES[verdict(given_rows, **more)]


def graded_row(index, parts, threshold):
    """A trial whose assertions have these (weight, passed), through the real grading."""
    findings = [
        Finding(assertion=n, type="t", label="l", score=float(ok), passed=ok, weight=weight, required=False)
        for n, (weight, ok) in enumerate(parts)
    ]
    result = grade(findings, threshold, outcome="completed")
    return row(index, result.grade, result.score)


def test_t24_four_fifths_at_four_fifths_is_a_pass():
    assert verdict([graded_row(0, [(4, True), (1, False)], 0.8)]) == "PASS"


def test_t25_what_only_rounding_put_below_the_threshold_is_a_pass():
    assert verdict([graded_row(0, [(0.7, True), (0.1, True), (0.2, False)], 0.8)]) == "PASS"


def test_t26_three_trials_of_seven_tenths_at_seven_tenths_are_a_pass_and_not_partial():
    given_rows = [graded_row(index, [(7, True), (3, False)], 0.7) for index in range(3)]
    assert cell_verdict(given_rows, 0.7) == Ruling(
        "PASS", "average score 0.70 reaches the threshold 0.70; 3 of 3 trials passed"
    )


def test_t27_a_verdict_is_about_the_average_score_and_not_the_pass_rate():
    assert cell_verdict(rows(1, 1, 0.5), 0.8) == Ruling(
        "PASS", "average score 0.83 reaches the threshold 0.80; 2 of 3 trials passed"
    )


def test_t28_one_hard_fail_is_a_hard_fail_whatever_the_average():
    given_rows = [row(0, "hard_fail", 0.9), *(row(index) for index in range(1, 20))]
    assert cell_verdict(given_rows, 0.8) == Ruling("HARD FAIL", "1 of 20 trials failed a required assertion")
    assert exit_code(given_rows) == 2


@pytest.mark.parametrize("threshold", [0.8, 0.0])
def test_t29_when_nothing_has_weight_the_verdict_is_fail_at_any_threshold(threshold):
    given_rows = [graded_row(0, [(0, True)], threshold)]
    assert verdict(given_rows, threshold) == "FAIL"
    assert exit_code(given_rows, threshold=threshold) == 1


def test_below_the_threshold_it_is_partial_if_any_trial_passed_and_fail_if_none_did():
    assert cell_verdict(rows(1, 0, 0.5), 0.8) == Ruling(
        "PARTIAL", "average score 0.50 is below the threshold 0.80; 1 of 3 trials passed"
    )
    assert verdict(rows(0.7, 0, 0.5)) == "FAIL"


def test_a_reason_shows_enough_decimals_to_see_the_difference():
    assert "0.7996 is below the threshold 0.8000" in cell_verdict(rows(0.7996), 0.8).reason


def test_t41_an_infrastructure_error_comes_first_unless_it_is_allowed():
    given_rows = rows("hard_fail", "infra_error", 1.0)
    assert cell_verdict(given_rows, 0.8).reason.startswith("1 of 3 trials ended in an infrastructure error")
    assert exit_code(given_rows) == 3
    assert exit_code(given_rows, allow_infra=True) == 2
    assert exit_code(rows(1, "infra_error", 1), allow_infra=True) == 0
    assert exit_code(rows(1, "infra_error", 0), allow_infra=True) == 1
    assert exit_code(rows("infra_error", "infra_error"), allow_infra=True) == 3


@pytest.mark.parametrize("status", ["pending", "running", "cancelled", "skipped"])
def test_missing_trials_leave_a_verdict_open_while_they_could_change_it(status):
    ruling = cell_verdict(rows(1, 1, 1, status), 0.8)
    assert ruling == Ruling(
        "INCONCLUSIVE",
        "no result from 1 of 4 trials: the average score may end anywhere from 0.75 to 1.00, "
        "and the threshold is 0.80",
    )
    assert EXIT_CODES[ruling.verdict] == 4


def test_missing_trials_that_could_not_pull_the_average_down_leave_a_pass():
    ruling = cell_verdict(rows(1, 1, 1, 1, "cancelled"), 0.8)
    assert ruling.verdict == "PASS"
    assert "cannot change that" in ruling.reason


def test_missing_trials_that_could_not_lift_the_average_leave_a_fail():
    assert verdict(rows(0, 0, 0, "cancelled")) == "FAIL"
    assert verdict(rows(1, 0, 0, "skipped")) == "PARTIAL"


def test_a_hard_fail_and_an_infrastructure_error_stand_though_trials_are_missing():
    assert verdict(rows("hard_fail", "cancelled", "cancelled")) == "HARD FAIL"
    assert verdict(rows("infra_error", "cancelled", "cancelled")) == "INFRA_ERROR"


@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_when_all_trials_are_missing_nothing_is_known(threshold):
    assert verdict(rows("cancelled", "skipped"), threshold) == "INCONCLUSIVE"


def test_trials_without_a_row_are_missing():
    assert verdict(rows(1, 1), trials=2) == "PASS"
    assert verdict(rows(1, 1), trials=3) == "INCONCLUSIVE"
    assert verdict([], trials=3) == "INCONCLUSIVE"


def test_allowed_infrastructure_errors_are_neither_graded_nor_missing():
    assert verdict(rows(1, 1, 1, "infra_error"), allow_infra=True) == "PASS"
    assert verdict(rows(1, "cancelled", "infra_error"), allow_infra=True) == "INCONCLUSIVE"


@pytest.mark.parametrize(("given_rows", "trials"), [([], None), ([], 0), (rows(1, 1), 1)])
def test_no_trials_or_more_rows_than_trials_are_refused(given_rows, trials):
    with pytest.raises(ValueError, match="trials"):
        cell_verdict(given_rows, 0.8, trials=trials)


def test_the_run_is_as_bad_as_its_worst_cell():
    assert worst(["PASS", "INCONCLUSIVE", "PARTIAL"]) == "PARTIAL"
    assert worst(["PASS", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert worst(["HARD FAIL", "INFRA_ERROR", "FAIL"]) == "INFRA_ERROR"
    with pytest.raises(ValueError, match="empty"):
        worst([])


def test_exit_codes_are_those_that_scripts_rely_on():
    assert dict(EXIT_CODES) == {
        "PASS": 0, "PARTIAL": 1, "FAIL": 1, "HARD FAIL": 2, "INFRA_ERROR": 3, "INCONCLUSIVE": 4,
    }  # fmt: skip
    assert set(WORST_FIRST) == set(EXIT_CODES)


trials = st.lists(
    st.sampled_from(["hard_fail", "infra_error", "cancelled", "pending"]) | st.floats(0, 1),
    min_size=1,
    max_size=12,
)


@given(trials, st.floats(0, 1), st.booleans())
def test_every_set_of_trials_has_a_verdict_and_a_reason_on_one_line(statuses, threshold, allow_infra):
    ruling = cell_verdict(rows(*statuses), threshold, allow_infra=allow_infra)
    assert ruling.verdict in EXIT_CODES
    assert ruling.reason.isprintable()
    backwards = cell_verdict(rows(*statuses)[::-1], threshold, allow_infra=allow_infra)
    assert backwards == ruling


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_pass_with_trials_missing_is_still_a_pass_when_they_come_in(known, late):
    early = verdict(rows(*known, *["pending"] * len(late)))
    final = verdict(rows(*known, *late))
    if early == "PASS":
        assert final == "PASS"
    if early in ("FAIL", "PARTIAL"):
        assert final in ("FAIL", "PARTIAL")
