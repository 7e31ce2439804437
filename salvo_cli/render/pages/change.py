"""A comparison as a page: the verdict, each cell then and now, and for what fell two traces to open."""

from __future__ import annotations

from collections.abc import Sequence

from salvo_cli.render.change import (
    STOPPED,
    Sides,
    difference,
    named,
    names_of,
    p_value,
    points,
    ranked,
    rate,
    ratio,
    stopped_told,
    together_told,
    would_show,
)
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import plural
from salvo_cli.render.pages.history import history_plot
from salvo_cli.render.pages.plots import Bar, Measured, Spot, cost_against_rate, pass_rates
from salvo_cli.render.pages.run import CELLS_MAX
from salvo_cli.render.pages.sheet import page, section, table, text, tone
from salvo_core.history import History
from salvo_core.run.change import CellChange, Rates, RunChange
from salvo_core.run.reliability import rate_interval
from salvo_core.run.summary import Summary

NAMED_MAX = 50

_LEGEND = (
    '<p class="quiet">would show: the smallest fall, in points, that these trials would have shown with '
    "power 0.8</p>"
)


def change_page(
    found: RunChange, sides: Sides, *, now: Summary, before: Summary, past: History | None = None
) -> str:
    """Return the page of a comparison.

    Args:
        found: What changed.
        sides: What the two runs were called.
        now: The candidate in numbers, for costs.
        before: The baseline in numbers.
        past: The last runs, for how cells went; None leaves that out.
    """
    names, order = names_of(found.cells), ranked(found.cells)
    shown = order[:CELLS_MAX]
    left = len(order) - len(shown)
    bars = [
        Bar(names[place], tone(found.cells[place].verdict), _measured(found.cells[place].now),
            _measured(found.cells[place].before))
        for place in shown
    ]  # fmt: skip
    legend = '<p class="quiet">filled: the candidate · hollow, above it: the baseline</p>'
    spots = _spots(found, names, shown, now, before)
    return page(
        f"{found.verdict}: run {found.run_id} against {found.run_id_before}",
        _head(found, sides),
        f'<p class="open">{plural(left, "more cell")} not shown</p>' if left else "",
        section("Pass rates, with 95 % intervals", pass_rates(bars), legend),
        section("Cells", _cells(found, names, shown), _LEGEND),
        section(
            "Stopped early",
            f'<p class="quiet">{text(STOPPED)}</p>' if any(cell.stopped for cell in found.cells) else "",
            *(f"<p>{text(line, 600)}</p>" for line in stopped_told(found, names, order)),
        ),
        section("What regressed", _fallen(found, names, shown)),
        section("Cost of a trial against pass rate", cost_against_rate(spots), legend if spots else ""),
        section("From run to run", history_plot(past, now.cells, cell_names(now.cells))) if past else "",
        section("Beside the comparison", _beside(found)),
    )


def _measured(rates: Rates) -> Measured | None:
    if rates.rate is None:
        return None
    _, interval = rate_interval(rates.counted, stopped=rates.stopped)
    return Measured(rates.rate, *interval)


def _head(found: RunChange, sides: Sides) -> str:
    told = together_told(found)
    together = f"<p>{text(told, 300)}</p>\n" if told else ""
    return (
        f'<h1 class="{tone(found.verdict)}">{found.verdict}</h1>\n<p>{text(found.reason, 1000)}</p>\n'
        f"{together}<p>a difference counts from {points(found.margin)} points on, at a level of "
        f"{found.alpha:g}</p>\n"
        f'<p class="quiet"><code>{text(named(found.run_id, sides.candidate))}</code> against '
        f"<code>{text(named(found.run_id_before, sides.baseline))}</code></p>\n"
    )


def _cells(found: RunChange, names: Sequence[str], order: Sequence[int]) -> str:
    def row(number: int, name: str, cell: CellChange) -> list[str]:
        verdict = f'<span class="{tone(cell.verdict)}">{cell.verdict}</span>'
        ratios = (ratio(cell.cost), ratio(cell.latency), ratio(cell.tokens))
        figures = (difference(cell), p_value(cell), would_show(cell), *ratios)
        rates = f"{rate(cell.before.rate)} → {rate(cell.now.rate)}"
        return [str(number), text(name), verdict, rates, *map(_figure, figures)]

    heads = ("#", "cell", "verdict", "pass rate", "points", "p", "would show", "cost", "latency", "tokens")
    rows = [row(number, names[place], found.cells[place]) for number, place in enumerate(order, 1)]
    return table(heads, rows, numbers=heads[:1] + heads[3:])


def _figure(told: str) -> str:
    """Return a figure with its interval below it, so that many columns have room."""
    figure, interval, rest = told.partition(" (")
    return text(figure) + (
        f'<br><span class="quiet">{text(rest.removesuffix(")"))}</span>' if interval else ""
    )


def _fallen(found: RunChange, names: Sequence[str], order: Sequence[int]) -> str:
    rows = []
    for place in order:
        cell = found.cells[place]
        if cell.verdict != "REGRESSED" or (moved := cell.moved) is None:
            continue
        then = f"<code>salvo trace {moved.trace_id_before}</code>" if moved.trace_id_before else "–"
        rows.append(
            [
                text(names[place]),
                text(moved.assertion),
                f"{moved.failed_before:,}/{cell.before.scored:,} → {moved.failed:,}/{cell.now.scored:,}",
                f"<code>salvo trace {moved.trace_id}</code>",
                then,
            ]
        )
    heads = ("cell", "assertion that moved most", "failed", "fails now", "passed then")
    return table(heads, rows, numbers=("failed",)) if rows else ""


def _spots(
    found: RunChange, names: Sequence[str], order: Sequence[int], now: Summary, before: Summary
) -> list[Spot]:
    spots = []
    for number, place in enumerate(order, 1):
        cell = found.cells[place]
        cost = now.cells[cell.cell].cost.mean_usd
        then = before.cells[cell.cell_before].cost.mean_usd
        if cost is not None and cell.now.rate is not None:
            past = None if then is None or cell.before.rate is None else (then, cell.before.rate)
            spots.append(Spot(number, names[place], tone(cell.verdict), cost, cell.now.rate, past))
    return spots


def _beside(found: RunChange) -> str:
    return "\n".join(
        f"<p>{title}: {text(', '.join(labels[:NAMED_MAX]), 4000)}</p>"
        for title, labels in (
            ("Only in the candidate", found.added),
            ("No longer there", found.removed),
            ("Compared all the same", found.unlike),
        )
        if labels
    )
