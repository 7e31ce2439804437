"""A comparison as Markdown: for a pull request's comment or a step's summary. Names in it stay names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from salvo_cli.render.change import (
    CELLS_SHOWN_MAX,
    EXPLAINED_MAX,
    LABEL_CHARACTERS_MAX,
    NAMED_MAX,
    STOPPED,
    Sides,
    difference,
    named,
    names_of,
    p_value,
    ranked,
    rate,
    ratio,
    stopped_told,
    together_told,
    would_show,
)
from salvo_cli.render.console import one_line
from salvo_cli.render.numbers import plural
from salvo_core.run.change import RunChange, Verdict

SIGNS: dict[Verdict, str] = {"REGRESSED": "❌", "IMPROVED": "✅", "SAME": "✅", "INCONCLUSIVE": "❔"}
# Not only punctuation that Markdown knows: an @ would call somebody, a # link an issue, a : draw a face.
_ACTS = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~&@:$^=\"']")


def escaped(text: str, length_max: int = LABEL_CHARACTERS_MAX) -> str:
    """Return text on one line of which Markdown makes nothing: every mark is written as a number.

    Args:
        text: What a scenario or a model is called, or an assertion says.
        length_max: Characters, before they are escaped.
    """
    return _ACTS.sub(lambda mark: f"&#{ord(mark[0])};", one_line(text, length_max))


def change_markdown(found: RunChange, sides: Sides) -> str:
    """Return a comparison as Markdown, its last line ended: verdict, table, what fell and where to look."""
    names = [escaped(name, 200) for name in names_of(found.cells)]
    order = ranked(found.cells)
    lines = [
        f"### {SIGNS[found.verdict]} {found.verdict}: {plural(len(found.cells), 'cell')} compared",
        "",
        escaped(found.reason, 300),
        "",
        *([escaped(together, 300), ""] if (together := together_told(found)) else []),
        f"{escaped(named(found.run_id, sides.candidate))} against "
        f"{escaped(named(found.run_id_before, sides.baseline))}",
        "",
        "| | cell | pass rate | points (95 %) | p | would show | cost | latency | tokens |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for place in order[:CELLS_SHOWN_MAX]:
        cell = found.cells[place]
        ratios = (ratio(cell.cost), ratio(cell.latency), ratio(cell.tokens))
        figures = (difference(cell), p_value(cell), would_show(cell), *ratios)
        lines.append(
            f"| {SIGNS[cell.verdict]} {cell.verdict} | {names[place]} | {rate(cell.before.rate)} → "
            f"{rate(cell.now.rate)} | " + " | ".join(map(escaped, figures)) + " |"
        )
    if len(order) > CELLS_SHOWN_MAX:
        lines += ["", f"and {plural(len(order) - CELLS_SHOWN_MAX, 'more cell')}"]
    if told := stopped_told(found, names_of(found.cells), order):
        lines += ["", f"{STOPPED.capitalize()}:", "", *(f"- {escaped(line, 400)}" for line in told)]
    lines += _fallen(found, names, order)
    for what, labels in (
        ("Only in the candidate", found.added),
        ("No longer there", found.removed),
        ("Compared all the same", found.unlike),
    ):
        if labels:
            more = f" and {len(labels) - NAMED_MAX} more" if len(labels) > NAMED_MAX else ""
            lines += ["", f"{what}: {', '.join(map(escaped, labels[:NAMED_MAX]))}{more}"]
    return "\n".join(lines) + "\n"


def _fallen(found: RunChange, names: Sequence[str], order: Sequence[int]) -> list[str]:
    lines: list[str] = []
    for place in order[:EXPLAINED_MAX]:
        cell = found.cells[place]
        if cell.verdict != "REGRESSED" or (moved := cell.moved) is None:
            continue
        lines += [
            "",
            f"**{names[place]}**: {escaped(moved.assertion)} failed {moved.failed} of {cell.now.scored}, "
            f"before {moved.failed_before} of {cell.before.scored}",
            "",
            f"- `salvo trace {moved.trace_id}` fails now",
        ]
        if moved.trace_id_before:
            lines.append(f"- `salvo trace {moved.trace_id_before}` passed then")
    return lines
