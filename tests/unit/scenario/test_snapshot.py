"""What the records of a run keep of a scenario that is withheld."""

import json

import pytest

from salvo_core.errors import ObjectCorrupt
from salvo_core.scenario.digest import agent_digest
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.snapshot import (
    ExcludedAssertion,
    Snapshot,
    freeze_snapshot,
    is_withheld,
    snapshot_of,
    thaw_snapshot,
)
from salvo_core.trace.recording import EXCLUDED
from salvo_core.trace.redaction import MARKER, Redactor

KEY = "sk-abcdefghij0123456789"
REDACTOR = Redactor(patterns=["CARD-[0-9]+"])


def scenario(**fields):
    return Scenario.model_validate({"model": "m", "prompt": "Refund it."} | fields)


def test_an_ordinary_scenario_is_not_withheld():
    assert not is_withheld(scenario(), "full", REDACTOR)
    assert is_withheld(scenario(), "metadata_only", REDACTOR)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": f"Use {KEY}."},
        {"system_prompt": "CARD-1234 is on file"},
        {"tools": [{"name": "t", "description": f"takes {KEY}"}]},
        {"tools": [{"name": "t", "description": "", "mock_response": {"password": "x"}}]},
        {"tools": [{"name": "t", "description": "", "mocks": [{"error": KEY}]}]},
        {"extras": {"note": KEY}},
        {"assertions": [{"type": "output_contains", "value": "token=999"}]},
        {"assertions": [{"type": "custom", "function": "a.b", "params": {"x": [KEY]}}]},
    ],
    ids=str,
)
def test_a_scenario_with_something_that_is_struck_out_is_withheld_and_its_snapshot_is_clean(fields):
    given = scenario(**fields)
    assert is_withheld(given, "full", REDACTOR)
    kept = thaw_snapshot(freeze_snapshot(given, "full", REDACTOR), "here")
    assert kept == snapshot_of(given, "full", REDACTOR)
    text = kept.scenario.model_dump_json()
    assert MARKER in text
    assert not any(secret in text for secret in (KEY, "CARD-1234", "token=999", '"password":"x"'))
    assert (kept.excluded, kept.whole, kept.agent_digest) == ((), False, agent_digest(given))


def test_a_property_called_password_is_none_but_its_default_is():
    properties = {"password": {"type": "string", "description": "Of the user."}}
    tool = {"name": "log_in", "description": "Logs in.", "parameters": {"properties": properties}}
    fits = {"type": "json_schema", "json_schema": {"type": "object", "properties": properties}}
    assert not is_withheld(scenario(tools=[tool], assertions=[fits]), "full", REDACTOR)
    properties["password"]["default"] = "hunter2"
    given = scenario(tools=[tool], assertions=[fits])
    assert is_withheld(given, "full", REDACTOR)
    kept = snapshot_of(given, "full", REDACTOR)
    assert "hunter2" not in kept.scenario.model_dump_json()
    assert kept.scenario.tools[0].parameters.properties["password"]["type"] == "string"
    assert kept.excluded == ()


def test_an_assertion_that_redaction_breaks_is_counted_instead():
    broken = {
        "type": "json_schema",
        "json_schema": {"$ref": "#/$defs/CARD-1", "$defs": {"CARD-1": {"type": "object"}, "CARD-2": {}}},
        "weight": 2,
        "required": True,
    }
    given = scenario(assertions=[{"type": "tool_called", "tool": "t"}, broken])
    kept = thaw_snapshot(freeze_snapshot(given, "full", Redactor(patterns=["\\$defs"])), "here")
    assert kept.excluded == ((1, ExcludedAssertion(type="json_schema", weight=2, required=True)),)
    assert [one.type for one in kept.scenario.assertions] == ["tool_called"]


def test_without_content_no_word_of_what_is_said_stays():
    word = "canary"
    given = scenario(
        description="Refunds",
        adapter="scripted",
        system_prompt=word,
        prompt=word,
        tools=[
            {
                "name": "look_up",
                "description": word,
                "parameters": {"properties": {word: {"description": word}}, "required": [word]},
                "mock_response": [word],
                "mocks": [{"match": {word: word}, "response": word}, {"error": word}],
            }
        ],
        extras={"user": word},
        script={"turns": [{"text": word}]},
        assertions=[
            {"type": "output_contains", "value": word, "weight": 3},
            {"type": "tool_called", "tool": "look_up", "required": True},
            {"type": "custom", "function": "a.b", "params": {word: word}},
            {"type": "jmespath", "expression": "metadata.cost_usd", "operator": "lt", "value": 1},
        ],
    )
    stored = freeze_snapshot(given, "metadata_only", REDACTOR)
    assert word.encode() not in stored
    kept = thaw_snapshot(stored, "here")
    assert (kept.recording, kept.scenario.prompt, kept.scenario.description) == (
        "metadata_only", EXCLUDED, "Refunds",
    )  # fmt: skip
    assert [tool.name for tool in kept.scenario.tools] == ["look_up"]
    assert [one.type for one in kept.assertions] == ["output_contains", "tool_called", "custom", "jmespath"]
    assert [place for place, _ in kept.excluded] == [0, 2]
    assert kept.excluded[0][1].weight == 3
    assert list(kept.scenario.assertions) == [given.assertions[1], given.assertions[3]]


def test_a_snapshot_of_what_is_not_withheld_is_all_of_it():
    given = scenario(assertions=[{"type": "tool_called", "tool": "t"}])
    kept = Snapshot.of(given)
    assert (kept.scenario, kept.assertions, kept.excluded, kept.whole) == (
        given, tuple(given.assertions), (), True,
    )  # fmt: skip


@pytest.mark.parametrize("spoil", [lambda body: body[:-9], lambda body: b"{}"])
def test_a_damaged_snapshot_is_told_as_such(spoil):
    with pytest.raises(ObjectCorrupt, match="here"):
        thaw_snapshot(spoil(freeze_snapshot(scenario(), "metadata_only", REDACTOR)), "here")


def test_a_snapshot_of_another_form_is_told_as_such():
    from salvo_core.scenario.snapshot import SCHEMA
    from salvo_core.trace import codec

    body = json.loads(freeze_snapshot(scenario(), "metadata_only", REDACTOR))["body"]
    body["assertions"] = [{"type": "no_such_type"}]
    with pytest.raises(ObjectCorrupt, match="cannot read"):
        thaw_snapshot(codec.encode(SCHEMA, body, compress=False)[0], "here")
