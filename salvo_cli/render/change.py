"""A run against a baseline: the verdict, each cell then and now, and for what fell two traces to open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import percent, plural
from salvo_cli.render.tables import Cell, table
from salvo_core.run.change import CellChange, RatioFound, RunChange, Undetectable, Verdict

WIDE = 140
"""Columns from which cost, latency and tokens stand beside each cell."""

CELLS_SHOWN_MAX = 60
EXPLAINED_MAX = 5
NAMED_MAX = 10
LABEL_CHARACTERS_MAX = 120

STOPPED = "stopped early; intervals and p allow for it, rates lean towards what stopped them"
"""What stands above the cells that a rule stopped."""

WHY_NOT: dict[Undetectable, str] = {"stopped_early": "stopped", "too_few_trials": "nothing"}
"""What stands instead of the smallest fall that would have shown."""

NO_FIGURE = (
    "What fall they would have shown has no figure: a deeper one would have stopped them after other trials."
)
"""What stands below the cells that a rule stopped."""

STYLES: dict[Verdict, str] = {
    "REGRESSED": "bold red",
    "IMPROVED": "bold green",
    "SAME": "green",
    "INCONCLUSIVE": "bold yellow",
}
WORST_FIRST: tuple[Verdict, ...] = ("REGRESSED", "INCONCLUSIVE", "IMPROVED", "SAME")


@dataclass(frozen=True, slots=True)
class Sides:
    """What a person called the two runs.

    Attributes:
        candidate: A baseline's name, empty where it was a run.
        baseline: As candidate.
    """

    candidate: str = ""
    baseline: str = ""


def named(run_id: str, name: str) -> str:
    """Return a run with the name it was called by: ``main (run 0199...)``."""
    return f"{name} (run {run_id})" if name else f"run {run_id}"


def names_of(cells: Sequence[CellChange]) -> list[str]:
    """Return what to call the cells, in their order; where two models are compared, both are named."""
    names = cell_names(cells)
    return [
        name
        if cell.model == cell.model_before
        else f"{one_line(cell.scenario_name, 60)} · {one_line(cell.model, 60)},"
        f" was {one_line(cell.model_before, 60)}"
        for name, cell in zip(names, cells, strict=True)
    ]


def ranked(cells: Sequence[CellChange]) -> list[int]:
    """Return the places of the cells, those first that a person should look at first."""
    return sorted(
        range(len(cells)),
        key=lambda place: (WORST_FIRST.index(cells[place].verdict), cells[place].difference or 0),
    )


def change(found: RunChange, *, sides: Sides, width: int, signs: Marks) -> RenderableType:
    """Return a run against a baseline.

    Args:
        found: What changed.
        sides: What the two runs were called.
        width: Columns to fill.
        signs: Marks that the terminal can show.
    """
    names = names_of(found.cells)
    order = ranked(found.cells)
    parts: list[RenderableType] = [_head(found, sides, signs), Text("")]
    parts.append(_cells(found, names, order[:CELLS_SHOWN_MAX], width, signs))
    if len(order) > CELLS_SHOWN_MAX:
        parts.append(
            Text(f"and {plural(len(order) - CELLS_SHOWN_MAX, 'more cell')}: --json has all", style="dim")
        )
    if width < WIDE and (ratios := _ratios(found, names, order[:CELLS_SHOWN_MAX], signs)) is not None:
        parts += [Text(""), ratios]
    if told := stopped_told(found, names, order):
        parts += [Text(""), Text(STOPPED, style="yellow")]
        parts += [Padding(plain(line), (0, 0, 0, 2)) for line in told]
    parts += _fallen(found, names, order)
    parts += _beside(found)
    return Group(*parts)


def verdict_mark(verdict: Verdict, signs: Marks) -> Text:
    """Return a verdict with its mark, coloured."""
    mark = {"REGRESSED": signs.failed, "IMPROVED": signs.passed, "SAME": signs.passed, "INCONCLUSIVE": "?"}
    return Text(f"{mark[verdict]} {verdict}", style=STYLES[verdict])


def _head(found: RunChange, sides: Sides, signs: Marks) -> RenderableType:
    first = verdict_mark(found.verdict, signs)
    margin = points(found.margin)
    unit = "point" if margin == "1" else "points"
    first.append(f"   {plural(len(found.cells), 'cell')}, a fall counts from {margin} {unit} on")
    now, before = named(found.run_id, sides.candidate), named(found.run_id_before, sides.baseline)
    together = [plain(told)] if (told := together_told(found)) else []
    return Group(first, plain(found.reason), *together, plain(f"        {now}\nagainst {before}", "dim"))


def _cells(
    found: RunChange, names: Sequence[str], order: Sequence[int], width: int, signs: Marks
) -> RenderableType:
    heads = ["cell", "pass rate", "points", "p", "verdict"]
    if width >= WIDE:
        heads += ["cost", "latency", "tokens", "would show"]
    rows: list[list[Cell]] = []
    for place in order:
        cell = found.cells[place]
        row: list[Cell] = [
            names[place],
            f"{rate(cell.before.rate)} {signs.arrow} {rate(cell.now.rate)}",
            difference(cell),
            p_value(cell),
            verdict_mark(cell.verdict, signs),
        ]
        if width >= WIDE:
            row += [ratio(cell.cost), ratio(cell.latency), ratio(cell.tokens), would_show(cell)]
        rows.append(row)
    return table(heads, rows, right=("pass rate", "p"), wide="cell")


def _ratios(
    found: RunChange, names: Sequence[str], order: Sequence[int], signs: Marks
) -> RenderableType | None:
    rows: list[list[Cell]] = [
        [names[place], ratio(cell.cost), ratio(cell.latency), ratio(cell.tokens), would_show(cell)]
        for place, cell in ((place, found.cells[place]) for place in order)
    ]
    if not rows:
        return None
    return table(
        ("medians, now\nby then", "cost", "latency", "tokens", "would\nshow"),
        rows,
        wide="medians, now\nby then",
    )


def stopped_told(found: RunChange, names: Sequence[str], order: Sequence[int]) -> list[str]:
    """Return a line for each cell that a rule stopped early: its verdict, and what led to it; then NO_FIGURE.

    Args:
        found: What changed.
        names: Of its cells.
        order: Places of the cells, those first that a person should look at first.
    """
    stopped = [place for place in order if found.cells[place].stopped]
    lines = [
        f"{names[place]}: {found.cells[place].verdict}, {found.cells[place].reason}"
        for place in stopped[:NAMED_MAX]
    ]
    more = [f"and {len(stopped) - NAMED_MAX} more"] if len(stopped) > NAMED_MAX else []
    return [*lines, *more, *([NO_FIGURE] if stopped else [])]


def _fallen(found: RunChange, names: Sequence[str], order: Sequence[int]) -> list[RenderableType]:
    fallen = [place for place in order if found.cells[place].verdict == "REGRESSED"]
    parts: list[RenderableType] = []
    for place in fallen[:EXPLAINED_MAX]:
        cell = found.cells[place]
        parts += [Text(""), plain(names[place], "bold red")]
        now, before = cell.now, cell.before
        told = [f"passed {now.passed} of {now.scored}, before {before.passed} of {before.scored}"]
        if (moved := cell.moved) is not None:
            label = one_line(moved.assertion, LABEL_CHARACTERS_MAX)
            told.append(
                f"{label}: failed {moved.failed} of {cell.now.scored},"
                f" before {moved.failed_before} of {cell.before.scored}"
            )
            told.append(f"salvo trace {moved.trace_id}   fails now")
            if moved.trace_id_before:
                told.append(f"salvo trace {moved.trace_id_before}   passed then")
        parts += [Padding(plain(line), (0, 0, 0, 2)) for line in told]
    if len(fallen) > EXPLAINED_MAX:
        parts += [Text(""), Text(f"and {len(fallen) - EXPLAINED_MAX} more that regressed", style="dim")]
    return parts


def _beside(found: RunChange) -> list[RenderableType]:
    """Return what keeps the comparison from being the whole story."""
    parts: list[RenderableType] = []
    for what, labels in (
        ("only in the candidate", found.added),
        ("no longer there", found.removed),
        ("compared all the same", found.unlike),
    ):
        if labels:
            shown = ", ".join(one_line(label, LABEL_CHARACTERS_MAX) for label in labels[:NAMED_MAX])
            more = f" and {len(labels) - NAMED_MAX} more" if len(labels) > NAMED_MAX else ""
            parts.append(plain(f"{what}: {shown}{more}", "yellow"))
    return [Text(""), *parts] if parts else []


def rate(value: float | None) -> str:
    """Return a pass rate for people; a dash where nothing was graded."""
    return "-" if value is None else percent(value)


def points(share: float) -> str:
    """Return a share in percentage points: ``5``, ``2.5``, ``-25``."""
    return f"{share * 100:.3g}"


def difference(cell: CellChange) -> str:
    """Return a cell's difference in percentage points with its 95 % interval: ``-25 (-35 to -14)``."""
    if cell.difference is None:
        return "-"
    low, high = (f"{100 * end:+.0f}" for end in (cell.difference_low, cell.difference_high))
    return f"{100 * cell.difference:+.0f} ({low} to {high})"


