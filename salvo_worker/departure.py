"""The end of a worker's process: inside its bound, and without a crash, whatever does not end.

A thread that waits for a server cannot be ended, and Python does not get along with one: it waits
for some kinds at its own end, for ever if need be, and pulls the interpreter away from under
others, which then crash the process. Everything that matters is written by then, and what is not
is found by others when the leases run out. So a process that still has threads goes without
Python's leave.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import NoReturn

logger = logging.getLogger(__name__)

OVERTIME_S = 1.0
"""How long after its bound a stop that ends by itself is still waited for."""


class LastCall:
    """Ends the process when a stop that was asked for does not end in time.

    The pool keeps the bound by itself; this is for all the rest, such as a connection to a server
    that went silent, which Celery closes in the main thread.
    """

    def __init__(self) -> None:
        self._gone_by_s = float("inf")
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._off = False

    def within(self, limit_s: float, code: int = 0) -> None:
        """End the process with that code unless it has ended by itself within limit_s and OVERTIME_S.

        Called again it can only make the time shorter.
        """
        with self._changed:
            self._gone_by_s = min(self._gone_by_s, time.monotonic() + limit_s + OVERTIME_S)
            if self._thread is None and not self._off:
                self._thread = threading.Thread(
                    target=self._wait, args=(code,), name="salvo-last-call", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def call_off(self) -> None:
        """Let the process live: the stop has ended."""
        with self._changed:
            self._off = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _wait(self, code: int) -> None:
        with self._changed:
            while not self._off and (left_s := self._gone_by_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            if self._off:
                return
        _go(code, "the stop took longer than it may")


def leave_process(code: int) -> NoReturn:
    """End this process with that code; nothing is left to do in it.

    Where another thread still runs, Python is not asked to clean up. A signal that comes now changes nothing:
    Python forgets its handlers as it ends, and a second SIGTERM would make a stop that went well a death.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        _go(code, f"still busy: {', '.join(sorted(others)[:5])}")
    sys.exit(code)


def _go(code: int, why: str) -> NoReturn:
    logger.warning("leaving without waiting any longer, %s", why)
    for stream in (*(getattr(one, "stream", None) for one in logging.getLogger().handlers), sys.stdout):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, or it is closed
            continue
    os._exit(code)
