"""A re-evaluation beside what it looked at: verdicts then and now, which trials flipped, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import plural, score, short, verdict_text
from salvo_cli.render.tables import Cell, table
from salvo_core.run.comparison import CellComparison, Comparison, Figures, Flip, Reason, ReasonCount
from salvo_core.run.rescored import Rescored
from salvo_core.trace.model import Finding

FLIPS_SHOWN_MAX = 20
REASONS_SHOWN_MAX = 12
LABEL_CHARACTERS_MAX = 80

_WORDS = {
    "newly_failing": "newly failing",
    "no_longer_failing": "no longer failing",
    "removed": "not asked for any more",
    "judge": "judge votes",
    "threshold": "threshold",
    "required": "required or not",
    "ungraded": "could not be scored",
    "judged": "has a judge now",
    "struck_out": "checked on a record in which something is struck out",
    "weights": "weights",
}


def comparison(found: Comparison, *, signs: Marks, more: bool = False) -> RenderableType:
    """Return a re-evaluation beside what it looked at.

    Args:
        found: As stored.
        signs: Marks that the terminal can show.
        more: Whether to name every flip that is stored.
    """
    names = cell_names(found.cells)
    parts: list[RenderableType] = [_head(found, signs), Text(""), _cells(found.cells, names, signs)]
    for name, cell in zip(names, found.cells, strict=True):
        if cell.left_out:
            named = one_line(", ".join(cell.left_out), 200)
            told = f"{len(cell.left_out)} skipped in {name}: {named}"
            parts.append(plain(told, "yellow"))
    if found.flipped:
        parts += [Text(""), _why(found, names, signs), Text(""), *_flips(found, signs, more=more)]
    return Group(*parts)


def _head(found: Comparison, signs: Marks) -> RenderableType:
    trials = sum(cell.before.trials for cell in found.cells)
    first = verdict_text(found.verdict_before, signs)
    first.append(f" {signs.arrow} ").append_text(verdict_text(found.verdict_after, signs))
    first.append(f"   {found.flipped:,} of {plural(trials, 'trial')} flipped")
    lines: list[RenderableType] = [first]
    if len(found.cells) == 1:
        lines.append(plain(found.cells[0].after.reason))
    lines.append(Text(f"re-evaluation {found.reeval_id}\n       of run {found.run_id}", style="dim"))
    return Group(*lines)


def _cells(cells: Sequence[CellComparison], names: Sequence[str], signs: Marks) -> RenderableType:
    rows: list[list[Cell]] = []
    for name, cell in zip(names, cells, strict=True):
        then, now = cell.before, cell.after
        verdict = verdict_text(then.verdict, signs)
        if then.verdict != now.verdict:
            verdict = verdict.append(f" {signs.arrow} ").append_text(verdict_text(now.verdict, signs))
        rows.append(
            [
                name,
                verdict,
                _both(_passed(then), _passed(now), signs),
                _both(score(then.score_mean), score(now.score_mean), signs),
                _both(f"{then.threshold:g}", f"{now.threshold:g}", signs),
                f"{cell.flipped:,}",
            ]
        )
    heads = ("cell", "verdict", "passed", "score", "threshold", "flipped")
    return table(heads, rows, right=("flipped",), wide="cell")


def _passed(figures: Figures) -> str:
    return f"{figures.passed:,}/{figures.trials:,}"


def _both(then: str, now: str, signs: Marks) -> str:
    return now if then == now else f"{then} {signs.arrow} {now}"


def _why(found: Comparison, names: Sequence[str], signs: Marks) -> RenderableType:
    several = len(found.cells) > 1

    def row(one: ReasonCount) -> list[Cell]:
        cell = [names[one.cell]] if several else []
        return [f"{one.flips:,}", _reason(Reason(why=one.why, what=one.what), signs), *cell]

    heads = ("flips", "why", *(("cell",) if several else ()))
    shown = [row(one) for one in found.reasons[:REASONS_SHOWN_MAX]]
    drawn = table(heads, shown, right=("flips",), wide="why")
    more = len(found.reasons) - REASONS_SHOWN_MAX
    return Group(drawn, Text(f"and {plural(more, 'other reason')}", style="dim")) if more > 0 else drawn


def _reason(reason: Reason, signs: Marks) -> str:
    what = one_line(reason.what, 2 * LABEL_CHARACTERS_MAX).replace(" > ", f" {signs.arrow} ")
    return f"{_WORDS[reason.why]}: {what}" if what else _WORDS[reason.why]


def _flips(found: Comparison, signs: Marks, *, more: bool) -> list[RenderableType]:
    several = len(found.cells) > 1
    shown = found.flips if more else found.flips[:FLIPS_SHOWN_MAX]
    parts: list[RenderableType] = []
    for flip in shown:
        cell = f"cell {flip.cell + 1} " if several else ""
        line = Text(f"{cell}trial {flip.trial}  ", style="bold")
        line.append(f"{_status(flip.before)} {signs.arrow} {_status(flip.after)}", style=_style(flip))
        line.append(f"  {_both(score(flip.score_before), score(flip.score_after), signs)}")
        line.append(f"  {flip.trace_id}", style="dim")
        parts.append(line)
        parts += [Padding(plain(_reason(reason, signs)), (0, 0, 0, 4)) for reason in flip.reasons]
    left = found.flipped - len(shown)
    if left > 0:
        ref = short(found.reeval_id)
        told = f"and {plural(left, 'other flip')}: `salvo report {ref} -V` names the first 1,000"
        parts.append(plain(told, "dim"))
    return parts


def _style(flip: Flip) -> str:
    return "green" if flip.after == "passed" else "red"


def _status(status: str) -> str:
    return status.replace("_", " ")


def trial(record: Rescored, *, signs: Marks) -> RenderableType:
    """Return one trial's findings, then and now, matched by what they check."""
    then = list(record.before.findings) if record.before else []
    rows: list[list[Cell]] = []
    for now in record.after.findings:
        before = next((one for one in then if one.label == now.label), None)
        if before is not None:
            then.remove(before)
        rows.append([one_line(now.label, LABEL_CHARACTERS_MAX), _found(before, signs), _found(now, signs)])
    rows += [
        [one_line(gone.label, LABEL_CHARACTERS_MAX), _found(gone, signs), Text("not asked", style="dim")]
        for gone in then
    ]
    parts: list[RenderableType] = [Text(""), table(("assertion", "then", "now"), rows, wide="assertion")]
    for now in record.after.findings:
        if not now.passed and (said := now.error or now.details):
            parts.append(plain(f"{one_line(now.label, 40)}: {one_line(said, 200)}"))
        if now.redaction_affected:
            told = f"{one_line(now.label, 40)}: what it looks at has been struck out in what is stored"
            parts.append(plain(told, "yellow"))
    if record.error is not None:
        parts.append(plain(f"not scored: {record.error.message}", "magenta"))
    return Group(*parts)


def _found(finding: Finding | None, signs: Marks) -> Text:
    if finding is None:
        return Text("not asked", style="dim")
    mark, style = (signs.passed, "green") if finding.passed else (signs.failed, "red")
    if finding.error is not None:
        mark, style = signs.alarm, "magenta"
    return Text(f"{mark} {score(finding.score)}", style=style)
