"""The door out of a trial that does not go on here, and what follows for its run."""

from __future__ import annotations

import logging
from typing import Protocol

from salvo_core.adapters.gate import Barred
from salvo_core.errors import RedisUnavailable, SalvoError
from salvo_core.manifest.claims import Claim, Committed, Refusal
from salvo_core.manifest.leases import LeaseKeeper
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.run.curtailer import Curtailed, Curtailer
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan, TrialMessage
from salvo_core.seal import seal
from salvo_core.store.protocol import Store

logger = logging.getLogger(__name__)


class Desk(Protocol):
    """What leaving a trial needs of a worker; an attempt's bench has it all."""

    @property
    def store(self) -> Store:
        """Where objects are."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Where runs stand."""
        ...

    @property
    def leases(self) -> LeaseKeeper:
        """Holds trials, and gives them back."""
        ...

    @property
    def dispatcher(self) -> Dispatcher:
        """Sends messages."""
        ...

    @property
    def orders(self) -> Orders:
        """Reads plans."""
        ...

    @property
    def curtailer(self) -> Curtailer:
        """Ends decided cells."""
        ...


async def relinquish(message: TrialMessage, claim: Claim, bar: Barred, desk: Desk) -> None:
    """Give a trial back whose provider is not to be asked now; pause its run if somebody has to mend that.

    One that the budget kept from saying anything ends as if it had never begun. A worker that dies in
    between leaves the lease to run out; the trial waits, in a paused run or for another attempt.
    """
    try:
        if bar.bar == "budget":
            logger.info("trial %s is skipped: %s", claim.trace_id, bar)
            await follow_up(await Ledger(desk.manifest).skip(claim), claim.run_id, desk)
            return
        logger.warning("trial %s, attempt %d, is given back: %s", claim.trace_id, claim.attempt, bar)
        if bar.bar == "refused":
            await desk.manifest.pause(claim.run_id, f"{bar.message}; {bar.hint}")
        if await desk.leases.give_back(claim) and bar.bar != "refused":
            # To the end of the queue: others have its place.
            await desk.dispatcher.publish([message], desk.orders.route(message.run_id))
    except RedisUnavailable as error:
        logger.warning("trial %s is not given back, its lease runs out instead: %s", claim.trace_id, error)


async def follow_up(ended: Refusal | Committed, run_id: str, desk: Desk) -> None:
    """Send what a trial that was not run made room for; seal the run if it was the last."""
    try:
        if ended.release:
            plan = await desk.orders.plan(run_id)
            await desk.dispatcher.publish((plan.message(index) for index in ended.release), plan.route)
    except SalvoError as error:
        logger.warning("run %s: trials that may run now are sent by a sweep: %s", run_id, error)
    if ended.run_finished:
        await seal_or_say(run_id, desk)


async def curtail(plan: Plan | None, cell: int, desk: Desk) -> Curtailed:
    """Return what the end of a trial meant for the rest of its cell."""
    if plan is None:
        return Curtailed()
    try:
        return await desk.curtailer.look(plan, cell)
    except SalvoError as error:
        logger.warning(
            "run %s: whether cell %d is decided is seen later, at the next trial's end or by a sweep: %s",
            plan.run_id, cell, error,
        )  # fmt: skip
        return Curtailed()


async def seal_or_say(run_id: str, desk: Desk) -> None:
    """Seal a run that is finished; if that fails, say so and leave it to a sweep."""
    try:
        await seal(run_id, store=desk.store, manifest=desk.manifest)
    except SalvoError as error:
        logger.warning("run %s is finished and not sealed yet, a sweep will try again: %s", run_id, error)
