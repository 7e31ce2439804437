"""Whether a JMESPath query rests on what was said, or only on what the conversation was like.

A record that keeps no content (``trace.recording``) still has roles, tools' names and every figure,
and queries over those stay answerable. The parsed expression is followed through the shape of the
document; whatever could let a text of the agent, its tools or its user into the answer counts as
resting on content. When in doubt, it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jmespath
import jmespath.exceptions

Shape = Any
"""PLAIN, CONTENT, a map of shapes, or a list of the one shape that its entries have."""

PLAIN = "plain"
"""Kept by every recording, whatever it is."""

CONTENT = "content"
"""What somebody said, or any part of it."""

_CALL = {"id": PLAIN, "name": PLAIN, "arguments": CONTENT}
DOCUMENT: Mapping[str, Shape] = {
    "response": {"content": CONTENT, "finish_reason": PLAIN},
    "turns": [
        {
            "role": PLAIN,
            "content": CONTENT,
            "tool_calls": [_CALL],
            "tool_call_id": PLAIN,
            "tool_name": PLAIN,
        }
    ],
    "tool_calls": [_CALL],
    "metadata": PLAIN,
}
"""The shape of ``evaluation.document.Document.tree``."""


class _RestsOnContent(Exception):
    """Content was compared, counted or otherwise used."""


def query_needs_content(expression: str, *, only_presence: bool = False) -> bool:
    """Tell whether what a query comes to could depend on what was said.

    Args:
        expression: JMESPath over the document. One that does not parse fails on any record alike.
        only_presence: Whether the answer only counts as there or not (the operator ``exists``).
    """
    try:
        parsed = jmespath.compile(expression).parsed
    except (jmespath.exceptions.JMESPathError, RecursionError):
        return False
    try:
        found = _shape(parsed, dict(DOCUMENT))
    except (_RestsOnContent, RecursionError):
        return True
    return found == CONTENT if only_presence else _holds_content(found)


def _shape(node: Mapping[str, Any], given: Shape) -> Shape:
    """Return the shape of what a node makes of a value of the given shape.

    Raises:
        _RestsOnContent: On the way there, content decides something.
    """
    children = node["children"]
    match node["type"]:
        case "field":
            return given.get(node["value"], PLAIN) if isinstance(given, dict) else _inside(given)
        case "identity" | "current":
            return given
        case "index":
            return given[0] if isinstance(given, list) else _inside(given)
        case "slice":
            return given if isinstance(given, list) else _inside(given)
        case "subexpression" | "index_expression" | "pipe":
            for child in children:
                given = _shape(child, given)
            return given
        case "projection" | "filter_projection" | "value_projection" | "flatten":
            return _projected(node, given)
        case "multi_select_list":
            return _joined([_shape(child, given) for child in children])
        case "multi_select_dict":
            return {child["value"]: _shape(child["children"][0], given) for child in children}
        case "function_expression":
            return _called(node, given)
        case kind:
            return _decided(kind, children, given)


def _decided(kind: str, children: Sequence[Any], given: Shape) -> Shape:
    """Return the shape of what is true or false, or chosen by that. A literal has no children."""
    shapes = [_shape(child, given) for child in children]
    match kind:
        case "or_expression":
            _require_truth(shapes[0])
            return shapes[0] if shapes[0] == shapes[1] else _joined(shapes)
        case "and_expression":
            _require_truth(shapes[0])
            return shapes[1]  # or the left side where it is empty, and then it holds nothing
        case "not_expression":
            _require_truth(shapes[0])
        case _:  # comparators, and whatever jmespath may learn: every side is looked at
            for shape in shapes:
                _require_plain(shape)
    return PLAIN


def _projected(node: Mapping[str, Any], given: Shape) -> Shape:
    kind, children = node["type"], node["children"]
    source = _shape(children[0], given)
    if kind == "value_projection" and isinstance(source, dict):
        source = [_joined(list(source.values()))]
    if not isinstance(source, list):
        source = [_inside(source)]
    if kind == "flatten":
        return source[0] if isinstance(source[0], list) else source
    if kind == "filter_projection":
        _require_truth(_shape(children[2], source[0]))
    return [_shape(children[1], source[0])]


def _called(node: Mapping[str, Any], given: Shape) -> Shape:
    """Return the shape of a function's answer. How many entries a list has is kept by every recording."""
    arguments = [
        _shape(child["children"][0] if child["type"] == "expref" else child, given)
        for child in node["children"]
    ]
    if node["value"] == "length":
        for argument in arguments:
            _require_truth(argument)
    else:
        for argument in arguments:
            _require_plain(argument)
    return PLAIN


def _require_plain(shape: Shape) -> None:
    if _holds_content(shape):
        raise _RestsOnContent


def _require_truth(shape: Shape) -> None:
    """Refuse what is content, or a list of it: records without content tell neither if it is empty."""
    while isinstance(shape, list):
        shape = shape[0]
    if shape == CONTENT:
        raise _RestsOnContent


def _holds_content(shape: Shape) -> bool:
    if isinstance(shape, dict):
        return any(map(_holds_content, shape.values()))
    if isinstance(shape, list):
        return _holds_content(shape[0])
    return bool(shape == CONTENT)


def _inside(shape: Shape) -> Shape:
    """Return the shape of any part of what is not looked into further."""
    return CONTENT if shape == CONTENT else PLAIN


def _joined(shapes: list[Shape]) -> Shape:
    return CONTENT if any(map(_holds_content, shapes)) else PLAIN
