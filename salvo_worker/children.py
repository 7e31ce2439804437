"""One seat among the supervised processes: who sits there, how long they lived, when the next one comes."""

from __future__ import annotations

import os
import signal
import subprocess  # our own program, with fixed arguments
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from salvo_core.errors import SalvoError, Unavailable, UsageError

Launch = Callable[[str], subprocess.Popen[bytes]]
"""Starts a process under the name it is given; it lives until it is told to leave."""

CANNOT_START: dict[int, type[SalvoError]] = {64: UsageError, 69: Unavailable}
"""Exit codes of a worker that did not begin to work: somebody has to do something first."""

UNSTARTED = 71
"""In place of an exit code where the system gave us no process (sysexits: EX_OSERR)."""

GRACEFUL = (-signal.SIGTERM, -signal.SIGINT)
"""The ends of a child that was told to leave before it could listen: it held nothing yet."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a process that ended is followed by another.

    Args:
        backoff_s: The first pause, seconds; it doubles with each short life that follows.
        backoff_s_max: The longest pause, seconds.
        steady_s: A life of so many seconds is not short: the next pause is the first again.
        short_lives_max: When every seat has seen so many in a row, it is time to give up.
        cannot_start_s: The least pause after a process that could not start, seconds: long enough for
            the others to be found in the same state.
        look_s: How often memory is looked at, seconds.
    """

    backoff_s: float = 0.5
    backoff_s_max: float = 60.0
    steady_s: float = 60.0
    short_lives_max: int = 8
    cannot_start_s: float = 15.0
    look_s: float = 2.0

    def pause_s(self, short_lives: int) -> float:
        """Return how long to wait after so many short lives in a row, seconds; 0 after a long one."""
        if short_lives < 1:
            return 0.0
        return min(self.backoff_s_max, self.backoff_s * 2.0 ** min(short_lives - 1, 60))


class Child:
    """A process that runs.

    Args:
        name: As its log lines call it.
        launch: Starts it.
        now_s: Monotonic.
    """

    def __init__(self, name: str, launch: Launch, now_s: float) -> None:
        self.name = name
        self.born_s = now_s
        self.told_s: float | None = None
        self._process = launch(name)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs; minus the signal's number if one ended it."""
        return self._process.poll()

    def tell(self, now_s: float) -> None:
        """Ask it to leave warmly; asked again, it hurries."""
        if self.told_s is None:
            self.told_s = now_s
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def is_overdue(self, now_s: float, leave_s: float) -> bool:
        """Tell whether it was asked to leave more than leave_s seconds ago."""
        return self.told_s is not None and now_s - self.told_s > leave_s


class Seat:
    """A place that is to be taken by one process at a time, unless it is done with.

    Args:
        pace: Of its successions.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.child: Child | None = None
        self.due_s = float("-inf")
        self.short_lives = 0
        self.last_code: int | None = None
        self.done = False

    def vacate(self, code: int | None, born_s: float, now_s: float) -> float:
        """Let go of the child, and return the pause until the next one, seconds.

        Args:
            code: How it ended; None if it has yet to.
            born_s: When it was started, monotonic.
            now_s: As born_s.
        """
        self.short_lives = self.short_lives + 1 if now_s - born_s < self._pace.steady_s else 0
        self.child, self.last_code = None, code
        pause_s = self._pace.pause_s(self.short_lives)
        if code in CANNOT_START:
            pause_s = max(pause_s, self._pace.cannot_start_s)
        self.due_s = now_s + pause_s
        return pause_s


def shell_code(code: int) -> int:
    """Return an exit code as a shell would tell it: 128 and the signal's number where one ended it."""
    return 128 - code if code < 0 else code


def said_of(code: int) -> str:
    """Return what an exit code says, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def resident_mb(pid: int, root: Path = Path("/")) -> float | None:
    """Return the memory that a process has in use, MB of 10^6 bytes; None if nobody can say.

    Args:
        pid: Of a process of ours.
        root: Of the file system.
    """
    try:
        pages = int((root / f"proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, IndexError):  # no Linux, or gone this moment
        pass
    try:
        told = subprocess.run(  # noqa: S603 -- a number of ours, no shell
            ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607 -- wherever this system has it
            capture_output=True,
            timeout=5,
            check=False,
        )
        return int(told.stdout) * 1024 / 1e6
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
