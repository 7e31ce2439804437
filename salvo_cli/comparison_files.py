"""What a comparison leaves beside its answer: a JUnit file; on GitHub a step's summary and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salvo_cli.render.change import Sides, names_of, ranked
from salvo_cli.render.junit import junit
from salvo_cli.render.markdown import change_markdown
from salvo_cli.tables import opened
from salvo_cli.workflow import Annotation, tell_workflow
from salvo_core.run.change import RunChange

if TYPE_CHECKING:
    from salvo_core.settings import Settings


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
    """Tell GitHub of a comparison, if it is what runs us; see ``tell_workflow``.

    Args:
        settings: Know whether it does.
        found: What changed.
        sides: What the two runs were called.
        gated: Whether the command is about to fail for it: then annotations are errors.
    """
    tell_workflow(
        settings, lambda: change_markdown(found, sides), lambda: change_annotations(found, gated=gated)
    )


def change_annotations(found: RunChange, *, gated: bool) -> list[Annotation]:
    """Return an annotation for each cell that regressed, or one for the whole where none did and it matters.

    Args:
        found: What changed.
        gated: Whether the command fails for it.
    """
    names = names_of(found.cells)
    told = [
        Annotation(names[place], f"REGRESSED: {found.cells[place].reason}", error=gated)
        for place in ranked(found.cells)
        if found.cells[place].verdict == "REGRESSED"
    ]
    if not told and found.verdict in ("REGRESSED", "INCONCLUSIVE"):
        told.append(Annotation("salvo compare", f"{found.verdict}: {found.reason}", error=gated))
    return told
