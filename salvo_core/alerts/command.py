"""Alerts given to a program of the team's, on the machine that fires.

What is run is written in that machine's salvo.yaml and nowhere else: a schedule in the store can name the
channel, never the program. It is given the alert on its standard input and an environment without secrets.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
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
_CHUNK_BYTES = 65_536
_LAST_WORDS_S = 1.0
"""What a program wrote is waited for so long once it has ended: what it left running may hold its output."""


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
        try:
            process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                cwd=self.folder,
                env=dict(self.environ),
                start_new_session=True,  # a group of its own: what it starts ends with it
            )
        except OSError as error:
            raise ChannelFailed(
                f"{self.shown} cannot be run here: {error.strerror}",
                hint="give its whole path, or one from the project's folder; there is no shell",
            ) from None
        said = bytearray()
        reading = asyncio.create_task(_read(process, said))
        try:
            async with asyncio.timeout(self.limit_s):
                await _write(process, alert.body() + b"\n")
                code = await process.wait()
            await asyncio.wait([reading], timeout=_LAST_WORDS_S)
        except TimeoutError:
            raise ChannelFailed(
                f"{self.shown} was ended: it took longer than {self.limit_s:g} s",
                hint="let it hand the alert over and leave",
            ) from None
        finally:
            reading.cancel()
            if process.returncode is None:
                await _end(process)
        words = clean(said.decode("utf-8", "replace"))
        if code:
            how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
            raise ChannelFailed(f"{self.shown} {how}: {words or 'it said nothing'}")
        return f"ended with 0 {words}".strip()


async def _write(process: Process, payload: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read
        process.stdin.write(payload)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: Process, said: bytearray) -> None:
    """Read all a program says, so that it never waits for us; keep the beginning."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(_CHUNK_BYTES):
        said += chunk[: SAID_BYTES_MAX - len(said)]


async def _end(process: Process) -> None:
    """End a program and its group. It has not been waited for, so its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
