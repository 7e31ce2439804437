"""What ``--json`` prints is published, has a version, and keeps it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from salvo_cli.main import main
from salvo_cli.outputs.catalogue import OUTPUTS, PREFIX, Output, output, output_schema
from tests.outputs import agreed, check_document, fields, present
from tests.test_house import ROOT

REFRESH = "write it down: python -m tests.outputs"


def broken(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What a reader of the document before could miss in the one now."""
    return [
        f"{path}: {kind}, now {now.get(path, 'gone')}"
        for path, kind in before.items()
        if now.get(path) != kind
    ]


def test_a_document_that_changed_has_another_version() -> None:
    now = present()
    for name, before in agreed().items():
        if name in now:
            assert not broken(before, now[name]), f"{name} changed: raise its version in the catalogue"


def test_what_is_published_is_written_down() -> None:
    assert present() == agreed(), f"documents or fields were added, or a version raised; {REFRESH}"


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"run_id": "string", "more": "number"}, 0),
        ({"runid": "string"}, 1),
        ({"run_id": "integer"}, 1),
        ({"run_id?": "string"}, 1),
    ],
    ids=["added", "renamed", "retyped", "made-optional"],
)
def test_a_field_that_comes_breaks_nobody_and_one_that_goes_does(now: dict[str, str], told: int) -> None:
    assert len(broken({"run_id": "string"}, now)) == told


def test_fields_are_told_by_path_and_type() -> None:
    schema = {
        "type": "object",
        "required": ["runs"],
        "properties": {
            "runs": {"type": "array", "items": {"$ref": "#/$defs/Run"}},
            "by_name": {"additionalProperties": {"type": "integer"}, "type": "object"},
        },
        "$defs": {
            "Run": {
                "type": "object",
                "required": ["cost"],
                "properties": {
                    "cost": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "inner": {"type": "array", "items": {"$ref": "#/$defs/Run"}},
                },
            }
        },
    }
    assert fields(schema) == {
        "runs": "array",
        "runs[]": "object",
        "runs[].cost": "null|number",
        "runs[].inner?": "array",
        "runs[].inner?[]": "again Run",
        "by_name?": "object",
        "by_name?{}": "integer",
    }


@pytest.mark.parametrize("one", OUTPUTS, ids=lambda one: one.schema)
def test_every_schema_is_one_and_allows_fields_of_tomorrow(one: Output) -> None:
    schema = output_schema(one)
    Draft202012Validator.check_schema(schema)
    assert '"additionalProperties": false' not in json.dumps(schema)
    assert schema["title"] == one.schema
    assert one.says.endswith(".")
    assert output(one.name) == output(one.schema) == one


def test_every_document_that_the_code_names_is_in_the_catalogue() -> None:
    named = set()
    for path in (ROOT / "salvo_cli").rglob("*.py"):
        named |= set(re.findall(r'"(salvo\.cli\.[a-z.-]+/\d+)"', path.read_text("utf-8")))
    assert "salvo.cli.status/1" in named
    assert named <= {one.schema for one in OUTPUTS}


def test_a_field_that_is_not_published_is_refused_here() -> None:
    document = {"schema": "salvo.cli.submit/1", "run_id": "r", "cells": 1, "trials": 3}
    check_document(document)
    with pytest.raises(AssertionError, match="colour"):
        check_document({**document, "colour": "red"})
    with pytest.raises(AssertionError, match="trials"):
        check_document({key: value for key, value in document.items() if key != "trials"})
    with pytest.raises(AssertionError, match="catalogue"):
        check_document({"schema": f"{PREFIX}novel/1"})


def test_schemas_are_printed_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*arguments: str) -> Any:
        assert main(["schema", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    listed = printed("--outputs", "--json")
    check_document(listed)
    assert [one["name"] for one in listed["outputs"]] == [one.schema for one in OUTPUTS]
    assert printed("--output", "status") == output_schema(output("status"))
    assert printed()["title"] == "Salvo scenario"


@pytest.mark.parametrize("arguments", [("--output", "novel"), ("--output", "status", "--outputs")])
def test_an_unknown_document_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert main(["schema", *arguments]) == 64


def test_the_page_about_json_lists_every_document() -> None:
    page = (ROOT / "docs" / "json.md").read_text("utf-8")
    rows = re.findall(r"^\| `(salvo\.cli\.[^`]+)` \| `([^|]+)` \|", page, re.MULTILINE)
    assert rows == [(one.schema, one.printed_by) for one in OUTPUTS]
