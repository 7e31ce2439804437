"""What is decided after a schedule's run is over: which cells fell, which are well again, who is told.

``decide`` is a function of what was decided before and of where the cells stand now. It looks at
states, not at the moment of change: a cell that has fallen and of which nobody was told is told, a cell
that was told and is well again ends its incident. So runs that end out of their order, or a beat that
was away, change when something is told and not whether.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from salvo_core.alerts import wording
from salvo_core.alerts.alert import Alert, AlertCell
from salvo_core.identity import canonical_json, digest
from salvo_core.run.plan import CELLS_MAX
from salvo_core.run.schedule import MISSED, SKIPPED, CellName, Firing, Schedule
from salvo_core.run.standings import CellKey, Found, Standing
from salvo_core.stats.nights import Event
from salvo_core.store import keys
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.followed/1"
CONFIRMED_WITHIN = timedelta(days=7)
"""A confirmation that is not over so long after its night's due time keeps no other one waiting."""

CellWord = Literal["suspicion", "dismissed", "alert", "all clear", "withdrawn"]
"""What becomes of a cell; ``withdrawn`` ends an incident whose scenario is not run any more."""


class CellEvent(Frozen):
    """What was decided of one cell."""

    model_config = ConfigDict(allow_inf_nan=False)

    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    model: str
    scenario: str
    event: CellWord
    incident: str = Field(default="", max_length=100)
    """Of alerts and their ends."""
    passed: int = Field(default=0, ge=0)
    """Trials that passed on the night that it rests on."""
    n: int = Field(default=0, ge=0)
    """That night's graded trials."""
    reference: float | None = Field(default=None, ge=0, le=1)
    """Pass rate that it was measured by."""
    evidence: float = Field(default=0, ge=0)
    """Nats."""

    @property
    def key(self) -> CellKey:
        """What the cell is called from night to night."""
        return CellKey(self.scenario_digest, self.model)


class Followed(Frozen):
    """What was decided after one firing; written once, and never worked out again."""

    schedule: str = Field(pattern=keys.SCHEDULE_NAME)
    due_at: AwareDatetime
    kind: keys.FollowedKind
    run_id: str = Field(default="", max_length=36)
    verdict: str = Field(default="", max_length=20)
    """Of its run, when it was followed."""
    at: AwareDatetime
    """When it was decided: alerts are told for a day from then on."""
    works: bool | None = None
    """Whether this shows that nights can be run and judged; None where it shows nothing."""
    events: tuple[CellEvent, ...] = Field(default=(), max_length=2 * CELLS_MAX)
    confirm: tuple[CellName, ...] = Field(default=(), max_length=CELLS_MAX)
    """Cells of which fresh trials are ordered."""
    note: str = Field(default="", max_length=400)
    """What a person should know about it."""
    alerts: tuple[Alert, ...] = Field(default=(), max_length=CELLS_MAX)

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)[0]

    @classmethod
    def decode(cls, stored: bytes, where: str) -> Followed:
        """Return what was stored.

        Raises:
            ObjectCorrupt: Damaged, or something else.
        """
        body = codec.decode(SCHEMA, stored, where=where)
        return codec.validated(cls, body, where=where, what="what was decided after a firing")


def open_incidents(before: Sequence[Followed]) -> dict[CellKey, CellEvent]:
    """Return the alerts that were decided and whose end was not, by cell.

    Args:
        before: In the order of their firings.
    """
    found: dict[CellKey, CellEvent] = {}
    for event in (event for one in before for event in one.events):
        if event.event == "alert":
            found[event.key] = event
        elif event.event in ("all clear", "withdrawn"):
            found.pop(event.key, None)
    return found


def open_trouble(before: Sequence[Followed]) -> str:
    """Return the incident of a trouble that is not over, or an empty text; arguments as before."""
    incident = ""
    for one in before:
        if one.works:
            incident = ""
        for alert in one.alerts:
            incident = alert.incident if alert.kind == "trouble" else incident
    return incident


