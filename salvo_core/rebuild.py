"""The door back from a Redis that lost everything: a run goes on from its plan and its stored traces (I5).

What is stored is restored (``restore``), what is missing is sent again, and a run of which
nothing is missing is sealed. Workers do it by themselves when they notice: one of them, elected
by a key that expires with it. Trials that they hold meanwhile are given back to them, turns
and all, before anybody else is sent for these.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from salvo_core.cancel import cancel
from salvo_core.clock import Clock
from salvo_core.errors import SalvoError, UsageError
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.repairs import Repairs
from salvo_core.restore import Progress, Restored, restore
from salvo_core.resume import is_known, publish_pending
from salvo_core.run.curtailer import Curtailer
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Plan
from salvo_core.seal import seal
from salvo_core.store.protocol import Store
from salvo_core.submit import is_forgotten, publish, read_plan, spread

LOOK_AGAIN_S = 60.0
"""How long a worker believes that there is nothing to rebuild of a run that Redis does not know."""

LOOK_EVERY_S = 0.5
"""Runs that nobody knows are looked for in the store at most this often, whatever the queue holds."""

REMEMBERED = 256
LOCK_S = 60.0
"""How long a rebuilder that died keeps others from beginning."""

AWAITED_S = 600.0
"""How long a trial that is under way waits for its run to be known again."""

Presence = Literal["known", "over", "later"]
"""Of a run: Redis knows it (again); there is nothing to rebuild; nobody can say yet."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What rebuilding came to.

    Attributes:
        restored: What the store had; None when there was nothing to rebuild.
        published: Messages sent.
        state: The run's state now.
        left: Trials that have not ended.
    """

    restored: Restored | None
    published: int
    state: str
    left: int


async def rebuild(
    run_id: str,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    on_progress: Progress | None = None,
    before_sending: Callable[[], Awaitable[None]] | None = None,
) -> Rebuilt:
    """Let a run that Redis lost go on: restore what is stored, send what is missing, seal if nothing is.

    A run that Redis knows is left as it is, and so is one that is sealed. One that was paused is paused
    again, one that was cancelled is ended (``run.control``). Dying half way, doing
    it twice or at once with others, or beside workers, changes no result: rows that exist stay.

    Args:
        run_id: The run.
        store: Where its plan and its traces are.
        manifest: Where its rows will be.
        dispatcher: Sends what is missing.
        on_progress: Told of the stored trials that were looked at.
        before_sending: Awaited when every row is there and no message has been sent.

    Raises:
        UsageError: The store has no plan of it.
    """
    plan = await read_plan(run_id, store)
    if await is_forgotten(run_id, store=store, manifest=manifest):
        return Rebuilt(None, 0, "sealed", 0)
    restored = None
    if not await is_known(run_id, manifest):
        signer = dispatcher.signer
        restored = await restore(plan, store=store, manifest=manifest, signer=signer, on_progress=on_progress)
        await _seed(plan, manifest)
        if before_sending is not None:
            await before_sending()
        published = await _go_on(plan, store, manifest, dispatcher)
    else:
        published = 0
    counts = await manifest.counts(run_id)
    return Rebuilt(restored, published, counts.state, counts.total - counts.ended)


async def _go_on(plan: Plan, store: Store, manifest: Manifest, dispatcher: Dispatcher) -> int:
    """Send what is missing, unless somebody commanded otherwise before Redis lost the run."""
    if (await manifest.counts(plan.run_id)).state == "cancelling":
        await cancel(plan.run_id, store=store, manifest=manifest, dispatcher=dispatcher)
        return 0
    published = await _curtail(plan, manifest, dispatcher)
    # First what had been released before, then what is released from there on: nothing twice.
    published += await publish_pending(plan, manifest=manifest, dispatcher=dispatcher)
    published += (await spread(plan, manifest=manifest, dispatcher=dispatcher))[1]
    await seal(plan.run_id, store=store, manifest=manifest)
    return published


async def _curtail(plan: Plan, manifest: Manifest, dispatcher: Dispatcher) -> int:
    """Skip again what decided cells skipped: no trace says so, but the trials that decided them do."""
    curtailer, published = Curtailer(manifest), 0
    for cell in range(len(plan.cells) if plan.early_stop else 0):
        curtailed = await curtailer.look(plan, cell)
        published += await publish(plan, curtailed.release, dispatcher)
    return published


async def _seed(plan: Plan, manifest: Manifest) -> None:
    for start in range(0, plan.total, ROWS_PER_CALL):
        stop = min(start + ROWS_PER_CALL, plan.total)
        await manifest.seed(plan.run_id, start, [plan.trace_id(index) for index in range(start, stop)])


@dataclass
class Rebuilder:
    """Notices, for one worker, runs that Redis has lost, and has them rebuilt by one worker alone.

    Args:
        store: Where plans and traces are.
        manifest: What should know them.
        dispatcher: Sends what is missing.
        clock: Measures.
        worker: This worker's name.
        lease_s: As its leases'.
        settle_s: How long after the rows are there messages are held back, so that workers that
            hold trials of the run take their places first: a renewal's interval.
    """

    store: Store
    manifest: Manifest
    dispatcher: Dispatcher
    clock: Clock
    worker: str
    lease_s: float
    settle_s: float
    _over: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _looked_at_s: float = -math.inf
    _under_way: dict[str, asyncio.Task[Presence]] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    async def watch(self, open_runs: Iterable[str]) -> None:
        """Compare the runs that are open with those that were: one that is gone may be lost."""
        before, self._open = self._open, set(open_runs)
        for run_id in before - self._open:
            if not await is_known(run_id, self.manifest) and await self.consider(run_id) == "later":
                self._open.add(run_id)  # nobody knows yet: it is asked for again with the next sweep

    async def consider(self, run_id: str) -> Presence:
        """Rebuild a run that Redis does not know, if the store says that it is not over; return what is so.

        Asked for every message of an unknown run, so the store is: of a run that turned out to be
        over, or nobody's, not again within LOOK_AGAIN_S; of any, once in LOOK_EVERY_S.
        """
        begun = self._begin(run_id)
        # Shielded: one trial that is stopped does not take the rebuilding from the others.
        return await asyncio.shield(begun) if isinstance(begun, asyncio.Task) else begun

    def _begin(self, run_id: str) -> asyncio.Task[Presence] | Presence:
        """Return the look that is under way or begins now, or what is known without one."""
        if (task := self._under_way.get(run_id)) is not None:
            return task
        now_s = self.clock.monotonic_s()
        if now_s - self._over.get(run_id, -math.inf) < LOOK_AGAIN_S:
            return "over"
        if now_s - self._looked_at_s < LOOK_EVERY_S:
            return "later"
        self._looked_at_s = now_s
        task = self._under_way[run_id] = asyncio.create_task(self._look(run_id))
        task.add_done_callback(lambda _: self._under_way.pop(run_id, None))
        return task

    async def reseat(self, held: HeldTrial) -> bool:
        """Give a trial that seems lost back to the attempt that holds it, if Redis only forgot it.

        Where the whole run is forgotten, it is rebuilt first, here or by another worker.

        Returns:
            False when the trial is over or somebody else's.
        """
        repairs, until_s = Repairs(self.manifest), self.clock.monotonic_s() + AWAITED_S
        claim = held.claim
        while self.clock.monotonic_s() < until_s:
            held_again = await repairs.reseat(
                claim, held.turns, lease_s=self.lease_s, set_aside=held.set_aside
            )
            if held_again is not None:
                if held_again:
                    logger.warning("trial %s is held again after Redis forgot it", claim.trace_id)
                return held_again
            # Not waited for: the place must be taken before messages are sent.
            if self._begin(claim.run_id) == "over":
                return False
            await self.clock.sleep(LOOK_EVERY_S)
        return False

    async def _look(self, run_id: str) -> Presence:
        try:
            if not await self._is_open(run_id):
                self._over[run_id] = self.clock.monotonic_s()
                while len(self._over) > REMEMBERED:
                    self._over.popitem(last=False)
                return "over"
            if await is_known(run_id, self.manifest):
                return "known"
            return await self._rebuild_alone(run_id)
        except SalvoError as error:
            logger.error("run %s, which Redis does not know, cannot be rebuilt now: %s", run_id, error)
            return "later"

    async def _is_open(self, run_id: str) -> bool:
        try:
            await read_plan(run_id, self.store)
        except UsageError:
            return False
        return not await is_forgotten(run_id, store=self.store, manifest=self.manifest)

    async def _rebuild_alone(self, run_id: str) -> Presence:
        repairs = Repairs(self.manifest)
        if not await repairs.begin_rebuilding(run_id, self.worker, lock_s=LOCK_S):
            return "later"
        logger.warning("run %s is unknown to Redis and not over: rebuilding it from the store", run_id)
        beat = asyncio.create_task(self._keep_at_it(run_id, repairs))
        try:
            done = await rebuild(
                run_id,
                store=self.store,
                manifest=self.manifest,
                dispatcher=self.dispatcher,
                before_sending=lambda: self.clock.sleep(self.settle_s),
            )
            if done.restored is not None:
                logger.warning(
                    "run %s is rebuilt: %d trials were stored, %d were not, %d messages are sent",
                    run_id, done.restored.rows, done.restored.missing, done.published,
                )  # fmt: skip
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await repairs.end_rebuilding(run_id)
        return "known"

    async def _keep_at_it(self, run_id: str, repairs: Repairs) -> None:
        while True:
            await self.clock.sleep(LOCK_S / 3)
            with contextlib.suppress(SalvoError):
                await repairs.keep_rebuilding(run_id, lock_s=LOCK_S)
