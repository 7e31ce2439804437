"""The short form of assertions, and what parameters each type insists on."""

import pytest
from pydantic import ValidationError

from salvo_core.evaluation.assertion import WEIGHT_MAX
from salvo_core.evaluation.catalogue import ASSERTION_TYPES, parse
from salvo_core.evaluation.shorthand import GROUPS, OPERATORS, ShorthandProblem, canonical, known_keys

MINIMAL = {
    "output_contains": {"value": "hi"},
    "tool_called": {"tool": "search"},
    "tool_sequence": {"sequence": ["search"]},
    "jmespath": {"expression": "response", "operator": "eq", "value": 1},
    "cost_limit": {"max_usd": 0.05},
    "latency_limit": {"max_seconds": 3},
    "judge": {"criteria": [{"name": "polite", "description": "is it?"}]},
    "json_schema": {"json_schema": {"type": "object"}},
    "tool_args": {"tool": "search", "subset": {"q": 1}},
    "custom": {"function": "my_pkg.checks.refunded"},
    "not": {"assertion": {"type": "cost_limit", "max_usd": 0.05}},
    "any_of": {"assertions": [{"type": "cost_limit", "max_usd": 0.05}]},
    "all_of": {"assertions": [{"type": "cost_limit", "max_usd": 0.05}]},
}


def problems(raw):
    with pytest.raises(ValidationError) as caught:
        parse(canonical(raw))
    return {(error["type"], error["loc"][-1] if error["loc"] else None) for error in caught.value.errors()}


def test_t07_an_operator_key_stands_for_a_query():
    raw = {"path": "response.content", "contains": "hi", "weight": 2}
    assert canonical(raw) == {
        "type": "jmespath",
        "expression": "response.content",
        "operator": "contains",
        "value": "hi",
        "weight": 2,
    }
    parsed = parse(canonical(raw))
    assert (parsed.type, parsed.operator, parsed.value, parsed.weight) == ("jmespath", "contains", "hi", 2.0)


@pytest.mark.parametrize("raw", [{"contains": "hi"}, {"path": None, "contains": "hi"}])
def test_t07_without_a_path_the_answer_is_meant(raw):
    assert canonical(raw)["expression"] == "response.content"


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_key_becomes_its_operator(operator):
    assert parse(canonical({operator: "5"})).operator == operator


@pytest.mark.parametrize("type_name", MINIMAL)
def test_t07_a_long_form_is_left_as_it_is(type_name):
    raw = {"type": type_name, **MINIMAL[type_name]}
    assert canonical(raw) == raw
    assert canonical(canonical(raw)) == raw


def test_canonical_does_not_change_what_it_is_given():
    raw = {"path": "a", "eq": 1}
    assert canonical(raw) is not raw
    assert raw == {"path": "a", "eq": 1}


def test_t08_two_operator_keys_are_a_problem_that_names_both():
    with pytest.raises(ShorthandProblem, match="eq and contains") as caught:
        canonical({"contains": "a", "eq": "b"})
    assert caught.value.keys == ["eq", "contains"]


def test_t08_no_operator_and_no_type_is_a_problem():
    with pytest.raises(ShorthandProblem, match="type") as caught:
        canonical({"path": "response.content"})
    assert caught.value.keys == []


def test_exists_has_no_short_form_and_the_problem_says_how_to_write_it():
    with pytest.raises(ShorthandProblem, match="operator: exists"):
        canonical({"path": "tool_calls", "exists": True})


def test_keys_of_the_long_form_in_a_short_one_are_a_problem_rather_than_lost():
    with pytest.raises(ShorthandProblem) as caught:
        canonical({"eq": 1, "expression": "metadata.turn_count"})
    assert caught.value.keys == ["expression"]


def test_t09_an_unknown_type_is_refused():
    assert problems({"type": "tool_calld", "tool": "x"}) == {("union_tag_invalid", None)}


