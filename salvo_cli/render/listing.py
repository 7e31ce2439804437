"""Lists: runs, and the trials of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line
from salvo_cli.render.numbers import ago, score, seconds, short, spent, usd, verdict_text
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.plan import Plan
from salvo_core.run.verdict import EXIT_CODES

WIDE = 120
_STATUS_STYLES = {"passed": "green", "failed": "red", "hard_fail": "bold red", "infra_error": "magenta"}


def runs(
    listing: Sequence[RunCounts], *, signs: Marks, of: Mapping[str, str] | None = None, now_ms: int = 0
) -> RenderableType:
    """Return runs, one a line, in the order given.

    Args:
        listing: What to show.
        signs: Marks that the terminal can show.
        of: For re-evaluations: which run each looked at.
        now_ms: Unix time, for runs that Redis has forgotten: their counts know only when they ended.
    """
    rows: list[list[Cell]] = []
    for counts in listing:
        verdict = next((known for known in EXIT_CODES if known == counts.verdict), None)
        rows.append(
            [
                short(counts.run_id),
                *([] if of is None else [short(of.get(counts.run_id, ""))]),
                ago(counts.created_ms, max(counts.now_ms, now_ms)),
                verdict_text(verdict, signs) if verdict else Text(counts.state, style="cyan"),
                f"{counts.ended:,}/{counts.total:,}",
                f"{counts.statuses['passed']:,}",
                spent(
                    counts.cost_usd + counts.judge_cost_usd, counts.cost_unknown + counts.judge_cost_unknown
                ),
                one_line(counts.name, 80),
            ]
        )
    first = ("run",) if of is None else ("reeval", "of run")
    heads = (*first, "when", "verdict", "ended", "passed", "cost", "scenarios")
    return table(heads, rows, right=("when", "ended", "passed", "cost"), wide="scenarios", cut=True)


def trials(rows: Sequence[Row], plan: Plan, *, signs: Marks, width: int) -> RenderableType:
    """Return trials, one a line: cell, repetition, status, figures, trace id, never cut.

    Args:
        rows: What to show.
        plan: Of their run.
        signs: Marks that the terminal can show.
        width: Columns to fill; in few, cost and retries are left out, and cells are numbered.
    """
    several, narrow = len(plan.cells) > 1, width < WIDE
    remarks = any(_remark(row) for row in rows)
    columns: dict[str, Callable[[Row, Result | None], Cell]] = {
        **({"#": lambda row, _: str(plan.cell_index(row.index) + 1)} if several else {}),
        **({"cell": lambda row, _: _cell(plan, row)} if several and not narrow else {}),
        "trial": lambda row, _: str(plan.trial_index(row.index)),
        "status": lambda row, _: Text(row.status.replace("_", " "), style=_STATUS_STYLES.get(row.status, "")),
        "score": lambda _, result: score(result.score) if result else signs.dash,
    }
    if not (narrow and remarks):
        columns["latency"] = lambda _, result: seconds(result.latency_s) if result else signs.dash
    if not narrow:
        columns["cost"] = lambda _, result: usd(result.cost_usd) if result else signs.dash
        columns["retried"] = lambda _, result: str(result.retries) if result else signs.dash
    if remarks:
        columns["remark"] = lambda row, _: _remark(row)
    columns["trace"] = lambda row, _: row.trace_id
    lines = [[show(row, row.result) for show in columns.values()] for row in rows]
    right = ("#", "trial", "score", "latency", "cost", "retried")
    drawn = table(tuple(columns), lines, right=right, wide="cell", cut=True)
    if not (several and narrow):
        return drawn
    shown = sorted({plan.cell_index(row.index) for row in rows})
    legend = [(str(place + 1), one_line(plan.cells[place].label, 100)) for place in shown]
    return Group(drawn, Text(""), facts(legend))


def _cell(plan: Plan, row: Row) -> str:
    return one_line(plan.cells[plan.cell_index(row.index)].label, 60)


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
        "reason": row.reason,
        "worker": row.worker or (result.worker if result else ""),
        "result": None
        if result is None
        else {
            "score": result.score,
            "outcome": result.outcome,
            "error": result.error,
            "cost_usd": result.cost_usd,
            "judge_cost_usd": result.judge_cost_usd,
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
        return one_line(row.reason, 24)
    if row.result.error:
        return row.result.error.replace("_", " ")
    return "" if row.result.outcome == "completed" else row.result.outcome.replace("_", " ")
