"""Where text goes: consoles that take text as it is, and marks that every terminal can show."""

from __future__ import annotations

import json
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from salvo_cli.exits import OutputClosed

_SHOWN_AS_IS = frozenset("\n\t")
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


class _Plain(Console):
    """A console on which a string is only ever its characters, and a lost reader is our business."""

    def on_broken_pipe(self) -> None:
        raise OutputClosed


def console(*, stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> Console:
    """Return a console that reads no markup, emoji codes or highlights into what it prints.

    Colour follows the terminal, ``NO_COLOR`` and ``TERM``; width follows the terminal and ``COLUMNS``.

    Args:
        stderr: Whether it is for progress and warnings rather than results.
        file: Where it writes, if neither stdout nor stderr.
        width: Columns, to override what is found.
    """
    return _Plain(
        stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False
    )


def visible(text: str) -> str:
    r"""Return text with every control character written out, so that none acts on the terminal.

    Line ends and tabs stay. Escape sequences, carriage returns, C1 codes and marks that
    turn the direction of writing become ``\x1b``, ``\r``, ``\u202e`` and so on.
    """
    if text.isprintable():
        return text
    return "".join(char if char in _SHOWN_AS_IS or not _acts(char) else _escaped(char) for char in text)


def one_line(text: str, length_max: int) -> str:
    """Return text on one line, control characters visible, cut to length_max characters with an ellipsis."""
    # Cut before anything else: the text may be megabytes of what a model said.
    flat = visible(" ".join(text[: 4 * length_max].split()))
    return flat if len(flat) <= length_max else flat[: length_max - 1].rstrip() + "…"


def plain(text: str, style: str = "") -> Text:
    """Return text to be shown verbatim, wrapped but never interpreted."""
    return Text(visible(text), style=style, overflow="fold")


def _acts(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs"} or char in _BIDI


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
class Marks:
    """Small signs. Terminals whose encoding lacks them get letters."""

    passed: str = "✓"
    failed: str = "✗"
    alarm: str = "!"
    partial: str = "~"
    dash: str = "–"
    dot: str = "·"
    bar: str = "━"
    rest: str = "─"
    levels: str = "▁▂▃▄▅▆▇█"
    """Eight heights, lowest first."""
    arrow: str = "→"


_ASCII = Marks(passed="+", failed="x", dash="-", dot="-", bar="#", rest=".", levels="12345678", arrow="->")


def marks(on: Console) -> Marks:
    """Return the marks that this console's encoding can carry."""
    return _ASCII if on.options.ascii_only else Marks()


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and see it leave.

    Raises:
        OutputClosed: Nobody reads it.
    """
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    try:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
