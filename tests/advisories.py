"""Has what Salvo is built with known vulnerabilities? ``python -m tests.advisories``, or ``make check``.

pip-audit asks a vulnerability service about every version in ``constraints.txt``; where that one
gives no answer, or none about some packages (a mirror of the index rarely has any), a second one is
asked about the rest. pip-audit itself says "No known vulnerabilities found" and exits with 0 then.
That is no answer, so it is told here as what it is: loudly, and as a failure where ``CI`` is set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
SERVICES = ("pypi", "osv")
DEADLINE_S = 240.0
"""Of one service."""
SHOWN = 5


@dataclass
class Answers:
    """What services said of packages: what is known to be wrong with each, and why of some nothing is."""

    known: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """By package, or by service where it said nothing at all."""

    def take(self, service: str, document: Any, said: str) -> None:
        """Add one service's answer.

        Args:
            service: Its name.
            document: pip-audit's JSON; None if it gave none.
            said: The last thing it wrote otherwise.
        """
        try:
            asked = [(str(one["name"]), one) for one in document["dependencies"]]
        except (TypeError, KeyError):
            self.reasons[service] = said
            return
        for name, one in asked:
            if "vulns" not in one or one.get("skip_reason"):
                self.reasons.setdefault(_plain(name), str(one.get("skip_reason") or "nothing was said of it"))
                continue
            found = self.known.setdefault(_plain(name), [])
            for vuln in one["vulns"]:
                mended = ", ".join(vuln.get("fix_versions") or ()) or "no version"
                line = f"{name} {one.get('version', '')}: {vuln['id']}, mended in {mended}"
                if line not in found:
                    found.append(line)

    def unanswered(self, pins: Mapping[str, str]) -> list[str]:
        """Return the pinned packages that no service has said anything of."""
        return [name for name in pins if name not in self.known]


def judge(answers: Answers, pins: Mapping[str, str], *, strict: bool) -> tuple[int, list[str]]:
    """Return the exit code and what to say.

    Args:
        answers: Of all services that were asked.
        pins: What was to be asked: version by package.
        strict: Whether a question without an answer is a failure.
    """
    if not pins:
        return 1, [f"NOT AUDITED: {PINS.name} pins nothing."]
    lines = [f"VULNERABLE: {line}" for found in answers.known.values() for line in found]
    vulnerable, missing = bool(lines), answers.unanswered(pins)
    if missing:
        lines.append(f"NOT AUDITED: {len(missing)} of {len(pins)} packages:")
        lines += [f"{name}: {answers.reasons.get(name, 'nobody was asked')}" for name in missing[:SHOWN]]
        if len(missing) > SHOWN:
            lines[-1] += f" and {len(missing) - SHOWN} more"
        lines += [f"{one}: {answers.reasons[one]}" for one in SERVICES if one in answers.reasons]
    if not lines:
        lines = [f"no known vulnerabilities in {len(pins)} packages"]
    return int(vulnerable or (strict and bool(missing))), lines


def pinned(text: str) -> dict[str, str]:
    """Return what a constraints file pins: version by package, names as the index compares them."""
    lines = (line.partition("#")[0].partition(";")[0].strip() for line in text.splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {_plain(name): version for name, _, version in pairs}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def ask(service: str) -> tuple[Any, str]:
    """Return pip-audit's JSON by that service, None if there is none, and the last line it wrote besides."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
    try:
        ran = subprocess.run(
            [*command, "--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        return None, f"it took more than {DEADLINE_S:g} s"
    last = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    try:
        return json.loads(ran.stdout), last
    except ValueError:
        return None, last


def main() -> int:
    """Ask, say what came of it, and return the exit code."""
    if os.environ.get("AUDIT") == "no":
        code, lines = 0, ["NOT AUDITED: AUDIT=no was said."]
    else:
        pins, answers = pinned(PINS.read_text("utf-8")), Answers()
        for service in SERVICES:
            if answers.unanswered(pins):
                answers.take(service, *ask(service))
        code, lines = judge(answers, pins, strict=bool(os.environ.get("CI")))
    loud = code or any("NOT AUDITED" in line for line in lines)
    frame = ["=" * 78] if loud else []
    print("\n".join([*frame, *lines, *frame]), file=sys.stderr if loud else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
