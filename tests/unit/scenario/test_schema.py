"""The exported JSON Schema and what `salvo init` writes: they agree with the loader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from salvo_core.scenario.model import Scenario
from salvo_core.scenario.problems import ScenarioInvalid
from salvo_core.scenario.project import load_project
from salvo_core.scenario.schema import project_schema, scenario_schema
from salvo_core.scenario.source import parse_file
from salvo_core.scenario.template import FILES, GITIGNORE_LINE
from tests.unit.scenario.desk import MINIMAL, Desk

EXAMPLES = Path(__file__).parents[3] / "examples"
SCHEMA = scenario_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", ["refund-desk", "coding-agent", "travel-booking", "flaky-weather"])
def test_the_examples_fit_the_schema(name: str) -> None:
    parsed = parse_file(EXAMPLES / f"{name}.yaml", boundary=EXAMPLES)
    assert not parsed.problems
    VALIDATOR.validate(parsed.data)


def test_every_field_says_what_it_is_for() -> None:
    for model in ("ToolDef", "MockRule", "ToolParameters"):
        fields = SCHEMA["$defs"][model]["properties"]
        assert all("description" in one for one in fields.values()), model
    assert all("description" in one for one in SCHEMA["properties"].values())


VALID = (
    "assertions: [{contains: a}, {path: b, eq: 1, weight: 2, required: true}]",
    "tools: [{name: a, description: d, mock_response: [a, {b: 1}]}]",
    "tools: [{name: a, description: d, mocks: [{match: {a: 1}, response: [1]}, {call: 2, error: e}]}]",
    "script: {turns: [{text: a, latency_s: 1}], latency_s: {uniform: [1, 2]}, trials: [[{text: a}]]}",
    "extras: {top_p: 1, nested: {a: [1]}}",
    "unknown_tool: fail",
    "assertions: [{not: {contains: a}, weight: 2, required: true}]",
    "assertions: [{any_of: [{contains: a}, {all_of: [{not: {type: tool_called, tool: a}}]}]}]",
    "assertions: [{type: not, assertion: {type: any_of, assertions: [{path: a, eq: 1}]}}]",
    "assertions: [{type: tool_args, tool: a, call: 2, subset: {b: 1}}]",
    "assertions: [{type: tool_args, tool: a, call: all, json_schema: {}}]",
    "assertions: [{type: json_schema, json_schema: {type: object}, fenced: false}]",
    "assertions: [{type: custom, function: a.b, params: {c: 1}, timeout_s: 1, threshold: 0.5}]",
)
INVALID = (
    "assertions: [{contains: a, eq: b}]",
    "assertions: [{contains: a, wieght: 1}]",
    "assertions: [{type: tool_called}]",
    "assertions: [{type: tool_calld, tool: a}]",
    "assertions: [{type: tool_sequence, sequence: [a], mode: EXACT}]",
    "tools: [{name: a, description: d, mock_response: 5}]",
    "tools: [{nmae: a, description: d}]",
    "threshold: 2",
    "max_turns: 0",
    "other: 1",
    "unknown_tool: ignore",
    "assertions: [{not: {contains: a, eq: b}}]",
    "assertions: [{not: [{contains: a}]}]",
    "assertions: [{any_of: {contains: a}}]",
    "assertions: [{any_of: []}]",
    "assertions: [{all_of: [{contains: a, wieght: 1}]}]",
    "assertions: [{not: {contains: a}, any_of: [{contains: a}]}]",
    "assertions: [{type: any_of, assertions: [{type: tool_calld, tool: a}]}]",
    "assertions: [{type: tool_args, tool: a, call: 0, subset: {}}]",
    "assertions: [{type: tool_args, tool: a, call: first, subset: {}}]",
    "assertions: [{type: json_schema, json_schema: [1]}]",
    "assertions: [{type: custom, function: a.b, timeout_s: 61}]",
)


@pytest.mark.parametrize("text", [*VALID, *INVALID])
def test_the_schema_and_the_loader_agree(desk: Desk, text: str) -> None:
    path = desk.write("s.yaml", f"{MINIMAL}{text}\n")
    try:
        desk.load(path.read_text())
        loads = True
    except ScenarioInvalid:
        loads = False
    data: Any = parse_file(path, boundary=desk.root).data
    assert loads == VALIDATOR.is_valid(data) == (text in VALID)


def test_every_field_of_the_model_is_in_the_schema() -> None:
    assert set(SCHEMA["properties"]) == set(Scenario.model_fields)
    assert SCHEMA["additionalProperties"] is False


def test_t69_what_init_writes_is_a_project_that_validates_and_needs_no_key(desk: Desk) -> None:
    for name, text in FILES.items():
        desk.write(name, text)
    project = load_project(desk.root)
    assert project.problems == ()
    assert desk.load_all(".") == ["scenarios/example.yaml"]
    loaded = desk.load(FILES["scenarios/example.yaml"], "scenarios/example.yaml")
    assert loaded.problems == ()
    assert (loaded.scenario.adapter, len(loaded.scenario.tools)) == ("scripted", 1)
    assert set(FILES) == {"salvo.yaml", "scenarios/example.yaml", "tools/example_tool.yaml"}
    assert GITIGNORE_LINE == ".salvo/"


def test_t69_the_commented_settings_are_valid_when_uncommented(desk: Desk) -> None:
    text = re.sub(r"^#(?! )", "", FILES["salvo.yaml"], flags=re.MULTILINE)
    desk.write("salvo.yaml", text)
    project = load_project(desk.root)
    assert (project.default_model, list(project.providers)) == ("gpt-4o-mini", ["local"])
    assert set(project.settings()) == {"redis_url", "store_url"}


@pytest.mark.parametrize(
    ("section", "field", "description"),
    [
        ("", "redis_url", "Redis or Valkey of the manifest; the embedded one if not set."),
        ("RecordingSection", "mode", "full keeps what was said, without secrets; metadata_only keeps no"),
        ("ChannelTerms", "webhook", "Where alerts are posted as JSON."),
    ],
)
def test_the_projects_schema_says_what_each_field_is_for(section, field, description):
    schema = project_schema()
    described = schema["$defs"][section] if section else schema
    assert described["properties"][field]["description"].startswith(description)
