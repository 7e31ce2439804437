"""Assertion functions as a team writes them, good and bad, for hosts to import."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_A_FUNCTION = 7


@dataclass
class Verdict:
    """A result class of a team's own."""

    passed: bool
    score: float
    details: str


def refunded(trace: Any, assertion: Any) -> bool:
    return any(
        call.name == "pay" and call.arguments.get("amount") == assertion.params["amount"]
        for call in trace.tool_calls
    )


def whole(trace: Any, assertion: Any) -> Verdict:
    return Verdict(trace.final_content == "done", 0.5, f"{type(trace).__name__} {type(assertion).__name__}")


async def waits(trace: Any, assertion: Any) -> float:
    return 0.9


def process(trace: Any, assertion: Any) -> dict[str, Any]:
    print("nothing that is printed may disturb the line, or come out anywhere")
    os.write(1, b"nor this\n")
    return {"passed": True, "details": str(os.getpid())}


def raises(trace: Any, assertion: Any) -> bool:
    raise ValueError(f"no order in {trace.final_content}")


def exits(trace: Any, assertion: Any) -> bool:
    sys.exit(3)


def vanishes(trace: Any, assertion: Any) -> bool:
    os._exit(3)


def hangs(trace: Any, assertion: Any) -> bool:
    while True:
        time.sleep(3600)


def hangs_with_the_lock(trace: Any, assertion: Any) -> bool:
    """In a thread of the worker, nothing else would run any more."""
    ctypes.PyDLL(None).sleep(3600)
    return True


def hangs_with_a_child(trace: Any, assertion: Any) -> bool:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(assertion.params["note"]).write_text(f"{os.getpid()} {child.pid}")
    return hangs(trace, assertion)


def says_nothing(trace: Any, assertion: Any) -> None: ...


def says_too_much(trace: Any, assertion: Any) -> dict[str, Any]:
    return {"pass": True}


def out_of_bounds(trace: Any, assertion: Any) -> float:
    return 7.5
