"""Groups, schemas and functions in scenario files: what is said about mistakes in them, and where."""

from __future__ import annotations

import pytest

from tests.unit.scenario.desk import MINIMAL, Desk

START = MINIMAL + "tools: [{name: pay, description: d, mock_response: a}]\nassertions:\n"


def located(desk: Desk, text: str) -> list[tuple[str, str, int, int]]:
    """(code, field, line of the text, column) of everything that is wrong with assertions of that text."""
    found = desk.problems(START + text)
    return [(one.code, one.field, one.line - START.count("\n"), one.col) for one in found]


def test_short_forms_may_stand_in_groups_and_groups_in_groups(desk: Desk) -> None:
    loaded = desk.load(
        START + "  - {any_of: [{contains: a}, {not: {path: b, eq: 1}}], weight: 2, required: true}\n"
    )
    (group,) = loaded.scenario.assertions
    assert (group.type, group.weight, group.required) == ("any_of", 2.0, True)
    assert group.label() == 'any_of [jmespath response.content contains "a", not jmespath b eq 1]'
    assert loaded.problems == ()


def test_the_short_and_the_long_way_to_write_a_group_have_one_digest(desk: Desk) -> None:
    short = desk.load(START + "  - not: {any_of: [{contains: a}]}\n")
    long = desk.load(
        START + "  - type: not\n    assertion:\n      type: any_of\n      assertions:\n"
        "        - {type: jmespath, expression: response.content, operator: contains, value: a}\n"
    )
    assert short.digest == long.digest


def test_mistakes_inside_groups_are_found_together_each_at_its_own_line(desk: Desk) -> None:
    text = (
        "  - any_of:\n"
        "      - {contains: a, wieght: 1}\n"
        "      - not:\n"
        "          all_of:\n"
        "            - {type: tool_called}\n"
        "            - {contian: b}\n"
        "            - {type: cost_limit, max_usd: much}\n"
        "    wieght: 2\n"
    )
    assert located(desk, text) == [
        ("E001", "assertions.0.any_of.0.wieght", 2, 23),
        ("E002", "assertions.0.any_of.1.not.all_of.0.tool", 4, 11),
        ("E999", "assertions.0.any_of.1.not.all_of.1", 6, 15),
        ("E004", "assertions.0.any_of.1.not.all_of.2.max_usd", 7, 34),
        ("E001", "assertions.0.wieght", 8, 5),
    ]
    hints = {one.field.rpartition(".")[2]: one.hint for one in desk.problems(START + text)}
    assert hints["wieght"] == "did you mean `weight`?"
    assert hints["1"] == "did you mean `contains` in place of `contian`?"
    assert hints["tool"] == "assertions.0.any_of.1.not.all_of.0 begins at s.yaml:9"


