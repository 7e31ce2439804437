"""Tables in one look: no frame, a quiet head, numbers to the right, text as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from salvo_cli.render.console import plain

Cell = str | Text
Side = Literal["left", "right"]


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[str] = (), wide: str = ""
) -> Table:
    """Return a table of plain text.

    Args:
        heads: Column titles.
        rows: One cell per column; a string is shown verbatim.
        right: Titles of the columns that are aligned to the right.
        wide: Title of the column that gives way when there is too little room, and may wrap.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for head in heads:
        made.add_column(
            Text(head),
            justify="right" if head in right else "left",
            no_wrap=head != wide,
            overflow="fold" if head == wide else "ellipsis",
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    return made


def facts(pairs: Sequence[tuple[str, Cell]]) -> Table:
    """Return names and values, one pair a line; values wrap under themselves."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(Text(name), value if isinstance(value, Text) else plain(value))
    return made
