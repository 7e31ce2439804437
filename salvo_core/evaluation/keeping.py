"""What is kept of a trial that has been evaluated: its record, redacted, and honest about it.

Assertions see the conversation as it was. What is stored has secrets struck out, and perhaps no
content at all, so a check could come out differently on it. Findings for which that is so are marked
here, while both versions are at hand: whoever evaluates the record again can tell what redaction
did from what the agent did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.judge.panel import judges_in
from salvo_core.trace.exclusion import without_content
from salvo_core.trace.model import Finding, Trace
from salvo_core.trace.recording import RecordingMode
from salvo_core.trace.redaction import Redactor


def kept(
    trace: Trace,
    assertions: Sequence[AssertionSpec],
    redactor: Redactor,
    again: Callable[[Trace], Sequence[Finding]],
    *,
    mode: RecordingMode = "full",
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the JSON-ready record of a trial, as it may be stored.

    Args:
        trace: What happened, with its findings.
        assertions: The scenario's list; what findings name by place.
        redactor: Strikes out what must not be kept.
        again: Evaluates a trace as the findings were made; asked only if something was struck out.
        mode: What is kept of what was said.
        labels: What the plan calls the assertions, by place; without them their own labels, redacted.
    """
    record = redactor.record(trace)
    record["redacted"] = _said(record) != _said(trace.model_dump(mode="json", include={"messages", "turns"}))
    affected: set[int] = set()
    if record["redacted"] and trace.findings:
        affected = _differing(trace.findings, again(Trace.model_validate(record)))
        # A judge is not asked a second time: what it read is not what is there now, and that is all
        # that can be said.
        affected |= {place for place, _ in judges_in(assertions)}
    if mode == "metadata_only":
        affected |= {place for place, one in enumerate(assertions) if one.needs_content()}
    for finding in record["findings"]:
        place = finding["assertion"]
        finding["redaction_affected"] = place in affected
        if place < len(labels):
            finding["label"] = labels[place]
    if mode == "metadata_only":
        return without_content(Trace.model_validate(record)).model_dump(mode="json")
    return record


def _said(record: dict[str, Any]) -> list[Any]:
    """Return what assertions and judges read; what providers said of their failures is none of it."""
    return [record["messages"], [[turn["content"], turn["tool_calls"]] for turn in record["turns"]]]


def _differing(found: Sequence[Finding], again: Sequence[Finding]) -> set[int]:
    return {
        one.assertion
        for one, other in zip(found, again, strict=True)
        if (one.score, one.passed, one.error is None) != (other.score, other.passed, other.error is None)
    }
