"""JSON Schemas of users, on answers and on arguments."""

import pytest
from pydantic import ValidationError

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.schemas import DIALECT, schema_problem
from salvo_core.trace.redaction import Redactor
from tests.unit.evaluation.builders import checked, trace

AMOUNT = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "number", "minimum": 0}, "to": {"$ref": "#/$defs/name"}},
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "pattern": "^[A-Z]"}},
}


def fits(answer, schema=AMOUNT, **more):
    return checked({"type": "json_schema", "json_schema": schema, **more}, trace(answer=answer))


def fenced(*blocks):
    return "Here it is:\n\n" + "\n\n".join(blocks) + "\n\nAnything else?"


GOOD, BAD = '{"amount": 42.5, "to": "Ann"}', '{"amount": -1}'


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (GOOD, True),
        (f"  {GOOD}\n", True),
        (BAD, False),
        ('{"amount": 1, "to": "ann"}', False),
        ('{"amount": 1, "other": 1}', False),
        ("[]", False),
        ("", False),
        ("nothing of the sort", False),
        ('{"amount": NaN}', False),
        ('{"amount": 1e999}', False),
        (f"{GOOD} and more", False),
        ("[" * 100_000, False),
        (None, False),
        (fenced(f"```json\n{GOOD}\n```"), True),
        (fenced(f"```\n{GOOD}\n```"), True),
        (fenced(f"~~~~ JSON\n{GOOD}\n~~~~~"), True),
        (fenced(f"```json\n{GOOD}"), False),  # never closed: what follows belongs to it
        (f"```json\n{GOOD}", True),
        (fenced(f"```json\n{BAD}\n```"), False),
        (fenced("```python\nprint()\n```", f"```json\n{GOOD}\n```"), True),
        (fenced(f"```\n{GOOD}\n```", f"```\n{GOOD}\n```"), False),
        (fenced(f"```json\n{GOOD}\n```", f"```json\n{GOOD}\n```"), False),
    ],
)
def test_an_answer_fits_if_it_is_json_alone_or_in_the_one_block_that_can_be_meant(answer, passed):
    check = fits(answer)
    assert (check.passed, check.error) == (passed, None), check.details


def test_a_fenced_block_may_be_forbidden():
    assert not fits(f"```json\n{GOOD}\n```", fenced=False).passed
    assert fits(GOOD, fenced=False).passed


def test_details_say_where_what_was_found_and_what_was_wanted():
    assert fits('{"amount": -1}').details == "the answer, at $.amount: -1 does not fit minimum 0"
    assert fits("{}").details.startswith("the answer, at $: {} does not fit required ['amount']")
    assert fits('[{"a": ["x"]}]', {"items": {"properties": {"a": {"items": {"type": "null"}}}}}).details == (
        "the answer, at $[0].a[0]: 'x' does not fit type 'null'"
    )
    assert fits("no json").details.startswith("the answer is not JSON: Expecting value")


def test_a_schema_with_patterns_on_names_is_searched_with_a_bound():
    schema = {"patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": {"type": "null"}}
    assert fits('{"n_a": 1, "b": null}', schema).passed
    assert not fits('{"n_a": "1"}', schema).passed
    assert not fits('{"b": 1}', schema).passed
    assert fits("[]", schema).passed


def test_a_pattern_that_would_take_for_ever_fails_and_says_so():
    schema = {"properties": {"a": {"pattern": "^(a|aa)+$"}}}
    check = fits('{"a": "' + "a" * 80 + 'b"}', schema)
    assert (check.passed, check.error) == (False, None)
    assert check.details == "the answer, a pattern of the schema took longer than 1 s to search"


def test_a_schema_that_never_ends_fails_and_says_so():
    check = fits("1", {"$ref": "#"})
    assert (check.passed, check.error) == (False, None)
    assert "nested too deep" in check.details


def test_a_million_faults_are_not_all_looked_at():
    check = fits("[" + ",".join(["1"] * 200_000) + "]", {"items": {"type": "string"}})
    assert "does not fit type 'string'" in check.details


