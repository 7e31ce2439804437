"""A run as tables: which columns there are, and what one trial, turn or finding says in each.

Everything comes from rows and stored traces, from which secrets were struck out before they were stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from salvo_core.manifest.rows import Row
from salvo_core.run.plan import Plan
from salvo_core.trace.model import Finding, Trace

What = Literal["trials", "turns", "findings"]
"""What a line of the table is about."""

Kind = Literal["text", "whole", "number", "flag", "list"]
"""What a column holds. A ``list`` is JSON-ready; where a format has no lists it becomes JSON text."""

Value = str | int | float | bool | list[Any] | None
Line = dict[str, Value]
"""One value for each column, in order; None where there is nothing to say."""

Columns = Mapping[str, Kind]

_WHERE: Columns = {
    "run_id": "text",
    "trace_id": "text",
    "index": "whole",
    "cell": "whole",
    "trial": "whole",
    "scenario": "text",
    "scenario_file": "text",
    "scenario_digest": "text",
    "model": "text",
    "adapter": "text",
}
COLUMNS: Mapping[What, Columns] = {
    "trials": {
        **_WHERE,
        "status": "text",
        "outcome": "text",
        "score": "number",
        "threshold": "number",
        "cost_usd": "number",
        "judge_cost_usd": "number",
        "latency_s": "number",
        "duration_s": "number",
        "input_tokens": "whole",
        "output_tokens": "whole",
        "turns": "whole",
        "retries": "whole",
        "attempts": "whole",
        "worker": "text",
        "error": "text",
        "reason": "text",
        "failed": "list",
        "undecided": "list",
        "trace_digest": "text",
    },
    "turns": {
        **_WHERE,
        "turn": "whole",
        "attempt": "whole",
        "worker": "text",
        "content": "text",
        "tool_calls": "list",
        "finish_reason": "text",
        "answered_by": "text",
        "input_tokens": "whole",
        "output_tokens": "whole",
        "cost_usd": "number",
        "latency_s": "number",
        "retries": "whole",
    },
    "findings": {
        **_WHERE,
        "status": "text",
        "assertion": "whole",
        "type": "text",
        "label": "text",
        "score": "number",
        "passed": "flag",
        "weight": "number",
        "required": "flag",
        "details": "text",
        "error": "text",
        "infra": "flag",
        "redaction_affected": "flag",
    },
}


def trial_line(row: Row, plan: Plan) -> Line:
    """Return what a table of trials says of one; a trial that has not ended has no figures yet."""
    cell, result = plan.cells[plan.cell_index(row.index)], row.result
    line = _where(row, plan) | {
        "status": row.status,
        "threshold": cell.threshold,
        "attempts": row.attempt,
        "worker": result.worker if result else row.worker,
        "reason": row.reason,
    }
    if result is not None:
        line |= {
            "outcome": result.outcome,
            "score": result.score,
            "cost_usd": result.cost_usd,
            "judge_cost_usd": result.judge_cost_usd,
            "latency_s": result.latency_s,
            "duration_s": result.duration_s,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "turns": result.turns,
            "retries": result.retries,
            "error": result.error,
            "failed": [
                {"assertion": place, "label": _label(cell.assertions, place), "score": score}
                for place, score in result.failed
            ],
            "undecided": [
                {"assertion": place, "label": _label(cell.assertions, place)} for place in result.undecided
            ],
            "trace_digest": result.digest,
        }
    return {name: line.get(name) for name in COLUMNS["trials"]}


def turn_lines(row: Row, plan: Plan, trace: Trace) -> list[Line]:
    """Return what a table of turns says of one trial: an exchange a line, as the provider answered."""
    where = _where(row, plan)
    return [
        {
            **where,
            "turn": turn.index,
            "attempt": turn.attempt,
            "worker": turn.worker,
            "content": turn.content,
            "tool_calls": [call.model_dump(mode="json", exclude_none=True) for call in turn.tool_calls],
            "finish_reason": turn.finish_reason,
            "answered_by": turn.model,
            "input_tokens": turn.billed.input_tokens,
            "output_tokens": turn.billed.output_tokens,
            "cost_usd": turn.cost_usd,
            "latency_s": turn.latency_s,
            "retries": len(turn.retries),
        }
        for turn in trace.turns
    ]


def finding_lines(row: Row, plan: Plan, findings: Sequence[Finding]) -> list[Line]:
    """Return what a table of findings says of one trial, an assertion a line."""
    where = _where(row, plan) | {"status": row.status}
    return [
        {
            **where,
            "assertion": finding.assertion,
            "type": finding.type,
            "label": finding.label,
            "score": finding.score,
            "passed": finding.passed,
            "weight": finding.weight,
            "required": finding.required,
            "details": finding.details,
            "error": finding.error,
            "infra": finding.infra,
            "redaction_affected": finding.redaction_affected,
        }
        for finding in findings
    ]


def _where(row: Row, plan: Plan) -> Line:
    cell_index = plan.cell_index(row.index)
    cell = plan.cells[cell_index]
    return {
        "run_id": plan.run_id,
        "trace_id": row.trace_id,
        "index": row.index,
        "cell": cell_index,
        "trial": plan.trial_index(row.index),
        "scenario": cell.scenario_name,
        "scenario_file": cell.scenario_file,
        "scenario_digest": cell.scenario_digest,
        "model": cell.model,
        "adapter": cell.adapter,
    }


def _label(labels: Sequence[str], place: int) -> str:
    return labels[place] if place < len(labels) else ""
