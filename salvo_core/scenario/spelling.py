"""Did you mean: the names that would have been right at a place, and the nearest of them."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from salvo_core.scenario.positions import Place

_CUTOFF = 0.6


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like a misspelt one, None if none is like it."""
    words = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), words, n=1, cutoff=_CUTOFF)
    return words[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest known word, or all of them when they are few, or nothing."""
    known = list(known)
    found = nearest(word, known)
    if found is not None:
        return f"did you mean `{found}`?"
    return f"allowed here: {', '.join(known)}" if 0 < len(known) <= 12 else ""


def unknown_adapter(name: str, known: Sequence[str]) -> str | None:
    """Return the beginning of a warning, up to what workers cannot do, about an adapter not known here.

    Not an error: a fleet's workers have their own salvo.yaml, which may name more providers.
    """
    if name in known or "." in name:
        return None
    return f"this project has no adapter {name[:64]!r}: workers that do not have it either"


def keys_at(model: type[BaseModel], path: Place, data: Any) -> list[str]:
    """Return the keys that a model allows in the map at a path, in declaration order.

    Args:
        model: Of the whole document.
        path: Of the map, from the root.
        data: The document; where the model offers several shapes, its ``type`` chooses among them.
    """
    shapes = _models(model, data)
    for step in path:
        data = _inner(data, step)
        shapes = [one for shape in shapes for one in _models(_annotation(shape, step), data)]
    models = [shape for shape in shapes if isinstance(shape, type) and issubclass(shape, BaseModel)]
    return list(dict.fromkeys(name for one in models for name in one.model_fields))


def _annotation(shape: Any, step: str | int) -> Any:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        found = shape.model_fields.get(str(step))
        return found.annotation if found is not None else None
    arguments = get_args(shape)
    return arguments[-1] if len(arguments) == 2 and get_origin(shape) is dict else (arguments or (None,))[0]


def _models(annotation: Any, data: Any) -> list[Any]:
    """Return the shapes an annotation allows, without those that the data's ``type`` rules out."""
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0], data)
    if get_origin(annotation) in (Union, types.UnionType):
        shapes = [one for part in get_args(annotation) for one in _models(part, data)]
        return [one for one in shapes if _type_of(one) == _inner(data, "type")] or shapes
    return [annotation]


def _type_of(shape: Any) -> str | None:
    field = getattr(shape, "model_fields", {}).get("type")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


def _inner(data: Any, step: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(step)
    if isinstance(data, list | tuple) and isinstance(step, int) and 0 <= step < len(data):
        return data[step]
    return None
