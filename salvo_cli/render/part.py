"""A report of some cells of a run: which, of how many, and by which options the others were left out.

Every rendering of such a report says so in the same words. The verdict, its reason and the run's figures
stay those of the whole run: a filter makes no run better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from salvo_cli.render.console import one_line
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import plural
from salvo_core.run.summary import CellSummary, Summary


@dataclass(frozen=True, slots=True)
class Part:
    """Cells that are shown.

    Attributes:
        places: Of the cells in the summary, ascending, maybe none.
        by: What left the others out, as it was typed; plain text.
    """

    places: tuple[int, ...]
    by: str = ""


def part_by(
    places: Sequence[int], summary: Summary, scenario: str, models: Sequence[str], *, failures: bool
) -> Part | None:
    """Return which cells are shown and why; None where all of them are.

    Args:
        places: Of the cells.
        summary: The run.
        scenario: As ``--scenario``.
        models: As ``--model``.
        failures: As ``--failures``.
    """
    if len(places) == len(summary.cells):
        return None
    typed = [f"--scenario {one_line(scenario, 80)}"] if scenario else []
    typed += [f"--model {one_line(model, 80)}" for model in models]
    return Part(tuple(places), " ".join([*typed, *(["--failures"] if failures else [])]))


def in_part(summary: Summary, part: Part | None) -> tuple[Summary, list[str]]:
    """Return the summary with the shown cells only, and what these are called in the whole run."""
    names = cell_names(summary.cells)
    if part is None:
        return summary, names
    cells: tuple[CellSummary, ...] = tuple(summary.cells[place] for place in part.places)
    return summary.model_copy(update={"cells": cells}), [names[place] for place in part.places]


def part_told(part: Part, summary: Summary) -> str:
    """Return what is shown and what is not: ``3 of 12 cells, by --scenario refund; ...``."""
    by = f", by {part.by}" if part.by else ""
    return (
        f"shown: {len(part.places):,} of {plural(len(summary.cells), 'cell')}{by}; "
        "the verdict is the whole run's"
    )