@pytest.mark.parametrize(
    ("text", "code", "field", "hint"),
    [
        (
            "{any_off: [{contains: a}]}",
            "E999",
            "assertions.0",
            "did you mean `any_of` in place of `any_off`?",
        ),
        ("{any_of: []}", "E003", "assertions.0.any_of", ""),
        ("{any_of: {contains: a}}", "E999", "assertions.0.any_of", "begin each item with a dash"),
        ("{any_of: [5]}", "E999", "assertions.0.any_of.0", ""),
        ("{not: [contains: a]}", "E999", "assertions.0.not", ""),
        ("{not: }", "E999", "assertions.0.not", ""),
        ("{not: {type: tool_calld}}", "E005", "assertions.0.not.type", "did you mean `tool_called`?"),
        ("{not: {contains: a}, path: b}", "E001", "assertions.0.path", "allowed here"),
        (
            "{not: {contains: a, required: true}}",
            "E003",
            "assertions.0.not.required",
            "write it beside the group",
        ),
        ("{any_of: [{contains: a, weight: 2}]}", "E003", "assertions.0.any_of.0.weight", "write it beside"),
        ("{type: tool_args, tool: pay, sbset: {}, subset: {}}", "E001", "assertions.0.sbset", "`subset`"),
        ("{type: tool_args, tool: pay, expression: a, operator: gt}", "E002", "assertions.0.value", ""),
        ("{type: tool_args, tool: pay, subset: {}, value: 1}", "E003", "assertions.0.value", ""),
        ("{type: tool_args, tool: pay}", "E003", "assertions.0", ""),
        ("{type: tool_args, tool: pay, call: 0, subset: {}}", "E003", "assertions.0.call", ""),
        ("{type: json_schema, schema: {}}", "E001", "assertions.0.schema", "did you mean `json_schema`?"),
        ("{type: custom, function: 'a b'}", "E003", "assertions.0.function", ""),
        ("{type: custom, function: a.b, timeout: 1}", "E001", "assertions.0.timeout", "`timeout_s`"),
        ("{type: custom, function: a.b, timeout_s: 61}", "E003", "assertions.0.timeout_s", ""),
    ],
)
def test_a_mistake_is_located_and_says_what_was_meant(
    desk: Desk, text: str, code: str, field: str, hint: str
) -> None:
    by_field = {one.field: one for one in desk.problems(f"{START}  - {text}\n")}
    # What is missing has no place of its own: it is shown at the list, as everywhere.
    assert (by_field[field].code, by_field[field].line) == (code, 4 if code == "E002" else 5)
    assert hint in by_field[field].hint


def test_a_schema_that_cannot_be_used_is_shown_at_the_very_line(desk: Desk) -> None:
    text = (
        "  - all_of:\n"
        "      - type: json_schema\n"
        "        json_schema:\n"
        "          properties:\n"
        "            amount: {type: nubmer}\n"
        "  - type: tool_args\n"
        "    tool: pay\n"
        "    json_schema:\n"
        "      items:\n"
        "        $ref: https://example.com/x.json\n"
    )
    assert located(desk, text) == [
        ("E003", "assertions.0.all_of.0.json_schema.properties.amount.type", 5, 22),
        ("E003", "assertions.1.json_schema.items.$ref", 10, 9),
    ]
    assert "nothing is fetched" in desk.problems(START + text)[1].message


def test_a_schema_may_be_included_from_a_file(desk: Desk) -> None:
    desk.write("refund.yaml", "type: object\nrequired: [amount]\n")
    loaded = desk.load(START + "  - {type: json_schema, json_schema: !include refund.yaml}\n")
    assert loaded.scenario.assertions[0].label() == "json_schema [amount]"
    desk.write("refund.yaml", "type: object\nrequired: amount\n")
    problem = desk.problem(START + "  - {type: json_schema, json_schema: !include refund.yaml}\n")
    assert (problem.file, problem.line) == ("refund.yaml", 2)


def test_groups_nested_too_deep_are_refused_where_that_begins(desk: Desk) -> None:
    deep = "{not: " * 6 + "{contains: a}" + "}" * 6
    problem = desk.problem(f"{START}  - {deep}\n")
    assert (problem.code, problem.field) == ("E003", "assertions.0")
    assert "5 deep" in problem.message
    assert desk.load(f"{START}  - {deep[6:-1]}\n").problems == ()


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{not: {type: tool_called, tool: pya}}", "W003", "assertions.0.not.tool"),
        (
            "{any_of: [{contains: a}, {type: tool_sequence, sequence: [x]}]}",
            "W003",
            "assertions.0.any_of.1.sequence.0",
        ),
        ("{type: tool_args, tool: pya, subset: {a: 1}}", "W003", "assertions.0.tool"),
        ("{type: tool_args, tool: pay, subset: {}}", "W002", "assertions.0"),
        ("{all_of: [{regex: '['}]}", "W002", "assertions.0.all_of.0"),
        ("{not: {type: json_schema, json_schema: {format: date}}}", "W002", "assertions.0.not"),
    ],
)
def test_warnings_reach_into_groups(desk: Desk, text: str, code: str, field: str) -> None:
    (problem,) = desk.load(f"{START}  - {text}\n").problems
    assert (problem.code, problem.field, problem.severity, problem.line) == (code, field, "warning", 5)
