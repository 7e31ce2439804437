"""The door of whoever is left: finds work that was abandoned and sets it going again.

Messages can be lost (a worker killed between taking one and noting it), submitters die,
leases run out. A sweep compares the manifest, which is the truth, with what is under way,
and publishes what is missing. Too many messages are harmless (a claim refuses them), so
a sweep may always err towards sending.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import cached_property

from salvo_core.cancel import cancel
from salvo_core.clock import Clock
from salvo_core.errors import NotFound, SalvoError
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.rebuild import Rebuilder
from salvo_core.resume import publish_pending, resume
from salvo_core.run.curtailer import Curtailer
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.forgetting import forget_abandoned
from salvo_core.run.plan import Plan
from salvo_core.seal import seal
from salvo_core.store.protocol import Store
from salvo_core.submit import is_forgotten, publish, read_plan, release, room_for

logger = logging.getLogger(__name__)

ABANDONED_SOUGHT_S = 600.0
"""How often orders of submissions that died are looked for: this one duty lists the store."""

SUBMITTER_SILENT_S = 15.0
"""A submission that seeds nothing for so long has lost its submitter."""

LET_IN_MAX = 50_000
"""Messages that one look at a run sends: some seconds of work, and the other runs are waiting."""


@dataclass
class Sweeper:
    """Sweeps open runs; remembers what it saw last time, to tell standing still from slow.

    Args:
        store: Where plans lie.
        manifest: The truth.
        dispatcher: Sends what is missing.
        clock: Measures how long a run has stood still.
        still_s: How long the queue is empty and nothing is claimed before messages count as lost.
        rebuilder: Rebuilds open runs whose header is gone; without it they are only reported.
    """

    store: Store
    manifest: Manifest
    dispatcher: Dispatcher
    clock: Clock
    still_s: float = 5.0
    rebuilder: Rebuilder | None = None
    _seen: dict[str, tuple[tuple[object, ...], float]] = field(default_factory=dict)
    _abandoned_sought_s: float = -math.inf

    async def sweep(self, *, merciful: bool = False) -> int:
        """Look at every open run once; return how many are open.

        Leases that ran out are left alone where ``merciful``: Redis was away, and so nobody could be heard.

        One run's trouble (a plan that is gone) is logged and does not keep the others waiting.
        """
        runs = await self.manifest.open_runs()
        self._seen = {run_id: seen for run_id, seen in self._seen.items() if run_id in runs}
        for run_id in runs:
            try:
                await self._sweep_run(run_id, merciful=merciful)
            except SalvoError as error:
                logger.error("run %s cannot be swept: %s", run_id, error)
        await self._forget_abandoned()
        return len(runs)

    async def _forget_abandoned(self) -> None:
        now_s = self.clock.monotonic_s()
        if now_s - self._abandoned_sought_s < ABANDONED_SOUGHT_S:
            return
        self._abandoned_sought_s = now_s
        try:
            await forget_abandoned(self.clock.now().timestamp(), self.store)
        except SalvoError as error:
            logger.warning("abandoned orders are looked for again in a while: %s", error)

    async def _sweep_run(self, run_id: str, *, merciful: bool) -> None:
        try:
            counts = await self.manifest.counts(run_id)
        except NotFound:
            if await is_forgotten(run_id, store=self.store, manifest=self.manifest):
                # Who sealed it died before taking it off the list, and its header has expired since.
                await self.manifest.closed(run_id)
            elif self.rebuilder is not None:
                await self.rebuilder.consider(run_id)
            else:
                logger.error("run %s is open but Redis lost its header: the store still has its plan", run_id)
            return
        if not merciful and (again := await self.manifest.expire(run_id, looked_ms=counts.now_ms)):
            logger.warning("run %s: %d trials of silent workers are sent again", run_id, len(again))
            await publish(await read_plan(run_id, self.store), again, self.dispatcher)
        if counts.budget is not None and (counts.budget.reserved_usd or counts.budget.reserved_tokens):
            await Ledger(self.manifest).settle_lost(run_id)
        match counts.state:
            case "finished" | "sealed":
                await seal(run_id, store=self.store, manifest=self.manifest)
            case "submitting" if self._stands_still(
                run_id, (counts.seeded, counts.released), SUBMITTER_SILENT_S
            ):
                logger.warning("run %s: its submission stopped at %d rows; going on", run_id, counts.seeded)
                await resume(
                    run_id,
                    store=self.store,
                    manifest=self.manifest,
                    dispatcher=self.dispatcher,
                    merciful=merciful,
                )
            case "cancelling" if self._stands_still(run_id, (counts.ended,), self.still_s):
                await cancel(run_id, store=self.store, manifest=self.manifest, dispatcher=self.dispatcher)
            case "running":
                await self._let_in(run_id, counts)
                await self._reconcile(run_id, counts)

    async def _let_in(self, run_id: str, counts: RunCounts) -> None:
        """Send more of a run that is larger than the queue, as that empties; commits keep to ``-j``."""
        if counts.concurrency_max is None and (counts.released < counts.seeded or counts.again):
            most = min(await room_for(counts, self.dispatcher), LET_IN_MAX)
            if most > 0:
                plan = await read_plan(run_id, self.store)
                await release(plan, most, self.manifest, self.dispatcher)

    async def _reconcile(self, run_id: str, counts: RunCounts) -> None:
        """Send messages again when trials wait, none is claimed, and its lane of the queue is empty."""
        position = (counts.claims, counts.released)
        if not self._stands_still(run_id, position, self.still_s):
            return
        plan = await read_plan(run_id, self.store)
        if await self._curtail(plan):
            return
        if counts.waiting and await self.dispatcher.queued(plan.route) == 0:
            sent = await publish_pending(plan, manifest=self.manifest, dispatcher=self.dispatcher)
            logger.warning("run %s stood still: %d trials are sent again", run_id, sent)
        elif counts.concurrency_max is not None and (counts.again or counts.released < counts.total):
            await publish(plan, await self.manifest.release(run_id, counts.total), self.dispatcher)

    @cached_property
    def _curtailer(self) -> Curtailer:
        return Curtailer(self.manifest)

    async def _curtail(self, plan: Plan) -> bool:
        """End cells whose deciding worker died before it did; tell whether that ended the run."""
        for cell in range(len(plan.cells) if plan.early_stop else 0):
            curtailed = await self._curtailer.look(plan, cell)
            await publish(plan, curtailed.release, self.dispatcher)
            if curtailed.run_finished:
                await seal(plan.run_id, store=self.store, manifest=self.manifest)
                return True
        return False

    def _stands_still(self, run_id: str, position: tuple[object, ...], still_s: float) -> bool:
        """Tell whether the run has been at this position for still_s; then start to count afresh."""
        now_s = self.clock.monotonic_s()
        seen, since_s = self._seen.get(run_id, (None, now_s))
        if seen != position:
            self._seen[run_id] = (position, now_s)
            return False
        if now_s - since_s < still_s:
            return False
        self._seen[run_id] = (position, now_s)
        return True
