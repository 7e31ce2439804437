"""Several worker processes under one small parent: ``salvo worker --procs``.

The parent runs no trial and speaks to no server. It starts the processes, starts them again when
they end, asks one to leave that has grown too large, and passes on what it is told itself. What
a child held when it died is nobody's business here: leases and sweeps see to it, as they do for
any worker. Children run in sessions of their own, so that Ctrl-C reaches them once, through
the parent, and they are tied to it by a pipe (``tether``), so that none outlives it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess  # our own program, with fixed arguments
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from salvo_core.errors import SalvoError
from salvo_core.settings import Settings
from salvo_worker.children import (
    CANNOT_START,
    GRACEFUL,
    UNSTARTED,
    Child,
    Launch,
    Pace,
    Seat,
    resident_mb,
    said_of,
    shell_code,
)
from salvo_worker.cores import usable_cores
from salvo_worker.tether import OVERTIME_S, Tether

logger = logging.getLogger(__name__)

_FORMAT = "%(asctime)s %(levelname)s parent %(name)s: %(message)s"
_FOR_ONE = ("SALVO_PROCS", "SALVO_MEMORY_MAX_MB")


def processes_of(settings: Settings) -> int:
    """Return how many processes the settings ask for."""
    return usable_cores() if settings.procs == "auto" else int(settings.procs)


def wants_parent(settings: Settings) -> bool:
    """Tell whether somebody has to supervise: there are several processes, or one with a limit."""
    return settings.memory_max_mb is not None or processes_of(settings) > 1


def child_variables(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return the environment in which one process resolves to the same settings, but is one process."""
    variables = {**environ, **settings.variables()}
    return {name: value for name, value in variables.items() if name not in _FOR_ONE}


