"""A person at a shell: runs ``salvo`` as a process in a project of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120.0


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Person:
    """Types commands in a folder.

    Args:
        folder: The project.
        environ: On top of a clean environment.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SALVO_", "OPENAI_")) and name != "CI"
        }
        self.environ = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environ}
        self.environ.setdefault("SALVO_ALLOW_ROOT", "1")  # tests may run as root, outside a container too
        self._started: list[subprocess.Popen[str]] = []

    umask = -1
    """Of the commands; -1 is this process's."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and return its process."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "salvo_cli", *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            umask=self.umask,
        )
        self._started.append(process)
        return process

    def types(self, *arguments: str) -> Outcome:
        """Run a command to its end; whatever happens, no traceback is shown."""
        return self.ended(self.start(*arguments))

    def ended(self, process: subprocess.Popen[str]) -> Outcome:
        """Return how a started command ends."""
        out, err = process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in out + err, err
        return Outcome(process.returncode, out, err)

    def interrupts(self, process: subprocess.Popen[str]) -> None:
        """Press Ctrl-C."""
        process.send_signal(signal.SIGINT)

    def leaves(self) -> None:
        """Interrupt what a failed test left running, so that one fault is told once."""
        for process in self._started:
            if process.poll() is None:
                self.interrupts(process)

    def processes(self) -> list[int]:
        """Return the servers and workers of this project that live."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
                cwd = (entry / "cwd").resolve()
            except OSError:
                continue
            ours = b"valkey-server" in command or b"redis-server" in command or b"salvo_cli" in command
            if ours and cwd.is_relative_to(self.folder.resolve()):
                found.append(int(entry.name))
        return found

    def scenario(self, name: str, turns: str, *, latency_s: float = 0.0, more: str = "") -> str:
        """Write a scripted scenario that must say ``good``; return its path."""
        file = self.folder / f"{name}.yaml"
        file.write_text(
            f"description: {name}\nadapter: scripted\nmodel: pretend\nprompt: Be good.\n"
            f"script:\n  latency_s: {latency_s}\n  turns: {turns}\n"
            f"assertions:\n  - {{type: output_contains, value: good{more}}}\n",
            "utf-8",
        )
        return file.name


def until(condition: Callable[[], Any], what: str, deadline_s: float = 60.0) -> None:
    """Return once condition holds."""
    ends = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.05)
