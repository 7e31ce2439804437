"""The last runs, oldest first, and how each cell's pass rate went from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line
from salvo_cli.render.numbers import ago, percent, plural, score, short, spent, verdict_text
from salvo_cli.render.tables import Cell, table
from salvo_core.history import History, PastRun
from salvo_core.run.plan import run_name
from salvo_core.run.summary import CellSummary
from salvo_core.run.trends import Point, Trend

POINTS_MAX = 24
"""Runs that a sparkline shows where there is little room, the newest."""

POINTS_MAX_WIDE = 60
CHANCE_TOLD = 0.01
"""Differences from run to run that are less probable by chance than this are called more than chance."""

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
        parts.append(_trends(trends[:TRENDS_SHOWN_MAX], width, signs))
        if len(trends) > TRENDS_SHOWN_MAX:
            hidden = f"and {plural(len(trends) - TRENDS_SHOWN_MAX, 'more cell')}: --scenario picks one"
            parts.append(Text(hidden, style="dim"))
    return Group(*parts)


def _runs(runs: Sequence[PastRun], now_ms: int, width: int, signs: Marks) -> RenderableType:
    columns: dict[str, Callable[[PastRun], Cell]] = {
        "run": lambda run: short(run.summary.run_id),
        "when": lambda run: ago(round(run.summary.created_at.timestamp() * 1000), now_ms),
        "verdict": lambda run: verdict_text(run.verdict, signs),
        "passed": lambda run: f"{run.passed:,}/{run.wanted:,}",
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
    known = [(run, run.pass_rate) for run in past.runs if run.pass_rate is not None]
    if len(known) > 1 and _what(known[0][0]) == _what(known[-1][0]):  # or the change would be of what was run
        line.append(f" {signs.dot} pass rate {_change(known[0][1], known[-1][1], signs)}")
    if past.unsealed:
        line.append(f" {signs.dot} {past.unsealed} not ended yet", style="dim")
    return line


def _what(run: PastRun) -> set[tuple[str, str]]:
    return {(cell.scenario_name, cell.model) for cell in run.cells}


def _change(first: float, last: float, signs: Marks) -> str:
    return f"{percent(first)} {signs.arrow} {percent(last)}"


def _trends(trends: Sequence[Trend], width: int, signs: Marks) -> RenderableType:
    """Return a line a cell; only what is more than chance has a colour."""
    one_model = len({trend.model for trend in trends}) == 1
    wide = width >= WIDE

    def change(trend: Trend) -> Text:
        told = _change(trend.known[0], trend.known[-1], signs)
        return Text(told + (f" ({interval(trend.graded[-1], signs)})" if wide else ""), style=_style(trend))

    def name(trend: Trend) -> str:
        told = trend.scenario if one_model else f"{trend.scenario} {signs.dot} {trend.model}"
        return one_line(told + (" (edited)" if trend.edited else ""), 80)

    columns: dict[str, Callable[[Trend], Cell]] = {
        "trend": lambda trend: sparkline(trend.rates, signs, POINTS_MAX_WIDE if wide else POINTS_MAX),
        f"first {signs.arrow} last" + (" (95%)" if wide else ""): change,
        "runs": lambda trend: str(len(trend.known)),
        "by chance": lambda trend: signs.dash if trend.chance is None else probability(trend.chance),
        "cell": name,
    }
    heads = [head for head in columns if wide or head != "runs"]
    rows = [[columns[head](trend) for head in heads] for trend in trends]
    return table(heads, rows, right=("runs", "by chance"), wide="cell", cut=True)


def _style(trend: Trend) -> str:
    if trend.chance is None or trend.chance >= CHANCE_TOLD or trend.known[-1] == trend.known[0]:
        return ""
    return "green" if trend.known[-1] > trend.known[0] else "red"


def interval(point: Point, signs: Marks) -> str:
    """Return a point's interval in whole percentages: ``45–74``."""
    return f"{round(point.low * 100)}{signs.dash}{round(point.high * 100)}"


def probability(p: float) -> str:
    """Return a chance with as many digits as it deserves: ``0.34``, ``0.002``, ``<0.001``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def sparkline(rates: Sequence[float | None], signs: Marks, points_max: int = POINTS_MAX) -> str:
    """Return one mark a rate, its height from 0 to 1; a run without one is a blank.

    Args:
        rates: Oldest first; of more than points_max the newest are shown.
        signs: Marks that the terminal can show.
        points_max: Marks at most.
    """
    top = len(signs.levels) - 1
    return "".join(
        " " if rate is None else signs.levels[min(int(rate * (top + 1)), top)] for rate in rates[-points_max:]
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
                "chance_p": trend.chance,
                "points": [None if point is None else _point_document(point) for point in trend.points],
            }
            for trend in past.trends
        ],
        "damaged": [{"run_id": one.run_id, "message": one.message} for one in past.damaged],
        "not_ended": past.unsealed,
        "truncated": past.cut_short,
    }


def _point_document(point: Point) -> dict[str, Any]:
    return {
        "run_id": point.run_id,
        "created_at": point.at.isoformat(),
        "verdict": point.verdict,
        "passed": point.counted.passed,
        "scored": point.counted.n,
        "pass_rate": point.rate,
        "pass_rate_low": point.low,
        "pass_rate_high": point.high,
        "interval": point.interval,
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
