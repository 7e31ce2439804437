"""What a scenario's ``extras`` may hold: parameters for the provider, never credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from salvo_core.scenario.positions import Place
from salvo_core.scenario.secrecy import names_a_secret

KEYS_MAX = 10
BYTES_MAX = 4096
"""Of the JSON that ``json.dumps`` writes by default, with non-ASCII escaped."""

RESERVED = frozenset({"model", "messages", "tools", "stream"})
"""What the conversation itself is made of; extras cannot replace it."""


def guarded(extras: dict[str, Any]) -> dict[str, Any]:
    """Return extras if they may be sent.

    Raises:
        PydanticCustomError: A key names a secret (at any depth), a key is reserved, there are
            more than ``KEYS_MAX`` or they are larger than ``BYTES_MAX``. ``places`` in its
            context lists the paths that are wrong, relative to ``extras``.
    """
    secret = [path for path in _key_paths(extras) if names_a_secret(str(path[-1]))]
    if secret:
        raise PydanticCustomError(
            "extras_secret",
            "looks like a credential, and extras are stored with the scenario",
            {"places": secret, "hint": "keys belong in the environment of the workers, e.g. OPENAI_API_KEY"},
        )
    reserved: list[Place] = [(key,) for key in extras if key.lower() in RESERVED]
    if reserved:
        raise PydanticCustomError(
            "extras_reserved",
            "cannot be set through extras",
            {"places": reserved, "hint": "model and tools are fields of the scenario; Salvo never streams"},
        )
    if len(extras) > KEYS_MAX:
        raise PydanticCustomError("extras_count", f"has {len(extras)} keys, at most {KEYS_MAX} are allowed")
    size = len(json.dumps(extras))
    if size > BYTES_MAX:
        raise PydanticCustomError(
            "extras_size", f"takes {size} bytes as JSON, at most {BYTES_MAX} are allowed"
        )
    return extras


def _key_paths(value: Any, path: Place = ()) -> Iterator[Place]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, str(key))
            yield from _key_paths(inner, (*path, str(key)))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _key_paths(inner, (*path, place))
