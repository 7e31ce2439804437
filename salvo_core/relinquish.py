"""The door out of a trial that may not go on here and now: to another attempt, or to its end unsaid."""

from __future__ import annotations

import logging

from salvo_core.adapters.gate import Barred
from salvo_core.errors import SalvoError
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Claim, Committed, Manifest, Refusal
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.orders import Orders
from salvo_core.run.plan import TrialMessage
from salvo_core.seal import seal
from salvo_core.store.protocol import Store

logger = logging.getLogger(__name__)


async def relinquish(
    message: TrialMessage, claim: Claim, bar: Barred, *, manifest: Manifest, dispatcher: Dispatcher
) -> Committed | None:
    """Give a trial back whose provider is not to be asked now; pause its run if somebody has to mend that.

    A worker that dies between the two leaves the lease to run out, and the trial waits in a paused run.

    Returns:
        What the end of the trial led to, if the budget kept it from saying anything: it ends as one that
        never began. None if it goes on later.

    Raises:
        RedisUnavailable: The lease runs out instead.
    """
    if bar.bar == "budget":
        logger.info("trial %s is skipped: %s", claim.trace_id, bar)
        return await Ledger(manifest).skip(claim)
    logger.warning("trial %s, attempt %d, is given back: %s", claim.trace_id, claim.attempt, bar)
    if bar.bar == "refused":
        await manifest.pause(claim.run_id, f"{bar.message}; {bar.hint}")
    if await manifest.give_back(claim) and bar.bar != "refused":
        await dispatcher.publish([message])  # to the end of the queue: others have its place
    return None


async def follow_up(
    skipped: Refusal | Committed,
    run_id: str,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    orders: Orders,
) -> None:
    """Send what a trial that was not run made room for; seal the run if it was the last."""
    try:
        if skipped.release:
            plan = await orders.plan(run_id)
            await dispatcher.publish(plan.message(index) for index in skipped.release)
    except SalvoError as error:
        logger.warning("run %s: trials that may run now are sent by a sweep: %s", run_id, error)
    if skipped.run_finished:
        await seal_or_say(run_id, store=store, manifest=manifest)


async def seal_or_say(run_id: str, *, store: Store, manifest: Manifest) -> None:
    """Seal a run that is finished; if that fails, say so and leave it to a sweep."""
    try:
        await seal(run_id, store=store, manifest=manifest)
    except SalvoError as error:
        logger.warning("run %s is finished and not sealed yet, a sweep will try again: %s", run_id, error)
