"""One server process: started, awaited, stopped, killed, restarted in the same place."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, TypeVar

_POLL_S = 0.02
_LOG_TAIL_BYTES = 8000


class ServerFailed(Exception):
    """A server did not start or did not stop; the text ends with its log."""


def free_port(port_max: int = 65_535) -> int:
    """Return a TCP port of the loopback interface that was free a moment ago.

    Args:
        port_max: The highest that will do, for servers that take a second one far above; 20,000 or more.
    """
    wanted = 0  # the system's choice
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", wanted))
            port: int = listener.getsockname()[1]
            if port <= port_max:
                return port
        wanted = random.randint(10_000, port_max)


def wait_until(condition: Callable[[], bool], *, what: str, deadline_s: float = 60.0) -> None:
    """Return as soon as condition holds.

    Raises:
        TimeoutError: It did not within the deadline.
    """
    ends = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s")
        time.sleep(_POLL_S)


class ServerProcess:
    """A server in a session of its own, whose output goes to a file.

    Args:
        name: For people.
        command: Program and arguments; the same on every start, so the address stays.
        folder: Its working folder, made beforehand, removed by ``close``.
        is_ready: Whether it answers; asked until it does.
        env: Variables to set on top of this process's own.
        ready_s: How long it may take until it answers.
        stop_s: How long it may take to end after SIGTERM, before SIGKILL.
    """

    running: ClassVar[
        list[ServerProcess]
    ] = []  # all that were started and not closed, for logs and for the exit

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        is_ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        ready_s: float = 60.0,
        stop_s: float = 10.0,
    ) -> None:
        self.name = name
        self.folder = folder
        self._command = list(command)
        self._is_ready = is_ready
        self._env = {**os.environ, **(env or {})}
        self._ready_s = ready_s
        self._stop_s = stop_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> Self:
        """Start it and return when it answers.

        Raises:
            ServerFailed: It ended, or did not answer in time; it is stopped again.
        """
        assert self._process is None, f"{self.name} runs already"
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._env,
                start_new_session=True,
            )
        if self not in self.running:
            self.running.append(self)
        try:
            wait_until(self._answers_or_ended, what=f"{self.name} answers", deadline_s=self._ready_s)
        except TimeoutError as late:
            self.kill9()
            raise ServerFailed(f"{late}\n{self.log_tail()}") from None
        return self

    def _answers_or_ended(self) -> bool:
        assert self._process is not None
        status = self._process.poll()
        if status is not None:
            self._process = None
            raise ServerFailed(f"{self.name} ended with status {status} as it started\n{self.log_tail()}")
        return self._is_ready()

    def stop(self) -> None:
        """End it gently (SIGTERM), or by force when it does not end in time. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self.kill9()
        self._process = None

    def kill9(self) -> None:
        """End it as a power cut would: SIGKILL, nothing flushed. Idempotent."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> Self:
        """Start it again at the same address, with what it had on disk."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop it for good and remove its folder. Idempotent."""
        self.stop()
        if self in self.running:
            self.running.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the end of what it wrote to stdout and stderr, over all its starts."""
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            return "(no log)"

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


S = TypeVar("S", bound=ServerProcess)


def own_folder(name: str) -> Path:
    """Return a new temporary folder with a path short enough to hold a unix socket."""
    return Path(tempfile.mkdtemp(prefix=f"salvo-{name}-"))


def start_on_free_port(make: Callable[[int], S], *, attempts_max: int = 3, port_max: int = 65_535) -> S:
    """Return a started server on a free port; another port is tried if somebody else was faster."""
    for _ in range(attempts_max - 1):
        server = make(free_port(port_max))
        try:
            return server.start()
        except ServerFailed:
            server.close()
    return make(free_port(port_max)).start()


_OWNER = os.getpid()


@atexit.register
def _close_all() -> None:
    if os.getpid() == _OWNER:  # a forked child must not take its parent's servers with it
        for server in list(ServerProcess.running):
            server.close()