def decide(
    schedule: Schedule,
    firing: Firing,
    verdict: str,
    stands: Sequence[Standing] | None,
    before: Sequence[Followed],
    now: datetime,
    *,
    note: str = "",
) -> Followed:
    """Return what follows from a firing that is over.

    Args:
        schedule: Whose.
        firing: Its run is sealed, or it has none.
        verdict: Of its run; empty where there is none.
        stands: Where cells stand after it and all that was followed before; None where that is not known.
        before: What was decided before, in the order of the firings.
        now: The present.
        note: What a person should know already.
    """
    events: list[CellEvent] = []
    alerts: list[Alert] = []
    confirm: tuple[CellName, ...] = ()
    if stands is not None:
        told = open_incidents(before)
        fell = [one.key for one in stands if one.phase == "fallen" and one.key not in told]
        events = _events(firing, stands, told, _incident(firing, fell))
        alerts = _alerts(firing, events, before, now)
        lack = ""
        if firing.kind == "due":
            confirm, lack = _confirmation(schedule, events, before, now)
        elif firing.confirms and not events:
            lack = "it settled nothing, also where it was cut short: the next suspicion asks again"
        note = "; ".join(filter(None, (note, lack)))
    works = _works(firing, verdict, before)
    if about := _trouble(firing, works, before, now):
        alerts.append(about)
    return Followed(
        schedule=schedule.name,
        due_at=firing.due_at,
        kind=firing.kind,
        run_id=firing.run_id,
        verdict=verdict,
        at=now,
        works=works,
        events=tuple(events),
        confirm=confirm,
        note=(note or firing.why)[:400],
        alerts=tuple(alerts),
    )


def not_ordered(
    schedule: Schedule, due_at: datetime, why: str, before: Sequence[Followed], now: datetime
) -> Followed:
    """Return what follows from a due time whose run could not be ordered, several times over.

    Args:
        schedule: Whose.
        due_at: The due time.
        why: What the last try said.
        before: As in ``decide``.
        now: The present.
    """
    asked = Firing(schedule=schedule.name, due_at=due_at, why=f"its run cannot be ordered: {why}"[:300])
    return _troubled(asked, "failed", before, now)


def not_ended(firing: Firing, why: str, before: Sequence[Followed], now: datetime) -> Followed:
    """Return what follows from a firing whose run does not end by itself.

    Args:
        firing: Whose.
        why: What keeps it.
        before: As in ``decide``.
        now: The present.
    """
    return _troubled(firing.model_copy(update={"why": why[:300]}), "stuck", before, now)


def _troubled(firing: Firing, kind: keys.FollowedKind, before: Sequence[Followed], now: datetime) -> Followed:
    about = _trouble(firing, False, before, now)
    return Followed(
        schedule=firing.schedule,
        due_at=firing.due_at,
        kind=kind,
        run_id=firing.run_id,
        at=now,
        works=False,
        note=firing.why,
        alerts=(about,) if about else (),
    )


def _events(
    firing: Firing, stands: Sequence[Standing], told: Mapping[CellKey, CellEvent], incident: str
) -> list[CellEvent]:
    """Return what becomes of each cell: what is new against what was told, and what this run raised."""
    events = []
    for one in stands:
        newest = one.found[-1] if one.found and one.found[-1].run_id == firing.run_id else None
        if one.phase == "fallen" and one.key not in told:
            events.append(_event(one, "alert", incident, _last(one, "alert")))
        elif one.phase != "fallen" and one.key in told:
            events.append(_event(one, "all clear", told[one.key].incident, _last(one, "all clear")))
        elif newest and newest.event in ("suspicion", "dismissed"):
            events.append(_event(one, newest.event, "", newest))
    if not firing.confirms:  # a confirmation has only some of the cells
        known = {one.key for one in stands}
        gone = [event for key, event in told.items() if key not in known]
        events += [one.model_copy(update={"event": "withdrawn"}) for one in gone]
    return events


def _last(stand: Standing, event: Event) -> Found | None:
    return next((one for one in reversed(stand.found) if one.event == event), None)


