"""Alerts appended to a file in the project's folder, a line of JSON each.

A line is written whole or, by a machine that loses its power, in part: the next one then begins a line of
its own. An alert whose line is there is not written again, so even a beat that died between writing
and noting it leaves one line.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channel import ChannelFailed
from salvo_core.clock import Clock

LOOKED_BACK_BYTES = 4 * 1024 * 1024
"""Of a file, its end, in which an alert's line is looked for."""


LOCK_S_MAX = 10.0
"""How long another writer is waited for, seconds."""


@dataclass(frozen=True)
class Lines:
    """A file of alerts.

    Args:
        name: See ``Channel``.
        root: The project's folder.
        path: Below it; no part of it may be a symbolic link.
    """

    name: str
    root: Path
    path: str

    @property
    def shown(self) -> str:
        """See ``Channel``."""
        return self.path

    async def send(self, alert: Alert, clock: Clock) -> str:
        """See ``Channel.send``: told is what the disk has."""
        del clock
        try:
            return await asyncio.to_thread(self._append, alert)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ChannelFailed(
                f"{self.path} cannot be written: {reason}",
                hint="it must be a plain file in the project's folder, reached without a symbolic link",
            ) from None

    def _append(self, alert: Alert) -> str:
        with self._opened() as file:
            _lock(file)
            size = os.fstat(file).st_size
            start = max(size - LOOKED_BACK_BYTES, 0)
            end = os.pread(file, size - start, start)
            if any(_id_of(line) == alert.id for line in end.splitlines()):
                return "written before"
            whole = b"" if not end or end.endswith(b"\n") else b"\n"
            line = whole + alert.body() + b"\n"
            if os.write(file, line) != len(line):
                raise OSError(0, "there is no room for the whole line")
            os.fsync(file)
        return "written"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file, made with its folders if it is not there; no step follows a symbolic link."""
        *folders, last = [part for part in self.path.split("/") if part not in ("", ".")]
        here = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                below = _below(here, folder)
                os.close(here)
                here = below
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(last, flags, 0o600, dir_fd=here)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise OSError(0, "it is no plain file")
                yield file
                os.fsync(here)  # its name, should it be new
            finally:
                os.close(file)
        finally:
            os.close(here)


def _lock(file: int) -> None:
    """Have the file to ourselves until it is closed; who writes a line is done soon."""
    ends_s = time.monotonic() + LOCK_S_MAX
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends_s:
                raise OSError(0, "somebody else keeps it locked") from None
        time.sleep(0.02)


def _below(here: int, folder: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(folder, flags, dir_fd=here)
    except FileNotFoundError:
        os.mkdir(folder, 0o700, dir_fd=here)
        os.fsync(here)
        return os.open(folder, flags, dir_fd=here)


def _id_of(line: bytes) -> str:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):  # half a line, or something else's
        return ""
    return str(document.get("id", "")) if isinstance(document, dict) else ""
