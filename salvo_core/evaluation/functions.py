"""A team's own assertion functions, called in processes of their own.

A function may hang, hold Python's lock, eat memory or call ``exit``. In a thread it would take
the worker and its hundreds of conversations along, and a thread cannot be ended. So a few
*hosts*, child processes that stay warm between calls, do the calling: one call each at a time,
HOSTS_MAX of them, made when first needed. A host that takes too long is killed with everything
it started, and the next call gets a fresh one. A host whose worker is gone ends by itself: when
idle, because its line is closed; in a call, by an alarm that the kernel keeps.

The line is a socket with one JSON document per line, see ``host``. What functions print goes
nowhere: it could hold what the agent said. ``details`` and ``error`` of an answer are shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.metadata import entry_points
from typing import Any

from salvo_core.errors import UsageError
from salvo_core.evaluation.custom import Custom, FunctionFailed
from salvo_core.evaluation.wording import quoted
from salvo_core.imports import ImportGate
from salvo_core.trace.model import Trace

GROUP = "salvo.assertions"
"""The entry points that name assertion functions."""

HOSTS_MAX = 4
"""Child processes at once; further calls wait for one of them."""

QUEUE_S_MAX = 300.0
"""How long a call waits for a host; each is busy for at most IMPORT_S_MAX and an assertion's timeout."""

IMPORT_S_MAX = 30.0
"""How long starting a host and importing a function's module may take."""

_EXIT_S_MAX = 1.0
_ANSWER_BYTES_MAX = 4 * 1024 * 1024

# The child looks for modules exactly where this process does, and nowhere before that.
_BOOT = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path'];"
    "from salvo_core.evaluation.host import serve; serve(given['fd'], given['allow'])"
)


class FunctionHosts:
    """Calls functions that the gate lets through; for any number of threads.

    Args:
        gate: What may be imported here.
        hosts_max: Child processes at once.
    """

    def __init__(self, gate: ImportGate, *, hosts_max: int = HOSTS_MAX) -> None:
        self._gate = gate
        self._closed = False
        self._lock = threading.Lock()
        self._hosts: set[_Host] = set()
        # Last in, first out: one that is warm is taken before a new one is made.
        self._places: queue.LifoQueue[_Host | None] = queue.LifoQueue()
        for _ in range(hosts_max):
            self._places.put(None)

    def load(self, path: str) -> Callable[[Trace, Custom], Any]:
        """Return the function of that name, to be called with a trace and its assertion.

        Calling it gives the answer in the form of ``custom.plain``, and waits: at most QUEUE_S_MAX,
        IMPORT_S_MAX and the assertion's ``timeout_s`` together.

        Args:
            path: Dotted, or without a dot the name of an entry point.

        Raises:
            UsageError: There is no such entry point, or the function is not allowed here. The call
                raises it for what cannot be imported, and ``FunctionFailed`` for what gives no answer.
        """
        target = path if "." in path else _entry_point(path)
        self._gate.require(target, "function")
        return partial(self._call, target)

    def close(self) -> None:
        """End every host. A call under way fails; no other begins."""
        with self._lock:
            self._closed = True
            for host in self._hosts:
                host.kill()
            self._hosts.clear()

    def _call(self, target: str, trace: Trace, assertion: Custom) -> Any:
        request = {
            "function": target,
            "trace": trace.model_dump(mode="json"),
            "assertion": assertion.model_dump(),
        }
        line = json.dumps(request).encode() + b"\n"
        try:
            host = self._places.get(timeout=QUEUE_S_MAX)
        except queue.Empty:
            raise FunctionFailed(f"every host was busy for {QUEUE_S_MAX:g} s") from None
        try:
            if host is None or not host.is_alive:
                self._forget(host)
                host = self._made()
            return host.call(line, target, assertion.timeout_s)
        finally:
            if host is not None and not host.is_alive:
                self._forget(host)
                host = None
            self._places.put(host)

    def _made(self) -> _Host:
        with self._lock:  # held while it starts, so that close misses none
            if self._closed:
                raise FunctionFailed("this worker is leaving")
            host = _Host(self._gate.allow)
            self._hosts.add(host)
            return host

    def _forget(self, host: _Host | None) -> None:
        if host is not None:
            host.kill()
            with self._lock:
                self._hosts.discard(host)


class _Host:
    """One child process and the line to it."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            given = {"path": sys.path, "fd": theirs.fileno(), "allow": allow}
            try:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-P", "-c", _BOOT, json.dumps(given)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a group of its own, which can be killed as a whole
                )
            except OSError as error:
                self._line.close()
                raise FunctionFailed(f"no host process could be started: {error.strerror}") from None
        self._unread = bytearray()  # two replies may come in one piece
        self._dead = False

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return not self._dead and self._process.poll() is None

    def kill(self) -> None:
        """End the process and all that it started in its group."""
        self._dead = True
        with contextlib.suppress(OSError):  # it is gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # wakes whoever reads from it
            self._line.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._line.close()

    def call(self, request: bytes, target: str, timeout_s: float) -> Any:
        """Return the answer to a request; a host that gives none is killed."""
        waits_for, limit_s = f"importing the module of {target}", IMPORT_S_MAX
        try:
            deadline_s = time.monotonic() + limit_s
            self._line.settimeout(limit_s)
            self._line.sendall(request)
            reply = self._reply(deadline_s)
            if "loaded" in reply:
                waits_for, limit_s = target, timeout_s
                reply = self._reply(time.monotonic() + limit_s)
        except TimeoutError:
            self.kill()
            raise FunctionFailed(f"{waits_for} took longer than {limit_s:g} s and was stopped") from None
        except (OSError, EOFError, ValueError):
            with contextlib.suppress(subprocess.TimeoutExpired):  # its own exit code says more than a kill
                self._process.wait(_EXIT_S_MAX)
            self.kill()
            code = self._process.returncode
            raise FunctionFailed(f"{target} ended its process without an answer (exit code {code})") from None
        if "refused" in reply:
            raise UsageError(reply["refused"], hint=reply["hint"])
        if "failed" in reply:
            raise FunctionFailed(reply["failed"])
        return reply["answer"]

    def _reply(self, deadline_s: float) -> dict[str, Any]:
        """Return the next line that the host says.

        Raises:
            TimeoutError: It said none until the deadline, on the monotonic clock.
            EOFError, OSError, ValueError: It is gone, or says something else.
        """
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._line.settimeout(left_s)
            piece = self._line.recv(65536)
            if not piece or len(self._unread) > _ANSWER_BYTES_MAX:
                raise EOFError
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError("no reply of a host")
        return reply


@lru_cache(maxsize=256)
def _entry_point(name: str) -> str:
    """Return the dotted path that an installed package has given a name to."""
    found = {
        point.value.partition("[")[0].strip().replace(":", ".")
        for point in entry_points(group=GROUP, name=name)
    }
    if len(found) == 1:
        return found.pop()
    if found:
        raise UsageError(
            f"several packages give the name {quoted(name)} to an assertion: {', '.join(sorted(found))}",
            hint="write the dotted path of the one you mean",
        )
    known = sorted(entry_points(group=GROUP).names)
    raise UsageError(
        f"no package on this worker gives the name {quoted(name)} to an assertion",
        hint=f"entry points of {GROUP} here: {', '.join(known) or 'none'}",
    )
