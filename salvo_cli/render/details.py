"""What a report adds on request: how every figure of a cell lies over its trials, and how trials ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, plain
from salvo_cli.render.numbers import plural, score, seconds, spent, tokens, usd, verdict_text
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.run.spread import Spread
from salvo_core.run.summary import CellSummary

CELLS_DETAILED_MAX = 24
_HEADS = ("a trial", "min", "mean", "median", "p95", "max")


def details(cells: Sequence[CellSummary], name: Mapping[int, str], signs: Marks) -> list[RenderableType]:
    """Return one block a cell: spreads, money, outcomes; the first CELLS_DETAILED_MAX of them."""
    parts: list[RenderableType] = [Text("Details", style="bold")]
    for cell in cells[:CELLS_DETAILED_MAX]:
        if len(cells) > 1:
            head = verdict_text(cell.verdict, signs).append(f"  {cell.cell + 1}  ", style="dim")
            parts.append(head + plain(name[cell.cell], "bold"))
        parts += [Padding.indent(_cell(cell, signs), 2), Text("")]
    if len(cells) > CELLS_DETAILED_MAX:
        hidden = f"and {plural(len(cells) - CELLS_DETAILED_MAX, 'more cell')}: --scenario picks one"
        parts += [Text(hidden, style="dim"), Text("")]
    return parts


def _cell(cell: CellSummary, signs: Marks) -> RenderableType:
    measures: tuple[tuple[str, Spread | None, Callable[[float], str]], ...] = (
        ("score", cell.score if cell.scored else None, score),
        ("latency", cell.latency_s, seconds),
        ("duration", cell.duration_s, seconds),
        ("tokens", cell.tokens, tokens),
        ("turns", cell.turns, lambda count: f"{count:.3g}"),
        ("cost", cell.cost_usd, usd),
    )
    rows: list[list[Cell]] = [
        [measure, *(shown(value) for value in (spread.min, spread.mean, spread.p50, spread.p95, spread.max))]
        for measure, spread, shown in measures
        if spread is not None
    ]
    ended = f" {signs.dot} ".join(
        f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in cell.outcomes.items()
    )
    cost, judge = cell.cost, cell.judge_cost
    told = [
        spent(cost.total_usd, cost.unknown),
        *([f"{usd(cost.mean_usd)} a trial"] if cost.mean_usd is not None else []),
        *([f"{usd(cost.per_pass_usd)} a pass"] if cost.per_pass_usd is not None else []),
        *([f"unknown of {plural(cost.unknown, 'trial')}"] if cost.unknown and cost.known else []),
    ]
    judged = [
        spent(judge.total_usd, judge.unknown),
        *([f"{usd(judge.mean_usd)} a trial"] if judge.mean_usd is not None else []),
        *([f"unknown of {plural(judge.unknown, 'trial')}"] if judge.unknown and judge.known else []),
    ]
    asked = judge.known or judge.unknown
    pairs: list[tuple[str, Cell]] = [
        ("ended", ended or signs.dash),
        ("cost", f" {signs.dot} ".join(told)),
        *([("judge cost", f" {signs.dot} ".join(judged))] if asked else []),
        ("retries", f"{cell.retries:,} in {plural(cell.trials_with_retries, 'trial')}"),
    ]
    if not rows:
        return facts(pairs)
    return Group(table(_HEADS, rows, right=_HEADS[1:]), facts(pairs))
