"""Running a long command loudly: progress while it runs, its last words when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.cache import CannotInstall, say

_PROGRESS_EVERY_S = 10
_LAST_LINES = 25


def run_loudly(
    command: Sequence[str],
    *,
    advice: str,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Return a command's output, its stderr included, after it succeeded.

    Args:
        command: Program and arguments.
        advice: What a person can do if it fails.
        timeout_s: When to give up and stop it with all its children.
        env: Variables to set on top of this process's own.
        cwd: Where to run it.

    Raises:
        CannotInstall: It failed, took too long or does not exist; with its last lines.
    """
    say("$ " + " ".join(command))
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as failure:
        raise CannotInstall(f"{command[0]}: {failure.strerror}\n{advice}") from failure
    expired = threading.Event()

    def give_up() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        output = _follow(process, started)
        status = process.wait()
    except BaseException:  # Ctrl-C included: nothing we started may stay behind
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        timer.cancel()
    took = f"{time.monotonic() - started:.0f} s"
    if status != 0:
        why = f"was stopped after {took}" if expired.is_set() else f"ended with status {status} after {took}"
        last = "\n".join(output.splitlines()[-_LAST_LINES:])
        raise CannotInstall(f"{' '.join(command)}\n{why}. Its last lines:\n{last}\n{advice}")
    say(f"done in {took}")
    return output


def _follow(process: subprocess.Popen[str], started: float) -> str:
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=5000)
    spoken = started
    for line in process.stdout:
        lines.append(line)
        if time.monotonic() - spoken >= _PROGRESS_EVERY_S:
            spoken = time.monotonic()
            say(f"{spoken - started:4.0f} s  {line.strip()[:100]}")
    return "".join(lines)