def test_what_is_quoted_is_redacted_by_the_keys_above_it():
    raw = {"type": "json_schema", "json_schema": {"properties": {"password": {"type": "number"}}}}
    (found,) = evaluate(trace(answer='{"password": "swordfish"}'), [parse(raw)], redact=Redactor().document)
    assert "swordfish" not in found.details
    assert "at $.password: '[REDACTED]' does not fit type 'number'" in found.details


@pytest.mark.parametrize(
    ("schema", "path", "said"),
    [
        ({"type": "nubmer"}, ("type",), "cannot be 'nubmer'"),
        ({"properties": {"a": 5}}, ("properties", "a"), "cannot be 5"),
        ({"minimum": "x"}, ("minimum",), "wanted is type 'number'"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("$schema",), "2020-12"),
        ({"items": {"$ref": "https://example.com/a.json"}}, ("items", "$ref"), "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, ("$ref",), "nothing is fetched"),
        ({"$ref": "other.json#/a"}, ("$ref",), "nothing is fetched"),
        ({"$dynamicRef": "https://example.com/#a"}, ("$dynamicRef",), "nothing is fetched"),
        ({"allOf": [{}, {"$ref": "#/$defs/no"}]}, ("allOf", 1, "$ref"), "leads nowhere"),
        ({"$defs": {"a": {"$id": "https://e.com/a"}}}, ("$defs", "a", "$id"), "no use"),
        ({"properties": {"a": {"pattern": "("}}}, ("properties", "a", "pattern"), "not a regular"),
        ({"patternProperties": {"(": {}}}, ("patternProperties",), "not a regular"),
        (
            {"patternProperties": {"a": {}}, "unevaluatedProperties": False},
            ("unevaluatedProperties",),
            "no bound",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_when_it_is_read(schema, path, said):
    problem = schema_problem(schema)
    assert problem is not None
    assert problem.path == path
    assert said in problem.message
    for raw in ({"type": "json_schema"}, {"type": "tool_args", "tool": "pay"}):
        with pytest.raises(ValidationError) as caught:
            parse({**raw, "json_schema": schema})
        assert caught.value.errors()[0]["ctx"]["places"] == [path]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        AMOUNT,
        {"$schema": DIALECT},
        {"$id": "https://example.com/mine", "$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"properties": {"$ref": {"type": "string"}, "pattern": {}, "format": {}}},
        {"const": {"$ref": "https://example.com", "pattern": "("}, "enum": [{"$ref": "x"}]},
        {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
        {"unevaluatedProperties": False},
    ],
)
def test_a_schema_that_is_whole_in_itself_is_taken(schema):
    assert schema_problem(schema) is None


def test_nothing_is_fetched_even_for_a_schema_that_nobody_checked(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    spec = parse({"type": "json_schema", "json_schema": {}})
    unchecked = spec.model_copy(update={"json_schema": {"$ref": "http://127.0.0.1:1/x.json"}})
    (found,) = evaluate(trace(answer="{}"), [unchecked])
    assert "Unresolvable" in found.error
    assert "network was asked" not in found.error


def test_labels_and_warnings():
    def spec(schema):
        return parse({"type": "json_schema", "json_schema": schema})

    assert spec({"title": "Refund"}).label() == "json_schema Refund"
    assert spec(AMOUNT).label() == "json_schema [amount]"
    assert spec({}).label() == "json_schema"
    assert spec({}).warnings() == ["an empty schema fits every JSON"]
    assert "is not checked" in spec({"properties": {"a": {"format": "email"}}}).warnings()[0]
    assert spec({"properties": {"format": {"type": "string"}}}).warnings() == []


def test_two_equal_specs_are_equal_before_and_after_one_has_checked():
    one, other = (parse({"type": "json_schema", "json_schema": AMOUNT}) for _ in range(2))
    evaluate(trace(answer=GOOD), [one])
    assert one == other
