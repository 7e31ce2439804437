"""Digests and frozen scenarios: known vectors, what changes them, what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt
from salvo_core.identity import canonical_json, digest
from salvo_core.scenario.digest import SCHEMA, canonical_form, freeze, scenario_digest, thaw
from salvo_core.scenario.model import Scenario
from salvo_core.trace import codec
from tests.unit.scenario.desk import Desk

HELLO = {"model": "gpt-4o", "prompt": "Hello"}
RICH: dict[str, Any] = {
    **HELLO,
    "description": "Rückerstattung 😀",
    "tags": {"b": "1", "a": "2"},
    "tools": [
        {
            "name": "t",
            "description": "d",
            "parameters": {"properties": {"z": {"type": "string"}, "a": {}}, "required": ["z"]},
            "mock_response": ["first", {"second": [1, 2.5, None]}],
            "mocks": [{"match": {"z": "x"}, "error": "no", "latency_s": 1}, {"call": 2, "response": [1]}],
            "mock_latency_s": 0.5,
        }
    ],
    "assertions": [
        {"type": "tool_called", "tool": "t'", "weight": 2, "required": True},
        {"type": "tool_sequence", "sequence": ["t"], "mode": "in_order"},
        {"type": "jmespath", "expression": "response.content", "operator": "exists"},
        {"type": "jmespath", "expression": "a", "operator": "eq", "value": None},
        {"type": "cost_limit", "max_usd": 1},
        {"type": "latency_limit", "max_seconds": 1},
        {"type": "output_contains", "value": "x"},
        {"type": "json_schema", "json_schema": {"required": ["a"]}, "fenced": False},
        {"type": "tool_args", "tool": "t", "call": 1, "subset": {"a": None}},
        {"type": "tool_args", "tool": "t", "expression": "a", "operator": "gt", "value": 1},
        {"type": "custom", "function": "a.b", "params": {"c": [1]}, "timeout_s": 1},
        {"type": "not", "assertion": {"type": "tool_called", "tool": "x"}, "weight": 2},
        {
            "type": "any_of",
            "assertions": [{"type": "all_of", "assertions": [{"type": "cost_limit", "max_usd": 1}]}],
        },
    ],
    "extras": {"top_p": 0.5, "stop": ["a"]},
    "timeout_s": 5,
    "max_tokens": 7,
    "max_cost_usd": 0.5,
    "unknown_tool": "fail",
    "adapter": "scripted",
    "script": {"turns": [{"text": "a", "latency_s": 0.1}], "trials": {"3": [{"text": "b"}]}, "seed": 4},
}


def the_digest(**fields: Any) -> str:
    return scenario_digest(Scenario.model_validate({**HELLO, **fields}))


def test_t23_the_vector_of_the_first_version_holds() -> None:
    assert the_digest() == "94ca7979fa8e2772be7b1915c294a3477645b50ee4c18b71c4c1adae5c1f85a8"


def test_t23_changing_a_bound_changes_the_digest_and_spelling_out_a_default_does_not() -> None:
    limit = [{"type": "cost_limit", "max_usd": 0.05}]
    assert the_digest(assertions=limit) != the_digest(assertions=[{"type": "cost_limit", "max_usd": 0.06}])
    assert the_digest(assertions=limit) == the_digest(
        assertions=[{**limit[0], "weight": 1, "required": False}]
    )
    assert (
        the_digest(threshold="0.8", max_turns=10.0, tags={}, timeout_s=None, unknown_tool="error")
        == the_digest()
    )


def test_assertions_keep_their_digest_whatever_types_come_later() -> None:
    known = [
        {"type": "tool_sequence", "sequence": ["t"], "mode": "in_order"},
        {"type": "jmespath", "expression": "response.content", "operator": "exists"},
        {"type": "jmespath", "expression": "a", "operator": "eq", "value": None},
        {"type": "cost_limit", "max_usd": 1},
        {"type": "latency_limit", "max_seconds": 1},
        {"type": "output_contains", "value": "x"},
        {"type": "tool_called", "tool": "t'", "weight": 2, "required": True},
    ]
    assert the_digest(assertions=known) == "02ccc91f919936d901f4e63fc698e55ece2d11930565b1788396e92785888ce6"


def test_groups_are_frozen_in_long_form_without_their_defaults() -> None:
    raw = {
        "type": "not",
        "assertion": {"type": "any_of", "assertions": [{"type": "cost_limit", "max_usd": 1}]},
    }
    scenario = Scenario.model_validate({**HELLO, "assertions": [raw]})
    assert canonical_form(scenario)["assertions"] == [raw]
    stored, mark = freeze(scenario)
    assert thaw(stored, "scenarios/x.json", mark) == scenario


def test_a_field_of_a_later_version_stands_in_the_canonical_form_only_if_it_says_something() -> None:
    form = canonical_form(Scenario.model_validate({**HELLO, "tools": [{"name": "t", "description": "d"}]}))
    assert list(form) == [
        "description", "tags", "adapter", "model", "system_prompt", "prompt", "tools", "assertions",
        "threshold", "max_turns", "temperature", "seed", "extras",
    ]  # fmt: skip
    assert form["tools"] == [
        {
            "name": "t",
            "description": "d",
            "parameters": {"type": "object", "properties": {}, "required": []},
            "mock_response": None,
        }
    ]
    assert the_digest(timeout_s=5) != the_digest()


def test_the_order_of_a_tool_s_properties_counts_and_the_order_of_top_level_keys_does_not() -> None:
    def of(*names: str) -> str:
        parameters = {"properties": {name: {} for name in names}}
        return the_digest(tools=[{"name": "t", "description": "d", "parameters": parameters}])

    assert of("a", "b") != of("b", "a")
    assert scenario_digest(Scenario.model_validate(dict(reversed(HELLO.items())))) == the_digest()


def test_a_frozen_scenario_thaws_to_an_equal_one_under_its_own_digest() -> None:
    scenario = Scenario.model_validate(RICH)
    stored, mark = freeze(scenario)
    assert mark == scenario_digest(scenario)
    assert json.loads(stored)["schema"] == SCHEMA
    thawed = thaw(stored, "scenarios/x.json", mark)
    assert thawed == scenario
    assert freeze(thawed) == (stored, mark)


def test_the_same_scenario_written_in_two_ways_has_one_digest(desk: Desk) -> None:
    desk.write("t.yaml", "{name: t, description: d, mock_response: a}\n")
    long = desk.load(
        "model: m\nprompt: hi\ntools: [{name: t, description: d, mock_response: a}]\n"
        "assertions: [{type: jmespath, expression: response.content, operator: contains, value: x}]\n"
    )
    short = desk.load(
        "prompt: hi\nassertions: [contains: x]\ntools: [!include t.yaml]\nmodel: m\n", "other.yaml"
    )
    assert short.digest == long.digest


def test_a_scenario_under_the_wrong_name_is_refused() -> None:
    stored, mark = freeze(Scenario.model_validate(HELLO))
    with pytest.raises(ObjectCorrupt):
        thaw(stored, "scenarios/x.json", "0" * 64)
    with pytest.raises(ObjectCorrupt):
        thaw(stored.replace(b"Hello", b"Hallo"), "scenarios/x.json", mark)


@pytest.mark.parametrize("body", [{**HELLO, "new_field": 1}, {"model": "m"}, [], {**HELLO, "threshold": 0.5}])
def test_a_scenario_that_this_version_would_read_differently_is_refused(body: Any) -> None:
    stored, mark = codec.encode(SCHEMA, body, compress=False)
    with pytest.raises(ObjectCorrupt) as caught:
        thaw(stored, "scenarios/x.json", mark)
    assert "update this worker" in caught.value.hint


_text = st.text(st.characters(codec="utf-8"), max_size=6)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@given(
    prompt=_text.filter(str.strip),
    tags=st.dictionaries(_text, _text, max_size=2),
    threshold=st.floats(0, 1),
    answer=_text | st.dictionaries(_text, _json, max_size=2) | st.lists(_text, min_size=1, max_size=2),
    value=_json,
)
@settings(max_examples=100, deadline=None)
def test_any_scenario_survives_freezing(
    prompt: str, tags: Any, threshold: float, answer: Any, value: Any
) -> None:
    scenario = Scenario.model_validate(
        {
            "model": "m",
            "prompt": prompt,
            "tags": tags,
            "threshold": threshold,
            "tools": [{"name": "t", "description": "", "mock_response": answer}],
            "assertions": [{"type": "jmespath", "expression": "a", "operator": "eq", "value": value}],
        }
    )
    stored, mark = freeze(scenario)
    assert thaw(stored, "k", mark) == scenario
    assert mark == digest(canonical_json(canonical_form(scenario)))
