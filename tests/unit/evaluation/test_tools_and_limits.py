"""Assertions on tool calls, on the answer, on cost and on time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluation.builders import checked, graded, trace

names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


def sequence(calls, mode, expected):
    return checked({"type": "tool_sequence", "mode": mode, "sequence": expected}, trace(calls=calls))


@pytest.mark.parametrize(
    ("calls", "mode", "expected", "passes"),
    [
        (["a", "b", "c", "d"], "in_order", ["a", "c"], True),
        (["b", "a"], "in_order", ["a", "b"], False),
        (["a"], "in_order", ["a", "a"], False),
        (["a"], "any_order", ["a", "a"], False),
        (["b", "a", "a"], "any_order", ["a", "b"], True),
        (["a", "b"], "exact", ["a", "b"], True),
        (["a", "b"], "exact", ["b", "a"], False),
        ([], "exact", [], True),
        (["a"], "exact", [], False),
        (["a"], "in_order", [], True),
        ([], "any_order", [], True),
    ],
)
def test_t37_each_mode_compares_names_in_its_way(calls, mode, expected, passes):
    assert sequence(calls, mode, expected).passed is passes


def test_t37_exact_names_the_call_too_many():
    check = sequence(["a", "b", "c"], "exact", ["a", "b"])
    assert not check.passed
    assert "extra ['c']" in check.details


@pytest.mark.parametrize("mode", ["exact", "in_order", "any_order"])
def test_t37_no_calls_at_all_has_words_of_its_own(mode):
    check = sequence([], mode, ["a"])
    assert not check.passed
    assert "no tool calls" in check.details


def test_t37_details_say_where_the_sequences_part():
    assert "call 1: expected 'b', got 'c'" in sequence(["a", "c"], "exact", ["a", "b"]).details
    assert "missing ['b', 'c']" in sequence(["a"], "exact", ["a", "b", "c"]).details
    assert "found ['a'] in order, then not 'b' (item 1)" in sequence(["a"], "in_order", ["a", "b"]).details
    assert "'a' expected 2, called 1" in sequence(["a"], "any_order", ["a", "a"]).details


def test_a_sequence_without_a_mode_is_exact():
    raw = {"type": "tool_sequence", "sequence": ["a"]}
    assert checked(raw, trace(calls=["a"])).passed
    assert not checked(raw, trace(calls=["a", "b"])).passed


@given(names, names)
def test_what_is_exact_is_in_order_and_what_is_in_order_is_in_any_order(calls, expected):
    exact, in_order, any_order = (
        sequence(calls, mode, expected).passed for mode in ("exact", "in_order", "any_order")
    )
    assert exact is (calls == expected)
    assert exact <= in_order <= any_order


@pytest.mark.parametrize("name", ["pay", "it's", '"quoted"', "`tick`", "back\\slash", "naïve tool"])
def test_a_tool_of_any_name_is_found(name):
    assert checked({"type": "tool_called", "tool": name}, trace(calls=["other", name])).passed
    assert not checked({"type": "tool_called", "tool": name}, trace(calls=["other"])).passed


def test_a_tool_not_called_is_told_with_those_that_were():
    details = checked({"type": "tool_called", "tool": "pay"}, trace(calls=["look"])).details
    assert "'pay' was not called" in details
    assert "['look']" in details


@pytest.mark.parametrize(
    ("answer", "value", "passes"),
    [
        ("refund of 42.50", 42.5, True),
        ("the answer is 42", 42, True),
        ("True story", True, True),
        ("Done", "done", False),
        ("", "x", False),
        (None, "x", False),
    ],
)
def test_the_answer_contains_the_textual_form_of_the_value(answer, value, passes):
    assert checked({"type": "output_contains", "value": value}, trace(answer=answer)).passed is passes


def test_an_answer_with_control_characters_is_quoted_as_data():
    details = checked({"type": "output_contains", "value": "x"}, trace(answer="\x1b[2J[/b]\n\u202e")).details
    assert details.isprintable()
    assert "[/b]" in details


def test_t22_an_unknown_cost_does_not_pass_a_limit():
    subject = trace(cost_usd=None)
    check = checked({"type": "cost_limit", "max_usd": 5}, subject)
    assert not check.passed
    assert "unknown" in check.details
    assert graded([{"type": "cost_limit", "max_usd": 5}], subject).grade == "failed"


@pytest.mark.parametrize(("cost_usd", "passes"), [(0.05, True), (0.0500001, False), (0.0, True)])
def test_t38_a_cost_at_the_limit_passes(cost_usd, passes):
    assert checked({"type": "cost_limit", "max_usd": 0.05}, trace(cost_usd=cost_usd)).passed is passes


def test_a_cost_that_is_a_sum_of_floats_meets_its_limit():
    assert checked({"type": "cost_limit", "max_usd": 0.3}, trace(cost_usd=0.1 + 0.2)).passed


def test_details_show_enough_decimals_to_see_why_a_cost_failed():
    details = checked({"type": "cost_limit", "max_usd": 0.0001}, trace(cost_usd=0.00012)).details
    assert details == "cost 0.00012 USD, limit 0.00010 USD"


@pytest.mark.parametrize(("latency_s", "passes"), [(2.0, True), (2.001, False)])
def test_t38_a_conversation_as_long_as_the_limit_passes(latency_s, passes):
    check = checked({"type": "latency_limit", "max_seconds": 2}, trace(latency_s=latency_s))
    assert check.passed is passes
    assert check.details == f"latency {latency_s:.3f} s, limit 2.000 s"


def test_a_latency_limit_measures_the_conversation_and_not_the_trial():
    subject = trace(latency_s=1.0, duration_s=60.0)
    assert checked({"type": "latency_limit", "max_seconds": 2}, subject).passed
