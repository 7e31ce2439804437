"""The short ways to write an assertion: ``{path: metadata.turn_count, lte: 4}``, ``{not: {...}}``.

The long form always has a ``type``. A comparison in short is a jmespath assertion. ``not``,
``any_of`` and ``all_of`` hold assertions, which may be short themselves, at any depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from salvo_core.evaluation.assertion import Step
from salvo_core.evaluation.catalogue import ASSERTION_TYPES

OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "contains", "regex")
"""Keys that may stand for a whole comparison. ``exists`` takes no value and so has no short form."""

GROUPS: Mapping[str, str] = {"not": "assertion", "any_of": "assertions", "all_of": "assertions"}
"""Keys that may stand for a whole group, each with the key of the long form that holds the members."""

PATH_DEFAULT = "response.content"

_WEIGHED = ("weight", "required")
_SHORT_KEYS = ("path", *OPERATORS, *GROUPS, *_WEIGHED)
_LONG_ONLY = ("expression", "operator", "value")
_STAND_IN = {"type": "output_contains", "value": "-"}


class ShorthandProblem(ValueError):
    """A mapping without ``type`` that stands for no single comparison or group.

    Args:
        message: What is wrong and what to write, for people.
        keys: The keys of the mapping that the problem is about; empty when something is missing.
        path: Where the mapping stands in the assertion, as written there.
    """

    def __init__(self, message: str, keys: list[str], path: tuple[Step, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.keys = keys
        self.path = path


def canonical(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an assertion in its long form.

    A mapping with a ``type`` keeps it. One without needs exactly one key of OPERATORS, and
    becomes a jmespath assertion on ``path`` (default PATH_DEFAULT), or one of GROUPS. Keys that
    mean nothing here are kept, so that validation refuses them with their names.
    Idempotent: the long form of a long form is itself.

    Args:
        raw: As written in the scenario; it is not changed.

    Raises:
        ShorthandProblem: No ``type``, and no such key or several; or keys of both forms. The first.
    """
    long, problems = normalised(raw)
    if problems:
        raise problems[0]
    assert isinstance(long, dict)
    return long


def normalised(raw: Any, path: tuple[Step, ...] = ()) -> tuple[Any, list[ShorthandProblem]]:
    """Return an assertion in its long form, and everything that has none.

    What has none is replaced by an assertion that is valid and means nothing, so that
    validation finds what else is wrong. What is no mapping is left to validation.

    Args:
        raw: As written in the scenario; it is not changed.
        path: Where it stands, for the problems.
    """
    if not isinstance(raw, Mapping):
        return raw, []
    try:
        long = _long(raw, path)
    except ShorthandProblem as problem:
        return dict(_STAND_IN), [problem]
    key = _members_key(long)
    if key is None or key not in long:
        return long, []
    written = (*path, _as_written(raw, key))
    members = long[key]
    if key == "assertion":
        long[key], problems = normalised(members, written)
        return long, problems
    problems = []
    if isinstance(members, list | tuple):
        long[key] = []
        for place, one in enumerate(members):
            member, found = normalised(one, (*written, place))
            long[key].append(member)
            problems += found
    return long, problems


def written_path(raw: Any, path: Sequence[Step]) -> tuple[Step, ...]:
    """Return where something of an assertion's long form stands in the assertion as written.

    Args:
        raw: As written.
        path: Of a place in ``normalised(raw)``.
    """
    if not path or not isinstance(raw, Mapping):
        return tuple(path)
    step, rest = path[0], path[1:]
    written = _as_written(raw, step)
    if "type" in raw and _members_key(raw) != step:
        return tuple(path)
    if step == "assertion":
        return (written, *written_path(raw.get(written), rest))
    members = raw.get(written)
    if step == "assertions" and rest and isinstance(members, list | tuple):
        place = rest[0]
        if isinstance(place, int) and place < len(members):
            return (written, place, *written_path(members[place], rest[1:]))
    return (written, *rest)


def short_keys(raw: Any, path: Sequence[Step]) -> tuple[str, ...]:
    """Return the keys that belong into the short form standing at a place of an assertion.

    Args:
        raw: As written.
        path: As written.

    Returns:
        For suggestions; nothing where no assertion stands, or one in long form.
    """
    if not isinstance(raw, Mapping):
        return ()
    if not path:
        if "type" in raw:
            return ()
        groups = tuple(key for key in GROUPS if key in raw)
        return (*groups, *_WEIGHED) if groups else known_keys(None)
    if path[0] not in GROUPS and path[0] != _members_key(raw):
        return ()
    inner, rest = raw.get(path[0]), path[1:]
    if isinstance(inner, list | tuple):
        place = rest[0] if rest else None
        return short_keys(inner[place], rest[1:]) if isinstance(place, int) and place < len(inner) else ()
    return short_keys(inner, rest)


def _long(raw: Mapping[str, Any], path: tuple[Step, ...]) -> dict[str, Any]:
    """Return one mapping in long form; what it holds stays as it is."""
    if "type" in raw:
        return dict(raw)
    present = [key for key in (*OPERATORS, *GROUPS) if key in raw]
    choices = ", ".join((*OPERATORS, *GROUPS))
    if not present:
        hint = "; `exists` is written `type: jmespath` with `operator: exists`" if "exists" in raw else ""
        message = f"an assertion needs a `type`, or one of the short forms {choices}{hint}"
        raise ShorthandProblem(message, [], path)
    if len(present) > 1:
        listed = " and ".join(present)
        message = f"one comparison per assertion: {listed} need an assertion each"
        raise ShorthandProblem(message, present, path)
    (key,) = present
    mixed = [one for one in (*_LONG_ONLY, *dict.fromkeys(GROUPS.values())) if one in raw]
    if mixed:
        listed = ", ".join(f"`{one}`" for one in mixed)
        has = f"`{key}`" if key in GROUPS else f"`path` and `{key}`"
        message = f"{listed} belongs to the long form with its `type`; the short one has {has}"
        raise ShorthandProblem(message, mixed, path)
    if key in GROUPS:
        rest = {one: value for one, value in raw.items() if one != key}
        return {"type": key, GROUPS[key]: raw[key], **rest}
    rest = {one: value for one, value in raw.items() if one not in ("path", key)}
    expression = PATH_DEFAULT if raw.get("path") is None else raw["path"]
    return {"type": "jmespath", "expression": expression, "operator": key, "value": raw[key], **rest}


def _members_key(long: Mapping[str, Any]) -> str | None:
    """Return the key under which an assertion in long form holds others; None if it is no group."""
    kind = long.get("type")
    return GROUPS.get(kind) if isinstance(kind, str) else None


def _as_written(raw: Mapping[str, Any], step: Step) -> Step:
    """Return what a key of the long form is called in an assertion as written."""
    if "type" in raw:
        return step
    if step in GROUPS.values():
        return next((key for key, inner in GROUPS.items() if key in raw and inner == step), step)
    operator = next((key for key in OPERATORS if key in raw), "value")
    short = {"expression": "path", "operator": operator, "value": operator}
    return short.get(str(step), step)


def known_keys(type_name: str | None) -> tuple[str, ...]:
    """Return the keys that an assertion of that type may have, for suggestions.

    Args:
        type_name: A ``type``; None for the short form. An unknown type has only ``type``.
    """
    if type_name is None:
        return _SHORT_KEYS
    spec = ASSERTION_TYPES.get(type_name)
    return tuple(spec.model_fields) if spec else ("type",)
