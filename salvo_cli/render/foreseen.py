"""What ``salvo plan`` says: what a run would take, and what it could show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, plain
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import percent, plural, tokens, usd
from salvo_cli.render.tables import Cell, table
from salvo_core.foresee import RATE_ASSUMED, Amount, Estimate, Foreseen, estimate
from salvo_core.run.plan import Plan

_UNBOUNDED, _UNPRICED = "unbounded (worst case)", "unknown: no price is known"


def foreseen(
    plan: Plan, cells: Sequence[Foreseen], document: dict[str, Any], *, detect: float | None, signs: Marks
) -> RenderableType:
    """Return a line a cell and, under it, the totals and what the numbers are to be read as.

    Args:
        plan: Of the run that nobody has ordered yet.
        cells: In its order.
        document: Of its dry run: the bounds beside the expectations.
        detect: As in ``foresee``.
        signs: Marks that the terminal can show.
    """
    names = cell_names(plan.cells)
    heads = ["cell", "past\ntrials", "pass\nrate", "cost", "finds a\nfall of"]
    if detect is not None:
        heads.append(f"trials for\n{_points(detect)}")
    gated = any(cell.gate for cell in plan.cells)
    if gated:
        heads.append("trials for\nthe gate")
    rows: list[list[Cell]] = []
    for name, one in zip(names, cells, strict=True):
        row: list[Cell] = [
            name,
            f"{one.past_trials:,}",
            signs.dash if one.pass_rate is None else percent(one.pass_rate),
            signs.dash if one.cost_usd is None else usd(one.cost_usd.total),
            signs.dash if one.detects is None else _points(one.detects),
        ]
        if detect is not None:
            row.append(signs.dash if one.trials_to_detect is None else f"{one.trials_to_detect:,}")
        if gated:
            row.append(signs.dash if one.trials_to_pass is None else f"{one.trials_to_pass:,}")
        rows.append(row)
    would = Text(f"would order {plural(len(cells), 'cell')}, {plural(plan.total, 'trial')}", style="bold")
    parts: list[RenderableType] = [table(heads, rows, right=heads[1:], wide="cell"), Text(""), would]
    parts += [plain(line) for line in totals(cells, document, signs)]
    parts += [plain(line, "dim") for line in _notes(plan, cells, detect)]
    parts.append(Text("nothing was sent", style="dim"))
    return Group(*parts)


def foreseen_document(cells: Sequence[Foreseen], document: dict[str, Any]) -> dict[str, Any]:
    """Return what each cell and all of them together take, for ``--json``.

    ``expected`` has what past runs foresee, None where they do not know each cell; ``estimate`` tells
    which cells they know, and the worst case of the others.

    Args:
        cells: In the dry run's order.
        document: Of the dry run.
    """
    found = _estimates(cells, document)
    return {
        "cells": [
            bounds | {"expected": asdict(one)} for bounds, one in zip(document["cells"], cells, strict=True)
        ],
        "expected": {
            unit: None if one.by_worst_case or one.foreseen is None else asdict(one.foreseen)
            for unit, one in found.items()
        },
        "estimate": {unit: {"basis": basis(one)} | asdict(one) for unit, one in found.items()},
    }


def basis(one: Estimate) -> str:
    """Return by what an estimate is made: ``past runs``, ``worst case``, or ``both``, each for some cells."""
    if not one.by_worst_case:
        return "past runs"
    return "both" if one.by_past_runs else "worst case"


def totals(cells: Sequence[Foreseen], document: dict[str, Any], signs: Marks) -> list[str]:
    """Return a line each for calls, tokens and cost of the agents, with what it rests on.

    Args:
        cells: In the dry run's order.
        document: Of the dry run.
        signs: Marks that the terminal can show.
    """
    found = _estimates(cells, document)
    shown: dict[str, Callable[[float], str]] = {"calls": tokens, "tokens": tokens, "cost_usd": usd}
    priced = all(
        one["price_known"] for one, cell in zip(document["cells"], cells, strict=True) if not cell.cost_usd
    )
    lines = [
        f"{unit.removesuffix('_usd'):<8}"
        + _told(found[unit], shown[unit], signs, _UNBOUNDED if priced or unit != "cost_usd" else _UNPRICED)
        for unit in found
    ]
    judges = [one.judge_cost_usd for one in cells if one.judge_cost_usd is not None]
    if judges:
        lines[-1] += f", and judges about {usd(sum(judges))}"
    return lines


def _estimates(cells: Sequence[Foreseen], document: dict[str, Any]) -> dict[str, Estimate]:
    bounds = document["cells"]
    return {
        "calls": estimate(
            [one.calls for one in cells], [one["calls_max"] - one["judge_calls_max"] for one in bounds]
        ),
        "tokens": estimate([one.tokens for one in cells], [one["tokens_max"] for one in bounds]),
        "cost_usd": estimate([one.cost_usd for one in cells], [one["cost_usd_max"] for one in bounds]),
    }


def _told(one: Estimate, shown: Callable[[float], str], signs: Marks, without: str) -> str:
    """Return an estimate in words: what past runs say, what is at most, and of how many cells each is.

    Args:
        one: Of one unit.
        shown: An amount of it.
        signs: Marks that the terminal can show.
        without: What is said where there is no worst case.
    """
    bound = without if one.worst_case is None else f"at most {shown(one.worst_case)} (worst case)"
    if not one.by_past_runs:
        return bound
    told = f"{_amount(one.foreseen, shown, signs)} by past runs"
    if not one.by_worst_case:
        return told
    known = f" of {one.by_past_runs:,} of {one.by_past_runs + one.by_worst_case:,} cells"
    return f"{told}{known}; the other {one.by_worst_case:,} {bound}"


def _amount(amount: Amount | None, shown: Callable[[float], str], signs: Marks) -> str:
    if amount is None:
        return "unknown"
    if amount.low is None or amount.high is None or shown(amount.low) == shown(amount.high):
        return f"about {shown(amount.total)}"
    return f"about {shown(amount.total)} ({shown(amount.low)}{signs.dash}{shown(amount.high)})"


def _notes(plan: Plan, cells: Sequence[Foreseen], detect: float | None) -> list[str]:
    lines = ["finds a fall of: against a baseline of as many trials, with 80% chance, 5% false alarms"]
    if any(one.pass_rate is None for one in cells):
        lines.append(f"where no past run tells the pass rate, {percent(RATE_ASSUMED)} is assumed")
    if detect is not None:
        lines.append("trials for a fall: of each of the two runs, each cell")
    rates = sorted({one.rate_to_pass for one in cells if one.rate_to_pass is not None})
    if rates:
        told = percent(rates[0]) if len(rates) == 1 else f"{percent(rates[0])} to {percent(rates[-1])}"
        lines.append(f"trials for the gate: an agent of {told} passes it with 80% chance")
    if any(one.past_runs for one in cells):
        lines.append("in brackets: 95% prediction intervals; no cell is taken to stop early")
    if any(not one.past_runs for one in cells):
        lines.append("worst case: every turn and every retry used, within the scenario's own limits")
    return lines


def _points(fall: float) -> str:
    return f"{fall * 100:.0f} points"
