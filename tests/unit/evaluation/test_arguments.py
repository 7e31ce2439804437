"""Assertions on the arguments of tool calls."""

import pytest
from pydantic import ValidationError

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.matching import contains, same
from salvo_core.trace.model import Message, ToolCall
from salvo_core.trace.redaction import Redactor
from tests.unit.evaluation.builders import checked, trace

PAID = trace(
    calls=[
        ("look", {"id": "A-1"}),
        ("pay", {"amount": 42.5, "to": {"name": "Ann", "city": "Bern"}, "tags": ["a", "b"]}),
        ("pay", {"amount": 10, "to": {"name": "Bob"}}),
    ]
)


def args(**more):
    return checked({"type": "tool_args", "tool": "pay", **more}, PAID)


@pytest.mark.parametrize(
    ("way", "first", "second"),
    [
        ({"subset": {"amount": 42.5}}, True, False),
        ({"subset": {"amount": "42.5"}}, False, False),
        ({"subset": {"to": {"name": "Bob"}}}, False, True),
        ({"subset": {"to": {}}}, True, True),
        ({"subset": {"tags": ["a"]}}, False, False),
        ({"subset": {"tags": ["a", "b"]}}, True, False),
        ({"subset": {"gone": None}}, False, False),
        ({"json_schema": {"required": ["tags"]}}, True, False),
        ({"json_schema": {"properties": {"amount": {"maximum": 40}}}}, False, True),
        ({"expression": "amount", "operator": "gte", "value": 40}, True, False),
        ({"expression": "to.city", "operator": "exists"}, True, False),
        ({"expression": "tags", "operator": "contains", "value": "b"}, True, False),
        ({"expression": "nothing(", "operator": "exists"}, False, False),
    ],
)
def test_each_way_tells_fitting_calls_from_others(way, first, second):
    assert args(call=1, **way).passed is first
    assert args(call=2, **way).passed is second
    assert args(**way).passed is (first or second)
    assert args(call="any", **way).passed is (first or second)
    assert args(call="all", **way).passed is (first and second)
    assert not args(call=3, **way).passed


@pytest.mark.parametrize("call", ["any", "all", 1])
def test_a_tool_that_was_not_called_fits_nothing(call):
    check = checked({"type": "tool_args", "tool": "gone", "call": call, "subset": {}}, PAID)
    assert not check.passed
    assert check.details == "'gone' was not called; the agent called ['look', 'pay', 'pay']"


def test_arguments_that_are_no_object_fit_nothing():
    call = ToolCall(id="1", name="pay", malformed='{"amount":')
    subject = trace().model_copy(update={"messages": (Message(role="assistant", tool_calls=(call,)),)})
    for way in ({"subset": {}}, {"json_schema": {}}):
        check = checked({"type": "tool_args", "tool": "pay", **way}, subject)
        assert not check.passed
        assert check.details == "call 1 has arguments that are no JSON object: '{\"amount\":'"


def test_details_say_which_call_and_why():
    assert args(subset={"amount": 10}).details == "call 2 of 2 fits"
    assert args(subset={}, call="all").details == "calls: 2, all fit"
    assert args(subset={"to": {"name": "Cid"}}).details.startswith("call 1 lacks to.name: 'Cid'; it has {")
    assert "; call 2 lacks to.name" in args(subset={"to": {"name": "Cid"}}).details
    assert args(subset={"a": 1}, call=9).details == "there is no call 9 of 'pay': 2 in all"
    schema = {"properties": {"amount": {"maximum": 40}}}
    assert args(json_schema=schema, call=1).details == (
        "call 1 does not fit the schema at $.amount: 42.5 does not fit maximum 40"
    )
    wrong = args(expression="amount", operator="eq", value=1, call=2)
    assert wrong.details == "call 2 does not fit: amount eq 1: found 10"


def test_secrets_in_arguments_are_not_quoted():
    subject = trace(calls=[("pay", {"password": "swordfish", "a": 1})])
    for way in (
        {"subset": {"password": "x"}},
        {"json_schema": {"properties": {"password": {"type": "null"}}}},
    ):
        (found,) = evaluate(
            subject, [parse({"type": "tool_args", "tool": "pay", **way})], redact=Redactor().document
        )
        assert not found.passed
        assert "swordfish" not in found.details


@pytest.mark.parametrize(
    ("more", "kind", "places"),
    [
        ({}, "one_way", [()]),
        ({"subset": {}, "json_schema": {}}, "one_way", [("json_schema",)]),
        ({"subset": {}, "operator": "eq", "value": 1}, "one_way", [("operator",), ("value",)]),
        ({"expression": "a"}, "missing_operator", [("operator",)]),
        ({"expression": "a", "operator": "eq"}, "missing_value", [("value",)]),
        ({"subset": {}, "call": 0}, "which_call", None),
        ({"subset": {}, "call": True}, "which_call", None),
        ({"subset": {}, "call": "first"}, "which_call", None),
    ],
)
def test_exactly_one_way_and_a_call_that_can_be(more, kind, places):
    with pytest.raises(ValidationError) as caught:
        parse({"type": "tool_args", "tool": "pay", **more})
    (error,) = caught.value.errors()
    assert (error["type"], error.get("ctx", {}).get("places")) == (kind, places)


def test_labels_and_warnings():
    def spec(**more):
        return parse({"type": "tool_args", "tool": "pay", **more})

    assert spec(subset={"amount": 42.5}).label() == "tool_args pay {'amount': 42.5}"
    assert spec(json_schema={}, call="all").label() == "tool_args pay all calls json_schema"
    assert spec(expression="a", operator="gt", value=1, call=2).label() == "tool_args pay call 2 a gt 1"
    assert spec(subset={}).warnings() == ["an empty subset is in every call"]
    assert "not a JMESPath" in spec(expression="a[", operator="exists").warnings()[0]
    assert "is not checked" in spec(json_schema={"format": "date"}).warnings()[0]


def test_json_equality_tells_true_from_one():
    assert same([1, {"a": 1.0}], [1.0, {"a": 1}])
    assert not same(True, 1)
    assert not same({"a": [True]}, {"a": [1]})
    assert contains({"a": True, "b": 1}, {"a": True})
    assert not contains({"a": 1}, {"a": True})
    assert not contains({}, {"a": None})
