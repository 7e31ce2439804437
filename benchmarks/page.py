"""Tables in a page that say what figures come to: written by a program, and checked by a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    drawn = ["| " + " | ".join(cells) + " |" for cells in (heads, *rows)]
    drawn.insert(1, "|" + "---|" * len(heads))
    return "\n".join(drawn)


def with_tables(page: str, tables: Mapping[str, str], origin: str) -> str:
    """Return a page with its tables as they come out now.

    Args:
        page: Markdown, with a pair of comments for each table.
        tables: By name.
        origin: Where they come from, as the comments say.

    Raises:
        ValueError: The page has no place for one.
    """
    for name, drawn in tables.items():
        first, last = f"<!-- {name}: from {origin} -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(first)
        _, closed, after = rest.partition(last)
        if not (found and closed):
            raise ValueError(f"the page lacks {first} or {last}")
        page = f"{before}{first}\n{drawn}\n{last}{after}"
    return page
