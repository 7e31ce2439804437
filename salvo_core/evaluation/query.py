"""Assertions by JMESPath: an expression picks a value from the document, an operator compares it.

A query is the user's program and may be wrong. Whatever it does at run time (a wrong
argument type, an unknown function, an expression that does not parse) is a failed check
that says so, never an error of the infrastructure and never the loss of a trace.
"""

from __future__ import annotations

import json
import operator as op
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import jmespath
import jmespath.exceptions
import jmespath.functions
import regex
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.content import query_needs_content
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import one_line, quoted

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "exists", "contains", "regex"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

REGEX_SUBJECT_CHARS_MAX = 100_000
"""Only so much of a text is searched by a regular expression."""

REGEX_TIME_S_MAX = 1.0
"""A search that takes longer ends, and its assertion fails saying so."""

_EXPRESSION_CHARS_MAX = 160  # of an expression quoted in details
_ORDERED = frozenset({"gt", "gte", "lt", "lte"})


_ABSENT = object()  # tells a value left out from one that is null


class JmespathQuery(AssertionSpec):
    """A value of the document, picked by a JMESPath expression, compares as stated.

    The operators. A value that is null or missing satisfies none of them.
        eq, ne: Equality without coercion: "1" is not 1 (true equals 1, as it always did).
        gt, gte, lt, lte: Both sides as numbers, numeric strings included; otherwise false.
        exists: Anything but null, also an empty list or text. ``value`` is not used.
        contains: A text contains the value's textual form; a list has an equal element.
        regex: The pattern ``value`` is found somewhere in the value's textual form. Python's
            A search ends after REGEX_TIME_S_MAX, for nested repetition such as ``(a+)+$`` can take
            for ever on a few dozen characters. Longer texts than REGEX_SUBJECT_CHARS_MAX are
            searched up to there.
    """

    type: Literal["jmespath"]
    expression: str
    """JMESPath over response, turns, tool_calls and metadata."""
    operator: Operator
    """How to compare what the expression yields."""
    value: Any = Field(default_factory=lambda: _ABSENT, validate_default=True)
    """What to compare with; needed by every operator but ``exists``."""

    @field_validator("value")
    @classmethod
    def _needed(cls, value: Any, known: ValidationInfo) -> Any:
        if value is not _ABSENT:
            return value
        # No operator here means that it was itself invalid, which is reported already.
        if known.data.get("operator", "exists") != "exists":
            raise PydanticKnownError("missing")
        return None

    def label(self) -> str:
        """Return for example ``jmespath response.content contains "hi"``."""
        text: str = self.operator
        if self.operator != "exists":
            text = one_line(f"{text} {json.dumps(self.value, ensure_ascii=False, default=str)}", 36)
        return f"jmespath {one_line(self.expression, LABEL_CHARS_MAX - len('jmespath  ') - len(text))} {text}"

    def check(self, document: Document) -> Check:
        """Search the document and compare; whatever goes wrong is a failed check."""
        return compare(document.tree, self.expression, self.operator, self.value, document)

    def needs_content(self) -> bool:
        """Tell whether the expression reaches what was said; figures, roles and tools' names are not that."""
        return query_needs_content(self.expression, only_presence=self.operator == "exists")

    def warnings(self) -> list[str]:
        """Warn of an expression or pattern that can never work, and of values that can never match."""
        return query_problems(self.expression, self.operator, self.value)


