"""Assertions by a team's own function.

The function is given the trace as it was said (``trace.model.Trace``) and the assertion
(this ``Custom``, with its ``params``), and answers with one of

- ``True`` or ``False``;
- a number 0-1: the score; it passes from ``threshold`` on;
- a map with ``passed``, ``score`` or both, and perhaps ``details`` or ``error``; or an object with
  such attributes, for example a ``Finding`` or a dataclass.

``error`` says that the check could not be made. So does whatever the function raises, an answer
of another kind, a function that is not allowed on this worker, and one that takes too long:
each is a finding with an error, and no trial is lost by it. A function of the same trace should
always give the same answer; nobody can check that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from salvo_core.errors import UsageError
from salvo_core.evaluation.assertion import DETAILS_CHARS_MAX, LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import one_line, quoted

TIMEOUT_S_MAX = 60.0

_TEXT_CHARS_MAX = 100_000
"""Of details before secrets are taken out of them; after that they are cut to DETAILS_CHARS_MAX."""

_ANSWER_KEYS = ("passed", "score", "details", "error")
_ENTRY_POINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class FunctionFailed(Exception):
    """A function gave no answer that counts; the text says why and may quote what it raised."""


class Custom(AssertionSpec):
    """A function of your own looks at the trace. The worker must allow it (SALVO_ALLOW_IMPORTS)."""

    type: Literal["custom"]
    function: str
    """The dotted path of a function (trace, assertion), or the name of an entry point of the group
    salvo.assertions."""
    params: dict[str, Any] = Field(default_factory=dict)
    """What the function finds in assertion.params."""
    timeout_s: float = Field(default=5.0, gt=0, le=TIMEOUT_S_MAX)
    """How long the function may take, seconds; importing its module has 30 of its own."""
    threshold: float = Field(default=0.8, ge=0, le=1)
    """The score that passes, where the function does not itself say whether it does."""

    @field_validator("function")
    @classmethod
    def _a_path(cls, function: str) -> str:
        dotted = "." in function and all(part.isidentifier() for part in function.split("."))
        if not dotted and not _ENTRY_POINT.fullmatch(function):
            raise PydanticCustomError(
                "function_path",
                "must be a dotted path such as my_pkg.checks.refunded, or an entry point's name",
            )
        return function

    def label(self) -> str:
        """Return for example ``custom my_pkg.checks.refunded {'order': 'A-1'}``."""
        return one_line(
            f"custom {self.function} {quoted(self.params) if self.params else ''}".strip(), LABEL_CHARS_MAX
        )

    def check(self, document: Document) -> Check:
        """Ask the function; whatever keeps it from answering is the check's error."""
        if document.functions is None:
            return Check.impossible("functions of your own are not called here, only by workers")
        try:
            answer = document.functions.load(self.function)(document.trace, self)
            return self._check(plain(answer), document)
        except UsageError as refused:
            hint = f" ({refused.hint})" if refused.hint else ""
            return Check.impossible(f"{document.redacted(refused.message)}{hint}")
        except FunctionFailed as failed:
            return Check.impossible(document.redacted(str(failed)))

    def _check(self, answer: dict[str, Any], document: Document) -> Check:
        if answer["error"] is not None:
            return Check.impossible(document.redacted(answer["error"]))
        score, passed = answer["score"], answer["passed"]
        if passed is None:
            passed = score >= self.threshold
        if score is None:
            score = float(passed)
        details = one_line(document.redacted(answer["details"]), DETAILS_CHARS_MAX)
        return Check(
            score, passed, details or f"the function says {'yes' if passed else 'no'}, score {score:g}"
        )


def plain(answer: object) -> dict[str, Any]:
    """Return a function's answer as JSON can carry it, all of ``passed score details error``.

    Returns:
        ``passed`` or ``score`` may be None, not both unless ``error`` is set. ``plain`` of that is itself.

    Raises:
        FunctionFailed: It is no answer; says why.
    """
    if isinstance(answer, bool):
        found: dict[str, Any] = {"passed": answer}
    elif isinstance(answer, Real):
        found = {"score": answer}
    elif isinstance(answer, Mapping):
        unknown = [str(key) for key in answer if key not in _ANSWER_KEYS]
        if unknown:
            raise FunctionFailed(f"the answer has no {quoted(unknown)}, only {', '.join(_ANSWER_KEYS)}")
        found = dict(answer)
    else:
        found = {key: getattr(answer, key) for key in _ANSWER_KEYS if hasattr(answer, key)}
    passed, score, error = found.get("passed"), found.get("score"), found.get("error")
    if passed is None and score is None and error is None:
        raise FunctionFailed(
            f"the function answered with {type(answer).__name__}: wanted are true or false, a score 0-1, "
            f"or a map with passed or score"
        )
    if not isinstance(passed, bool | None):
        raise FunctionFailed(f"`passed` is {type(passed).__name__}, not true or false: wrap it in bool()")
    return {
        "passed": passed,
        "score": None if score is None else _score(score),
        "details": _text(found.get("details")) or "",
        "error": _text(error),
    }


def _score(score: object) -> float:
    number = math.nan if isinstance(score, bool) or not isinstance(score, Real) else float(score)
    if not 0 <= number <= 1:  # NaN is not within either
        raise FunctionFailed(f"the score is {quoted(score)}, and must be a number from 0 to 1")
    return number


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:_TEXT_CHARS_MAX]
