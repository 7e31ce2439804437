"""JMESPath assertions: operators, and queries that are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.assertion import DETAILS_CHARS_MAX
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.query import OPERATORS, REGEX_SUBJECT_CHARS_MAX
from salvo_core.trace.model import Retry, Turn
from tests.unit.evaluation.builders import checked, graded, trace

WITH_VALUES = trace(
    answer="10",
    calls=[("pay", {"amount": 42, "rate": "10", "tags": ["a", 1], "on": True, "note": {"k": "v"}, "x": "x"})],
)
PAID = "tool_calls[0].arguments"


def query(expression, operator, *value):
    raw = {"type": "jmespath", "expression": expression, "operator": operator}
    return raw | ({"value": value[0]} if value else {})


def holds(expression, operator, *value, subject=WITH_VALUES):
    return checked(query(expression, operator, *value), subject).passed


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "exists"])
def test_t33_a_missing_path_satisfies_no_operator(operator):
    assert not holds("metadata.nonesuch", operator, 5)
    assert not holds("metadata.nonesuch", operator, None)


def test_t33_exists_passes_on_an_empty_projection_and_fails_on_its_first_element():
    assert holds("tool_calls[?name=='none']", "exists")
    assert not holds("tool_calls[?name=='none'] | [0]", "exists")
    assert not holds("metadata.nonesuch", "exists")


@pytest.mark.parametrize(
    ("expression", "operator", "value", "passes"),
    [
        (f"{PAID}.rate", "gt", "5", True),
        (f"{PAID}.rate", "gt", 5, True),
        (f"{PAID}.x", "gt", 5, False),
        (f"{PAID}.x", "lt", 5, False),
        (f"{PAID}.amount", "gte", 42, True),
        (f"{PAID}.amount", "lte", 41.9, False),
        (f"{PAID}.amount", "gt", [1], False),
        (f"{PAID}.amount", "lt", 10**400, False),
        (f"{PAID}.rate", "eq", 10, False),
        (f"{PAID}.rate", "ne", 10, True),
        (f"{PAID}.on", "eq", 1, True),
        (f"{PAID}.amount", "contains", 4, False),
        (f"{PAID}.note", "contains", "k", False),
        (f"{PAID}.tags", "contains", 1, True),
        (f"{PAID}.tags", "contains", "1", False),
        ("response.content", "contains", 1, True),
        ("response.content", "contains", "", True),
        ("`1`", "regex", "^1$", True),
        ("response.content", "regex", "0", True),
        ("response.content", "regex", "^0", False),
        ("response.content", "regex", "[bad", False),
    ],
)
def test_t34_operators_compare_as_they_always_did(expression, operator, value, passes):
    assert holds(expression, operator, value) is passes


def test_t34_an_invalid_pattern_says_so_in_the_details():
    assert "not a regular expression" in checked(query("response.content", "regex", "[bad")).details


def test_t35_an_expression_that_does_not_parse_fails_with_the_parsers_words():
    check = checked(query("tool_calls[", "exists"))
    assert (check.passed, check.score) == (False, 0.0)
    assert "Incomplete expression" in check.details
    assert graded([query("tool_calls[", "exists")]).grade == "failed"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("length(metadata.turn_count)", "invalid type for value"),
        ("frobnicate(@)", "Unknown function"),
        ("length(turns, turns)", "Expected 1 argument"),
        ("", "empty"),
        ("turns[::0]", "slice step"),
        ("(" * 5000, "nested too deeply"),
    ],
)
def test_t36_what_goes_wrong_while_a_query_runs_is_a_failed_check_and_not_an_exception(expression, said):
    check = checked(query(expression, "exists"))
    assert not check.passed
    assert said in check.details
    assert graded([query(expression, "exists")]).grade == "failed"


def test_t36_the_other_assertions_are_still_evaluated():
    assert graded([query("", "exists"), {"contains": "done"}], threshold=0.5).grade == "passed"


def test_a_function_reference_has_details_without_an_address():
    assert "0x" not in checked(query("&turns", "exists")).details


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (query("tool_calls[", "exists"), "not a JMESPath expression"),
        (query("", "exists"), "empty"),
        (query("(" * 5000, "exists"), "nested too deeply"),
        (query("map(&frob(name), tool_calls)", "eq", []), "no function 'frob'"),
        (query("response.content", "regex", "[bad"), "not a regular expression"),
        (query("response.content", "gt", "many"), "not a number"),
        (query("response.content", "eq", None), "never passes"),
        (query("response.content", "exists", True), "does not use"),
    ],
)
def test_a_query_that_cannot_work_is_warned_of_before_a_run(raw, said):
    (warning,) = parse(raw).warnings()
    assert said in warning


@pytest.mark.parametrize(
    "raw",
    [
        query("length(tool_calls[?name=='a'])", "gte", "2"),
        query("response.content", "regex", r"\d+ USD"),
        query("sort_by(tool_calls, &name)[0].name", "ne", None),
        query("{a: turns[1:3], b: [name, `1`]}", "exists"),
    ],
)
def test_a_sound_query_has_no_warnings(raw):
    assert parse(raw).warnings() == []


def test_a_pattern_searches_only_the_head_of_a_huge_text_and_says_so():
    huge = trace(answer="a" * REGEX_SUBJECT_CHARS_MAX + "needle")
    check = checked(query("response.content", "regex", "needle"), huge)
    assert not check.passed
    assert f"searched up to character {REGEX_SUBJECT_CHARS_MAX}" in check.details


def test_the_document_has_the_names_that_scenarios_query():
    retried = Turn(index=0, retries=(Retry(kind="transient", message="reset"),))
    subject = trace(calls=[("pay", {"amount": 42})], turns=(retried,), outcome="max_turns", adapter="openai")
    assert Document(subject).tree == {
        "response": {"content": "done", "finish_reason": "stop"},
        "turns": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_0", "name": "pay", "arguments": {"amount": 42}}],
            },
            {"role": "tool_result", "content": "ok", "tool_call_id": "call_0", "tool_name": "pay"},
            {"role": "assistant", "content": "done"},
        ],
        "tool_calls": [{"id": "call_0", "name": "pay", "arguments": {"amount": 42}}],
        "metadata": {
            "model": "gpt-4o", "provider": "openai", "cost_usd": 0.0015, "latency_seconds": 1.5,
            "input_tokens": 200, "output_tokens": 100, "total_tokens": 300, "turn_count": 1,
            "finish_reason": "stop", "outcome": "max_turns", "retries": 1,
        },
    }  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
expressions = st.sampled_from(
    ["arguments", "tool_calls[0].arguments.v", "turns[].content", "length(@)", "*", "keys(@)", "[", "a.b"]
) | st.text(max_size=12)


@given(json_values, expressions, st.sampled_from(OPERATORS), json_values)
def test_no_query_on_any_document_raises_and_its_details_are_bounded_and_printable(
    argument, expression, operator, value
):
    subject = trace(calls=[("tool", {"v": argument})])
    spec = parse(query(expression, operator, value))
    check = spec.check(Document(subject))
    assert check.score == float(check.passed)
    assert len(check.details) <= DETAILS_CHARS_MAX
    assert check.details.isprintable()
    assert spec.check(Document(subject)) == check
    assert len(spec.label()) <= 80
    assert all(isinstance(warning, str) for warning in spec.warnings())


def test_a_pattern_that_would_take_for_ever_ends_and_fails_saying_so():
    check = checked(query("response.content", "regex", "^(a|aa)+$"), trace(answer="a" * 80 + "b"))
    assert not check.passed
    assert "took longer than" in check.details
