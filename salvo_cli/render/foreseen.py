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
from salvo_core.foresee import RATE_ASSUMED, Amount, Foreseen, in_all
from salvo_core.run.plan import Plan


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
    parts += [plain(line) for line in _totals(cells, document, signs)]
    parts += [plain(line, "dim") for line in _notes(plan, cells, detect)]
    parts.append(Text("nothing was sent", style="dim"))
    return Group(*parts)


def foreseen_document(cells: Sequence[Foreseen]) -> dict[str, Any]:
    """Return what all cells take together, for ``--json``; None where it is not known of each."""
    totals = {
        "calls": in_all([one.calls for one in cells]),
        "tokens": in_all([one.tokens for one in cells]),
        "cost_usd": in_all([one.cost_usd for one in cells]),
    }
    return {"expected": {name: None if amount is None else asdict(amount) for name, amount in totals.items()}}


def _totals(cells: Sequence[Foreseen], document: dict[str, Any], signs: Marks) -> list[str]:
    new = sum(not one.past_runs for one in cells)
    if new:
        told = "none of them" if new == len(cells) else f"{len(cells) - new:,} of them"
        lines = [f"past runs know {told}: what the run takes is not foreseen"]
        return [*lines, f"calls   at most {document['calls_max']:,}"]
    calls = _amount(in_all([one.calls for one in cells]), tokens, signs)
    cost = _amount(in_all([one.cost_usd for one in cells]), usd, signs)
    judges = [one.judge_cost_usd for one in cells if one.judge_cost_usd is not None]
    if judges:
        cost += f", and judges about {usd(sum(judges))}"
    return [
        f"calls   {calls}, at most {document['calls_max']:,}",
        f"tokens  {_amount(in_all([one.tokens for one in cells]), tokens, signs)}",
        f"cost    {cost}",
    ]


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
        lines.append("in brackets: 95% prediction intervals")
    return lines


def _points(fall: float) -> str:
    return f"{fall * 100:.0f} points"
