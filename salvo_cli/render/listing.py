"""Lists: runs, and the trials of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line
from salvo_cli.render.numbers import ago, score, seconds, short, spent, usd, verdict_text
from salvo_cli.render.tables import Cell, table
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.rows import Row
from salvo_core.run.plan import Plan
from salvo_core.run.verdict import EXIT_CODES

_STATUS_STYLES = {"passed": "green", "failed": "red", "hard_fail": "bold red", "infra_error": "magenta"}


def runs(listing: Sequence[RunCounts], *, signs: Marks) -> RenderableType:
    """Return runs, one a line, in the order given."""
    rows: list[list[Cell]] = []
    for counts in listing:
        verdict = next((known for known in EXIT_CODES if known == counts.verdict), None)
        rows.append(
            [
                short(counts.run_id),
                ago(counts.created_ms, counts.now_ms),
                verdict_text(verdict, signs) if verdict else Text(counts.state, style="cyan"),
                f"{counts.ended:,}/{counts.total:,}",
                f"{counts.statuses['passed']:,}",
                spent(counts.cost_usd, counts.cost_unknown),
                one_line(counts.name, 80),
            ]
        )
    heads = ("run", "when", "verdict", "ended", "passed", "cost", "scenarios")
    return table(heads, rows, right=("when", "ended", "passed", "cost"), wide="scenarios")


def trials(rows: Sequence[Row], plan: Plan, *, signs: Marks, width: int) -> RenderableType:
    """Return trials, one a line: cell, repetition, status, figures, trace id."""
    several = len(plan.cells) > 1
    lines: list[list[Cell]] = []
    for row in rows:
        cell, result = plan.cells[plan.cell_index(row.index)], row.result
        lines.append(
            [
                *([one_line(cell.label, 40)] if several else []),
                str(plan.trial_index(row.index)),
                Text(row.status.replace("_", " "), style=_STATUS_STYLES.get(row.status, "")),
                score(result.score) if result else signs.dash,
                seconds(result.latency_s) if result else signs.dash,
                usd(result.cost_usd) if result else signs.dash,
                str(result.retries) if result else signs.dash,
                _remark(row),
                row.trace_id,
            ]
        )
    heads = ("trial", "status", "score", "latency", "cost", "retried", "remark", "trace")
    right = ("trial", "score", "latency", "cost", "retried")
    return table((*(["cell"] if several else []), *heads), lines, right=right, wide="cell")


def trial_document(row: Row, plan: Plan) -> dict[str, Any]:
    """Return one trial for ``--json``."""
    cell, result = plan.cells[plan.cell_index(row.index)], row.result
    return {
        "index": row.index,
        "cell": plan.cell_index(row.index),
        "trial": plan.trial_index(row.index),
        "scenario": cell.scenario_name,
        "model": cell.model,
        "status": row.status,
        "attempt": row.attempt,
        "trace_id": row.trace_id,
        "worker": row.worker or (result.worker if result else ""),
        "result": None
        if result is None
        else {
            "score": result.score,
            "outcome": result.outcome,
            "error": result.error,
            "cost_usd": result.cost_usd,
            "latency_s": result.latency_s,
            "duration_s": result.duration_s,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "turns": result.turns,
            "retries": result.retries,
            "failed_assertions": [assertion for assertion, _ in result.failed],
        },
    }


def _remark(row: Row) -> str:
    """Return what is out of the ordinary about a trial, in a word or two."""
    if row.status == "running":
        return one_line(row.worker, 24)
    if row.result is None:
        return ""
    if row.result.error:
        return row.result.error.replace("_", " ")
    return "" if row.result.outcome == "completed" else row.result.outcome.replace("_", " ")
