"""A run as Markdown, for a step's summary: verdict, table, what failed and where to look."""

from __future__ import annotations

from collections.abc import Sequence

from salvo_cli.render.change import CELLS_SHOWN_MAX, EXPLAINED_MAX
from salvo_cli.render.markdown import escaped
from salvo_cli.render.numbers import percent, plural, score, seconds, spent, spent_in_all
from salvo_cli.render.part import Part, in_part, part_told
from salvo_core.run.reliability import CellReliability, reliability
from salvo_core.run.summary import CellSummary, Summary
from salvo_core.run.verdict import WORST_FIRST, Verdict

SIGNS: dict[Verdict, str] = {
    "PASS": "✅",
    "PARTIAL": "⚠️",
    "FAIL": "❌",
    "HARD FAIL": "❌",
    "INFRA_ERROR": "🔌",
    "INCONCLUSIVE": "❔",
}
MESSAGE_CHARACTERS_MAX = 300


def run_markdown(summary: Summary, part: Part | None = None) -> str:
    """Return a run as Markdown, its last line ended; the worst cells come first.

    Args:
        summary: The run in numbers.
        part: The cells to show; None shows all. The head is the run's.
    """
    shown, called = in_part(summary, part)
    names = [escaped(name, 200) for name in called]
    known = reliability(shown).cells
    order = sorted(range(len(names)), key=lambda place: WORST_FIRST.index(shown.cells[place].verdict))
    money = spent_in_all(
        summary.cost.total_usd,
        summary.cost.unknown,
        summary.judge_cost.total_usd,
        summary.judge_cost.unknown,
    )
    told = [f"{summary.counts['passed']:,} of {plural(summary.total, 'trial')} passed", f"cost {money}"]
    if summary.wall_s is not None:
        told.append(seconds(summary.wall_s))
    if summary.state != "sealed":
        told.append(f"{summary.state}: these figures will change")
    lines = [
        f"### {SIGNS[summary.verdict]} {_word(summary.verdict)}: {plural(len(summary.cells), 'cell')}",
        "",
        escaped(summary.reason, MESSAGE_CHARACTERS_MAX),
        "",
        f"{escaped(' · '.join(told), 400)} · run `{summary.run_id}`",
        *(["", escaped(part_told(part, summary), 400)] if part else []),
        "",
        "| | cell | passed | pass rate (95 %) | score | cost |",
        "|---|---|---:|---:|---:|---:|",
        *(_row(shown.cells[place], known[place], names[place]) for place in order[:CELLS_SHOWN_MAX]),
    ]
    if len(order) > CELLS_SHOWN_MAX:
        lines += ["", f"and {plural(len(order) - CELLS_SHOWN_MAX, 'more cell')}"]
    lines += _failed([(shown.cells[place], names[place]) for place in order])
    return "\n".join(lines) + "\n"


def _word(verdict: Verdict) -> str:
    return verdict.replace("_", " ")


def _row(cell: CellSummary, known: CellReliability, name: str) -> str:
    rate = "-"
    if cell.scored:
        low, high = round(known.pass_rate_low * 100), round(known.pass_rate_high * 100)
        rate = f"{percent(cell.pass_rate)} ({low}–{high})"
    figures = (
        f"{cell.counts['passed']:,}/{cell.trials:,}",
        rate,
        score(cell.score.mean) if cell.scored else "-",
        spent(cell.cost.total_usd, cell.cost.unknown),
    )
    verdict = f"{SIGNS[cell.verdict]} {_word(cell.verdict)}"
    return f"| {verdict} | {name} | " + " | ".join(map(escaped, figures)) + " |"


def _failed(cells: Sequence[tuple[CellSummary, str]]) -> list[str]:
    failures = [(cell, name, failure) for cell, name in cells for failure in cell.failures]
    errors = [(name, one) for cell, name in cells for one in cell.infra_errors]
    lines: list[str] = []
    for cell, name, failure in failures[:EXPLAINED_MAX]:
        where = f": `salvo trace {failure.trace_ids[0]}`" if failure.trace_ids else ""
        lines.append(
            f"- **{name}**: {escaped(failure.label)} failed {failure.fail_count:,} of {cell.scored:,}{where}"
        )
    for name, one in errors[:EXPLAINED_MAX]:
        told = escaped(f"{one.kind.replace('_', ' ')}: {one.message}", MESSAGE_CHARACTERS_MAX)
        lines.append(f"- **{name}**: {plural(one.count, 'trial')} ended by infrastructure, {told}")
    left = max(0, len(failures) - EXPLAINED_MAX) + max(0, len(errors) - EXPLAINED_MAX)
    return ["", *lines, *([f"- and {left:,} more"] if left else [])] if lines else []
