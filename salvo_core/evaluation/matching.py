"""JSON values against one another: equality as JSON has it, and one that has everything another has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a value lacks something that was wanted.

    Attributes:
        path: Keys from the root; empty when the values themselves differ.
        wanted: What should stand there.
    """

    path: tuple[str, ...]
    wanted: Any


def contains(actual: Any, wanted: Any) -> bool:
    """Tell whether actual has everything wanted has; see ``first_difference``."""
    return first_difference(actual, wanted) is None


def first_difference(actual: Any, wanted: Any, path: tuple[str, ...] = ()) -> Difference | None:
    """Return where actual lacks something that wanted has; None if it has everything.

    Maps are compared key by key, and actual's may hold more; everything else, lists too, for
    equality as JSON has it.
    """
    if not isinstance(wanted, dict):
        return None if same(actual, wanted) else Difference(path, wanted)
    if not isinstance(actual, dict):
        return Difference(path, wanted)
    for key, inner in wanted.items():
        found = first_difference(actual.get(key, _ABSENT), inner, (*path, key))
        if found is not None:
            return found
    return None


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal; to Python alone, true would be the number 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)
