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

Nothing of this lies in Redis. Evidence is worked out from summaries; what nights of long ago come to is
folded into one object (``past_nights``), from which it is worked out again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channels import channels_of
from salvo_core.alerts.delivery import deliver
from salvo_core.alerts.folded import Folded, read_folded
from salvo_core.alerts.incident import Followed, decide, not_ended, not_ordered
from salvo_core.clock import Clock
from salvo_core.errors import NotFound, SalvoError, Unavailable
from salvo_core.fire import Beat
from salvo_core.past_nights import firing_or_none, fold_nights, past_decisions, stands_of, summary_of
from salvo_core.run.schedule import Firing, Schedule, note_firing, read_schedule, schedule_names
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
LATE = timedelta(days=1)
"""A run that is not over so long after its due time is told of; it goes on, and is a night when it ends."""
FAILED_TIMES = 3
"""Tries after which a due time whose run cannot be ordered is told, while it is tried further."""

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
            firing = await firing_or_none(key, store)
            if firing is None:
                continue
            summary, note = await summary_of(firing.run_id, store)
            if firing.run_id and summary is None and not note:  # it is not over
                stuck = keys.followed(schedule.name, firing.due_at, "stuck")
                if _name(stuck) not in seen and (why := await self._stuck(firing, now)):
                    before = await self._before(schedule, stuck)
                    made.append(await self._keep(stuck, not_ended(firing, why, before, now)))
                continue
            made.append(await self._decide(schedule, firing, summary, note, now))
        failing = self.beat.failing.get(schedule.name)
        if failing is not None and failing.times >= FAILED_TIMES:
            key = keys.followed(schedule.name, failing.due_at, "failed")
            if _name(key) not in seen:
                before = await self._before(schedule, key)
                made.append(
                    await self._keep(key, not_ordered(schedule, failing.due_at, failing.why, before, now))
                )
        if made:
            await self._fold(schedule, now)
        return made

    async def _fold(self, schedule: Schedule, now: datetime) -> Folded | None:
        """Fold nights of which nothing will be decided any more."""
        decided = {_name(key) for key in await self._recent(keys.followeds(schedule.name), now)}
        since = keys.due_stamp(now - FOLLOWED_FOR)

        def settled(key: str) -> bool:
            return _name(key) in decided or keys.firing_place(key)[0] < since

        return await fold_nights(schedule, self.beat.store, settled)

    async def _before(self, schedule: Schedule, key: str) -> list[Followed]:
        """Return what was decided before the decision of that key, all that is open of it."""
        folded = await read_folded(schedule.name, self.beat.store)
        return await past_decisions(schedule.name, self.beat.store, before=key, folded=folded)

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
        folded = await read_folded(schedule.name, store)
        before = await past_decisions(schedule.name, store, folded=folded)
        stands = None
        if summary is not None:
            counted = {(one.due_at, one.kind) for one in before} | {(firing.due_at, firing.kind)}
            old = max(now - FOLLOWED_FOR, folded.due_at) if folded else now - FOLLOWED_FOR

            def counts(one: Firing) -> bool:
                return (one.due_at, one.kind) in counted or one.due_at < old

            stands, lack = await stands_of(schedule, store, counts)
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


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _is_of(schedule: Schedule, key: str) -> bool:
    return key.startswith(keys.followeds(schedule.name))
