"""What was decided after a schedule's nights, and whether anybody was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import RenderableType

from salvo_cli.render.numbers import plural
from salvo_cli.render.tables import Cell, table

if TYPE_CHECKING:
    from salvo_core.alerts.alert import Alert
    from salvo_core.alerts.delivery import Delivery
    from salvo_core.alerts.incident import CellEvent, Followed
    from salvo_core.run.schedule import Schedule

Told = Mapping[str, Sequence["Delivery"]]
"""How far channels are, by the alert's id."""

CELLS_SHOWN = 20
"""Cells of one night that get a line of their own."""
_WORDS = {"alert": "ALERT", "trouble": "trouble"}


def nights(decided: Sequence[Followed], told: Told, one: Schedule) -> RenderableType:
    """Return what was found after each firing of which there is anything to say, oldest first."""
    zone = ZoneInfo(one.timezone)
    rows: list[list[Cell]] = []
    for night in decided:
        found = [(_WORDS.get(event.event, event.event), _cell(event)) for event in night.events[:CELLS_SHOWN]]
        if len(night.events) > CELLS_SHOWN:
            found.append(("", f"and {plural(len(night.events) - CELLS_SHOWN, 'more cell')}"))
        if night.confirm:
            found.append(("confirming", f"{plural(len(night.confirm), 'cell')}, with fresh trials"))
        found += [(_WORDS.get(alert.kind, alert.kind), _telling(alert, told, one)) for alert in night.alerts]
        if night.note:
            found.append(("", night.note))
        due = f"{night.due_at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
        rows += [["" if place else due, *line] for place, line in enumerate(found)]
    return table(("due", "found", "what"), rows, wide="what")


def followed_document(night: Followed, told: Told) -> dict[str, Any]:
    """Return what was decided after one firing for ``--json``; each alert with who was told of it."""
    document = night.model_dump(mode="json")
    for alert in document["alerts"]:
        alert["told"] = [one.model_dump(mode="json", exclude={"alert"}) for one in told.get(alert["id"], ())]
    return document


def _cell(event: CellEvent) -> str:
    rate = f"{event.passed} of {event.n} passed" if event.n else ""
    against = f"measured by {event.reference:.0%}" if event.reference is not None and event.n else ""
    evidence = f"evidence {event.evidence:.1f}" if event.n else ""
    return ", ".join(filter(None, (f"{event.scenario} · {event.model}", rate, against, evidence)))


def _telling(alert: Alert, told: Told, one: Schedule) -> str:
    found = told.get(alert.id, ())
    took = [delivery.channel for delivery in found if delivery.told]
    failed = [f"{one.channel} ({one.said})" for one in found if not one.told]
    words = []
    if took:
        words.append(f"told {', '.join(took)}")
    if failed:
        words.append(f"not told yet: {', '.join(failed)}")
    if not found:
        words.append("not told yet" if one.notify else "told nobody: the schedule names no channel")
    return f"{alert.title}; {'; '.join(words)}"
