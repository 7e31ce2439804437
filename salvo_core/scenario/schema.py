"""The format of scenario files as JSON Schema, so that editors complete and check them.

Put this line on top of a scenario to use it with the YAML language server::

    # yaml-language-server: $schema=./scenario.schema.json
"""

from __future__ import annotations

from typing import Any

from salvo_core.evaluation.shorthand import OPERATORS, PATH_DEFAULT
from salvo_core.scenario.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file, short forms of assertions included.

    It is a little looser than loading: text that stands for a number is left to the loader,
    and ``model`` may be missing, because ``salvo.yaml`` may hold a default.
    """
    schema = Scenario.model_json_schema()
    described = schema["properties"]["assertions"]
    long = {"oneOf": described["items"]["oneOf"]}
    described["items"] = {"anyOf": [long, _short_form()]}
    schema["required"] = [name for name in schema["required"] if name != "model"]
    return {"$schema": DIALECT, **schema, "title": "Salvo scenario"}


def _short_form() -> dict[str, Any]:
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
            "weight": {"type": "number", "minimum": 0, "default": 1.0},
            "required": {"type": "boolean", "default": False},
        },
        "oneOf": [{"required": [name]} for name in OPERATORS],
        "additionalProperties": False,
    }
