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
    42: "trials run at once unless -j says otherwise; with -j 1 it is the predecessor's three trials",
    43: "infrastructure errors are left out of the bound, as wanted",
    45: "a usage error, 64",
    46: "the exit code is the verdict's; the predecessor's document is printed by --legacy",
    47: "a run record from the start; an embedded run is paused and can be resumed",
    48: "an unknown adapter is warned of and ends as INFRA_ERROR, 3; a refused key pauses the run, 3",
    49: "below a majority of k heard votes nothing is decided: infra_error if required, else left out",
    52: "a bare number is the score; whatever else is no number is a failed vote that says so",
    54: "a weight is 1 unless it is said; criteria that nobody can judge by are refused",
    55: "an unknown price is unknown, never zero",
    57: "the warning names the file and the assertion",
    58: "every trial's trace is stored, with or without --record, in one form, redacted",
    59: "no content is left anywhere; what was said is a marker, where the predecessor has null",
    60: "JSON forms and more kinds of keys; cookies and headers go whole; patterns have a time limit",
    61: "the original is judged, the finding is marked, and a re-evaluation keeps it and says so",
    63: "the exit code is the verdict's: 2 for a required failure",
    64: "another assertion is what a re-evaluation is for: --strict-scenario minds what the agent saw",
    65: "a scenario without assertions can be scored again; queries of metadata need no content",
    66: "refused as an INFRA_ERROR, 3",
    67: "the threshold in force is in the plan and counts, unless --threshold or --scenario says otherwise",
    68: "an unknown run is a usage error, 64",
    69: "files in the way are a usage error, 64",
    70: "a wrong salvo.yaml is a usage error, 64",
    71: "shown verbatim; the exit code is the verdict's",
    72: "no update is lost",
}
"""Where ours is not the predecessor's plain behaviour, and how."""


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
        print(f"T{case:02d}  {DIFFERENT.get(case) or ('' if case in found else 'MISSING')}")
        for test in found.get(case, ()):
            print(f"       {test}")


if __name__ == "__main__":
    main()
