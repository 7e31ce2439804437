"""What ties a worker process to the parent that supervises it: a pipe that ends with the parent.

Only the parent holds the end that is written to, and writes nothing; each child reads. However
the parent goes, by ``kill -9`` too, the kernel closes its end, and the children leave warmly.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

OVERTIME_S = 5.0
"""Past its grace, how long a process that was told to leave may still be there before it is killed."""

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Tether:
    """A child's end.

    Args:
        fd: Open for reading, inherited from the parent.
        process: What the parent calls this child, e.g. ``w1``.
    """

    fd: int
    process: str

    @classmethod
    def parse(cls, text: str) -> Tether:
        """Return the tether that a parent wrote on our command line with ``str``.

        Raises:
            ValueError: It is none.
        """
        found = re.fullmatch(r"(\d{1,9}):(w\d{1,9})", text)
        if found is None:
            raise ValueError("is no tether of a parent process")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.fd}:{self.process}"

    def watch(self, is_leaving: Callable[[], bool], *, grace_s: float) -> None:
        """Begin to watch, on a thread: when the parent is gone this process leaves, warmly if it can.

        Args:
            is_leaving: Whether it does so already; a second signal would hurry it.
            grace_s: How long a warm stop may take; ``OVERTIME_S`` past it, the process is killed.
        """
        os.set_inheritable(self.fd, False)  # the processes of custom assertions have no use for it
        threading.Thread(
            target=self._leave_with_parent, args=(is_leaving, grace_s), name="salvo-tether", daemon=True
        ).start()

    def _leave_with_parent(self, is_leaving: Callable[[], bool], grace_s: float) -> None:
        try:
            while os.read(self.fd, 1):
                pass
        except OSError as error:  # not a pipe of ours: as good as gone
            logger.error("cannot watch the parent process: %s", error.strerror)
        gone_by_s = time.monotonic() + grace_s + OVERTIME_S
        # Celery's handler comes with its start; before it, a signal would end us without a word.
        while signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, None) and time.monotonic() < gone_by_s:
            time.sleep(_POLL_S)
        if not is_leaving():
            logger.warning("the parent process is gone: leaving")
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(max(0.0, gone_by_s - time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)  # leases run out: what it held goes on elsewhere
