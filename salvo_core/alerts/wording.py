"""What an alert says, in plain text: names of scenarios and models are shown on one line and cut.

An agent that got worse and a night that could not be judged are never told in the same words: the one
is news of the agent, the other is our own trouble.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from salvo_core.alerts.alert import CELLS_MAX, Alert, AlertCell, Kind
from salvo_core.run.schedule import MISSED, SKIPPED, Firing

CELLS_TOLD = 50
"""Cells that get a line of their own."""
_NAME_CHARACTERS_MAX = 120
_SUFFIXES = {"alert": "alert", "all clear": "clear", "trouble": "trouble"}


def one_line(text: str, most: int = _NAME_CHARACTERS_MAX) -> str:
    """Return a text without line breaks and control characters, cut to so many characters."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def fallen(firing: Firing, incident: str, cells: Sequence[AlertCell], now: datetime) -> Alert:
    """Return the alert that cells pass less often than they did.

    Args:
        firing: Whose run decided it.
        incident: Of all of them.
        cells: At least one.
        now: The present.
    """
    what = f"{_label(cells[0])} got worse" if len(cells) == 1 else f"{len(cells)} cells got worse"
    lines = [_rates(one) for one in cells]
    return _told("alert", firing, incident, what, lines, cells, now)


def recovered(firing: Firing, incident: str, cells: Sequence[tuple[AlertCell, bool]], now: datetime) -> Alert:
    """Return the all clear of an incident; as ``fallen``, each cell with whether it is run no more."""
    one = cells[0]
    if all(gone for _, gone in cells):
        ended = "is" if len(cells) == 1 else "are"
        what = f"{_label(one[0]) if len(cells) == 1 else f'{len(cells)} cells'} {ended} not run any more"
    else:
        what = f"{_label(one[0])} is well again" if len(cells) == 1 else f"{len(cells)} cells are well again"
    lines = [
        f"{_label(cell)}: edited or removed, its alert is withdrawn" if gone else _rates(cell)
        for cell, gone in cells
    ]
    return _told("all clear", firing, incident, what, lines, [cell for cell, _ in cells], now)


def trouble(firing: Firing, incident: str, now: datetime) -> Alert:
    """Return the word that a night could not be run or judged, which says nothing about the agent."""
    if firing.run_id and firing.why:
        what, why = "a run does not end", one_line(firing.why, 400)
    elif firing.run_id:
        what, why = "a run could not be judged", "its verdict is INFRA_ERROR: too many trials have no grade"
    else:
        what, why = "its run cannot be ordered", one_line(firing.why, 400)
        if firing.why.startswith(MISSED):
            what = "a due time was missed"
        elif firing.why.startswith(SKIPPED):
            what = "nights are skipped, because a run does not end"
    lines = [why, "this says nothing about the agent; it is told once, until a night works again"]
    return _told("trouble", firing, incident, what, lines, (), now)


def works_again(firing: Firing, incident: str, now: datetime) -> Alert:
    """Return the word that nights can be run and judged again."""
    lines = ["what kept nights from being run or judged is over; this says nothing about the agent"]
    return _told("all clear", firing, incident, "nights are run and judged again", lines, (), now)


def _told(
    kind: Kind,
    firing: Firing,
    incident: str,
    what: str,
    lines: Sequence[str],
    cells: Sequence[AlertCell],
    now: datetime,
) -> Alert:
    shown = list(lines[:CELLS_TOLD])
    if len(lines) > CELLS_TOLD:
        shown.append(f"and {len(lines) - CELLS_TOLD} more")
    shown.append(
        f"due {firing.due_at.astimezone(UTC):%a %-d %b %Y %H:%M} UTC"
        + (f", run {firing.run_id}" if firing.run_id else "")
    )
    shown.append(f"salvo schedule history {firing.schedule}")
    return Alert(
        id=f"{incident}.{_SUFFIXES[kind]}",
        incident=incident,
        kind=kind,
        schedule=firing.schedule,
        run_id=firing.run_id,
        at=now,
        title=f"{firing.schedule}: {what}",
        lines=tuple(shown),
        cells=tuple(cells[:CELLS_MAX]),
    )


def _label(cell: AlertCell) -> str:
    return f"{cell.scenario} · {cell.model}" if cell.model else cell.scenario


def _rates(cell: AlertCell) -> str:
    passed = "no trial was graded" if cell.rate is None else f"{cell.rate:.0%} of {cell.n} trials passed"
    measured = "" if cell.reference is None else f", measured by {cell.reference:.0%}"
    return f"{_label(cell)}: {passed}{measured} (evidence {cell.evidence:.1f} nats)"
