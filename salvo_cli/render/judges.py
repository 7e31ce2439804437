"""What judges said over all trials of a cell: how many votes were heard, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import percent, plural
from salvo_cli.render.tables import Cell, table
from salvo_core.run.judges import JudgeSummary
from salvo_core.run.summary import CellSummary

JUDGES_SHOWN_MAX = 12
LABEL_LENGTH_MAX = 60
_HEADS = ("#", "judge", "trials", "votes heard", "unanimous", "alpha")


def judges(cells: Sequence[CellSummary], name: Mapping[int, str], signs: Marks) -> list[RenderableType]:
    """Return one line a judge, and what had to be graded without one; nothing where there was none.

    Args:
        cells: In the order of the report.
        name: How to call each cell, by its place.
        signs: Marks that the terminal can show.
    """
    found = [(cell, one) for cell in cells for one in cell.judges]
    if not found:
        return []
    heads: Sequence[str] = _HEADS
    several = len(name) > 1
    rows = [_row(cell, one, signs) for cell, one in found[:JUDGES_SHOWN_MAX]]
    if not several:
        heads, rows = heads[1:], [row[1:] for row in rows]
    parts: list[RenderableType] = [
        Text("Judges", style="bold"),
        table(heads, rows, right=[head for head in heads if head != "judge"], wide="judge"),
    ]
    if len(found) > JUDGES_SHOWN_MAX:
        hidden = f"and {plural(len(found) - JUDGES_SHOWN_MAX, 'more judge')}: --json has all"
        parts.append(Text(hidden, style="dim"))
    if any(one.alpha is not None for _, one in found):
        told = "alpha: how far votes agree about a trial; 1 always, 0 no more than by chance"
        parts.append(Text(told, style="dim"))
    missed = [(cell, one) for cell, one in found if one.graded_without]
    for cell, one in missed[:JUDGES_SHOWN_MAX]:
        where = f"{name[cell.cell]}: " if several else ""
        parts.append(plain(where + _without(one), "yellow"))
    if len(missed) > JUDGES_SHOWN_MAX:
        parts.append(
            Text(f"and so for {plural(len(missed) - JUDGES_SHOWN_MAX, 'more judge')}", style="yellow")
        )
    return [*parts, Text("")]


def _row(cell: CellSummary, one: JudgeSummary, signs: Marks) -> list[Cell]:
    return [
        str(cell.cell + 1),
        _who(one),
        f"{one.trials:,}",
        f"{one.votes_heard:,}/{one.votes:,}",
        signs.dash if one.unanimous is None else percent(one.unanimous),
        signs.dash if one.alpha is None else f"{one.alpha:.2f}",
    ]


def _who(one: JudgeSummary) -> Text:
    """Return what is judged, and below it by whom."""
    asked = plural(one.k, "vote")
    who = f"{one_line(one.model, LABEL_LENGTH_MAX)}, {asked} a trial" if one.model else f"{asked} a trial"
    return plain(one_line(one.label, LABEL_LENGTH_MAX)).append("\n").append_text(plain(f"  {who}", "dim"))


def _without(one: JudgeSummary) -> str:
    label = one_line(one.label, LABEL_LENGTH_MAX)
    return (
        f"{plural(one.graded_without, 'trial')} of {one.trials:,} graded without `{label}`: "
        "too few of its votes could be heard"
    )