def _event(stand: Standing, event: Event, incident: str, found: Found | None) -> CellEvent:
    return CellEvent(
        scenario_digest=stand.key.scenario_digest,
        model=stand.model,
        scenario=stand.scenario,
        event=event,
        incident=incident,
        passed=found.passed if found else 0,
        n=found.n if found else 0,
        reference=found.reference if found else stand.reference,
        evidence=found.evidence if found else 0,
    )


def _alerts(
    firing: Firing, events: Sequence[CellEvent], before: Sequence[Followed], now: datetime
) -> list[Alert]:
    """Return what is told of cells: one alert of all that fell, one all clear of each incident that ends."""
    alerts = []
    if fell := [one for one in events if one.event == "alert"]:
        alerts.append(wording.fallen(firing, fell[0].incident, [_shown(one) for one in fell], now))
    ended = [one for one in events if one.event in ("all clear", "withdrawn")]
    still = open_incidents(before)
    for one in ended:
        still.pop(one.key)
    for incident in dict.fromkeys(one.incident for one in ended):
        if not any(one.incident == incident for one in still.values()):
            alerts.append(wording.recovered(firing, incident, _end_of(incident, ended, before), now))
    return alerts


def _end_of(
    incident: str, ended: Sequence[CellEvent], before: Sequence[Followed]
) -> list[tuple[AlertCell, bool]]:
    """Return all cells of an incident that is over, each with whether it is run no more."""
    events = [event for one in before for event in one.events] + list(ended)
    last = {
        one.key: one for one in events if one.incident == incident and one.event in ("all clear", "withdrawn")
    }
    return [(_shown(one), one.event == "withdrawn") for one in last.values()]


def _shown(event: CellEvent) -> AlertCell:
    return AlertCell(
        scenario=wording.one_line(event.scenario),
        model=wording.one_line(event.model),
        rate=event.passed / event.n if event.n else None,
        reference=event.reference,
        n=event.n,
        evidence=event.evidence,
    )


def _confirmation(
    schedule: Schedule, events: Sequence[CellEvent], before: Sequence[Followed], now: datetime
) -> tuple[tuple[CellName, ...], str]:
    """Return the cells of which fresh trials are ordered; or none, and why not."""
    suspected = [one for one in events if one.event == "suspicion"]
    if not suspected:
        return (), ""
    if not schedule.confirm_trials:
        return (), "suspected, but confirmations are switched off: no fall is told without one"
    over = {one.due_at for one in before if one.kind == "confirm"}
    for one in before:
        if one.confirm and one.due_at not in over and now - one.due_at < CONFIRMED_WITHIN:
            return (), "suspected; an earlier confirmation is not over yet"
    cells = tuple(CellName(scenario_digest=one.scenario_digest, model=one.model) for one in suspected)
    return cells, ""


def _works(firing: Firing, verdict: str, before: Sequence[Followed]) -> bool | None:
    """Return what a firing shows of whether nights can be run and judged.

    What a person asked for shows only that they can.

    One night that is skipped because the run before takes long is what the schedule asks for. Two in a
    row are a run that does not end.
    """
    if firing.confirms:
        return None
    if not firing.run_id:
        nights = [one for one in before if one.kind == "due"]
        again = bool(nights) and not nights[-1].run_id and nights[-1].note.startswith(SKIPPED)
        stuck = firing.why.startswith(SKIPPED) and again
        return False if firing.why.startswith(MISSED) or stuck else None
    if not verdict or (firing.by_hand and verdict == "INFRA_ERROR"):
        return None
    return verdict != "INFRA_ERROR"


def _trouble(firing: Firing, works: bool | None, before: Sequence[Followed], now: datetime) -> Alert | None:
    """Return what is told of nights that cannot be run or judged: their first, and their end."""
    incident = open_trouble(before)
    if works and incident:
        return wording.works_again(firing, incident, now)
    if works is False and not incident:
        return wording.trouble(firing, _incident(firing, (), "trouble"), now)
    return None


def _incident(firing: Firing, cells: Iterable[CellKey], what: str = "cells") -> str:
    stamp = keys.due_stamp(firing.due_at)
    mark = canonical_json([what, firing.schedule, stamp, firing.run_id, sorted(map(list, cells))])
    return f"{firing.schedule}-{digest(mark)[:20]}"
