"""Schedules and what became of them, as tables and documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType

from salvo_cli.render.console import Marks, plain
from salvo_cli.render.numbers import plural
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.scenario.notify import shown_destination
from salvo_core.stats.nights import DEFAULT

if TYPE_CHECKING:
    from salvo_core.run.schedule import Firing, Schedule
    from salvo_core.run.standings import Standing

POINTS = 20
"""Verdicts that a list shows, the newest."""

LEARNED = f"a cell is watched once {DEFAULT.reference_trials_min} of its trials are graded"

_PHASES = {"learning": "learning", "calm": "calm", "suspected": "suspected", "fallen": "FALLEN"}
_HEIGHTS = {"PASS": 7, "PARTIAL": 4, "FAIL": 1, "HARD FAIL": 0, "HARD_FAIL": 0}


def verdict_line(verdicts: Sequence[str], signs: Marks) -> str:
    """Return one mark a run, oldest first: high is PASS, low is FAIL, a dot has no such verdict."""
    return "".join(
        signs.levels[_HEIGHTS[verdict]] if verdict in _HEIGHTS else signs.dot for verdict in verdicts
    )


def schedules(
    listed: Sequence[tuple[Schedule, Sequence[str]]], now: datetime, signs: Marks
) -> RenderableType:
    """Return all schedules, a line each.

    Args:
        listed: Each with the verdicts of its newest runs, oldest first.
        now: The present.
        signs: Marks that the terminal can show.
    """
    heads = ["schedule", "next due", "last runs", "cron", "timezone"]
    rows: list[list[Cell]] = [
        [one.name, next_due(one, now), verdict_line(verdicts, signs), one.cron, one.timezone]
        for one, verdicts in listed
    ]
    if any(one.notify for one, _ in listed):
        heads.append("tells")
        for row, (one, _) in zip(rows, listed, strict=True):
            row.append(_told(one) or signs.dash)
    return table(heads, rows, wide=heads[-1] if len(heads) > 5 else "last runs", cut=False)


def _told(one: Schedule) -> str:
    """Return who is told, addresses masked."""
    return ", ".join(map(shown_destination, one.notify))


def next_due(one: Schedule, now: datetime) -> str:
    """Return when it is due next, in its own time; with the year where that is another one."""
    if one.paused:
        return "paused"
    zone = ZoneInfo(one.timezone)
    due = next(one.due_after(now)).astimezone(zone)
    year = "" if due.year == now.astimezone(zone).year else f" {due.year}"
    return f"{due:%a %d %b}{year} {due:%H:%M %Z}"


def schedule_facts(one: Schedule, now: datetime) -> RenderableType:
    """Return one schedule for a screen."""
    return facts(
        [
            ("schedule", one.name),
            ("next due", next_due(one, now)),
            ("cron", f"{one.cron}, {one.timezone}"),
            ("scenarios", ", ".join(one.paths) or "the project's"),
            ("trials", f"{one.trials} of each cell"),
            ("models", ", ".join(one.models) or "the scenarios'"),
            ("budget", "none" if one.budget_usd is None else f"{one.budget_usd:g} USD a run"),
            ("overlap", one.overlap),
            ("catch-up", _span(one.catchup_s) if one.catchup_s else "none"),
            ("tells", _told(one) or "nobody"),
            ("measured by", _measured_by(one)),
            ("confirmations", _confirmations(one)),
            ("scenarios from", _source(one)),
        ]
    )


def _measured_by(one: Schedule) -> str:
    if one.baseline == "none":
        return "nothing: only trouble is told"
    if one.baseline != "previous":
        return f"the baseline {one.baseline}"
    nights = math.ceil(DEFAULT.reference_trials_min / one.trials)
    return f"the nights before: {LEARNED}, after {plural(nights, 'night')}"


def _confirmations(one: Schedule) -> str:
    if not one.confirm_trials:
        return "off: a suspicion is shown, and no fall is told"
    limit = one.budget_usd if one.confirm_budget_usd is None else one.confirm_budget_usd
    return f"{one.confirm_trials} trials of each suspected cell" + (
        "" if limit is None else f", {limit:g} USD at most"
    )


def _span(span_s: float) -> str:
    """Return a span as a person gives it, such as 6h."""
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if span_s % unit_s == 0:
            return f"{span_s / unit_s:g}{unit}"
    return f"{span_s:g}s"


def _source(one: Schedule) -> str:
    if one.stored is None:
        return "the project's folder, at each firing"
    at = f", commit {one.stored.commit}" if one.stored.commit else ""
    return f"the store: {len(one.stored.scenarios)} as of when it was added{at}"


def schedule_document(one: Schedule, now: datetime) -> dict[str, Any]:
    """Return one schedule for ``--json``."""
    due = None if one.paused else next(one.due_after(now)).isoformat()
    notify = [shown_destination(name) for name in one.notify]
    return one.model_dump(mode="json", exclude={"signature"}) | {"notify": notify, "next_due": due}


def firings(past: Sequence[tuple[Firing, str]], one: Schedule) -> RenderableType:
    """Return what became of due times, oldest first, each with its run's verdict or state."""
    zone = ZoneInfo(one.timezone)
    rows: list[list[Cell]] = [
        [
            f"{firing.due_at.astimezone(zone):%Y-%m-%d %H:%M %Z}",
            {"due": "", "hand": "by hand", "confirm": "confirmation"}[firing.kind],
            verdict,
            firing.run_id or firing.why,
        ]
        for firing, verdict in past
    ]
    return table(("due", "", "verdict", "run"), rows, wide="run", cut=True)


def cells_standing(stands: Sequence[Standing]) -> RenderableType:
    """Return where each cell stands after the nights, a line each."""
    rows: list[list[Cell]] = [
        [
            _PHASES[stand.phase],
            "" if stand.reference is None else f"{stand.reference:.0%}",
            f"{stand.evidence:.1f}",
            str(stand.nights),
            f"{stand.scenario} · {stand.model}",
        ]
        for stand in stands
    ]
    heads = ("state", "measured by", "evidence", "nights", "cell")
    drawn = table(heads, rows, right=heads[1:4], wide="cell", cut=True)
    if not any(stand.phase == "learning" for stand in stands):
        return drawn
    return Group(drawn, plain(f"learning: {LEARNED}; `--baseline NAME` watches at once", "dim"))


def standing_document(stand: Standing) -> dict[str, Any]:
    """Return where a cell stands for ``--json``; evidence in nats."""
    return {
        "scenario": stand.scenario,
        "model": stand.model,
        "nights": stand.nights,
        "phase": stand.phase,
        "evidence_nats": stand.evidence,
        "reference": stand.reference,
        "events": [{"run_id": run_id, "event": event} for run_id, event in stand.events],
    }


def firing_document(firing: Firing, verdict: str) -> dict[str, Any]:
    """Return what became of a due time for ``--json``."""
    return firing.model_dump(mode="json") | {"kind": firing.kind, "verdict": verdict}
