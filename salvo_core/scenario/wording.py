"""What pydantic found, in words for people: a code, a sentence, a hint.

Codes follow Salvo 0.1: its table, then the first known type that is part of the type's
name, then E999. Types that only this version can produce are added where they belong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from salvo_core.scenario.positions import Place
from salvo_core.scenario.secrecy import concealed, names_a_secret
from salvo_core.scenario.spelling import nearest

_SHOWN_MAX = 80

_CODES = {
    "extra_forbidden": "E001",
    "missing": "E002",
    "value_error": "E003",
    "less_than_equal": "E003",
    "greater_than_equal": "E003",
    "type_error": "E004",
    "string_type": "E004",
    "int_type": "E004",
    "float_type": "E004",
    "bool_type": "E004",
    "int_parsing": "E004",
    "float_parsing": "E004",
    "literal_error": "E005",
    # what 0.1 had no name for
    "less_than": "E003",
    "greater_than": "E003",
    "finite_number": "E003",
    "string_too_short": "E003",
    "string_too_long": "E003",
    "string_pattern_mismatch": "E003",
    "too_short": "E003",
    "too_long": "E003",
    "not_json": "E003",
    "empty_text": "E003",
    "tool_name": "E003",
    "duplicate_tool": "E003",
    "extras_": "E003",
    "mock_empty": "E003",
    "mock_outcome": "E003",
    "regex": "E003",
    "json_schema": "E003",
    "nested_too_deep": "E003",
    "no_members": "E003",
    "member_required": "E003",
    "member_weight": "E003",
    "which_call": "E003",
    "function_path": "E003",
    "criteria_": "E003",
    "judge_adapter": "E003",
    "one_way": "E003",
    "mock_type": "E004",
    "union_tag_invalid": "E005",
    "script_missing": "E002",
}

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "list_type": "a list",
    "tuple_type": "a list",
}

_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def code_of(kind: str) -> str:
    """Return the code of a pydantic error type."""
    if kind in _CODES:
        return _CODES[kind]
    return next((code for known, code in _CODES.items() if known in kind), "E999")


def shown(value: Any) -> str:
    """Return a value in at most 80 characters and with its kind, as in: the text 'high'."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            text = repr(concealed(value[: _SHOWN_MAX * 2]))
            return (
                f"the text {text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 4] + '...' + text[-1]}"
            )
        case Mapping():
            return "a map" if value else "an empty map"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return "something else"


def worded(error: ErrorDetails, path: Place) -> tuple[str, str]:
    """Return the sentence and the hint for one error.

    Args:
        error: As ``ValidationError.errors()`` gives it, with its input.
        path: Where; values under a key that names a secret are not quoted.
    """
    kind, context = error["type"], error.get("ctx", {})
    value = error.get("input")
    secret = any(isinstance(step, str) and names_a_secret(step) for step in path)
    got = "what stands here" if secret else shown(value)
    if kind == "extra_forbidden":
        return "there is no such field", ""
    if kind == "missing":
        return "is required, and missing", ""
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {got}", _type_hint(kind, value, secret)
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"must be {words} {context[bound]:g}, not {got}", ""
    if kind in ("too_short", "too_long"):
        bound, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        count = context[bound]
        return (
            f"must have {words} {count} item{'' if count == 1 else 's'}, not {context['actual_length']}",
            "",
        )
    if kind == "finite_number":
        return "must be a finite number", "give a number, or leave it out"
    if kind == "literal_error":
        allowed = _allowed(error)
        likely = None if secret else nearest(str(value), allowed)
        return f"must be {_listed(allowed)}, not {got}", f"did you mean `{likely}`?" if likely else ""
    if kind == "union_tag_invalid":
        allowed = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
        tag = str(context["tag"])
        likely = nearest(tag, allowed)
        hint = f"did you mean `{likely}`?" if likely else f"the types are {', '.join(allowed)}"
        return f"there is no assertion type {shown(tag).removeprefix('the text ')}", hint
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", error["msg"]))[:300], ""
    return _lower_first(error["msg"])[:300], str(context.get("hint", ""))


def _type_hint(kind: str, value: Any, secret: bool) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float) and not secret:
        return f'quote it: "{str(value).lower() if isinstance(value, bool) else value}"'
    if kind in ("list_type", "tuple_type") and isinstance(value, str | Mapping):
        return "begin each item with a dash"
    return ""


def _allowed(error: ErrorDetails) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
