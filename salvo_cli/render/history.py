"""The last runs, oldest first, and how each cell's pass rate went from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line
from salvo_cli.render.numbers import ago, percent, plural, score, short, spent, verdict_text
from salvo_cli.render.tables import Cell, table
from salvo_core.history import History, PastRun, Trend
from salvo_core.run.plan import run_name
from salvo_core.run.summary import CellSummary

POINTS_MAX = 24
"""Runs that a sparkline shows, the newest."""

TRENDS_SHOWN_MAX = 40
WIDE = 100
"""Columns from which every figure of a run has its place."""


def history(
    past: History, *, now_ms: int, width: int, signs: Marks, failures_only: bool = False
) -> RenderableType:
    """Return runs one a line, the newest last, and a line for each cell with its sparkline.

    Args:
        past: At least one run.
        now_ms: Unix time, for how long ago each was.
        width: Columns to fill; in few, each run's age and pass rate are left out.
        signs: Marks that the terminal can show.
        failures_only: Hide the runs that passed; trends are of all runs all the same.
    """
    shown = [run for run in past.runs if not failures_only or run.verdict != "PASS"]
    parts: list[RenderableType] = []
    if shown:
        parts += [_runs(shown, now_ms, width, signs), Text("")]
    parts.append(_closing(past, len(shown), signs))
    if trends := past.trends:
        parts += [Text(""), Text("Pass rate of each cell, oldest run to newest", style="bold")]
        parts.append(_trends(trends[:TRENDS_SHOWN_MAX], signs))
        if len(trends) > TRENDS_SHOWN_MAX:
            hidden = f"and {plural(len(trends) - TRENDS_SHOWN_MAX, 'more cell')}: --scenario picks one"
            parts.append(Text(hidden, style="dim"))
    return Group(*parts)


def _runs(runs: Sequence[PastRun], now_ms: int, width: int, signs: Marks) -> RenderableType:
    columns: dict[str, Callable[[PastRun], Cell]] = {
        "run": lambda run: short(run.summary.run_id),
        "when": lambda run: ago(round(run.summary.created_at.timestamp() * 1000), now_ms),
        "verdict": lambda run: verdict_text(run.verdict, signs),
        "passed": lambda run: f"{run.passed:,}/{run.trials:,}",
        "rate": lambda run: signs.dash if run.pass_rate is None else percent(run.pass_rate),
        "score": lambda run: signs.dash if run.score_mean is None else score(run.score_mean),
        "cost": lambda run: spent(
            (run.cost_usd or 0.0) + (run.judge_cost_usd or 0.0), run.cost_unknown + run.judge_cost_unknown
        ),
        "scenarios": lambda run: one_line(_name(run), 80),
    }
    heads = [head for head in columns if width >= WIDE or head not in ("when", "rate")]
    rows = [[columns[head](run) for head in heads] for run in runs]
    return table(heads, rows, right=("when", "passed", "rate", "score", "cost"), wide="scenarios", cut=True)


def _name(run: PastRun) -> str:
    return run_name([(cell.scenario_digest, cell.scenario_name) for cell in run.cells])


def _closing(past: History, shown: int, signs: Marks) -> Text:
    hidden = len(past.runs) - shown
    line = Text(f"{plural(shown, 'run')} shown")
    if hidden:
        line.append(f", {hidden} that passed left out")
    rates = [run.pass_rate for run in past.runs if run.pass_rate is not None]
    if len(rates) > 1:
        line.append(f" {signs.dot} pass rate {_change(rates[0], rates[-1], signs)}")
    if past.unsealed:
        line.append(f" {signs.dot} {past.unsealed} not ended yet", style="dim")
    return line


def _change(first: float, last: float, signs: Marks) -> str:
    return f"{percent(first)} {signs.arrow} {percent(last)}"


def _trends(trends: Sequence[Trend], signs: Marks) -> RenderableType:
    one_model = len({trend.model for trend in trends}) == 1
    rows: list[list[Cell]] = []
    for trend in trends:
        first, last = trend.known[0], trend.known[-1]
        style = "green" if last > first else "red" if last < first else ""
        rows.append(
            [
                sparkline(trend.rates, signs),
                Text(_change(first, last, signs), style=style),
                str(len(trend.known)),
                "edited" if trend.edited else "",
                one_line(trend.scenario if one_model else f"{trend.scenario} · {trend.model}", 80),
            ]
        )
    heads: tuple[str, ...] = ("trend", f"first {signs.arrow} last", "runs", "scenario", "cell")
    if not any(trend.edited for trend in trends):
        heads, rows = (*heads[:3], heads[4]), [[*row[:3], row[4]] for row in rows]
    return table(heads, rows, right=("runs",), wide="cell", cut=True)


def sparkline(rates: Sequence[float | None], signs: Marks) -> str:
    """Return one mark a rate, its height from 0 to 1; a run without one is a blank.

    Args:
        rates: Oldest first; of more than POINTS_MAX the newest are shown.
        signs: Marks that the terminal can show.
    """
    top = len(signs.levels) - 1
    return "".join(
        " " if rate is None else signs.levels[min(int(rate * (top + 1)), top)] for rate in rates[-POINTS_MAX:]
    )


def history_document(past: History, *, failures_only: bool = False) -> dict[str, Any]:
    """Return the history for ``--json``."""
    return {
        "schema": "salvo.cli.history/1",
        "runs": [_run_document(run) for run in past.runs if not failures_only or run.verdict != "PASS"],
        "trends": [
            {
                "scenario": trend.scenario,
                "model": trend.model,
                "pass_rates": list(trend.rates),
                "first": trend.known[0],
                "last": trend.known[-1],
                "edited": trend.edited,
            }
            for trend in past.trends
        ],
        "damaged": [{"run_id": one.run_id, "message": one.message} for one in past.damaged],
        "not_ended": past.unsealed,
        "truncated": past.cut_short,
    }


def _run_document(run: PastRun) -> dict[str, Any]:
    summary = run.summary
    return {
        "run_id": summary.run_id,
        "name": _name(run),
        "created_at": summary.created_at.isoformat(),
        "labels": summary.labels,
        "verdict": run.verdict,
        "trials": run.trials,
        "scored": run.scored,
        "passed": run.passed,
        "pass_rate": run.pass_rate,
        "score_mean": run.score_mean,
        "cost_usd": run.cost_usd,
        "cost_unknown": run.cost_unknown,
        "judge_cost_usd": run.judge_cost_usd,
        "judge_cost_unknown": run.judge_cost_unknown,
        "cells": [_cell_document(cell) for cell in run.cells],
    }


def _cell_document(cell: CellSummary) -> dict[str, Any]:
    return {
        "scenario": cell.scenario_name,
        "file": cell.scenario_file,
        "digest": cell.scenario_digest,
        "model": cell.model,
        "verdict": cell.verdict,
        "trials": cell.trials,
        "scored": cell.scored,
        "passed": cell.counts["passed"],
        "pass_rate": cell.pass_rate if cell.scored else None,
        "pass_rate_low": cell.pass_rate_low,
        "pass_rate_high": cell.pass_rate_high,
        "score_mean": cell.score.mean if cell.scored else None,
        "cost_usd": cell.cost.total_usd,
        "judge_cost_usd": cell.judge_cost.total_usd,
    }
