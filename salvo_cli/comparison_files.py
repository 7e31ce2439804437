"""What a comparison leaves beside its answer: a JUnit file; on GitHub the step's summary and annotations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from salvo_cli.render.change import Sides, names_of, ranked
from salvo_cli.render.console import console, one_line, plain
from salvo_cli.render.junit import junit
from salvo_cli.render.markdown import change_markdown
from salvo_cli.tables import opened
from salvo_core.run.change import RunChange

if TYPE_CHECKING:
    from salvo_core.settings import Settings

ANNOTATED_MAX = 10
"""GitHub shows no more of one step."""


def write_junit(output: str, found: RunChange, sides: Sides, *, strict: bool) -> None:
    """Write a comparison as JUnit XML; the file is there when it is whole.

    Args:
        output: A path.
        found: What changed.
        sides: What the two runs were called.
        strict: As in ``render.junit.junit``.

    Raises:
        UsageError: Nothing can be written there.
    """
    write_text(output, junit(found, sides, strict=strict))


def write_text(output: str, text: str) -> None:
    """Write a document as UTF-8; as ``tables.opened``."""
    with opened(output) as file:
        file.write(text.encode("utf-8", "replace"))


def tell_ci(settings: Settings, found: RunChange, sides: Sides, *, gated: bool) -> None:
    """Tell GitHub, if it is what runs us; a summary that cannot be written is warned of and costs nothing.

    Args:
        settings: Know whether it does.
        found: What changed.
        sides: What the two runs were called.
        gated: Whether the command is about to fail for it: then annotations are errors.
    """
    screen = console(stderr=True)
    if (summary := settings.step_summary) is not None:
        try:
            with summary.open("a", encoding="utf-8", errors="replace") as file:
                file.write(change_markdown(found, sides))
        except OSError as refused:
            told = f"warning: the step's summary cannot be written: {refused.strerror}"
            screen.print(plain(told, "yellow"), soft_wrap=True)
    if settings.annotates:
        for line in workflow_commands(found, gated=gated):
            screen.print(plain(line), soft_wrap=True)


def workflow_commands(found: RunChange, *, gated: bool) -> list[str]:
    """Return workflow commands, one for each cell that regressed or cannot be told, or one for the whole.

    Args:
        found: What changed.
        gated: Whether the command fails for it.
    """
    names = names_of(found.cells)
    lines = []
    for place in ranked(found.cells):
        cell = found.cells[place]
        if cell.verdict == "REGRESSED":
            lines.append(_command("error" if gated else "warning", names[place], f"REGRESSED: {cell.reason}"))
    if not lines and found.verdict in ("REGRESSED", "INCONCLUSIVE"):
        lines.append(
            _command("error" if gated else "warning", "salvo compare", f"{found.verdict}: {found.reason}")
        )
    return lines[:ANNOTATED_MAX]


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, property_=True)}::{_escaped(message)}"


def _escaped(text: str, *, property_: bool = False) -> str:
    """Return text that stays within its place in a workflow command."""
    marks = "%\r\n:," if property_ else "%\r\n"
    return re.sub(f"[{marks}]", lambda mark: f"%{ord(mark[0]):02X}", one_line(text, 300))
