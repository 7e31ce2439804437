"""JSON from strangers, read so that everything downstream can write it again.

Python's reader accepts more than its writers can put back: NaN and infinities, and
halves of surrogate pairs that no UTF-8 holds. A model may well emit either, so they
are dealt with here, once, instead of failing later when a paid turn is journaled.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond a double")
    return number


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def well_formed(text: str) -> str:
    """Return text with each lone surrogate replaced by U+FFFD, so that UTF-8 can hold it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse(text: str) -> Any:
    """Return the value that text holds; every string in it can be encoded and every number is finite.

    Raises:
        ValueError: It is not JSON, holds a NaN or an infinity, or nests too deep to read.
    """
    try:
        value = _decoder.decode(text)
        # An escaped surrogate is the only way one gets in; pairs were joined by the decoder already.
        return _without_lone_surrogates(value) if "\\ud" in text or "\\uD" in text else value
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _without_lone_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): _without_lone_surrogates(item) for key, item in value.items()}
    return value


def read_arguments(raw: object) -> tuple[dict[str, Any], str | None]:
    """Return what a model sent as a tool call's arguments, and the raw text if it was not an object.

    A call whose arguments cannot be read is the agent's mistake and no error of ours
    (I6): the raw text goes back to the model beside the tool error.

    Args:
        raw: JSON text, as the chat completions API has it, or a value already parsed.

    Returns:
        ``(arguments, None)``, or ``({}, raw text)``. Nothing, null and blank text mean no arguments.
    """
    if raw is None:
        return {}, None
    if isinstance(raw, dict):
        return raw, None
    if not isinstance(raw, str):
        return {}, json.dumps(raw, ensure_ascii=False, default=str)
    if not raw.strip():
        return {}, None
    try:
        value = parse(raw)
    except ValueError:
        return {}, raw
    return (value, None) if isinstance(value, dict) else ({}, raw)


def text_or_empty(value: object) -> str:
    """Return value if it is text, else nothing: for fields that providers leave out or null."""
    return value if isinstance(value, str) else ""
