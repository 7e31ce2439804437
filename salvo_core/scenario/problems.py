"""What is wrong with a file, where, and what to do about it; as values and as plain text.

Codes are stable, for CI rules and searches. E001 to E007 and E999 mean what they meant in
Salvo 0.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from salvo_core.errors import UsageError
from salvo_core.scenario.positions import Place, Positions, Spot, dotted
from salvo_core.scenario.secrecy import concealed

Severity = Literal["error", "warning"]

TITLES = {
    "E001": "unknown field",
    "E002": "required field missing",
    "E003": "invalid value",
    "E004": "type mismatch",
    "E005": "not one of the allowed values",
    "E006": "not valid YAML",
    "E007": "nothing to read",
    "E008": "include refused",
    "E009": "file cannot be read",
    "E010": "file is too large when expanded",
    "E011": "duplicate key",
    "E999": "wrong form",
    "W001": "tool without an answer",
    "W002": "assertion that cannot hold",
    "W003": "assertion about a tool that is not defined",
    "W004": "assertions without weight",
    "W005": "two scenarios with one name",
    "W006": "script without effect",
    "W007": "password in a file",
    "W008": "number in base 60",
    "W009": "adapter that is not known here",
}
"""Every code with its short description."""

WHOLE_FILE = "<yaml>"
"""The field of a problem that concerns no field."""

_LINE_SHOWN_MAX = 140
_MESSAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: A key of ``TITLES``.
        severity: An error refuses the file, a warning does not.
        field: Dotted path, or ``<yaml>``.
        message: What is wrong, one line, without secrets.
        file: As shown to people.
        line: 1-based; 0 when no line can be named, as for a missing top-level field.
        col: 1-based in characters, or 0.
        hint: What to do, or empty.
        source: Text of that line, secrets concealed; empty when there is none.
        width: Characters to underline.
    """

    code: str
    severity: Severity
    field: str
    message: str
    file: str = ""
    line: int = 0
    col: int = 0
    hint: str = ""
    source: str = ""
    width: int = 1

    @property
    def title(self) -> str:
        """What the code means."""
        return TITLES[self.code]


class ScenarioInvalid(UsageError):
    """Files that cannot be used as they are: every problem of every file, in file order.

    Args:
        problems: At least one error; warnings may be among them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        errors = [problem for problem in self.problems if problem.severity == "error"]
        files = list(dict.fromkeys(problem.file for problem in errors))
        first = errors[0]
        where = f" in {files[0]}" if len(files) == 1 else f" in {len(files)} files"
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        more = "" if len(errors) == 1 else "; the first"
        super().__init__(f"{count}{where}{more}: {first.field}: {first.message}", hint=first.hint)


def problem_at(
    code: str,
    message: str,
    spot: Spot,
    positions: Positions,
    *,
    path: Place = (),
    hint: str = "",
    severity: Severity = "error",
) -> Problem:
    """Return a problem at a spot, with the text of its line.

    Args:
        code: A key of ``TITLES``.
        message: What is wrong.
        spot: Where; its file is kept when the line is unknown.
        positions: Of the document.
        path: The field; the whole file when empty.
        hint: What to do.
        severity: Error or warning.
    """
    return Problem(
        code=code,
        severity=severity,
        field=printable(dotted(path)) if path else WHOLE_FILE,
        message=printable(message)[:_MESSAGE_MAX],
        file=spot.file,
        line=spot.line,
        col=spot.col,
        hint=printable(hint)[:_MESSAGE_MAX],
        source=concealed(printable(positions.source(spot))),
        width=spot.width,
    )


def human(problem: Problem) -> str:
    """Return a problem as a block for a person: header, place, source line, carets, help.

    ::

        error[E001]: unknown field
          --> scenarios/refund.yaml:3:1
           |
         3 | modle: gpt-4o
           | ^^^^^ modle: there is no such field
           = help: did you mean `model`?
    """
    head = f"{problem.severity}[{problem.code}]: {problem.title}"
    place = problem.file or "-"
    if problem.line:
        place += f":{problem.line}:{problem.col}"
    gutter = " " * len(str(problem.line))
    said = f"{problem.field}: {problem.message}"
    lines = [head, f"{gutter} --> {place}"]
    if problem.source:
        text, before = _window(problem.source, problem.col)
        width = max(1, min(problem.width, len(text) - before))
        lines += [
            f"{gutter}  |",
            f" {problem.line} | {text}",
            f"{gutter}  | {' ' * before}{'^' * width} {said}",
        ]
    else:
        lines.append(f"{gutter}  = {said}")
    if problem.hint:
        lines.append(f"{gutter}  = help: {problem.hint}")
    return "\n".join(lines)


def ci(problem: Problem) -> str:
    """Return a problem on one line: ``file:line:col -- field: message (suggestion)``, 0:0 when unknown."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.file}:{problem.line}:{problem.col} -- {problem.field}: {problem.message}{hint}"


def rendered(problems: Iterable[Problem], *, style: Literal["human", "ci"] = "human") -> str:
    """Return all problems as plain text, separated by a blank line."""
    render = ci if style == "ci" else human
    return "\n\n".join(render(problem) for problem in problems)


def printable(text: str) -> str:
    """Return text with every character that a terminal would obey replaced, one for one.

    Columns stay where they are: a tab becomes a blank, anything else U+FFFD.
    """
    return "".join(
        c if c.isprintable() else " " if c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _window(source: str, col: int) -> tuple[str, int]:
    """Return at most ``_LINE_SHOWN_MAX`` characters around a column, and how many stand before it."""
    start = 0
    if len(source) > _LINE_SHOWN_MAX:
        start = max(0, min(col - 1 - _LINE_SHOWN_MAX // 3, len(source) - _LINE_SHOWN_MAX))
    before = min(max(0, col - 1 - start), _LINE_SHOWN_MAX)
    return source[start : start + _LINE_SHOWN_MAX], before