def together_told(found: RunChange) -> str:
    """Return the mean difference over all cells, each compared with itself only, with its tests.

    ``all cells: -18.3 points (-29.5 to -7.1), exact p 0.0019, chi-squared 7.88 with p 0.005``; empty where
    there is one cell, which speaks for itself, or nothing to take a mean of.
    """
    if len(found.cells) < 2 or found.difference is None:
        return ""
    over = "cells that ran to their end" if any(cell.stopped for cell in found.cells) else "all cells"
    told = f"{over}: {100 * found.difference:+.1f} points"
    if found.difference_low is not None and found.difference_high is not None:
        told += f" ({100 * found.difference_low:+.1f} to {100 * found.difference_high:+.1f})"
    p = found.p_worse if found.difference <= 0 else found.p_better
    told += f", exact p {_p(p)}"
    if found.chi_squared is not None and found.p is not None:
        told += f", chi-squared {found.chi_squared:.2f} with p {_p(found.p)}"
    return told


def p_value(cell: CellChange) -> str:
    """Return how surprising a cell's difference is where there is none, in the direction that it has."""
    if cell.difference is None:
        return "-"
    return _p(cell.p_worse if cell.difference <= 0 else cell.p_better)


def _p(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.2g}"


def ratio(found: RatioFound | None) -> str:
    """Return a ratio of medians with its 95 % interval: ``x1.20 (1.10-1.31)``."""
    if found is None:
        return "-"
    high = "" if found.high is None else f"{found.high:.2f}"
    return f"x{found.ratio:.2f} ({found.low:.2f}-{high})"


def would_show(cell: CellChange) -> str:
    """Return the smallest fall that the cell's trials would have shown, points; or why none can be told."""
    if cell.detectable is not None:
        return f"-{points(cell.detectable)}"
    return WHY_NOT[cell.undetectable or "too_few_trials"]
