"""A run as a page: its verdict, its cells in figures and plots, what failed, and how it went before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from salvo_cli.render.numbers import moment, percent, plural, score, seconds, spent_in_all, usd
from salvo_cli.render.pages.history import history_plot
from salvo_cli.render.pages.plots import Bar, Measured, Spot, cost_against_rate, pass_rates
from salvo_cli.render.pages.reliability import intervals_told, reliability_tables
from salvo_cli.render.pages.sheet import page, section, table, text, tone
from salvo_cli.render.part import Part, in_part, part_told
from salvo_core.history import History
from salvo_core.run.reliability import TRIES, CellReliability, reliability
from salvo_core.run.summary import CellSummary, Summary
from salvo_core.run.verdict import WORST_FIRST

CELLS_MAX = 200
"""Rows of one table or plot; a page is to be read."""

FAILURES_MAX = 100


def run_page(
    summary: Summary,
    past: History | None = None,
    *,
    part: Part | None = None,
    tries: Sequence[int] = TRIES,
    exact: bool = False,
) -> str:
    """Return the page of a run.

    Args:
        summary: The run in numbers, ended or not.
        past: The last runs, for how its cells went; None leaves that out.
        part: The cells to show; None shows all. The head is the run's.
        tries: Each k of pass@k and pass^k.
        exact: Take Clopper-Pearson intervals for pass rates.
    """
    shown, called = in_part(summary, part)
    known = reliability(shown, tries, exact=exact)
    cells, names = shown.cells[:CELLS_MAX], called[:CELLS_MAX]
    left = len(shown.cells) - len(cells)
    some = f", {len(part.places):,} of {plural(len(summary.cells), 'cell')} shown" if part else ""
    return page(
        f"{summary.verdict.replace('_', ' ')}: run {summary.run_id}{some}",
        _head(summary, part),
        f'<p class="open">{plural(left, "more cell")} not shown</p>' if left else "",
        section(
            "Pass rates, with 95 % intervals",
            pass_rates([_bar(*one) for one in zip(cells, names, known.cells, strict=False)]) if cells else "",
            intervals_told(known.cells),
        ),
        section("Cells", _cells(cells, names, known.cells) if cells else ""),
        section(
            "How far the figures can be trusted", reliability_tables(cells, names, known) if cells else ""
        ),
        section(
            "Cost of a trial against pass rate", cost_against_rate(_spots(cells, names)), _numbered(cells)
        ),
        section("What failed", _failures(cells, names)),
        section("What infrastructure ended", _infrastructure(cells, names)),
        section("From run to run", history_plot(past, cells, names)) if past else "",
    )


def _head(summary: Summary, part: Part | None) -> str:
    word = summary.verdict.replace("_", " ")
    figures = [
        f"{summary.counts['passed']:,} of {plural(summary.total, 'trial')} passed",
        spent_in_all(
            summary.cost.total_usd,
            summary.cost.unknown,
            summary.judge_cost.total_usd,
            summary.judge_cost.unknown,
        ),
    ]
    if summary.wall_s is not None:
        figures.append(seconds(summary.wall_s))
    labels = " · ".join(f"{name}={value}" for name, value in sorted(summary.labels.items()))
    state = "" if summary.state == "sealed" else f'<p class="open">The run is {text(summary.state)}.</p>\n'
    whole = f' <span class="quiet">the whole run, {plural(len(summary.cells), "cell")}</span>' if part else ""
    some = f'<p class="open">{text(_sentence(part, summary), 1000)}</p>\n' if part else ""
    return (
        f'<h1 class="{tone(summary.verdict)}">{text(word)}{whole}</h1>\n'
        f"<p>{text(summary.reason, 1000)}</p>\n{state}"
        f"<p>{text(' · '.join(figures))}</p>\n{some}"
        f'<p class="quiet">run <code>{text(summary.run_id)}</code> · {text(moment(summary.created_at))}'
        f"{' · ' + text(labels, 1000) if labels else ''}</p>\n"
    )


def _sentence(part: Part, summary: Summary) -> str:
    """Return what is shown, and what the shown cells alone came to."""
    counted = Counter(summary.cells[place].verdict for place in part.places)
    these = ", ".join(f"{counted[word]:,} {word.replace('_', ' ')}" for word in WORST_FIRST if counted[word])
    told = part_told(part, summary)
    return f"{told[0].upper()}{told[1:]}, as are the figures above. These cells: {these or 'none'}."


def _bar(cell: CellSummary, name: str, known: CellReliability) -> Bar:
    measured = Measured(cell.pass_rate, known.pass_rate_low, known.pass_rate_high) if cell.scored else None
    return Bar(name, tone(cell.verdict), measured)


def _cells(cells: Sequence[CellSummary], names: Sequence[str], known: Sequence[CellReliability]) -> str:
    rows = [
        [
            str(cell.cell + 1),
            text(name),
            f'<span class="{tone(cell.verdict)}">{text(cell.verdict.replace("_", " "))}</span>',
            _passed(cell),
            f"{percent(cell.pass_rate)} ({percent(one.pass_rate_low)}–{percent(one.pass_rate_high)})"
            if cell.scored
            else "–",
            score(cell.score.mean) if cell.scored else "–",
            seconds(cell.latency_s.p50) if cell.latency_s else "–",
            text(usd(cell.cost.mean_usd)),
        ]
        for cell, name, one in zip(cells, names, known, strict=False)
    ]
    heads = ("#", "cell", "verdict", "passed", "pass rate", "score", "latency p50", "cost a trial")
    return table(heads, rows, numbers=heads[:1] + heads[3:])


def _passed(cell: CellSummary) -> str:
    """Return passes of graded trials, and of how many ordered, where that is another number."""
    ordered = "" if cell.scored == cell.trials else f'<br><span class="quiet">of {cell.trials:,}</span>'
    return f"{cell.counts['passed']:,}/{cell.scored:,}{ordered}"


def _spots(cells: Sequence[CellSummary], names: Sequence[str]) -> list[Spot]:
    return [
        Spot(cell.cell + 1, name, tone(cell.verdict), cell.cost.mean_usd, cell.pass_rate)
        for cell, name in zip(cells, names, strict=True)
        if cell.cost.mean_usd is not None and cell.scored
    ]


def _numbered(cells: Sequence[CellSummary]) -> str:
    """Say why a plot of costs is missing or lacks cells; empty where it is whole."""
    lacking = sum(cell.cost.mean_usd is None or not cell.scored for cell in cells)
    if not lacking:
        return ""
    return f'<p class="quiet">{plural(lacking, "cell")} without a known price or a grade left out</p>'


def _failures(cells: Sequence[CellSummary], names: Sequence[str]) -> str:
    rows = [
        [
            text(name),
            text(failure.label),
            f"{failure.fail_count:,}/{cell.scored:,}",
            f"<code>salvo trace {text(failure.trace_ids[0])}</code>" if failure.trace_ids else "",
        ]
        for cell, name in zip(cells, names, strict=True)
        for failure in cell.failures
    ]
    if not rows:
        return ""
    return table(("cell", "assertion", "failed", "a trial to open"), rows[:FAILURES_MAX], numbers=("failed",))


def _infrastructure(cells: Sequence[CellSummary], names: Sequence[str]) -> str:
    rows = [
        [text(name), text(errors.kind.replace("_", " ")), f"{errors.count:,}", text(errors.message, 500)]
        for cell, name in zip(cells, names, strict=True)
        for errors in cell.infra_errors
    ]
    return (
        table(("cell", "kind", "trials", "what was said"), rows[:FAILURES_MAX], numbers=("trials",))
        if rows
        else ""
    )
