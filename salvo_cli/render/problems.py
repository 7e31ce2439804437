"""What is wrong with scenario files, on a screen and as documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from salvo_core.errors import SalvoError


def problems_of(error: SalvoError | None, *, patterns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return an error's located problems as documents; none for an error of another kind."""
    return [problem_document(problem, patterns=patterns) for problem in getattr(error, "problems", ())]


def problem_document(problem: Any, *, patterns: Sequence[str] = ()) -> dict[str, Any]:
    """Return one ``scenario.problems.Problem`` for ``--json``; patterns are struck out of it."""
    names = ("code", "severity", "file", "line", "col", "field", "message", "hint")
    problem = _clean(problem, patterns)
    return {name: getattr(problem, name) for name in names}


def print_problems(
    screen: Console, problems: Iterable[Any], *, ci: bool = False, patterns: Sequence[str] = ()
) -> None:
    """Print problems, a blank line between them.

    Args:
        screen: Where; lines are never broken, so that a caret stays under what it means.
        problems: ``scenario.problems.Problem``.
        ci: One line each, ``file:line:col -- field: message``, for other programs.
        patterns: The project's own, of what is struck out: a terminal is often a log that others read.
    """
    from salvo_core.scenario import problems as wording  # pydantic: only when there is something to say

    for place, problem in enumerate(_clean(one, patterns) for one in problems):
        if place:
            screen.print()
        text = Text(wording.ci(problem) if ci else wording.human(problem), no_wrap=True, overflow="ignore")
        if not ci:
            style = "bold red" if problem.severity == "error" else "bold yellow"
            text.stylize(style, 0, text.plain.index("]") + 1)
        screen.print(text, soft_wrap=True)


def _clean(problem: Any, patterns: Sequence[str]) -> Any:
    """Return a problem without what looks like a secret in what it quotes of the file."""
    from salvo_core.trace.redaction import Redactor  # pydantic, as above

    redact = Redactor((), patterns).text
    quoting = {name: redact(getattr(problem, name)) for name in ("message", "hint", "source")}
    return replace(problem, **quoting)
