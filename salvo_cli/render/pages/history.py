"""How cells went from run to run: a plot for any page, and a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from salvo_cli.render.console import Marks
from salvo_cli.render.history import interval, probability
from salvo_cli.render.naming import Named, cell_names
from salvo_cli.render.numbers import moment, percent, plural, short, spent
from salvo_cli.render.pages.plots import Measured, Night, Track, history
from salvo_cli.render.pages.sheet import page, section, table, text, tone
from salvo_core.history import History, PastRun
from salvo_core.run.plan import run_name
from salvo_core.run.trends import Point, Trend

PLOTTED_MAX = 120
"""Runs in one plot, the newest: more would run into each other."""

CELLS_MAX = 200
RUNS_MAX = 200
"""Rows of the table of runs, the newest."""

LEGEND = (
    "Each run with its 95 % interval. Hollow: a rule stopped the cell early, and the interval allows for it. "
    "Dashed: the scenario was edited. By chance: how probable such differences from run to run are if "
    "nothing changed since then."
)


def history_plot(
    past: History, cells: Sequence[Named] | None = None, called: Sequence[str] | None = None
) -> str:
    """Return how cells went, with what the plot means; empty where no two runs graded any of them.

    Args:
        past: The runs.
        cells: Those that are shown; None for all.
        called: What they are called elsewhere on the page, in the same order; None names them here.
    """
    meant = None if cells is None else {(cell.scenario_name, cell.model) for cell in cells}
    known = {
        (cell.scenario_name, cell.model): name for cell, name in zip(cells or (), called or (), strict=False)
    }
    trends = [one for one in past.trends if meant is None or (one.scenario, one.model) in meant]
    if not trends:
        return ""
    shown, runs = trends[:CELLS_MAX], past.runs[-PLOTTED_MAX:]
    names = [
        known.get((one.scenario, one.model), name)
        for one, name in zip(
            trends, cell_names([_Cell(one.scenario, one.model) for one in trends]), strict=True
        )
    ]
    notes = [LEGEND]
    if len(runs) < len(past.runs):
        notes.append(f"The newest {len(runs):,} of {plural(len(past.runs), 'run')}.")
    if len(shown) < len(trends):
        notes.append(f"{plural(len(trends) - len(shown), 'more cell')} not shown.")
    tracks = [_track(one, name) for one, name in zip(shown, names, strict=False)]
    since, until = (_day(run.summary.created_at) for run in (runs[0], runs[-1]))
    return history(tracks, since, until) + f'\n<p class="quiet">{text(" ".join(notes), 1000)}</p>'


class _Cell:
    """A cell's two names, as ``cell_names`` takes them."""

    def __init__(self, scenario_name: str, model: str) -> None:
        self.scenario_name, self.model = scenario_name, model


def _track(one: Trend, name: str) -> Track:
    first = max(0, len(one.points) - PLOTTED_MAX)
    chance = "" if one.chance is None else f", by chance {probability(one.chance)}"
    note = f"{percent(one.known[0])} → {percent(one.known[-1])}, {plural(len(one.known), 'run')}{chance}"
    nights = [_night(point) for point in one.points[first:]]
    return Track(name, note, nights, [place - first for place in one.edits if place > first])


def _night(point: Point | None) -> Night | None:
    if point is None or point.rate is None:
        return None
    told = (
        f"{moment(point.at)} · {point.verdict.replace('_', ' ')} · {point.counted.passed:,} of "
        f"{point.counted.n:,} passed, {percent(point.rate)} ({interval(point, Marks())}) · run {point.run_id}"
    )
    measured = Measured(point.rate, point.low, point.high)
    return Night(told, tone(point.verdict), measured, stopped=point.interval == "always_valid")


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def history_page(past: History, words: str = "") -> str:
    """Return the page of the last runs.

    Args:
        past: The runs, also none.
        words: What was asked for, for people; empty where everything was.
    """
    runs = past.runs
    which = f" with {words}" if words else ""
    rates = [run.pass_rate for run in runs if run.pass_rate is not None]
    told = [f"{plural(len(runs), 'run')}{which}"]
    if len(rates) > 1:
        told.append(f"pass rate {percent(rates[0])} → {percent(rates[-1])}")
    if past.unsealed:
        told.append(f"{past.unsealed:,} not ended yet")
    if past.damaged:
        told.append(f"{plural(len(past.damaged), 'run')} left out whose summary is damaged")
    few = "" if past.trends or not runs else '<p class="open">No cell was graded in two of these runs.</p>'
    return page(
        f"History: {plural(len(runs), 'run')}",
        f"<h1>From run to run</h1>\n<p>{text(' · '.join(told), 1000)}</p>\n{few}",
        section("Pass rate of each cell, oldest run first", history_plot(past)),
        section("Runs, newest first", _runs(runs[: -RUNS_MAX - 1 : -1])) if runs else "",
    )


def _runs(runs: Sequence[PastRun]) -> str:
    names = [run_name([(cell.scenario_digest, cell.scenario_name) for cell in run.cells]) for run in runs]
    rows = [
        [
            text(moment(run.summary.created_at)),
            f'<span class="{tone(run.verdict)}">{text(run.verdict.replace("_", " "))}</span>',
            f"{run.passed:,}/{run.wanted:,}",
            "–" if run.pass_rate is None else percent(run.pass_rate),
            text(_cost(run)),
            f"<code>{text(short(run.summary.run_id))}</code>",
            text(name),
        ]
        for run, name in zip(runs, names, strict=True)
    ]
    heads: tuple[str, ...] = ("ordered", "verdict", "passed", "pass rate", "cost", "run", "scenarios")
    if len(set(names)) == 1:  # the plot has said it
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return table(heads, rows, numbers=("passed", "pass rate", "cost"))


def _cost(run: PastRun) -> str:
    known = (run.cost_usd or 0.0) + (run.judge_cost_usd or 0.0)
    return spent(known, run.cost_unknown + run.judge_cost_unknown)
