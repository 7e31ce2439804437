"""A comparison as JUnit XML, for what shows test results: one test case for each cell."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from salvo_cli.render.change import Sides, difference, names_of
from salvo_cli.render.console import one_line
from salvo_core.run.change import CellChange, RunChange

WHOLE = "all cells together"
"""The test case that is added where a gate fails though no cell alone shows why: else none would fail."""

_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to say, escaped or not."""


def junit(found: RunChange, sides: Sides, *, strict: bool) -> str:
    """Return the document, which follows the schema that Jenkins and GitLab read.

    Args:
        found: What changed.
        sides: What the two runs were called.
        strict: Whether what nobody can tell is a failure; else such a cell is skipped.
    """
    cases = [
        _case(cell, name, strict=strict)
        for cell, name in zip(found.cells, names_of(found.cells), strict=True)
    ]
    if (found.verdict == "REGRESSED" or strict) and not any("<failure " in case for case in cases):
        cases.append(
            f'    <testcase name="{WHOLE}" classname="salvo.compare" time="0">\n'
            f'      <failure type="{found.verdict}" message={_attribute(found.reason)}/>\n    </testcase>'
        )
    text = "\n".join(cases)
    counts = (
        f'tests="{len(cases)}" failures="{text.count("<failure ")}" errors="0" '
        f'skipped="{text.count("<skipped ")}" time="0"'
    )
    properties = {
        "candidate": found.run_id,
        "baseline": found.run_id_before,
        "candidate_name": sides.candidate,
        "baseline_name": sides.baseline,
        "verdict": found.verdict,
        "reason": found.reason,
        "margin": f"{found.margin:g}",
        "alpha": f"{found.alpha:g}",
    }
    told = "\n".join(
        f"      <property name={_attribute(name)} value={_attribute(value)}/>"
        for name, value in properties.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
        f'  <testsuite name="salvo compare" {counts}>\n'
        f"    <properties>\n{told}\n    </properties>\n{text}\n  </testsuite>\n</testsuites>\n"
    )


def _case(cell: CellChange, name: str, *, strict: bool) -> str:
    head = f'    <testcase name={_attribute(name)} classname={_attribute(cell.scenario_name)} time="0">'
    message = _attribute(cell.reason)
    if cell.verdict == "REGRESSED" or (cell.verdict == "INCONCLUSIVE" and strict):
        inside = f'      <failure type="{cell.verdict}" message={message}>{_text(_details(cell))}</failure>\n'
    elif cell.verdict == "INCONCLUSIVE":
        inside = f"      <skipped message={message}/>\n"
    else:
        inside = ""
    said = f"      <system-out>{_text(f'{cell.verdict}: {cell.reason}')}</system-out>\n"
    return f"{head}\n{inside}{said}    </testcase>"


def _details(cell: CellChange) -> str:
    lines = [f"points: {difference(cell)}"]
    if (moved := cell.moved) is not None:
        lines += [
            f"{one_line(moved.assertion, 300)}: failed {moved.failed} of {cell.now.scored},"
            f" before {moved.failed_before} of {cell.before.scored}",
            f"salvo trace {moved.trace_id}   fails now",
        ]
        if moved.trace_id_before:
            lines.append(f"salvo trace {moved.trace_id_before}   passed then")
    return "\n".join(lines)


def _attribute(text: str) -> str:
    return quoteattr(_NO_XML.sub("\ufffd", one_line(text, 500)))


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))