def compare(tree: Any, expression: str, operator: Operator, value: Any, document: Document) -> Check:
    """Return whether what an expression yields compares as stated; whatever goes wrong is a failed check.

    Args:
        tree: What is searched; it is not changed.
        expression: JMESPath.
        operator: One of OPERATORS.
        value: What to compare with; not used by ``exists``.
        document: Whose redaction what is quoted goes through.
    """
    shown = one_line(expression, _EXPRESSION_CHARS_MAX)
    try:
        actual = _compiled(expression).search(tree)
        passed = actual is not None and _HOLDS[operator](actual, value)
    # As wide as this because a query is a program: besides its own errors, jmespath lets through
    # what Python raises inside it (a slice step of 0, recursion), and so does regex.
    except Exception as error:
        reason = document.redacted(_reason(error))
        return Check.of(False, f"{shown or 'an empty expression'} cannot be checked: {reason}")
    wanted = "" if operator == "exists" else f" {quoted(value)}"
    found = "nothing (null)" if actual is None else document.quoted(actual)
    if operator == "regex" and isinstance(actual, str) and len(actual) > REGEX_SUBJECT_CHARS_MAX:
        found += f", searched up to character {REGEX_SUBJECT_CHARS_MAX}"
    return Check.of(passed, f"{shown} {operator}{wanted}: found {found}")


def query_problems(expression: str, operator: Operator, value: Any) -> list[str]:
    """Return why a comparison can never work as meant: sentences, none if nothing is wrong."""
    return [*_expression_problems(expression), *_value_problems(operator, value)]


def found_in(pattern: str, text: str) -> bool:
    """Tell whether a regular expression is found in a text's first REGEX_SUBJECT_CHARS_MAX characters.

    Raises:
        TimeoutError: It took longer than REGEX_TIME_S_MAX.
        regex.error: It is none.
    """
    # Unlike the standard library's, this search has a time limit and lets other threads run meanwhile.
    head = text[:REGEX_SUBJECT_CHARS_MAX]
    return regex.search(pattern, head, timeout=REGEX_TIME_S_MAX, concurrent=True) is not None


def regex_problem(pattern: str) -> str | None:
    """Return why a text is no regular expression; None if it is one."""
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return f"{quoted(pattern)} is not a regular expression: {error}"
    return None


def _value_problems(operator: Operator, value: Any) -> Iterator[str]:
    if operator == "exists":
        if value is not None:
            yield "`exists` does not use `value`"
    elif operator == "regex":
        if problem := regex_problem(str(value)):
            yield problem
    elif operator == "eq" and value is None:
        yield "`eq` with null never passes: a missing value satisfies no operator"
    elif operator in _ORDERED and _number(value) is None:
        yield f"`{operator}` never passes: {quoted(value)} is not a number"


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, TimeoutError):
        return f"the regular expression took longer than {REGEX_TIME_S_MAX:g} s"
    if isinstance(error, regex.error):
        return f"not a regular expression: {error}"
    # jmespath repeats the expression and draws an arrow under it; the first line says what is wrong.
    lines = str(error).partition(", for expression:")[0].splitlines()
    return lines[0] if lines else type(error).__name__


def _expression_problems(expression: str) -> Iterator[str]:
    try:
        parsed = _compiled(expression).parsed
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        yield f"{quoted(expression)} is not a JMESPath expression: {one_line(_reason(error), 200)}"
        return
    known = jmespath.functions.Functions.FUNCTION_TABLE
    for name in dict.fromkeys(_functions(parsed)):
        if name not in known:
            yield f"JMESPath has no function {quoted(name)}"


def _functions(node: Mapping[str, Any]) -> Iterator[str]:
    pending = [node]
    while pending:
        node = pending.pop()
        if node["type"] == "function_expression":
            yield node["value"]
        pending.extend(child for child in node["children"] if isinstance(child, dict))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _numerically(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def holds(actual: Any, expected: Any) -> bool:
        left, right = _number(actual), _number(expected)
        return left is not None and right is not None and compare(left, right)

    return holds


def _contains(actual: Any, expected: Any) -> bool:
    if isinstance(actual, str):
        return str(expected) in actual
    return isinstance(actual, list) and expected in actual


def _matches(actual: Any, expected: Any) -> bool:
    return found_in(str(expected), str(actual))


_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": op.eq,
    "ne": op.ne,
    "gt": _numerically(op.gt),
    "gte": _numerically(op.ge),
    "lt": _numerically(op.lt),
    "lte": _numerically(op.le),
    "exists": lambda actual, expected: True,
    "contains": _contains,
    "regex": _matches,
}
