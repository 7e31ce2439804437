"""What is kept of a fault of ours, so that a person can send it: the traceback, in a file of the project."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from salvo_cli.privacy import close, make_folder, open_file
from salvo_cli.wiring import environment

REPORT_CHARS_MAX = 200_000


def wants_traceback() -> bool:
    """Tell whether the person asked for tracebacks on the screen: ``SALVO_TRACEBACK=1``."""
    return environment().get("SALVO_TRACEBACK", "") not in ("", "0")


def keep_report(traceback: str) -> Path | None:
    """Write a traceback below the project's ``.salvo``; return the file, None if that cannot be."""
    from salvo_core.scenario.project import STATE_NAME, find_root  # pydantic: only when something broke
    from salvo_core.trace.redaction import Redactor
    from salvo_core.version import VERSION

    with suppress(OSError):
        folder = find_root(Path.cwd()) / STATE_NAME / "crashes"
        make_folder(folder)
        close(folder)
        file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.txt"
        about = f"salvo {VERSION}, Python {platform.python_version()}, {sys.platform}\n\n"
        text = about + Redactor().text(traceback[-REPORT_CHARS_MAX:])
        with open_file(file, "wb") as report:
            report.write(text.encode("utf-8", "backslashreplace"))
        return file
    return None
