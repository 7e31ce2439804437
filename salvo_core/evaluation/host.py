"""Inside a host: the child process that imports and calls a team's assertion functions.

Each request is one line of JSON: ``{"function", "trace", "assertion"}``. It is replied to with
``{"loaded": true}`` once the function is imported, and then with one of ``{"answer"}``,
``{"failed"}``, ``{"refused", "hint"}``; the last two may come instead of the first.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import socket
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from salvo_core.errors import UsageError
from salvo_core.evaluation.custom import Custom, FunctionFailed, plain
from salvo_core.evaluation.functions import IMPORT_S_MAX
from salvo_core.imports import ImportGate
from salvo_core.trace.model import Trace

_GRACE_S = 5.0
"""The worker stops a call that takes too long; this much later the kernel does, should it be gone."""

_SAID_CHARS_MAX = 20_000


def serve(descriptor: int, allow: Sequence[str]) -> None:
    """Answer requests until the line is closed.

    Args:
        descriptor: Of the socket to the worker.
        allow: What may be imported, as patterns.
    """
    gate = ImportGate(allow, describe=_described)
    # Whoever the parent was, an alarm that nobody handles ends this process, even one stuck in C code.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=descriptor) as line, line.makefile("rwb") as stream:
        line.set_inheritable(False)  # what a function starts must not keep the line open
        for request in stream:
            for reply in _replies(json.loads(request), gate):
                stream.write(json.dumps(reply).encode() + b"\n")
                stream.flush()
            _alarm(0)


def _replies(request: dict[str, Any], gate: ImportGate) -> Iterator[dict[str, Any]]:
    _alarm(IMPORT_S_MAX)
    try:
        function = gate.load(request["function"], "function")
        if not callable(function):
            raise UsageError(f"{request['function']} is no function")
        trace = Trace.model_validate(request["trace"])
        assertion = Custom.model_validate(request["assertion"])
        yield {"loaded": True}
        _alarm(assertion.timeout_s)
        answer = function(trace, assertion)
        if inspect.isawaitable(answer):
            answer = asyncio.run(_awaited(answer))
        yield {"answer": plain(answer)}
    except UsageError as refused:
        yield {"refused": refused.message, "hint": refused.hint}
    except FunctionFailed as failed:
        yield {"failed": str(failed)[:_SAID_CHARS_MAX]}
    except (Exception, SystemExit) as error:  # a stranger's function may raise anything, or call exit
        yield {"failed": _described(error)}


async def _awaited(answer: Any) -> Any:
    return await answer


def _alarm(limit_s: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, limit_s + _GRACE_S if limit_s else 0)


def _described(error: BaseException) -> str:
    """Return what was raised, and by which line of which file; secrets are taken out by the worker."""
    text = f"{type(error).__name__}: {str(error)[:_SAID_CHARS_MAX]}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    if not theirs or isinstance(error, ImportError):
        return text
    return f"{text} ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})"
