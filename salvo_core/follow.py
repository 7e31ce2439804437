"""The door of what comes after a nightly: its run is over, and somebody may have to be told.

Order of writes, and what holds if the process dies:

- Before what was decided is stored nothing has happened; whoever looks next decides, and from the same
  summaries it decides the same.
- What was decided after a firing is one object, written if there is none (``alerts.incident.Followed``): of
  two beats at once one decides, and the other goes on from what that one wrote. (Where a store keeps the
  last of two writers, both decided the same, under the same ids.) It holds what is told, word by word, and
  which cells are confirmed; nothing of either has been done yet.
- From then on it is carried out from that object, by later ticks and by whoever is elected then: the
  confirmation is fired on the one way on which due times are (``fire``), so there is one run whoever
  dies; channels are told as ``alerts.delivery`` does, by the alert's id. Doing either again changes nothing.

Nothing of this lies in Redis. Of evidence nothing is kept: it is worked out from summaries each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channels import channels_of
from salvo_core.alerts.delivery import deliver
from salvo_core.alerts.incident import Followed, decide, not_ended, not_ordered
from salvo_core.clock import Clock
from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing, SalvoError, Unavailable
from salvo_core.fire import Beat
from salvo_core.run.baselines import baseline
from salvo_core.run.schedule import (
    NOTHING,
    PREVIOUS,
    Firing,
    Schedule,
    firing_keys,
    note_firing,
    read_firing,
    read_schedule,
    schedule_names,
)
from salvo_core.run.standings import CellKey, PastNight, Standing, references_of, standings
from salvo_core.run.summary import Summary
from salvo_core.scenario.project import Project
from salvo_core.settings import Settings
from salvo_core.store import keys
from salvo_core.store.protocol import Store

logger = logging.getLogger(__name__)

FOLLOWED_FOR = timedelta(days=7)
"""A run that is over later than this after its due time is a night, but nothing is done about it."""
TOLD_FOR = timedelta(days=1)
"""How long an alert is tried to be told."""
NIGHTS_MAX = 200
"""Firings that evidence is worked out from, the newest."""
LATE = timedelta(days=1)
"""A run that is not over so long after its due time is told of; it goes on, and is a night when it ends."""
FAILED_TIMES = 3
"""Tries after which a due time whose run cannot be ordered is told, while it is tried further."""
_AT_ONCE = 16
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")

Tell = Callable[[Schedule, Alert], Awaitable[bool]]
"""Tells a schedule's channels of an alert; returns whether nothing is left to be tried."""


def over_channels(project: Project, settings: Settings, store: Store, clock: Clock) -> Tell:
    """Return what tells a schedule's channels, as the machine that follows has them.

    Args:
        project: Says what a channel is.
        settings: Its environment holds their addresses and keys.
        store: Keeps who was told.
        clock: Measures and waits.
    """

    async def tell(schedule: Schedule, alert: Alert) -> bool:
        channels = channels_of(schedule.notify, project, settings)
        found = await deliver(alert, channels, store, clock)
        return all(one.told or one.next_at is None for one in found)

    return tell


