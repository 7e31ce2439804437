"""Runs commands as processes of their own whose imports are done already: ``python forking.py JOBS``.

Importing a command line costs more than most of the runs here, so this process imports it once
and forks for every command. Uses the standard library alone, because the predecessor's
environment runs it, too. JOBS is a JSON file:

    imports   modules to have before the first fork
    entry     module:callable that is the command line; reads sys.argv, ends in SystemExit
    at_once   processes at a time
    time_s    after which a process is killed
    jobs      [{folder, arguments, environ}]; out.txt, err.txt and code.txt are left in the folder
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(jobs_file: str) -> None:
    """Run every job of the file; return when the last has ended."""
    asked = json.loads(Path(jobs_file).read_text("utf-8"))
    for name in asked["imports"]:
        importlib.import_module(name)
    module, _, name = asked["entry"].partition(":")
    entry = getattr(importlib.import_module(module), name)
    waiting = list(reversed(asked["jobs"]))
    running: dict[int, dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < asked["at_once"]:
            job = waiting.pop()
            running[_start(entry, job, asked["time_s"])] = job
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        Path(running.pop(pid)["folder"], "code.txt").write_text(str(code))


def _start(entry: Callable[[], Any], job: dict[str, Any], time_s: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(time_s)  # nobody handles it, so it kills
    os.chdir(job["folder"])
    for number, name, how in ((0, os.devnull, os.O_RDONLY), (1, "out.txt", _NEW), (2, "err.txt", _NEW)):
        os.dup2(os.open(name, how, 0o644), number)
    os.environ.clear()
    os.environ.update(job["environ"])
    sys.argv = ["salvo", *job["arguments"]]
    os._exit(_ended(entry))


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _ended(entry: Callable[[], Any]) -> int:
    """Return the exit code that an interpreter would have ended with."""
    try:
        returned = entry()
        code = returned if isinstance(returned, int) else 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # what an interpreter does with whatever nobody caught
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main(sys.argv[1])
