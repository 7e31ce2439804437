"""What commands print with ``--json``, held against what is published of it."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from salvo_cli.outputs.catalogue import OUTPUTS, PREFIX, output, output_schema

KEPT = Path(__file__).with_name("outputs.json")
"""The fields of every document as they were last agreed: {document: {path: type}}."""


def check_document(document: Any) -> None:
    """Refuse a document of ours that is not what its schema says, or holds a field that it does not name."""
    if not (isinstance(document, dict) and str(document.get("schema", "")).startswith(PREFIX)):
        return  # the first Salvo's document, the schema of scenarios
    faults = [
        f"{fault.json_path}: {fault.message[:300]}"
        for fault in _closed(document["schema"]).iter_errors(document)
    ]
    assert not faults, f"{document['schema']} is not as published: {faults[:5]}"


@cache
def _closed(name: str) -> Draft202012Validator:
    assert name in {one.schema for one in OUTPUTS}, f"{name} is not in salvo_cli/outputs/catalogue.py"
    schema = output_schema(output(name))
    _close(schema)
    return Draft202012Validator(schema)


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


def fields(schema: dict[str, Any]) -> dict[str, str]:
    """Return every field of a document as path and type: ``runs[].cost_usd`` is ``number|null``.

    A field that may be missing ends in ``?``. Bounds, lengths and what is said in words are no
    part of it.
    """
    found: dict[str, str] = {}
    _walk(schema, schema.get("$defs", {}), "", (), found)
    return dict(sorted(found.items()))


def _walk(
    schema: dict[str, Any], defs: dict[str, Any], path: str, within: tuple[str, ...], found: dict[str, str]
) -> None:
    kinds: set[str] = set()
    for one in _choices(schema, defs, within):
        kinds.update(_kind(one).split("|"))
        inner = (*within, *one.get("_names", ()))
        required = set(one.get("required", ()))
        for name, part in one.get("properties", {}).items():
            where = f"{path}.{name}" if path else name
            _walk(part, defs, where if name in required else f"{where}?", inner, found)
        if isinstance(one.get("items"), dict):
            _walk(one["items"], defs, f"{path}[]", inner, found)
        if isinstance(one.get("additionalProperties"), dict):
            _walk(one["additionalProperties"], defs, f"{path}{{}}", inner, found)
    if path:
        found[path] = "|".join(sorted({*found.get(path, "").split("|"), *kinds} - {""}))


def _choices(schema: dict[str, Any], defs: dict[str, Any], within: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema, references followed until they come back to themselves."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in within:
            return [{"type": f"again {name}"}]
        target = copy.deepcopy(defs[name])
        target["_names"] = (*schema.get("_names", ()), name)
        return _choices(target, defs, (*within, name))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            mine = schema.get("_names", ())
            return [
                {**one, "_names": (*mine, *one.get("_names", ()))}
                for choice in schema[several]
                for one in _choices(choice, defs, within)
            ]
    return [schema]


def _kind(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "|".join(sorted(json.dumps(value) for value in schema["enum"]))
    kind = schema.get("type", "anything")
    return "|".join(kind) if isinstance(kind, list) else str(kind)


def agreed() -> dict[str, dict[str, str]]:
    """Return the fields of every document as they were last agreed."""
    kept: dict[str, dict[str, str]] = json.loads(KEPT.read_text("utf-8"))
    return kept


def present() -> dict[str, dict[str, str]]:
    """Return them as they are."""
    return {one.schema: fields(output_schema(one)) for one in OUTPUTS}


if __name__ == "__main__":
    KEPT.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n", "utf-8")
