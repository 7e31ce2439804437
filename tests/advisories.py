"""Has what Salvo is built with known vulnerabilities? ``python -m tests.advisories``, or ``make check``.

pip-audit asks a vulnerability service about every version in ``constraints.txt``. Where the service
cannot be reached, or does not know a package, pip-audit itself says "No known vulnerabilities
found" and exits with 0. That is no answer, so it is told here as what it is: loudly, and as a
failure where ``CI`` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
DEADLINE_S = 600.0
SHOWN = 5


def judge(document: Any, said: str, *, strict: bool) -> tuple[int, list[str]]:
    """Return the exit code and what to say of pip-audit's answer.

    Args:
        document: Its JSON; None if it gave none.
        said: The last thing it wrote otherwise.
        strict: Whether a question without an answer is a failure.
    """
    unanswered = int(strict)
    if document is None:
        return unanswered, ["NOT AUDITED: pip-audit gave no answer.", said]
    asked = document["dependencies"]
    found = [one for one in asked if one.get("vulns")]
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in asked if one.get("skip_reason")]
    lines = [
        f"VULNERABLE: {one['name']} {one['version']}: {vuln['id']}, "
        f"mended in {', '.join(vuln['fix_versions']) or 'no version'}"
        for one in found
        for vuln in one["vulns"]
    ]
    if skipped:
        more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        lines += [f"NOT AUDITED: {len(skipped)} of {len(asked)} packages:", *skipped[:SHOWN]]
        lines[-1] += more
    if not lines:
        lines = [f"no known vulnerabilities in {len(asked)} packages"]
    return 1 if found or not asked else unanswered if skipped else 0, lines


def ask() -> tuple[Any, str]:
    """Return pip-audit's JSON, None if there is none, and the last line it wrote besides."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
    try:
        ran = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        return None, f"it took more than {DEADLINE_S:g} s"
    last = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1][:500]
    try:
        return json.loads(ran.stdout), last
    except ValueError:
        return None, last


def main() -> int:
    """Ask, say what came of it, and return the exit code."""
    if os.environ.get("AUDIT") == "no":
        code, lines = 0, ["NOT AUDITED: AUDIT=no was said."]
    else:
        code, lines = judge(*ask(), strict=bool(os.environ.get("CI")))
    loud = code or any("NOT AUDITED" in line for line in lines)
    frame = ["=" * 78] if loud else []
    print("\n".join([*frame, *lines, *frame]), file=sys.stderr if loud else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
