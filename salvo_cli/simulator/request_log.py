"""One line of JSON for every request to a model, on disk before it is answered."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from salvo_core.errors import UsageError


@dataclass(slots=True)
class Entry:
    """What the log says of one request; fields that nobody got to know are null or empty.

    ``status`` is null when no status line was sent (reset, hang). Tokens are what the
    exchange is billed for. Numbers of turn, exchange and trial count from 0.
    """

    ts: str
    trace_id: str
    trial: str = ""
    turn: int | None = None
    exchange: int | None = None
    model: str = ""
    script: str = ""
    status: int | None = None
    fault: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class RequestLog:
    """Appends lines to a file, each in one write, so that a line is whole or absent.

    Args:
        path: Created when it does not exist; several simulators may share it.

    Raises:
        UsageError: It cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(
                f"the request log {path} cannot be written: {error.strerror}",
                hint="give --request-log a file in a folder that exists and that you may write to",
            ) from None

    def append(self, entry: Entry) -> None:
        """Write one line.

        Raises:
            OSError: The disk is full or failing.
        """
        os.write(self._fd, json.dumps(asdict(entry)).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
