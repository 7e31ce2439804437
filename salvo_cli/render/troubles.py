"""What went wrong in a run: the agent's failures, worst first, and apart from them what was not its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import plural, verdict_text
from salvo_core.run.failures import Failure
from salvo_core.run.summary import CellSummary, Summary
from salvo_core.run.verdict import WORST_FIRST

CELLS_EXPLAINED_MAX = 12
FAILURES_SHOWN_MAX = 3


def failures(summary: Summary, name: Mapping[int, str], signs: Marks, *, whole: bool) -> list[RenderableType]:
    """Return, for each cell with something to explain, its reason and its worst assertions; if whole, all."""
    told = [cell for cell in summary.cells if cell.failures or cell.verdict != "PASS"]
    told.sort(key=lambda cell: (WORST_FIRST.index(cell.verdict), cell.cell))
    if not told:
        return []
    alone = len(summary.cells) == 1
    most = None if whole else FAILURES_SHOWN_MAX
    parts: list[RenderableType] = [Text("What failed", style="bold")]
    for cell in told[: None if whole else CELLS_EXPLAINED_MAX]:
        if not alone:
            head = verdict_text(cell.verdict, signs)
            head.append(f"  {cell.cell + 1}  ", style="dim")
            parts.append(head + plain(name[cell.cell], "bold"))
            parts.append(Padding.indent(plain(cell.reason), 2))
        parts += [_failure(failure, cell, whole=whole) for failure in cell.failures[:most]]
        if most is not None and len(cell.failures) > most:
            hidden = f"and {plural(len(cell.failures) - most, 'more assertion')}: --failures shows all"
            parts.append(Padding.indent(Text(hidden, style="dim"), 2))
    if not whole and len(told) > CELLS_EXPLAINED_MAX:
        hidden = f"and {plural(len(told) - CELLS_EXPLAINED_MAX, 'more cell')}: --failures shows all"
        parts.append(Text(hidden, style="dim"))
    if alone and len(parts) == 1:
        return []
    return [*parts, Text("")]


def _failure(failure: Failure, cell: CellSummary, *, whole: bool) -> RenderableType:
    head = Text(f"{failure.fail_count:,} of {cell.scored:,}  ", style="red")
    head.append_text(plain(failure.label))
    if failure.required:
        head.append("  required", style="bold red")
    if not whole:
        return Padding.indent(Group(head, _sample(failure.trace_ids)), 2)
    lost = f"  weight {failure.weight:g}, {failure.weight_lost:,.2f} lost in all"
    samples = [_sample([trace_id]) for trace_id in failure.trace_ids]
    return Padding.indent(Group(head, Text(lost, style="dim"), *samples), 2)


def _sample(trace_ids: Sequence[str]) -> RenderableType:
    return Text(f"  salvo trace {trace_ids[0]}", style="cyan") if trace_ids else Text("")


def infrastructure(
    summary: Summary, name: Mapping[int, str], messages: Mapping[str, str]
) -> list[RenderableType]:
    """Return what broke that was not the agent, by cell and kind, each with a sample and what it said."""
    found = [(cell, errors) for cell in summary.cells for errors in cell.infra_errors]
    if not found:
        return []
    parts: list[RenderableType] = [
        Text("Infrastructure errors (never counted against the agent)", style="bold")
    ]
    for cell, errors in found[:CELLS_EXPLAINED_MAX]:
        head = Text(f"{errors.count:,} of {cell.trials:,}  ", style="magenta")
        head.append_text(plain(errors.kind.replace("_", " "), "bold"))
        if len(summary.cells) > 1:
            head.append_text(plain(f"  {name[cell.cell]}"))
        lines: list[RenderableType] = [head]
        said = errors.message or next(
            (messages[trace_id] for trace_id in errors.trace_ids if trace_id in messages), ""
        )
        if said:
            lines.append(Padding.indent(plain(one_line(said, 400)), 2))
        parts.append(Padding.indent(Group(*lines, _sample(errors.trace_ids)), 2))
    if len(found) > CELLS_EXPLAINED_MAX:
        parts.append(Text(f"and {len(found) - CELLS_EXPLAINED_MAX} more", style="dim"))
    return [*parts, Text("")]
