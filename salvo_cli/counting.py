"""A line now and then while something long is read: how much of how much."""

from __future__ import annotations

import time

from rich.console import Console

from salvo_cli.render.console import plain

SAID_EVERY_S = 3.0


class Counting:
    """Says, at most every few seconds, how far a walk over trials has come; quick ones say nothing.

    Args:
        screen: Where it is said.
        what: What is counted, in the plural, and what is done to it.
    """

    def __init__(self, screen: Console, what: str) -> None:
        self._screen = screen
        self._what = what
        self._said_at_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Take note that so many of so many are done."""
        now_s = time.monotonic()
        if now_s - self._said_at_s >= SAID_EVERY_S:
            self._said_at_s = now_s
            self._screen.print(plain(f"{done:,} of {total:,} {self._what}", "dim"), soft_wrap=True)