@dataclass
class Follower:
    """Looks at the runs of schedules that are over, again and again, and does what follows.

    Args:
        beat: Fires confirmations, and knows what could not be fired.
        tell: Tells an alert; called until it says that nothing is left, for TOLD_FOR.
    """

    beat: Beat
    tell: Tell
    _done: set[str] = field(default_factory=set)
    """Keys of what was decided and of which all is done; forgotten with the process, and found again."""

    async def tick(self) -> list[Followed]:
        """See to all schedules; return what was decided. One schedule's trouble keeps no other waiting."""
        made: list[Followed] = []
        for name in await schedule_names(self.beat.store):
            try:
                schedule = await read_schedule(name, self.beat.store, self.beat.dispatcher.signer)
                try:
                    made += await self.follow(schedule)
                finally:  # what was decided before is told whatever keeps this night from being followed
                    await self.carry_out(schedule)
            except SalvoError as error:
                logger.error("schedule %s is not followed: %s", name, error.message)
        return made

    async def follow(self, schedule: Schedule) -> list[Followed]:
        """Decide what follows from firings that are over and were not followed; return it, oldest first."""
        store, now = self.beat.store, self.beat.clock.now()
        made = []
        seen = {_name(key) for key in await self._recent(keys.followeds(schedule.name), now)}
        for key in await self._recent(keys.firings(schedule.name), now):
            if _name(key) in seen:
                continue
            firing = await _read(key, store)
            if firing is None:
                continue
            summary, note = await _summary(firing.run_id, store)
            if firing.run_id and summary is None and not note:  # it is not over
                stuck = keys.followed(schedule.name, firing.due_at, "stuck")
                if _name(stuck) not in seen and (why := await self._stuck(firing, now)):
                    before = await past_decisions(schedule.name, store, before=stuck)
                    made.append(await self._keep(stuck, not_ended(firing, why, before, now)))
                continue
            made.append(await self._decide(schedule, firing, summary, note, now))
        failing = self.beat.failing.get(schedule.name)
        if failing is not None and failing.times >= FAILED_TIMES:
            key = keys.followed(schedule.name, failing.due_at, "failed")
            if _name(key) not in seen:
                before = await past_decisions(schedule.name, store, before=key)
                made.append(
                    await self._keep(key, not_ordered(schedule, failing.due_at, failing.why, before, now))
                )
        return made

    async def _stuck(self, firing: Firing, now: datetime) -> str:
        """Return what keeps a run from ending until a person does something, or an empty text."""
        if firing.by_hand:
            return ""  # who asked looks at it
        try:
            counts = await self.beat.manifest.counts(firing.run_id)
        except NotFound:
            return ""  # a sweep brings it back from the store
        if counts.state == "paused" and counts.paused_by:
            return f"it is paused: {counts.paused_by}"
        if firing.kind == "due" and now - firing.due_at >= LATE:
            ended = f"{counts.ended:,} of its {counts.total:,} trials have ended"
            return f"it is {counts.state} {(now - firing.due_at).days} d after its due time, and {ended}"
        return ""

    async def carry_out(self, schedule: Schedule) -> None:
        """Fire the confirmations and tell the alerts that were decided lately, as far as that is not done."""
        store, now = self.beat.store, self.beat.clock.now()
        recent = await self._recent(keys.followeds(schedule.name), now)
        self._done -= {key for key in self._done if _is_of(schedule, key)} - set(recent)
        for key in recent:
            if key in self._done:
                continue
            decided = Followed.decode(await store.get(key), key)
            done = not decided.confirm or await self._confirm(schedule, decided)
            if now - decided.at <= TOLD_FOR:
                for alert in decided.alerts:
                    done = await self.tell(schedule, alert) and done
            if done:
                self._done.add(key)

    async def _decide(
        self, schedule: Schedule, firing: Firing, summary: Summary | None, note: str, now: datetime
    ) -> Followed:
        """Decide what follows from a firing that is over, unless somebody did; return what holds."""
        store = self.beat.store
        key = keys.followed(schedule.name, firing.due_at, firing.kind)
        before = await past_decisions(schedule.name, store)
        stands = None
        if summary is not None:
            counted = {(one.due_at, one.kind) for one in before} | {(firing.due_at, firing.kind)}
            old = now - FOLLOWED_FOR
            past = [
                one
                for one in await past_firings(schedule.name, store)
                if (one.due_at, one.kind) in counted or one.due_at < old
            ]
            stands, lack = await stands_of(schedule, past, store)
            note = "; ".join(filter(None, (note, lack)))
        verdict = summary.verdict if summary else ""
        return await self._keep(key, decide(schedule, firing, verdict, stands, before, now, note=note))

    async def _keep(self, key: str, decided: Followed) -> Followed:
        """Store what was decided unless somebody did before; return what holds."""
        if await self.beat.store.put_if_absent(key, decided.encode()):
            return decided
        return Followed.decode(await self.beat.store.get(key), key)

    async def _confirm(self, schedule: Schedule, decided: Followed) -> bool:
        """Fire a confirmation; return whether nothing is left to be done for it.

        What cannot be ordered now is noted as a firing that ran nothing, so that it is over and the next
        suspicion asks again. If it was settled already which run it is, its order is tried again later.
        """
        asked = Firing(
            schedule=schedule.name,
            due_at=decided.due_at,
            confirms=decided.run_id,
            cells=decided.confirm,
        )
        try:
            await self.beat.see_to(schedule, asked)
        except Unavailable:
            raise
        except SalvoError as error:
            why = f"it cannot be ordered: {error.message}"[:300]
            settled = await note_firing(asked.model_copy(update={"why": why}), self.beat.store)
            logger.warning("schedule %s: a suspicion is not confirmed: %s", schedule.name, why)
            return not settled.run_id
        return True

    async def _recent(self, prefix: str, now: datetime) -> list[str]:
        """Return the keys of the last FOLLOWED_FOR, in order; nothing older is listed but of its month."""
        since = now - FOLLOWED_FOR
        months = sorted({keys.due_stamp(at)[:6] for at in (since, now)})
        found = [key for month in months async for key in self.beat.store.list(prefix + month)]
        least = keys.due_stamp(since)
        return sorted((key for key in found if keys.firing_place(key)[0] >= least), key=keys.firing_place)


