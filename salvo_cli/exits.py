"""What the shell is told: an exit code for every way a command can end, and errors as documents."""

from __future__ import annotations

import re
from typing import Any

from salvo_core.errors import SalvoError

# A verdict has its code from salvo_core.run.verdict.EXIT_CODES; these are all the others.
OK = 0
NOT_ALL = 1
"""``import`` skipped something that it found; ``schedule test-alert``: a channel did not take it."""
REGRESSED = 1
"""``compare --gate``: worse than the baseline."""
INCONCLUSIVE = 4
"""``compare --gate``: the trials cannot tell. A verdict's code too."""
USAGE = 64
INFRA_ERROR = 3
"""The verdict's code, also of a run that waits for somebody to mend a provider's account."""
UNAVAILABLE = 69
INTERNAL = 70
TIMED_OUT = 75
"""``wait --timeout`` ran out; the run goes on (sysexits: EX_TEMPFAIL, try again later)."""
INTERRUPTED = 130
OUTPUT_CLOSED = 141
"""Whoever read our output went away (``salvo list | head``): what SIGPIPE would have made of it."""

CODES: dict[int, str] = {
    0: "done · PASS · compare --gate: SAME or IMPROVED",
    1: "FAIL or PARTIAL · compare --gate: REGRESSED · import, export: not all",
    2: "HARD FAIL: a required assertion failed",
    3: "INFRA_ERROR: a provider or a machine failed, not the agent",
    4: "INCONCLUSIVE: the trials cannot tell, or were cancelled",
    64: "usage: the command, a scenario or the configuration is wrong",
    65: "something that is stored is damaged",
    69: "Redis or the store is unavailable",
    70: "a bug of ours",
    75: "wait --timeout ran out; the run goes on",
    130: "interrupted",
    141: "nobody reads the output",
}
"""Every code of every command. What a command's own help says of its codes is more exact."""

VERDICT_CODES = "0 PASS · 1 FAIL or PARTIAL · 2 HARD FAIL · 3 INFRA ERROR"
SERVER_CODES = "64 usage · 69 Redis or store unavailable"


class OutputClosed(Exception):
    """Nobody reads our output any more: stop without a word."""


def kind_of(error: SalvoError) -> str:
    """Return an error's class name in snake case: what scripts may compare."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def error_document(kind: str, message: str, hint: str, exit_code: int, **more: Any) -> dict[str, Any]:
    """Return what ``--json`` prints instead of a result when a command fails."""
    told = {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code, **more}
    return {"schema": "salvo.cli.error/1", "error": told}
