"""Page by page through something long: Enter goes on, q ends."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.rule import Rule

from salvo_cli.render.console import Marks, console, plain

_NEXT = frozenset((b"\r", b"\n", b" "))
_QUIT = frozenset((b"q", b"Q", b"\x04", b""))  # Ctrl-D; and nothing, from a terminal that is gone


def walk(pages: Sequence[tuple[str, RenderableType]], screen: Console, signs: Marks) -> None:
    """Show titled pages one after another, each at a key; all of them at once where nobody can press one.

    Args:
        pages: (title, content).
        screen: Where they go.
        signs: Marks that the terminal can show.
    """
    asks = sys.stdin.isatty() and screen.is_terminal
    for place, (title, page) in enumerate(pages, start=1):
        screen.print(Rule(plain(title), align="left", characters=signs.rest, style="dim"))
        screen.print(page)
        if asks and place < len(pages) and not _goes_on(signs):
            return


def _goes_on(signs: Marks) -> bool:
    """Ask at the terminal whether to go on; any other key is not heard."""
    prompt = console(stderr=True)
    with _single_keys() as terminal:
        prompt.print(plain(f"Enter: next {signs.dot} q: quit ", "dim"), end="")
        try:
            while (key := os.read(terminal, 1)) not in _NEXT | _QUIT:
                pass
        finally:
            prompt.print()
    return key in _NEXT


@contextmanager
def _single_keys() -> Iterator[int]:
    """Let keys arrive one by one and unseen, those pressed ahead too; yield the terminal."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
