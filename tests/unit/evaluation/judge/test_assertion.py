"""What a judge assertion may say."""

import pytest
from pydantic import ValidationError

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from tests.unit.evaluation.judge.court import judge

POLITE = {"name": "polite", "description": "is it?"}


def problems(**fields):
    with pytest.raises(ValidationError) as wrong:
        parse({"type": "judge", "criteria": [POLITE], **fields})
    return {(error["type"], ".".join(map(str, error["loc"][1:]))) for error in wrong.value.errors()}


def test_t54_a_criterion_without_weight_weighs_1():
    assert judge("polite").weights == {"polite": 1.0}
    assert judge("polite", ("correct", 0)).weights == {"polite": 1.0, "correct": 0.0}


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (None, ("tuple_type", "criteria")),
        ([], ("criteria_none", "criteria")),
        ("polite", ("tuple_type", "criteria")),
        ([{"name": "polite"}], ("missing", "criteria.0.description")),
        ([{"description": "is it?"}], ("missing", "criteria.0.name")),
        ([{**POLITE, "wieght": 2}], ("extra_forbidden", "criteria.0.wieght")),
        ([{**POLITE, "weight": -1}], ("greater_than_equal", "criteria.0.weight")),
        ([{**POLITE, "weight": float("nan")}], ("finite_number", "criteria.0.weight")),
        ([{**POLITE, "name": " "}], ("empty_text", "criteria.0.name")),
        ([{**POLITE, "name": "a\nb"}], ("criteria_name", "criteria.0.name")),
        ([{**POLITE, "name": "x" * 81}], ("string_too_long", "criteria.0.name")),
        ([POLITE, POLITE], ("criteria_twice", "criteria")),
        ([{**POLITE, "weight": 0}], ("criteria_weightless", "criteria")),
        ([{**POLITE, "name": str(n)} for n in range(51)], ("too_long", "criteria")),
    ],
)
def test_t54_criteria_that_cannot_be_judged_by_are_refused(criteria, expected):
    assert expected in problems(criteria=criteria)


def test_t54_no_criteria_at_all_is_a_missing_field():
    with pytest.raises(ValidationError) as wrong:
        parse({"type": "judge"})
    assert wrong.value.errors()[0]["type"] == "missing"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("k", 0, "greater_than_equal"),
        ("k", 22, "less_than_equal"),
        ("k", 1.5, "int_from_float"),
        ("threshold", 1.1, "less_than_equal"),
        ("threshold", -0.1, "greater_than_equal"),
        ("temperature", -1, "greater_than_equal"),
        ("temperature", 2.1, "less_than_equal"),
        ("max_tokens", 0, "greater_than_equal"),
        ("judge_adapter", "scripted", "judge_adapter"),
        ("judge_adapter", " ", "empty_text"),
        ("judge_model", "", "string_too_short"),
        ("custom_prompt", "x" * 20_001, "string_too_long"),
        ("include_everything", True, "extra_forbidden"),
    ],
)
def test_every_knob_is_bounded(field, value, expected):
    assert problems(**{field: value}) == {(expected, field)}


def test_every_knob_can_be_turned_in_a_scenario():
    knobs = {
        "judge_adapter": "anthropic", "judge_model": "m", "k": 5, "temperature": 0.2, "max_tokens": 300,
        "threshold": 0.6, "custom_prompt": "Be strict.", "include_system_prompt": True,
        "include_user_prompt": True, "include_tool_results": True,
    }  # fmt: skip
    one = judge("polite", **knobs)
    assert {name: getattr(one, name) for name in knobs} == knobs


def test_a_judge_can_be_a_key():
    assert {judge("a"): 1}[judge("a")] == 1
    assert judge("a") != judge("a", k=3)


def test_an_empty_custom_prompt_is_a_warning():
    assert judge().warnings() == []
    assert judge(custom_prompt="\n").warnings() == [
        "custom_prompt is empty, so the judge is told Salvo's own words"
    ]


def test_a_label_names_the_criteria():
    assert judge("politeness", "accuracy").label() == "judge politeness, accuracy"


def test_the_projects_judge_cannot_be_scripted_either():
    with pytest.raises(ValidationError, match="scripted cannot judge"):
        JudgeDefaults(adapter="scripted")