@pytest.mark.parametrize(
    ("type_name", "missing"),
    [(type_name, key) for type_name, parameters in MINIMAL.items() for key in parameters],
)
def test_t10_a_missing_parameter_is_refused_by_name(type_name, missing):
    parameters = {key: value for key, value in MINIMAL[type_name].items() if key != missing}
    expected = ("one_way", "tool_args") if missing == "subset" else ("missing", missing)
    assert problems({"type": type_name, **parameters}) == {expected}


@pytest.mark.parametrize("type_name", MINIMAL)
def test_t11_a_misspelt_key_is_refused_in_every_type(type_name):
    raw = {"type": type_name, **MINIMAL[type_name], "wieght": 3}
    assert problems(raw) == {("extra_forbidden", "wieght")}


def test_t11_a_misspelt_key_of_the_short_form_reaches_validation():
    assert problems({"contains": "hi", "wieght": 3}) == {("extra_forbidden", "wieght")}


def test_t03_modes_and_operators_are_lower_case_and_known():
    assert problems({"type": "tool_sequence", "sequence": [], "mode": "EXACT"}) == {("literal_error", "mode")}
    frob = {"type": "jmespath", "expression": "a", "operator": "frob", "value": 1}
    assert problems(frob) == {("literal_error", "operator")}


def test_exists_needs_no_value_and_a_null_value_is_not_a_missing_one():
    assert parse({"type": "jmespath", "expression": "a", "operator": "exists"}).value is None
    assert parse({"type": "jmespath", "expression": "a", "operator": "eq", "value": None}).value is None


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), WEIGHT_MAX * 2])
def test_a_weight_is_finite_and_not_negative(weight):
    assert problems({"contains": "hi", "weight": weight}).pop()[1] == "weight"


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "cost_limit", "max_usd": -1},
        {"type": "latency_limit", "max_seconds": float("inf")},
        {"type": "tool_called", "tool": ""},
        {"type": "output_contains", "value": None},
    ],
)
def test_parameters_that_can_never_be_meant_are_refused(raw):
    assert problems(raw)


@pytest.mark.parametrize("type_name", MINIMAL)
def test_an_assertion_survives_being_frozen_and_thawed(type_name):
    spec = parse({"type": type_name, **MINIMAL[type_name], "weight": 2, "required": True})
    assert parse(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("type_name", MINIMAL)
def test_labels_are_short_and_on_one_line(type_name):
    long = "a\n\x1b[31m'\u202e" * 200
    assert 0 < len(parse({"type": type_name, **MINIMAL[type_name]}).label()) <= 80
    for key, value in MINIMAL[type_name].items():
        if isinstance(value, str | list) and key not in ("operator", "function"):
            hostile = long if isinstance(value, str) else [long]
            if key == "assertions":
                hostile = [{"type": "tool_called", "tool": long}]
            if key == "criteria":
                hostile = [{"name": f"{n} {'é' * 70}", "description": long} for n in range(50)]
            label = parse({"type": type_name, **MINIMAL[type_name], key: hostile}).label()
            assert len(label) <= 80
            assert label.isprintable()


def test_labels_say_what_is_asked():
    labels = [
        parse(canonical(raw)).label()
        for raw in [
            {"contains": "hi"},
            {"type": "jmespath", "expression": "tool_calls[0]", "operator": "exists"},
            {"type": "tool_sequence", "mode": "in_order", "sequence": ["a", "b"]},
            {"type": "cost_limit", "max_usd": 0.05},
            {"type": "custom", "function": "a.b", "params": {"\n": "\x1b[31m" * 200}},
        ]
    ]
    assert labels == [
        'jmespath response.content contains "hi"',
        "jmespath tool_calls[0] exists",
        "tool_sequence in_order [a, b]",
        "cost_limit 0.05 USD",
        "custom a.b {'\\n': '" + "\\x1b[31m" * 7 + "\\x1b…",
    ]


def test_known_keys_are_those_that_validation_accepts():
    assert set(ASSERTION_TYPES) == set(MINIMAL)
    assert set(known_keys("tool_called")) == {"type", "weight", "required", "tool"}
    assert set(known_keys(None)) == {"path", "weight", "required", *OPERATORS, *GROUPS}
    assert known_keys("tool_calld") == ("type",)
