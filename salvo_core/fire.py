"""The door of whoever keeps time: orders the run of each due time, once.

Order of writes: a run id is reserved in Redis under schedule and due time, what becomes of the due
time is stored, then the run is ordered under that id. Who dies in between leaves something that the
next one finds by name: the reservation, the firing, or the plan, from which on a sweep goes on.
Exactly one run per due time follows from the names; that one beat at a time is elected only saves work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from salvo_core.cancel import cancel
from salvo_core.clock import Clock
from salvo_core.errors import NotFound, ObjectMissing, SalvoError, Unavailable
from salvo_core.identity import new_run_id
from salvo_core.manifest.live import Manifest
from salvo_core.reorder import confirmation, stored_order
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.schedule import (
    MISSED,
    MISSED_MAX,
    SKIPPED,
    Firing,
    Schedule,
    firing_keys,
    note_firing,
    read_firing,
    read_schedule,
    schedule_names,
)
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import Order, submit

logger = logging.getLogger(__name__)

LOOKED_BACK = 50
"""Firings in which the run before is looked for, newest first."""


class Failing(NamedTuple):
    """A due time whose run could not be ordered: how often that was tried, and why not."""

    due_at: datetime
    times: int
    why: str


@dataclass
class Beat:
    """Looks at all schedules again and again, and fires what is due.

    Args:
        store: Where schedules and firings lie.
        manifest: Where runs are.
        dispatcher: Sends their trials; its signer is the site's.
        clock: Says what time it is.
        order_for: What a schedule orders now from the project's folder; called in a thread.
        secrets: Exact values that this process knows to be secret, as in ``Order``.

    Attributes:
        failing: By schedule, the due time whose run could not be ordered so far.
    """

    store: Store
    manifest: Manifest
    dispatcher: Dispatcher
    clock: Clock
    order_for: Callable[[Schedule], Order]
    secrets: Callable[[], frozenset[str]] = frozenset
    failing: dict[str, Failing] = field(default_factory=dict)
    _seen_to: dict[str, tuple[Schedule, datetime]] = field(default_factory=dict)

    async def tick(self) -> list[Firing]:
        """Fire what is due; return what became of it.

        One schedule's trouble (a scenario that is broken) is logged and does not keep the others
        waiting; its due time is tried again at the next tick, for as long as it counts.
        """
        fired: list[Firing] = []
        for name in await schedule_names(self.store):
            try:
                schedule = await read_schedule(name, self.store, self.dispatcher.signer)
                if schedule.paused:
                    self._seen_to.pop(name, None)
                    self.failing.pop(name, None)
                else:
                    fired += await self._fire_due(schedule)
            except SalvoError as error:
                logger.error("schedule %s does not fire: %s", name, error.message)
        return fired

    async def _fire_due(self, schedule: Schedule) -> list[Firing]:
        known, after = self._seen_to.get(schedule.name, (None, schedule.since))
        if known != schedule:
            after = await self._newest(schedule)
        now = self.clock.now()
        missed, due = schedule.due(after, now)
        fired = []
        if missed:
            more = " or more" if len(missed) == MISSED_MAX else ""
            why = f"{MISSED} nobody fired it in time ({len(missed)}{more} due times)"
            fired.append(
                await note_firing(Firing(schedule=schedule.name, due_at=missed[-1], why=why), self.store)
            )
            after = missed[-1]
        if missed or not due:
            self.failing.pop(schedule.name, None)  # what counts no more is tried no more
        self._seen_to[schedule.name] = schedule, after
        for at in due:
            try:
                fired.append(await self.fire(schedule, at))
            except Unavailable:
                raise  # of a server that is away nobody could be told anything either
            except SalvoError as error:
                before = self.failing.get(schedule.name)
                times = before.times + 1 if before and before.due_at == at else 1
                self.failing[schedule.name] = Failing(at, times, error.message)
                raise
            self.failing.pop(schedule.name, None)
            self._seen_to[schedule.name] = schedule, at
        return fired

    async def _newest(self, schedule: Schedule) -> datetime:
        """Return the newest due time that was seen to; a firing whose order is in doubt is carried out."""
        beside = (".hand.json", ".confirm.json")
        stored = [key for key in await firing_keys(schedule.name, self.store) if not key.endswith(beside)]
        if not stored:
            return schedule.since
        newest = await read_firing(stored[-1], self.store)
        if newest.due_at > schedule.since:
            await self._carry_out(schedule, newest)
        return max(newest.due_at, schedule.since)

    async def fire(
        self, schedule: Schedule, due_at: datetime, *, by_hand: bool = False, trials: int | None = None
    ) -> Firing:
        """See to one due time; doing it again changes nothing and finishes what was begun.

        Args:
            schedule: The schedule.
            due_at: The due time; to the second.
            by_hand: A person asked; it is no due time of the schedule's.
            trials: Of each cell, instead of the schedule's.

        Raises:
            UsageError, ScenarioInvalid: What it orders cannot be ordered now; nothing was written.
        """
        asked = Firing(schedule=schedule.name, due_at=due_at, by_hand=by_hand, trials=trials)
        return await self.see_to(schedule, asked)

    async def see_to(self, schedule: Schedule, asked: Firing) -> Firing:
        """See to a due time, a person's word, or a confirmation: as ``fire``, whatever it is.

        Args:
            schedule: The schedule.
            asked: What is wanted; what is settled already under its name goes before it.

        Raises:
            UsageError, ScenarioInvalid: As ``fire``.
        """
        try:
            firing = await read_firing(keys.firing(schedule.name, asked.due_at, asked.kind), self.store)
        except ObjectMissing:
            firing = await self._settle(schedule, asked)
        await self._carry_out(schedule, firing)
        return firing

    async def _settle(self, schedule: Schedule, firing: Firing) -> Firing:
        before = await self._run_before(schedule, firing.due_at) if schedule.overlap == "skip" else ""
        if before and not firing.fresh:
            why = f"{SKIPPED} run {before} was not over"
            return await note_firing(firing.model_copy(update={"why": why}), self.store)
        await self._order(schedule, firing)  # or nothing is written
        run_id = await self.manifest.reserve(_key(schedule, firing), new_run_id())
        return await note_firing(firing.model_copy(update={"run_id": run_id}), self.store)

    async def _carry_out(self, schedule: Schedule, firing: Firing) -> None:
        """Order the run that a firing names, unless it is ordered: then a sweep does the rest."""
        if not firing.run_id or await self._is_ordered(firing.run_id):
            return
        cancels = schedule.overlap == "cancel" and not firing.confirms
        if cancels and (before := await self._run_before(schedule, firing.due_at)):
            try:
                await cancel(before, store=self.store, manifest=self.manifest, dispatcher=self.dispatcher)
            except NotFound:
                logger.warning("run %s, which the next one of its schedule ends, is gone", before)
        order = await self._order(schedule, firing)
        # A Redis that lost its memory is told again which run it is.
        await self.manifest.reserve(_key(schedule, firing), firing.run_id)
        labels = {**order.labels, "due": firing.due_at.isoformat()}
        await submit(
            replace(order, labels=labels, idempotency_key=_key(schedule, firing)),
            store=self.store,
            manifest=self.manifest,
            dispatcher=self.dispatcher,
            clock=self.clock,
        )
        logger.info("schedule %s fired: run %s", schedule.name, firing.run_id)

    async def _order(self, schedule: Schedule, firing: Firing) -> Order:
        """Return what a firing's run is."""
        if firing.confirms:
            return await confirmation(
                schedule, firing, self.store, self.dispatcher.signer, self._usual, self.secrets()
            )
        order = await self._usual(schedule)
        return replace(order, trials=firing.trials or order.trials)

    async def _usual(self, schedule: Schedule) -> Order:
        if schedule.stored is None:
            return await asyncio.to_thread(self.order_for, schedule)
        return await stored_order(schedule, schedule.stored, self.store, self.secrets())

    async def _is_ordered(self, run_id: str) -> bool:
        try:
            await self.store.get(keys.plan(run_id))
        except ObjectMissing:
            return False
        return True

    async def _run_before(self, schedule: Schedule, due_at: datetime) -> str:
        """Return the schedule's newest run before a due time if it is not over, else an empty text.

        A confirmation is no such run: nights neither wait for it nor end it.
        """
        open_runs = set(await self.manifest.open_runs())
        found = [key for key in await firing_keys(schedule.name, self.store) if ".confirm." not in key]
        for key in found[: -LOOKED_BACK - 1 : -1]:
            firing = await read_firing(key, self.store)
            if firing.run_id and firing.due_at < due_at:
                return firing.run_id if firing.run_id in open_runs else ""
        return ""


def _key(schedule: Schedule, firing: Firing) -> str:
    beside = {"due": "", "hand": " by hand", "confirm": " confirm"}
    return schedule.idempotency_key(firing.due_at) + beside[firing.kind]