class Supervisor:
    """Keeps seats taken until it is told to leave.

    Args:
        launch: Starts a process.
        processes: How many, at least one.
        grace_s: How long their warm stop may take, seconds.
        memory_max_mb: What one may have in use, MB; None for no limit.
        stays_away: A process that leaves of its own accord with code 0 has nothing to do any more.
        pace: Of successions.
        resident: Returns what a process has in use, MB.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        processes: int,
        grace_s: float,
        memory_max_mb: int | None = None,
        stays_away: bool = False,
        pace: Pace | None = None,
        resident: Callable[[int], float | None] = resident_mb,
    ) -> None:
        self._launch = launch
        self._pace = pace or Pace()
        self._seats = [Seat(self._pace) for _ in range(processes)]
        self._leave_s = grace_s + OVERTIME_S
        self._memory_max_mb = memory_max_mb
        self._stays_away = stays_away
        self._resident = resident
        self._relieved: list[Child] = []  # told to leave, their seats are others' already
        self._named = 0
        self._signals = 0
        self._look_due_s = float("-inf")
        self._codes: list[int] = []  # of those that ended after we were told to leave

    def run(self) -> int:
        """Supervise until told to leave, or until nothing is left to do; return the exit code.

        Raises:
            UsageError: No process could start, for a person's mistake that each of them told.
            Unavailable: No process could start, for a server that each of them told of.
        """
        with _woken() as wake:
            try:
                while self._goes_on():
                    if not self._signals:
                        self._require_hope()
                        self._fill_seats()
                        self._mind_memory()
                    for number in wake(self._patience_s()):
                        self._pass_on(number)
            except BaseException:
                self._tell_all()
                raise
            finally:
                self._await_all()
        return next((shell_code(code) for code in self._codes if code not in (0, *GRACEFUL)), 0)

    # -- who is there -------------------------------------------------------------------------

    def _children(self) -> Iterator[Child]:
        yield from (seat.child for seat in self._seats if seat.child is not None)
        yield from self._relieved

    def _goes_on(self) -> bool:
        """Take note of who has ended; tell whether there is anything left to supervise."""
        self._follow_up()
        if any(True for _ in self._children()):
            return True
        return not self._signals and not all(seat.done for seat in self._seats)

    def _fill_seats(self) -> None:
        now_s = time.monotonic()
        for seat in self._seats:
            if seat.child is None and not seat.done and seat.due_s <= now_s:
                self._named += 1
                try:
                    seat.child = Child(f"w{self._named}", self._launch, now_s)
                except OSError as error:  # no memory, no process to be had
                    pause_s = seat.vacate(UNSTARTED, now_s, now_s)
                    logger.error("cannot start a process: %s; again in %g s", error.strerror, pause_s)
                    continue
                logger.info("%s is process %d", seat.child.name, seat.child.pid)

    def _follow_up(self) -> None:
        """Take note of every process that has ended, and end those that do not leave."""
        now_s = time.monotonic()
        for seat in self._seats:
            if seat.child is not None and (code := seat.child.exit_code()) is not None:
                self._note_end(seat, seat.child, code, now_s)
        for child in list(self._relieved):
            if (code := child.exit_code()) is not None:
                self._relieved.remove(child)
                logger.info("%s, which had grown too large, has left: %s", child.name, said_of(code))
        for child in self._children():
            if child.is_overdue(now_s, self._leave_s):
                logger.error("%s did not leave within %g s: killed", child.name, self._leave_s)
                child.kill()

    def _note_end(self, seat: Seat, child: Child, code: int, now_s: float) -> None:
        pause_s = seat.vacate(code, child.born_s, now_s)
        if self._signals:
            self._codes.append(code)
            logger.info("%s has left: %s", child.name, said_of(code))
        elif code == 0 and self._stays_away:
            seat.done = True
            logger.info("%s has left: nothing to do", child.name)
        else:
            logger.warning("%s ended: %s; another starts in %g s", child.name, said_of(code), pause_s)

    def _require_hope(self) -> None:
        """Give up where no process runs and the next ones would fare no better.

        Raises:
            SalvoError: That is so.
        """
        if any(True for _ in self._children()):
            return
        open_seats = [seat for seat in self._seats if not seat.done]
        if not open_seats or any(seat.last_code is None for seat in open_seats):
            return
        codes = {seat.last_code for seat in open_seats}
        count = len(open_seats)
        if codes <= set(CANNOT_START):
            cannot = CANNOT_START[min(code for code in codes if code is not None)]
            raise cannot(
                f"no worker process could start ({count} tried)", hint="each said why, in the lines above"
            )
        if all(seat.short_lives >= self._pace.short_lives_max for seat in open_seats):
            raise SalvoError(
                f"worker processes end as soon as they start: {self._pace.short_lives_max} times in a row "
                f"in each of {count} places, last by {said_of(open_seats[-1].last_code or 0)}",
                hint="their log, in the lines above, says more",
            )

    # -- memory -------------------------------------------------------------------------------

    def _mind_memory(self) -> None:
        """Relieve a process that has grown too large; one at a time, so that memory stays bounded."""
        now_s = time.monotonic()
        if self._memory_max_mb is None or now_s < self._look_due_s or self._relieved:
            return
        self._look_due_s = now_s + self._pace.look_s
        for seat in self._seats:
            child = seat.child
            used_mb = None if child is None else self._resident(child.pid)
            if child is None or used_mb is None or used_mb <= self._memory_max_mb:
                continue
            self._relieved.append(child)
            lived_s = now_s - child.born_s
            pause_s = seat.vacate(None, child.born_s, now_s)
            logger.warning(
                "%s uses %.0f MB after %.0f s, allowed are %d: told to leave; its trials go on elsewhere%s",
                *(child.name, used_mb, lived_s, self._memory_max_mb),
                "; so soon that the limit may be too small" if pause_s else "",
            )
            child.tell(now_s)
            return

    # -- leaving ------------------------------------------------------------------------------

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        self._signals += 1
        if self._signals == 1:
            logger.info("told to leave by %s: so are all processes", signal.Signals(number).name)
            # Who is leaving anyway is not hurried by it.
            self._tell_all()
        else:
            now_s = time.monotonic()
            for child in self._children():
                child.tell(now_s)

    def _tell_all(self) -> None:
        now_s = time.monotonic()
        for child in self._children():
            if child.told_s is None:
                child.tell(now_s)

    def _await_all(self) -> None:
        """Return when no process is left; bounded, because who does not leave is killed."""
        while any(child.exit_code() is None for child in self._children()):
            self._tell_all()
            self._follow_up()
            time.sleep(0.02)

    def _patience_s(self) -> float:
        """Return how long nothing needs to be done if nobody stirs."""
        now_s = time.monotonic()
        dues = [seat.due_s - now_s for seat in self._seats if seat.child is None and not seat.done]
        if self._signals:
            dues = []
        if self._memory_max_mb is not None:
            dues.append(self._look_due_s - now_s)
        if any(child.told_s is not None for child in self._children()):
            dues.append(1.0)
        return max(0.01, min([*dues, 5.0]))


@contextmanager
def _woken() -> Iterator[Callable[[float], list[int]]]:
    """Catch SIGTERM, SIGINT and SIGCHLD; yields a wait, bounded in seconds, that returns those that came."""
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, _caught) for number in ours}
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait(timeout_s: float) -> list[int]:
        select.select([reader], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            return list(os.read(reader, 1024))
        return []

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _caught(number: int, frame: Any) -> None:
    """Do nothing here: the pipe that ``set_wakeup_fd`` names has taken note of it."""


@contextmanager
def launching(
    command: Sequence[str], variables: Mapping[str, str], hold: Callable[[], Any] | None = None
) -> Iterator[Launch]:
    """Yield what starts a worker process that is tied to this one for as long as the block lasts.

    Args:
        command: Program and arguments of one process; ``--tether`` and, with hold, ``--hold`` are added.
        variables: Its environment.
        hold: Returns an open file that the child inherits, and takes over.
    """
    theirs, ours = os.pipe()  # nobody inherits ours

    def launch(name: str) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as files:
            more, inherited = ["--tether", str(Tether(theirs, name))], [theirs]
            if hold is not None:
                inherited.append(files.enter_context(hold()).fileno())
                more += ["--hold", str(inherited[-1])]
            return subprocess.Popen(  # noqa: S603 -- our own arguments, no shell
                [*command, *more],
                stdin=subprocess.DEVNULL,
                env=variables,
                pass_fds=inherited,
                start_new_session=True,
            )

    try:
        yield launch
    finally:
        os.close(theirs)
        os.close(ours)


def supervise(
    settings: Settings,
    program: str,
    environ: Mapping[str, str],
    *,
    idle_exit_s: float | None,
    loglevel: str,
    hold: Callable[[], Any] | None = None,
) -> int:
    """Run several workers until told to stop; return the exit code, which means what a worker's means.

    Args:
        settings: As resolved, for all of them.
        program: The module that runs one: ``salvo_cli`` (whose command is ``worker``) or ``salvo_worker``.
        environ: Of this process.
        idle_exit_s: Leave when no run was open for so long.
        loglevel: One of ``LEVELS``.
        hold: As ``launching`` wants it.

    Raises:
        UsageError: No process could start, for a person's mistake.
        Unavailable: No process could start, for a server.
    """
    safe = ["-P"] if program == "salvo_cli" or sys.flags.safe_path else []
    command = [sys.executable, *safe, "-m", program]
    command += ["worker"] if program == "salvo_cli" else []
    command += ["--loglevel", loglevel]
    command += [] if idle_exit_s is None else ["--idle-exit-s", str(idle_exit_s)]
    processes = processes_of(settings)
    # Not as a worker's log: no line of ours holds a secret, and redaction costs 30 MB of imports.
    logging.basicConfig(level=loglevel.upper(), stream=sys.stderr, format=_FORMAT)
    logger.info("%d worker processes of %d trials at once each", processes, settings.concurrency)
    with launching(command, child_variables(environ, settings), hold) as launch:
        return Supervisor(
            launch,
            processes=processes,
            grace_s=settings.grace_s,
            memory_max_mb=settings.memory_max_mb,
            stays_away=idle_exit_s is not None,
        ).run()
