"""Which assertions a record without content can still answer."""

import pytest

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.shorthand import canonical
from tests.unit.evaluation.builders import trace


def query(expression, operator="eq", value="x"):
    return {"type": "jmespath", "expression": expression, "operator": operator, "value": value}


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "tool_called", "tool": "look_up"},
        {"type": "tool_sequence", "sequence": ["look_up"]},
        {"type": "cost_limit", "max_usd": 1},
        {"type": "latency_limit", "max_seconds": 1},
        query("metadata.cost_usd", "lt", 1),
        query("metadata", "exists", None),
        query("response.finish_reason"),
        query("turns[0].role"),
        query("turns[-1].tool_calls[0].name"),
        query("turns[*].tool_calls[].name", "contains"),
        query("tool_calls[*].name", "contains"),
        query("tool_calls[?name=='look_up'].id | [0]"),
        query("length(tool_calls)", "gte", 1),
        query("length(turns[?role=='assistant'])", "gte", 1),
        query("tool_calls[?name=='look_up'] | [0]", "exists", None),
        query("tool_calls[0].name || 'none'"),
        query("tool_calls && metadata.turn_count"),
        query("!tool_calls"),
        query("{a: metadata.model, b: length(turns)}.a"),
        query("[metadata.model, response.finish_reason][0]"),
        query("join(',', tool_calls[1:].name)"),
        query("sort_by(tool_calls[*].{n: name}, &n)[0].n"),
        query("'constant'"),
        query("no_such_field.content"),
        query("this does not [ parse"),
        {"type": "not", "assertion": {"type": "tool_called", "tool": "x"}},
        {"type": "all_of", "assertions": [{"type": "tool_called", "tool": "x"}, query("metadata.model")]},
    ],
    ids=str,
)
def test_what_rests_on_names_and_figures_needs_no_content(raw):
    assert not parse(canonical(raw)).needs_content()


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "output_contains", "value": "x"},
        {"type": "json_schema", "json_schema": {"type": "object"}},
        {"type": "tool_args", "tool": "look_up", "subset": {"n": 1}},
        {"type": "custom", "function": "my_pkg.checks.fine"},
        query("response.content"),
        query("response.content", "exists", None),
        query("response"),
        query("@"),
        query("turns"),
        query("turns[*].content", "contains"),
        query("turns[?content=='x'].role"),
        query("turns[?contains(content, 'x')] | length(@)"),
        query("tool_calls[0].arguments.order_id"),
        query("tool_calls[*].arguments.order_id | length(@)"),
        query("length(response.content)", "gt", 0),
        query("response.content || metadata.model"),
        query("!(response.content)"),
        query("response.*"),
        query("turns[*].[role, content][0]"),
        query("{a: response.content}.a"),
        query("to_string(tool_calls)"),
        query("map(&content, turns)"),
        query("max_by(turns, &length(content)).role"),
        {"type": "not", "assertion": query("response.content")},
        {"type": "any_of", "assertions": [{"type": "tool_called", "tool": "x"}, query("turns")]},
    ],
    ids=str,
)
def test_what_could_rest_on_what_was_said_needs_content(raw):
    assert parse(canonical(raw)).needs_content()


def test_the_shape_that_is_followed_is_the_documents():
    from salvo_core.evaluation.content import CONTENT, DOCUMENT, PLAIN

    def follow(shape, value):
        if isinstance(shape, dict):
            assert set(value) <= set(shape)
            for name, inner in value.items():
                follow(shape[name], inner)
        elif isinstance(shape, list):
            for inner in value:
                follow(shape[0], inner)
        else:
            assert shape in (CONTENT, PLAIN)

    follow(DOCUMENT, Document(trace(calls=[("look_up", {"n": 1})])).tree)
