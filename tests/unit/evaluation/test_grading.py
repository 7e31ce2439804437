"""From findings to a score and a grade."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import Graded, evaluate, grade, ungradable
from salvo_core.evaluation.shorthand import canonical
from salvo_core.evaluation.threshold import SCORE_TOLERANCE
from salvo_core.trace.model import Finding
from salvo_core.trace.redaction import Redactor
from tests.unit.evaluation.builders import graded, trace

YES, NO = {"contains": "done"}, {"contains": "nonesuch"}


def finding(score=1.0, weight=1.0, *, required=False, passed=None):
    return Finding(
        assertion=0, type="jmespath", label="x", score=score, weight=weight, required=required,
        passed=score == 1.0 if passed is None else passed,
    )  # fmt: skip


class Broken(AssertionSpec):
    type: Literal["broken"] = "broken"

    def label(self):
        return "broken"

    def check(self, document):
        raise RuntimeError("it\nbroke " + "x" * 5000)


def test_t24_a_score_equal_to_the_threshold_passes():
    assert graded([YES | {"weight": 4}, NO]) == Graded(0.8, "passed")


def test_t25_a_score_that_only_rounding_put_below_the_threshold_passes():
    result = graded([YES | {"weight": 0.7}, YES | {"weight": 0.1}, NO | {"weight": 0.2}])
    assert result.score == pytest.approx(0.8)
    assert result.grade == "passed"


def test_t25_a_score_below_by_more_than_rounding_fails():
    assert graded([YES | {"weight": 0.7999}, NO | {"weight": 0.2001}]).grade == "failed"
    assert grade([finding(0.8 - 2 * SCORE_TOLERANCE)], 0.8, outcome="completed").grade == "failed"


def test_t26_seven_tenths_pass_a_threshold_of_seven_tenths():
    assert graded([YES | {"weight": 7}, NO | {"weight": 3}], threshold=0.7).grade == "passed"


def test_t28_a_required_failure_is_hard_and_keeps_the_score():
    assert graded([YES | {"weight": 9}, NO | {"required": True}]) == Graded(0.9, "hard_fail")


def test_t28_a_required_failure_of_weight_zero_is_hard_too():
    assert graded([YES, NO | {"required": True, "weight": 0}]) == Graded(1.0, "hard_fail")


@pytest.mark.parametrize("threshold", [0.8, 0.0])
def test_t29_when_nothing_has_weight_the_trial_fails_at_any_threshold(threshold):
    assert graded([YES | {"weight": 0}], threshold=threshold) == Graded(0.0, "failed")


def test_t17_without_assertions_a_trial_passes():
    assert graded([]) == Graded(1.0, "passed")


@pytest.mark.parametrize("outcome", ["max_turns", "timeout", "max_tokens", "max_cost"])
def test_a_trial_that_reached_a_limit_is_graded_on_what_there_is(outcome):
    assert graded([YES], trace(outcome=outcome)) == Graded(1.0, "passed")


def test_calling_a_forbidden_tool_scores_nothing_and_fails_at_any_threshold():
    subject = trace(outcome="unknown_tool")
    assert graded([YES], subject, threshold=0) == Graded(0.0, "failed")
    assert graded([], subject, threshold=0) == Graded(0.0, "failed")
    assert graded([NO | {"required": True}], subject) == Graded(0.0, "hard_fail")


@pytest.mark.parametrize("outcome", ["infra_error", "cancelled"])
def test_an_outcome_that_says_nothing_about_the_agent_has_no_grade(outcome):
    with pytest.raises(ValueError, match="no grade"):
        grade([], 0.8, outcome=outcome)


def test_a_negative_weight_in_a_stored_finding_is_refused():
    with pytest.raises(ValueError, match="negative"):
        grade([finding(weight=-1)], 0.8, outcome="completed")


def test_a_check_that_raises_becomes_a_finding_and_the_others_go_on():
    first, broken, last = evaluate(
        trace(), [parse({"type": "tool_sequence", "sequence": []}), Broken(), Broken()]
    )
    assert first.passed
    assert (broken.score, broken.passed, broken.assertion, last.assertion) == (0.0, False, 1, 2)
    assert broken.error.startswith("RuntimeError: it broke xxx")
    assert len(broken.error) <= 500
    assert grade([first, broken], 0.5, outcome="completed") == Graded(0.5, "passed")


def test_a_required_check_that_raises_fails_hard():
    findings = evaluate(trace(), [Broken(required=True)])
    assert grade(findings, 0.0, outcome="completed").grade == "hard_fail"


def test_a_secret_is_compared_as_it_was_and_quoted_not_even_in_part():
    secret = "hunter2-" + "correct-horse-battery-staple"
    answer = "x" * 60 + secret + "y" * 300  # where quoting cuts, the secret would be split
    redact = Redactor([secret]).document
    specs = [
        {"contains": "nonesuch"},
        {"type": "output_contains", "value": "nonesuch"},
        {"path": "length(response)", "gt": 9},
        {"path": "abs(response.content)", "eq": 1},
        {"contains": secret},
    ]
    findings = evaluate(trace(answer=answer), [parse(canonical(one)) for one in specs[:4]], redact=redact)
    assert "hunter2" not in "".join(finding.details for finding in findings)
    assert "[REDACTED]" in findings[0].details
    (found,) = evaluate(trace(answer=answer), [parse(canonical(specs[4]))], redact=redact)
    assert found.passed


def test_an_error_of_a_check_is_quoted_without_secrets():
    (found,) = evaluate(trace(), [Broken()], redact=Redactor(["xxxxxxxxxx"]).document)
    assert found.error.startswith("RuntimeError: it broke [REDACTED]")


def test_findings_carry_place_label_weight_and_details():
    spec = parse({"type": "tool_called", "tool": "pay", "weight": 2, "required": True})
    (found,) = evaluate(trace(calls=["pay"]), [spec])
    assert found == Finding(
        assertion=0, type="tool_called", label="tool_called pay", score=1, passed=True, weight=2,
        required=True, details="'pay' was called, calls: 1",
    )  # fmt: skip


def test_stored_findings_give_the_grade_they_gave_when_fresh():
    subject = trace()
    findings = evaluate(subject, [parse({"type": "tool_called", "tool": "pay"}), Broken()])
    stored = subject.model_copy(update={"findings": findings})
    again = type(stored).model_validate_json(stored.model_dump_json())
    assert grade(again.findings, 0.8, outcome=again.outcome) == grade(findings, 0.8, outcome="completed")


findings_of_any_kind = st.lists(
    st.builds(
        finding,
        score=st.floats(0, 1),
        weight=st.floats(0, 1e9),
        required=st.booleans(),
        passed=st.booleans(),
    ),
    max_size=8,
)


@given(findings_of_any_kind, st.floats(0, 1))
def test_a_score_lies_in_0_to_1_and_the_order_of_findings_does_not_matter(findings, threshold):
    result = grade(findings, threshold, outcome="completed")
    assert 0 <= result.score <= 1
    assert grade(findings[::-1], threshold, outcome="completed") == result


@given(findings_of_any_kind, st.floats(0, 1))
def test_a_trial_passes_only_if_no_required_finding_failed(findings, threshold):
    result = grade(findings, threshold, outcome="completed")
    hard = any(one.required and not one.passed for one in findings)
    assert (result.grade == "hard_fail") is hard


def unheard(weight=1.0, *, required=False):
    return finding(0.0, weight, required=required).model_copy(
        update={"error": "no quorum", "infra": True, "label": "judge"}
    )


def test_a_finding_that_infrastructure_prevented_leaves_the_score_with_its_weight():
    found = [finding(1.0, 1), finding(0.5, 1, passed=False), unheard(8)]
    assert grade(found, 0.7, outcome="completed") == Graded(0.75, "passed")
    assert grade([*found, finding(0.0, 1, required=True)], 0.1, outcome="completed").grade == "hard_fail"


@pytest.mark.parametrize(
    ("found", "gradable"),
    [
        ([finding(), unheard()], True),
        ([finding(), unheard(required=True)], False),
        ([finding(), unheard(0, required=True)], False),
        ([unheard()], False),
        ([finding(weight=0), unheard()], False),
        ([finding(weight=0), unheard(0)], True),
        ([finding()], True),
        ([], True),
    ],
)
def test_without_a_required_finding_or_any_weight_to_score_by_there_is_no_grade(found, gradable):
    missing = ungradable(found)
    assert (missing is None) == gradable
    if missing is not None:
        assert missing.label == "judge"
        with pytest.raises(ValueError, match="missing"):
            grade(found, 0.5, outcome="completed")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=6), st.floats(0, 1))
def test_the_score_is_what_it_were_had_the_unheard_never_been_asked(worth, threshold):
    heard = [finding(score, weight) for score, weight in worth]
    mixed = [one for each in heard for one in (unheard(3), each)]
    assert grade(mixed, threshold, outcome="completed") == grade(heard, threshold, outcome="completed")
