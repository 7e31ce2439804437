"""A scenario's name for good: its digest, and the bytes that are stored under it.

The canonical form is the validated scenario with includes resolved and assertions
normalised, as compact JSON. It holds every field that Salvo 0.1 had, defaults and nulls
included, in the order of declaration, so the digests of 0.1 stay what they were where the
form of a scenario did not change. Fields that came later stand in it only where they
differ from their default: adding a field to the format changes no digest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from salvo_core.errors import ObjectCorrupt
from salvo_core.identity import canonical_json, digest
from salvo_core.scenario.model import Scenario, ToolDef, ToolParameters
from salvo_core.trace import codec

SCHEMA = "salvo.scenario/1"

_ALWAYS: Mapping[type[BaseModel], Collection[str]] = {
    Scenario: (
        "description", "tags", "adapter", "model", "system_prompt", "prompt", "tools", "assertions",
        "threshold", "max_turns", "temperature", "seed", "extras",
    ),
    ToolDef: ("name", "description", "parameters", "mock_response"),
    ToolParameters: ("type", "properties", "required"),
}  # fmt: skip
"""Fields that stand in the canonical form whatever their value: those of Salvo 0.1."""

_OF_THE_JUDGING = frozenset({"description", "tags", "assertions", "threshold", "gate"})


def canonical_form(scenario: Scenario) -> dict[str, Any]:
    """Return the JSON-ready document that the digest is taken of; validating it gives an equal scenario."""
    return _model_form(scenario)


def scenario_digest(scenario: Scenario) -> str:
    """Return the sha256 of the canonical form, 64 lower-case hex digits.

    Model gpt-4o with prompt Hello and nothing else gives 94ca7979...c1f85a8, as it did in
    Salvo 0.1.
    """
    return digest(canonical_json(canonical_form(scenario)))


def agent_digest(scenario: Scenario) -> str:
    """Return the sha256 of what the agent sees: all but the name, the tags and how it is judged.

    Two scenarios with one agent digest put the same question; a recording of the one can be judged by
    the assertions of the other.
    """
    form = canonical_form(scenario)
    return digest(
        canonical_json({name: value for name, value in form.items() if name not in _OF_THE_JUDGING})
    )


def differing_fields(one: Scenario, other: Scenario) -> tuple[str, ...]:
    """Return the fields of what the agent sees in which two scenarios differ, in the format's order."""
    forms = canonical_form(one), canonical_form(other)
    return tuple(
        name
        for name in Scenario.model_fields
        if name not in _OF_THE_JUDGING and forms[0].get(name) != forms[1].get(name)
    )


def freeze(scenario: Scenario) -> tuple[bytes, str]:
    """Return the bytes to store and the digest to store them under (``store.keys.scenario``)."""
    return codec.encode(SCHEMA, canonical_form(scenario), compress=False)


def thaw(stored: bytes, where: str, expected_digest: str) -> Scenario:
    """Return the scenario that was frozen.

    Args:
        stored: Bytes as read from the store.
        where: The key, for the error.
        expected_digest: The digest in the key.

    Raises:
        ObjectCorrupt: Damaged, not a scenario, or not the one its key names, also when this
            version of Salvo reads it differently.
    """
    body = codec.decode(SCHEMA, stored, where=where, expected_digest=expected_digest)
    hint = "a newer Salvo may have written it: update this worker"
    scenario = codec.validated(Scenario, body, where=where, what="a scenario", hint=hint)
    found = scenario_digest(scenario)
    if found != expected_digest:
        raise ObjectCorrupt(
            f"{where} means something else to this version of Salvo (digest {found[:12]})",
            hint="update this worker to the version that submitted the run",
        )
    return scenario


def _model_form(model: BaseModel) -> dict[str, Any]:
    always = _ALWAYS.get(type(model), ())
    form = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        # Not exclude_defaults of model_dump, which keeps every field that has a default_factory.
        if name in always or field.is_required() or value != field.get_default(call_default_factory=True):
            form[name] = _form(value)
    return form


def _form(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _model_form(value)
    if isinstance(value, Mapping):
        return {str(key): _form(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_form(inner) for inner in value]
    return value
