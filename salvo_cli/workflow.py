"""What GitHub is told by a command that a workflow runs: the step's summary, and annotations.

Both are made of names and reasons that a scenario or a provider wrote: they are escaped where they are
rendered, and bounded here. A summary that cannot be written is warned of and costs nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salvo_cli.render.console import console, one_line, plain

if TYPE_CHECKING:
    from salvo_cli.render.part import Part
    from salvo_core.run.summary import Summary
    from salvo_core.settings import Settings

ANNOTATED_MAX = 10
"""GitHub shows no more of one step."""

SECTION_BYTES_MAX = 128 * 1024
"""Of what one command adds to a summary."""

FILE_BYTES_MAX = 1_000_000
"""Of a step's summary: of one above 1 MiB GitHub shows nothing at all."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line beside a workflow's result.

    Attributes:
        title: Plain text.
        message: As title.
        error: Whether the command fails for it; else it is a warning.
    """

    title: str
    message: str
    error: bool


def tell_workflow(
    settings: Settings, section: Callable[[], str], annotations: Callable[[], Sequence[Annotation]]
) -> None:
    """Add a section to the step's summary and print annotations on stderr, where GitHub is what runs us.

    A section that the summary has already, to the letter, is not added or annotated again: in one step a
    run and its report say the same.

    Args:
        settings: Know whether it does.
        section: Markdown, its last line ended; asked only where it is wanted.
        annotations: As section.
    """
    new = True
    if (summary := settings.step_summary) is not None:
        try:
            new = _added(summary, _bounded(section()))
        except OSError as refused:
            _warn(f"the step's summary cannot be written: {refused.strerror or type(refused).__name__}")
    if new and settings.annotates:
        screen = console(stderr=True)
        for line in workflow_commands(annotations()):
            screen.print(plain(line), soft_wrap=True)


def tell_of_run(settings: Settings, summary: Summary, *, failing: bool, part: Part | None = None) -> None:
    """Tell GitHub of a run, as ``tell_workflow``.

    Args:
        settings: Know whether GitHub runs us.
        summary: The run in numbers, ended or not.
        failing: Whether the command is about to fail for it: then annotations are errors.
        part: The cells that are told of; None for all.
    """
    if settings.step_summary is None and not settings.annotates:
        return
    from salvo_cli.render.part import in_part
    from salvo_cli.render.run_markdown import run_markdown

    def annotations() -> list[Annotation]:
        if summary.verdict == "PASS":
            return []
        shown, names = in_part(summary, part)
        return [
            Annotation(name, f"{cell.verdict.replace('_', ' ')}: {cell.reason}", error=failing)
            for name, cell in zip(names, shown.cells, strict=True)
            if cell.verdict != "PASS"
        ]

    tell_workflow(settings, lambda: run_markdown(summary, part), annotations)


def workflow_commands(annotations: Sequence[Annotation]) -> list[str]:
    """Return annotations as workflow commands, one line each, ``ANNOTATED_MAX`` at most."""
    return [
        f"::{'error' if one.error else 'warning'} title={_escaped(one.title, property_=True)}"
        f"::{_escaped(one.message)}"
        for one in annotations[:ANNOTATED_MAX]
    ]


def _added(file: Path, section: str) -> bool:
    """Append a section to a summary; return whether it was not there yet.

    If the process dies meanwhile, a part of the section is there: Markdown that ends early.
    """
    mark = f"<!-- salvo {hashlib.sha256(section.encode()).hexdigest()[:16]} -->\n"
    before = b""
    if file.exists():
        with file.open("rb") as there:
            before = there.read(FILE_BYTES_MAX + 1)
    if mark.encode() in before:
        return False
    # A blank line before it: without, a table or a list that somebody left open would go on.
    added = (b"\n" if before else b"") + (mark + section).encode()
    if len(before) + len(added) > FILE_BYTES_MAX:
        _warn(f"the step's summary is full: GitHub shows none above {FILE_BYTES_MAX:,} bytes")
        return True
    with file.open("ab") as there:
        there.write(added)
    return True


def _bounded(section: str) -> str:
    """Return a section cut at the end of a line, if it must be, and saying so."""
    text = section.encode("utf-8", "replace")
    if len(text) <= SECTION_BYTES_MAX:
        return text.decode()
    kept = text[:SECTION_BYTES_MAX]
    return kept[: kept.rfind(b"\n") + 1].decode("utf-8", "ignore") + "\n(cut here: `salvo report` has all)\n"


def _warn(told: str) -> None:
    console(stderr=True).print(plain(f"warning: {told}", "yellow"), soft_wrap=True)


def _escaped(text: str, *, property_: bool = False) -> str:
    """Return text that stays within its place in a workflow command."""
    marks = "%\r\n:," if property_ else "%\r\n"
    return re.sub(f"[{marks}]", lambda mark: f"%{ord(mark[0]):02X}", one_line(text, 300))
