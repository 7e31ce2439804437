"""What a dry run says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.foreseen import totals
from salvo_cli.render.numbers import plural, usd
from salvo_cli.render.tables import Cell, table
from salvo_core.foresee import Foreseen


def forecast(document: dict[str, Any], cells: Sequence[Foreseen], signs: Marks) -> RenderableType:
    """Return the dry run's document as a table with its totals.

    Args:
        document: The dry run's.
        cells: What past runs foresee of its cells, in its order; empty where nobody could look.
        signs: Marks that the terminal can show.
    """
    rows: list[list[Cell]] = [
        [
            one_line(cell["scenario"], 60),
            one_line(cell["model"], 40),
            f"{cell['trials']:,}",
            f"{cell['calls_max']:,}",
            _cost(cell),
        ]
        for cell in document["cells"]
    ]
    heads = ("scenario", "model", "trials", "calls at most", "cost at most")
    total = Text("would run ", style="bold")
    total.append(f"{plural(len(rows), 'cell')}, {plural(document['trials'], 'trial')}", style="bold")
    total.append(
        f": at most {plural(document['calls_max'], 'provider call')}, every turn and every retry used"
    )
    parts: list[RenderableType] = [
        table(heads, rows, right=("trials", "calls at most", "cost at most"), wide="scenario"),
        Text(""),
        total,
    ]
    parts += _judges(document)
    if document["cost_usd_max"] is None:
        parts.append(
            Text("cost: unbounded; `max_cost_usd` in a scenario bounds each of its trials", style="dim")
        )
    else:
        apart = ", judges apart" if document["judge_calls_max"] else ""
        parts.append(Text(f"cost: at most {usd(document['cost_usd_max'])}{apart}", style="dim"))
    if any(one.past_runs for one in cells):
        parts += [plain(line) for line in totals(cells, document, signs)]
        parts.append(
            Text("in brackets: 95% prediction intervals; no cell is taken to stop early", style="dim")
        )
    parts += [Text(line, style="dim") for line in _deciding(document)]
    parts.append(plain(_shows(document), "dim"))
    parts.append(Text("nothing was sent (--dry-run)", style="dim"))
    return Group(*parts)


def _deciding(document: dict[str, Any]) -> list[str]:
    """Return by which bars cells are judged, where not by the average score, and how early."""
    told: dict[str, int] = {}
    for cell in document["cells"]:
        if gate := cell["gate"]:
            bar = f"pass rate above {gate['pass_rate']:g} at {gate['confidence']:.0%} confidence"
            told[bar] = told.get(bar, 0) + 1
    lines = [f"gate: {bar}, of {plural(cells, 'cell')}" for bar, cells in told.items()]
    if rule := document["stop_rule"]:
        chances = f"alpha {rule['alpha']:g}"
        if rule["rule"] == "sprt":
            chances += f", beta {rule['beta']:g}, indifference {rule['indifference']:g}"
        lines.append(f"early stop: a cell ends once {rule['rule']} has decided its gate ({chances})")
    elif document["early_stop"]:
        lines.append("early stop: a cell whose verdict is out of reach skips its trials that have not begun")
    return lines


def _shows(document: dict[str, Any]) -> str:
    """Return what a comparison with as many trials could find, and where to read more."""
    if document["detects"] is None:
        told = "too few trials a cell to find any fall of a 90% pass rate"
    else:
        told = f"a fall of a 90% pass rate by {document['detects'] * 100:.0f} points would be found in a cell"
    return f"{told}; `salvo plan` tells more"


def _judges(document: dict[str, Any]) -> list[RenderableType]:
    """Return how many of the calls are judges', and which of those nobody can put a price on."""
    if not document["judge_calls_max"]:
        return []
    asked = [one for cell in document["cells"] for one in cell["judges"]]
    unpriced = sorted({one_line(one["model"], 40) for one in asked if not one["price_known"]})
    lines = [f"of these, {plural(document['judge_calls_max'], 'call')} to judges, whose cost is told apart"]
    if unpriced:
        lines.append(f"the price of {', '.join(unpriced)} as a judge is not known")
    return [plain(line, "dim") for line in lines]


def _cost(cell: dict[str, Any]) -> str:
    if cell["cost_usd_max"] is not None:
        return usd(cell["cost_usd_max"])
    return "unbounded" if cell["price_known"] else "unknown price"
