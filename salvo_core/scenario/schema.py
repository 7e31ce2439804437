"""The format of scenario files as JSON Schema, so that editors complete and check them.

Put this line on top of a scenario to use it with the YAML language server::

    # yaml-language-server: $schema=./scenario.schema.json
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from salvo_core.evaluation.catalogue import ASSERTION_TYPES
from salvo_core.evaluation.schemas import DIALECT
from salvo_core.evaluation.shorthand import GROUPS, OPERATORS, PATH_DEFAULT
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.notify import ChannelTerms
from salvo_core.scenario.project import ProjectFile, RecordingSection, S3Section

_MEMBERS = {ASSERTION_TYPES[key].__name__: members for key, members in GROUPS.items()}
_WEIGHED = {
    "weight": {"type": "number", "minimum": 0, "default": 1.0},
    "required": {"type": "boolean", "default": False},
}


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file, short forms of assertions included.

    It is a little looser than loading: text that stands for a number is left to the loader,
    and ``model`` may be missing, because ``salvo.yaml`` may hold a default.
    """
    schema = Scenario.model_json_schema()
    listed = schema["properties"]["assertions"]
    any_assertion = {"$ref": "#/$defs/Assertion"}
    forms = [{"oneOf": listed["items"]["oneOf"]}, _comparison(), *(_group(key, schema) for key in GROUPS)]
    listed["items"] = any_assertion
    for name, members in _MEMBERS.items():
        fields = schema["$defs"][name]["properties"]
        if members == "assertion":
            fields[members] = {"description": fields[members]["description"], **any_assertion}
        else:
            fields[members]["items"] = any_assertion
    schema["$defs"]["Assertion"] = {"anyOf": forms}
    schema["required"] = [name for name in schema["required"] if name != "model"]
    return {"$schema": DIALECT, **schema, "title": "Salvo scenario"}


def project_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``salvo.yaml``; as loose as ``scenario_schema``."""
    schema = ProjectFile.model_json_schema()
    for section in (RecordingSection, S3Section, ChannelTerms):
        _describe(schema["$defs"][section.__name__], section)
    _describe(schema, ProjectFile)
    return {"$schema": DIALECT, **schema, "title": "Salvo project"}


def _describe(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Put into the schema what the source says of each field.

    pydantic would do so whenever the class is made: every command reads ``salvo.yaml``, and none but this
    one the source of what describes it.
    """
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(made, ast.ClassDef)
    for field, told in pairwise(made.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(told, ast.Expr)
            and isinstance(told.value, ast.Constant)
            and isinstance(told.value.value, str)
        ):
            schema["properties"][field.target.id]["description"] = inspect.cleandoc(told.value.value)


def _comparison() -> dict[str, Any]:
    return {
        "type": "object",
        "title": "Comparison",
        "description": "A jmespath assertion in short: a path, one operator with what to compare with.",
        "properties": {
            "path": {
                "type": ["string", "null"],
                "description": f"JMESPath over response, turns, tool_calls, metadata; else {PATH_DEFAULT}.",
            },
            **{name: {"description": f"Compare by {name}."} for name in OPERATORS},
            **_WEIGHED,
        },
        "oneOf": [{"required": [name]} for name in OPERATORS],
        "additionalProperties": False,
    }


def _group(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the short form of a group; its members are described where the long form is."""
    name = ASSERTION_TYPES[key].__name__
    members = {"$ref": f"#/$defs/{name}/properties/{GROUPS[key]}"}
    return {
        "type": "object",
        "title": key,
        "description": schema["$defs"][name]["description"],
        "properties": {key: members, **_WEIGHED},
        "required": [key],
        "additionalProperties": False,
    }