async def past_decisions(name: str, store: Store, *, before: str = "") -> list[Followed]:
    """Return what was decided after a schedule's newest firings, NIGHTS_MAX at most, oldest first.

    Args:
        name: The schedule's.
        store: Where it lies.
        before: The key of one; only what comes before it.

    Raises:
        ObjectCorrupt: One is damaged: what was told is not known then, and nothing is told on a guess.
    """
    found = sorted([key async for key in store.list(keys.followeds(name))], key=keys.firing_place)
    if before:
        found = [key for key in found if keys.firing_place(key) < keys.firing_place(before)]

    async def read(key: str) -> Followed:
        return Followed.decode(await store.get(key), key)

    return await _each(found[-NIGHTS_MAX:], read)


async def past_firings(name: str, store: Store) -> list[Firing]:
    """Return a schedule's newest firings, NIGHTS_MAX at most, oldest first; confirmations after nights."""
    found = await _each((await firing_keys(name, store))[-NIGHTS_MAX:], lambda key: _read(key, store))
    return [one for one in found if one is not None]


async def _read(key: str, store: Store) -> Firing | None:
    """Return a firing, None if it is damaged: a night less, and the others count."""
    try:
        return await read_firing(key, store)
    except ObjectCorrupt as error:
        logger.warning("%s", error.message)
        return None


async def stands_of(schedule: Schedule, past: Sequence[Firing], store: Store) -> tuple[list[Standing], str]:
    """Return where a schedule's cells stand after firings, and what a person should know about it.

    Args:
        schedule: Says what its nights are measured by.
        past: Oldest first; those whose run is not sealed, or cannot be read, are no nights.
        store: Where summaries lie.
    """
    if schedule.baseline == NOTHING:
        return [], ""

    async def night(firing: Firing) -> PastNight | None:
        summary, _ = await _summary(firing.run_id, store)
        return None if summary is None else PastNight(summary, firing.fresh, bool(firing.confirms))

    nights = [one for one in await _each(past, night) if one is not None]
    references: dict[CellKey, float] = {}
    note = ""
    if schedule.baseline != PREVIOUS:
        references, note = await _references(schedule.baseline, store)
    return await asyncio.to_thread(standings, nights, references=references), note


async def _references(name: str, store: Store) -> tuple[dict[CellKey, float], str]:
    """Return what a baseline promises of cells; if it cannot be read, nothing, and what holds instead."""
    instead = "nights are measured by those before"
    try:
        run_id = (await baseline(name, store)).run_id
    except (NotFound, ObjectCorrupt) as error:
        return {}, f"{error.message}: {instead}"
    summary, why = await _summary(run_id, store)
    if summary is None:
        return {}, f"the baseline {name} cannot be read{f' ({why})' if why else ''}: {instead}"
    return references_of(summary), ""


async def _summary(run_id: str, store: Store) -> tuple[Summary | None, str]:
    """Return what a run came to; None if it is not over, or, with a note why, if that cannot be read."""
    if not run_id:
        return None, ""
    key = keys.summary(run_id)
    try:
        return Summary.decode(await store.get(key), key), ""
    except ObjectMissing:
        return None, ""
    except ObjectCorrupt as error:
        return None, error.message


async def _each(items: Sequence[_Item], read: Callable[[_Item], Awaitable[_Read]]) -> list[_Read]:
    found: list[_Read] = []
    for start in range(0, len(items), _AT_ONCE):
        found += await asyncio.gather(*(read(one) for one in items[start : start + _AT_ONCE]))
    return found


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _is_of(schedule: Schedule, key: str) -> bool:
    return key.startswith(keys.followeds(schedule.name))
