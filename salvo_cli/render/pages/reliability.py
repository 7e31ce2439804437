"""How far a page's figures can be trusted: their intervals, tries in a row, what should not matter."""

from __future__ import annotations

from collections.abc import Sequence

from salvo_cli.render.numbers import percent, plural, score, usd
from salvo_cli.render.pages.sheet import table, text
from salvo_cli.render.reliability import stopped_means
from salvo_core.run.cells import CellSummary
from salvo_core.run.reliability import CellReliability, IntervalName, MeanRate, Reliability

INTERVALS: dict[IntervalName, str] = {
    "wilson": "Wilson",
    "clopper_pearson": "exact (Clopper-Pearson)",
    "always_valid": "always-valid, for cells that stopped early",
}

LEGEND = (
    '<p class="quiet">k: of so many tries at least one passes (pass@k) · below it: all of them pass '
    "(pass^k) · last, its 95 % interval</p>"
)


def intervals_told(cells: Sequence[CellReliability]) -> str:
    """Return a paragraph that says which intervals the pass rates of these cells have."""
    counted = {name: sum(cell.interval == name for cell in cells) for name in INTERVALS}
    used = [name for name, count in counted.items() if count]
    if not used:
        return ""
    told = [
        INTERVALS[name] + (f" ({plural(counted[name], 'cell')})" if len(used) > 1 else "") for name in used
    ]
    return f'<p class="quiet">Intervals: {text(" · ".join(told))}</p>'


def reliability_tables(cells: Sequence[CellSummary], names: Sequence[str], known: Reliability) -> str:
    """Return what the terminal's report tells of it: a line a cell, then the run's means and warnings.

    Args:
        cells: Those that are shown.
        names: Of them.
        known: Of these cells.
    """
    by_place = {one.cell: one for one in known.cells}
    shown = [by_place[cell.cell] for cell in cells]
    ks = sorted({tries.k for one in shown for tries in one.tries})
    heads = ["#", "cell", "label", "score (95 %)"]
    heads += [f"k = {k}" for k in ks]
    missing, saved = any(one.missing for one in shown), any(one.saved_trials for one in shown)
    heads += ["rate of all"] * missing + ["saved"] * saved
    rows = [
        [
            str(one.cell + 1),
            text(name),
            one.label,
            _score(cell, one),
            *(_tries(one, k) for k in ks),
            *([f"{percent(one.all_low)}–{percent(one.all_high)}" if one.missing else ""] * missing),
            *([_saved(one)] * saved),
        ]
        for cell, name, one in zip(cells, names, shown, strict=True)
        if one.tries or cell.scored > 1
    ]
    told = table(heads, rows, numbers=[heads[0], *heads[3:]]) + LEGEND * bool(ks) if rows else ""
    return "\n".join(part for part in (told, _run_level(known)) if part)


def _score(cell: CellSummary, one: CellReliability) -> str:
    if not cell.scored:
        return "–"
    if one.score_low is None or one.score_high is None:
        return score(cell.score.mean)
    return f"{score(cell.score.mean)} ({score(one.score_low)}–{score(one.score_high)})"


def _tries(one: CellReliability, k: int) -> str:
    tries = next((tries for tries in one.tries if tries.k == k), None)
    if tries is None:
        return "–"
    low, high = round(tries.every_one_low * 100), round(tries.every_one_high * 100)
    every = f"{percent(tries.every_one)}<br>{low}–{high}"
    return f'{percent(tries.at_least_one)}<br><span class="quiet">{every}</span>'


def _saved(one: CellReliability) -> str:
    if not one.saved_trials:
        return ""
    cost = f", about {usd(one.saved_usd)}" if one.saved_usd else ""
    return text(plural(one.saved_trials, "trial") + cost)


def _run_level(known: Reliability) -> str:
    lines = []
    if len(known.cells) > 1:
        means = (
            (known.these_cells, "mean over these cells: these scenarios, tried again"),
            (known.population, "mean over their population: other scenarios of their kind"),
        )
        lines = [f"<p>{text(f'{_mean(mean)} {what}')}</p>" for mean, what in means if mean is not None]
        if lines and (stopped := stopped_means(known)):
            lines.append(f'<p class="quiet">{text(stopped)}</p>')
    for odd in known.workers.odd if known.workers is not None else ():
        told = (
            f"On worker {odd.worker} {odd.passed:,} of {plural(odd.scored, 'trial')} passed where "
            f"{odd.expected:.1f} are expected ({odd.residual:+.1f} sd): look at that machine."
        )
        lines.append(f'<p class="open">{text(told)}</p>')
    if (retries := known.retries) is not None and retries.differs:
        told = (
            f"Retried trials come out otherwise: {retries.passed:,} of {retries.scored:,} passed, never "
            f"retried {retries.never_passed:,} of {retries.never_scored:,} (p {retries.p:.2g})."
        )
        lines.append(f'<p class="open">{text(told)}</p>')
    return "\n".join(lines)


def _mean(mean: MeanRate) -> str:
    return f"{percent(mean.mean)} ({percent(mean.low)}–{percent(mean.high)})"
