"""Tables in one look: no frame, a quiet head, numbers to the right, text as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from salvo_cli.render.console import plain

Cell = str | Text
Side = Literal["left", "right"]


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    wide: str = "",
    cut: bool = False,
) -> Table:
    """Return a table of plain text.

    Args:
        heads: Column titles.
        rows: One cell per column; a string is shown verbatim.
        right: Titles of the columns that are aligned to the right.
        wide: Title of the column that gives way when there is too little room.
        cut: Whether that column is cut to one line instead of wrapped.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for place, head in enumerate(heads):
        made.add_column(
            Text(head),
            justify="right" if head in right else "left",
            # Also where it is cut: only a column that may wrap gives way without pushing others off the line.
            no_wrap=head != wide,
            overflow="fold" if head == wide and not cut else "ellipsis",
            # Columns of figures keep their width, so that the wide one gives way alone.
            min_width=None if head == wide else max(map(_width, [head, *(row[place] for row in rows)])),
        )
    for row in rows:
        made.add_row(*(_drawn(cell, cut and head == wide) for head, cell in zip(heads, row, strict=True)))
    return made


def _drawn(cell: Cell, cut: bool) -> Text:
    text = cell.copy() if isinstance(cell, Text) else plain(cell)
    if cut:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _width(cell: Cell) -> int:
    text = cell.plain if isinstance(cell, Text) else cell
    return max(map(cell_len, text.split("\n")))


def facts(pairs: Sequence[tuple[str, Cell]]) -> Table:
    """Return names and values, one pair a line; values wrap under themselves."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(Text(name), value if isinstance(value, Text) else plain(value))
    return made
