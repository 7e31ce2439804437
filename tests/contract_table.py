"""Where each test case of the predecessor's contract is tested: ``python -m tests.contract_table``.

A test that carries a case's number begins with it, ``test_t24_...`` or ``test_t08_t09_...``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).parent
CASES = tuple(range(1, 73))

DIFFERENT: Mapping[int, str] = {
    1: "the run's exit code is its verdict's; `validate` counts scenarios instead of 1/1",
    2: "invalid input exits 64 (sysexits) instead of 1: 1 says that the agent failed",
    6: "the suggestion is the tool's field, as wanted",
    8: "every problem of the file is listed together, as wanted",
    9: "refused by validate with a suggestion, as wanted",
    10: "a located error, as wanted",
    11: "refused, as wanted",
    14: "an included file may include, within the project's folder; a missing one is a located error",
    16: "validate guards extras too; nested and similar names of secrets are refused, and model, messages",
    20: "the agent is told and the conversation goes on; the trace holds it",
    21: "the dated haiku name is 20251001: the predecessor's date was no model's",
    25: "a score or an average within 1e-9 of the threshold reaches it",
    26: "as T25",
    29: "no trial passed is no PASS, also at a threshold of 0",
    30: "percentiles stay within the scores",
    32: "grouped by assertion; a required one first, then by weight lost",
    34: "an operator that does not exist is refused before the run",
    36: "the assertion fails and says why; trace and cost are kept",
    40: "408, 409, 504, 529 and lost connections are tried again, too; one turn, not the whole conversation",
    45: "a usage error, 64",
    46: "the exit code is the verdict's; the predecessor's document is printed by --legacy",
    47: "a run record from the start; an embedded run is paused and can be resumed",
    48: "an unknown adapter is warned of; only workers know theirs, so the run itself is an INFRA_ERROR, 3",
    60: "JSON forms and more kinds of keys; cookies and headers go whole",
    68: "an unknown run is a usage error, 64",
    69: "files in the way are a usage error, 64",
    70: "a wrong salvo.yaml is a usage error, 64",
    71: "shown verbatim; the exit code is the verdict's",
    72: "no update is lost",
}
"""Where ours is not the predecessor's plain behaviour, and how."""

NOT_YET: Mapping[int, str] = {
    42: "early stop is not built",
    43: "early stop is not built",
    **dict.fromkeys(range(49, 58), "the judge is not built"),
    **dict.fromkeys((58, 59, 61), "recording modes are not built"),
    **dict.fromkeys(range(63, 68), "re-evaluation is not built"),
}
"""Cases without a test, and why."""


def cases_tested() -> dict[int, list[str]]:
    """Return the tests of each case that has any, ``file::name``, in the order of files and lines."""
    found: dict[int, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                numbers = re.match(r"test((?:_t\d\d)+)_", node.name)
                for number in re.findall(r"\d\d", numbers[1]) if numbers else ():
                    found.setdefault(int(number), []).append(f"{file.relative_to(TESTS)}::{node.name}")
    return found


def main() -> None:
    """Print the table."""
    found = cases_tested()
    for case in CASES:
        print(
            f"T{case:02d}  {DIFFERENT.get(case) or ('' if case in found else NOT_YET.get(case, 'MISSING'))}"
        )
        for test in found.get(case, ()):
            print(f"       {test}")


if __name__ == "__main__":
    main()
