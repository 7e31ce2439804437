"""A worker of our own, in the embedded mode: ``salvo worker`` as a child process.

It runs in a session of its own, so that Ctrl-C reaches only the command that follows the
run, and it holds the embedded server for itself: when its parent is gone it finishes
what there is, leaves when idle, and stops the server if nobody else uses it.
"""

from __future__ import annotations

import subprocess  # our own program, with fixed arguments
import sys
import time
from pathlib import Path

from salvo_cli.embedded import EmbeddedServer
from salvo_cli.privacy import UMASK, open_file
from salvo_cli.wiring import Surroundings, environment
from salvo_core.errors import SalvoError

IDLE_EXIT_S = 5.0
"""A worker without a run to work on leaves after this."""

DRAIN_DEADLINE_S = 20.0
STARTS_MAX = 3
_LOG_BYTES_MAX = 10 * 1024 * 1024


class ChildWorker:
    """One worker process beside a command.

    Args:
        here: The project and settings it works with.
        server: The embedded server, begun.
    """

    def __init__(self, here: Surroundings, server: EmbeddedServer) -> None:
        self._here = here
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._told = False

    @property
    def log(self) -> Path:
        """What the worker says."""
        return self._here.places.worker_log

    def start(self) -> None:
        """Start the worker; does not wait for it."""
        self._starts += 1
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.unlink()
        # The child is given a hold on the server with its first breath: see the module's docstring.
        with self._server.hold() as hold, open_file(self.log, "ab") as log:
            command = [
                sys.executable,
                "-P",  # the project's folder must not shadow a module of ours
                *("-m", "salvo_cli", "worker"),
                *("--idle-exit-s", str(IDLE_EXIT_S), "--hold", str(hold.fileno())),
            ]
            self._process = subprocess.Popen(  # noqa: S603 -- our own arguments, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._here.root,
                env={**environment(), **self._here.settings.variables()},
                pass_fds=(hold.fileno(),),
                start_new_session=True,
                umask=UMASK,
            )

    def ensure(self) -> None:
        """Start the worker again if it has ended, a few times.

        Raises:
            SalvoError: It ended too often; says its last words.
        """
        if self._process is None or self._told or self._process.poll() is None:
            return
        if self._starts >= STARTS_MAX or self._process.returncode == 64:
            raise SalvoError(
                f"the worker ended with exit code {self._process.returncode}: {self._last_words()}",
                hint=f"its log is {self.log}; once that is mended, `salvo resume latest` goes on",
            )
        self.start()

    def tell_to_stop(self) -> None:
        """Ask it, once, to give back what it holds and leave; does not wait."""
        if self._process is not None and self._process.poll() is None and not self._told:
            self._told = True  # a second signal would make it drop what it holds
            self._process.terminate()

    def stop(self) -> bool:
        """Ask it to leave and wait, bounded; False when it still drains, which it then does by itself."""
        self.tell_to_stop()
        if self._process is None:
            return True
        try:
            self._process.wait(DRAIN_DEADLINE_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_started(self, deadline_s: float = 0.2) -> None:
        """Give it a moment to fail at once, so that a caller that leaves it alone can say so.

        Raises:
            SalvoError: It did.
        """
        until = time.monotonic() + deadline_s
        assert self._process is not None
        while time.monotonic() < until:
            if self._process.poll() is not None:
                self.ensure()
            time.sleep(0.02)

    def _last_words(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(0, 2)
                log.seek(max(0, log.tell() - 4000))
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return "it left no log"
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it said nothing"])[-1][-300:]
