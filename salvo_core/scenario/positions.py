"""Where every key, item and value of a parsed file stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Place = tuple[str | int, ...]
"""A place in parsed data: map keys and list indices from the root, which is ``()``."""


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people read it: ``tools.0.name``."""
    return ".".join(str(step) for step in path)


@dataclass(frozen=True, slots=True)
class Spot:
    """A stretch of one line of one file.

    Attributes:
        file: As shown to people.
        line: 1-based; 0 when unknown.
        col: 1-based, in characters; 0 when unknown.
        width: Characters to underline, at least 1.
    """

    file: str = ""
    line: int = 0
    col: int = 0
    width: int = 1


@dataclass
class Positions:
    """The spots of one document, the files it includes among them.

    Attributes:
        keys: Map keys by path.
        values: Values and list items by path; that of an ``!include`` is in the included file.
        lines: Text of every file that was read, by the name shown to people, in reading order.
    """

    keys: dict[Place, Spot] = field(default_factory=dict)
    values: dict[Place, Spot] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def at(self, path: Place) -> Spot | None:
        """Return the spot of exactly that path: its key, or for a list item the item."""
        found = self.keys.get(path)
        if found is None and path and isinstance(path[-1], int):
            found = self.values.get(path)
        return found

    def above(self, path: Place) -> Spot | None:
        """Return the key nearest above a path that is not there: where a person would add it."""
        for length in range(len(path) - 1, 0, -1):
            found = self.keys.get(path[:length])
            if found is not None:
                return found
        return None

    def item_around(self, path: Place) -> tuple[Place, Spot] | None:
        """Return the innermost list item that holds a path, with where it begins."""
        for length in range(len(path) - 1, 0, -1):
            if isinstance(path[length - 1], int) and path[:length] in self.values:
                return path[:length], self.values[path[:length]]
        return None

    def source(self, spot: Spot) -> str:
        """Return the text of the spot's line, without its line end; empty when unknown."""
        lines = self.lines.get(spot.file, [])
        return lines[spot.line - 1] if 0 < spot.line <= len(lines) else ""
