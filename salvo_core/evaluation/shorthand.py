"""The short way to write an assertion: ``{path: metadata.turn_count, lte: 4}`` for a jmespath one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salvo_core.evaluation.catalogue import ASSERTION_TYPES

OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "contains", "regex")
"""Keys that may stand for a whole comparison. ``exists`` takes no value and so has no short form."""

PATH_DEFAULT = "response.content"

_SHORT_KEYS = ("path", *OPERATORS, "weight", "required")
_LONG_ONLY = ("expression", "operator", "value")


class ShorthandProblem(ValueError):
    """A mapping without ``type`` that stands for no single comparison.

    Args:
        message: What is wrong and what to write, for people.
        keys: The keys of the mapping that the problem is about; empty when something is missing.
    """

    def __init__(self, message: str, keys: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.keys = keys


def canonical(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an assertion in its long form.

    A mapping with a ``type`` is returned as it is. One without needs exactly one key of
    OPERATORS and becomes a jmespath assertion on ``path`` (default PATH_DEFAULT). Keys that
    mean nothing here are kept, so that validation refuses them with their names.
    Idempotent: the long form of a long form is itself.

    Args:
        raw: As written in the scenario; it is not changed.

    Raises:
        ShorthandProblem: No ``type``, and no operator key or several; or keys of both forms.
    """
    if "type" in raw:
        return dict(raw)
    present = [key for key in OPERATORS if key in raw]
    choices = ", ".join(OPERATORS)
    if not present:
        hint = "; `exists` is written `type: jmespath` with `operator: exists`" if "exists" in raw else ""
        raise ShorthandProblem(f"an assertion needs a `type`, or one of the short forms {choices}{hint}", [])
    if len(present) > 1:
        listed = " and ".join(present)
        raise ShorthandProblem(f"one comparison per assertion: {listed} need an assertion each", present)
    mixed = [key for key in _LONG_ONLY if key in raw]
    if mixed:
        listed = ", ".join(f"`{key}`" for key in mixed)
        raise ShorthandProblem(
            f"{listed} belongs to the long form with its `type`; the short one has `path` and `{present[0]}`",
            mixed,
        )
    rest = {key: value for key, value in raw.items() if key not in ("path", present[0])}
    path = raw.get("path")
    return {
        "type": "jmespath",
        "expression": PATH_DEFAULT if path is None else path,
        "operator": present[0],
        "value": raw[present[0]],
        **rest,
    }


def known_keys(type_name: str | None) -> tuple[str, ...]:
    """Return the keys that an assertion of that type may have, for suggestions.

    Args:
        type_name: A ``type``; None for the short form. An unknown type has only ``type``.
    """
    if type_name is None:
        return _SHORT_KEYS
    spec = ASSERTION_TYPES.get(type_name)
    return tuple(spec.model_fields) if spec else ("type",)
