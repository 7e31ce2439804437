"""Alerts given to a program of the team's, on the machine that fires.

What is run is written in that machine's salvo.yaml and nowhere else: a schedule in the store can name the
channel, never the program. It is given the alert on its standard input and an environment without secrets.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from salvo_core.adapters.failures import clean
from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channel import ChannelFailed
from salvo_core.clock import Clock

COMMAND_S_MAX = 30.0
SAID_BYTES_MAX = 8_192
"""Of what a program writes; the rest is read and dropped, so that it never waits for us."""
_CHUNK_BYTES = 65_536
_LOOK_MS = 50


@dataclass(frozen=True)
class Command:
    """A program that is run for each alert.

    Args:
        name: See ``Channel``.
        arguments: The program and its arguments.
        folder: Where it runs.
        environ: All that it sees of the environment.
        limit_s: It may take so long; then it and all it started are ended, seconds.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    limit_s: float = COMMAND_S_MAX

    @property
    def shown(self) -> str:
        """See ``Channel``."""
        return self.arguments[0]

    async def send(self, alert: Alert, clock: Clock) -> str:
        """See ``Channel.send``: told is whom a program served that ended with 0."""
        del clock  # a program runs by the time there is
        leaving = threading.Event()
        try:
            # In a thread: the loops that a worker may run on do not agree on how a child ends.
            code, said = await asyncio.to_thread(self._run, alert.body() + b"\n", leaving)
        except OSError as error:
            raise ChannelFailed(
                f"{self.shown} cannot be run here: {error.strerror}",
                hint="give its whole path, or one from the project's folder; there is no shell",
            ) from None
        finally:
            leaving.set()
        words = clean(said.decode("utf-8", "replace")) or "it said nothing"
        if code is None:
            raise ChannelFailed(
                f"{self.shown} was ended: it took longer than {self.limit_s:g} s: {words}",
                hint="let it hand the alert over and leave",
            )
        if code:
            how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
            raise ChannelFailed(f"{self.shown} {how}: {words}")
        return f"ended with 0: {words}"

    def _run(self, payload: bytes, leaving: threading.Event) -> tuple[int | None, bytes]:
        """Return its exit code, None if its time was over or we leave, and the beginning of what it said."""
        ends_s = time.monotonic() + self.limit_s
        with tempfile.TemporaryFile() as given, _Output() as output:
            given.write(payload)
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603 -- of the salvo.yaml of this machine, no shell
                self.arguments,
                stdin=given,
                stdout=output.theirs,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=dict(self.environ),
                start_new_session=True,  # a group of its own: what it starts ends with it
            )
            try:
                while (code := process.poll()) is None:
                    if time.monotonic() > ends_s or leaving.is_set():
                        return None, output.said()
                    output.read(_LOOK_MS)
                # What it left running may hold its output for ever: only what is there is read.
                while output.read(0):
                    if time.monotonic() > ends_s:
                        break
                return code, output.said()
            finally:
                if process.returncode is None:
                    _end(process)


class _Output:
    """A pipe for what a program says."""

    def __enter__(self) -> _Output:
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        self._ready = select.poll()  # a worker has more open files than select can tell apart
        self._ready.register(self._ours, select.POLLIN)
        self._said = bytearray()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)
        os.close(self.theirs)

    def said(self) -> bytes:
        """Return the beginning of what was read."""
        return bytes(self._said)

    def read(self, wait_ms: int) -> bool:
        """Read what is there; return whether there was anything."""
        if not self._ready.poll(wait_ms):
            return False
        chunk = os.read(self._ours, _CHUNK_BYTES)
        self._said += chunk[: SAID_BYTES_MAX - len(self._said)]
        return bool(chunk)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its group. It has not been waited for, so its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
