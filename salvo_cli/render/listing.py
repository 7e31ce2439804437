"""Lists: runs, and the trials of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import ago, score, seconds, short, spent, usd, verdict_text
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.plan import Plan
from salvo_core.run.verdict import EXIT_CODES

WIDE = 120
_STATUS_STYLES = {"passed": "green", "failed": "red", "hard_fail": "bold red", "infra_error": "magenta"}


def runs(
    listing: Sequence[RunCounts],
    *,
    signs: Marks,
    width: int = WIDE,
    of: Mapping[str, str] | None = None,
    now_ms: int = 0,
) -> RenderableType:
    """Return runs, one a line, in the order given.

    Args:
        listing: What to show.
        signs: Marks that the terminal can show.
        width: Columns to fill; in few, some columns of re-evaluations are left out.
        of: For re-evaluations: which run each looked at.
        now_ms: Unix time, for runs that Redis has forgotten: their counts know only when they ended.
    """
    columns: dict[str, Callable[[RunCounts], Cell]] = {
        "run" if of is None else "reeval": lambda one: short(one.run_id),
        **({} if of is None else {"of run": lambda one: short(of.get(one.run_id, ""))}),
        "when": lambda one: ago(one.created_ms, max(one.now_ms, now_ms)),
        "verdict": lambda one: _verdict(one, signs),
        "ended": lambda one: f"{one.ended:,}/{one.total:,}",
        "passed": lambda one: f"{one.statuses['passed']:,}",
        # What the conversations cost was paid by the run that a re-evaluation looks at.
        "cost": lambda one: _cost(one, agents=of is None),
        "scenarios": lambda one: one_line(one.name, 80),
    }
    heads = [head for head in columns if of is None or width >= WIDE or head not in ("when", "ended")]
    rows = [[columns[head](counts) for head in heads] for counts in listing]
    return table(heads, rows, right=("when", "ended", "passed", "cost"), wide="scenarios", cut=True)


def _verdict(counts: RunCounts, signs: Marks) -> Text:
    verdict = next((known for known in EXIT_CODES if known == counts.verdict), None)
    return verdict_text(verdict, signs) if verdict else Text(counts.state, style="cyan")


def _cost(counts: RunCounts, *, agents: bool) -> str:
    cost_usd, unknown = (counts.cost_usd, counts.cost_unknown) if agents else (0.0, 0)
    return spent(cost_usd + counts.judge_cost_usd, unknown + counts.judge_cost_unknown)


def trials(rows: Sequence[Row], plan: Plan, *, signs: Marks, width: int) -> RenderableType:
    """Return trials, one a line: cell, repetition, status, figures, trace id, never cut.

    Args:
        rows: What to show.
        plan: Of their run.
        signs: Marks that the terminal can show.
        width: Columns to fill; in few, cost and retries are left out, and cells are numbered.
    """
    several, narrow = len(plan.cells) > 1, width < WIDE
    names = cell_names(plan.cells)
    remarks = any(_remark(row) for row in rows)
    columns: dict[str, Callable[[Row, Result | None], Cell]] = {
        **({"#": lambda row, _: str(plan.cell_index(row.index) + 1)} if several else {}),
        **({"cell": lambda row, _: names[plan.cell_index(row.index)]} if several and not narrow else {}),
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
    legend = [(str(place + 1), names[place]) for place in shown]
    return Group(drawn, Text(""), facts(legend))


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
