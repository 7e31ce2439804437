"""Deletes the scenarios that the store may not keep (``run.withholding``) once nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from salvo_core.errors import ObjectMissing
from salvo_core.identity import created_s, is_uuid7
from salvo_core.store import keys
from salvo_core.store.protocol import Store

ABANDONED_S = 3600.0
"""A submission that has no plan so long after it began is dead. Were it only asleep, it writes its orders
again after the plan (``submit``), so that nothing is lost by taking it for dead."""

logger = logging.getLogger(__name__)


async def forget_orders(run_id: str, store: Store) -> int:
    """Delete what a run's trials were carried out by, if it was withheld; return how many there were.

    Raises:
        StoreUnavailable, StoreRefused: Some may be left; doing it again is harmless.
    """
    found = [key async for key in store.list(keys.orders(run_id))]
    await asyncio.gather(*(store.delete(key) for key in found))
    return len(found)


async def forget_abandoned(now_s: float, store: Store) -> int:
    """Delete withheld orders that no run needs; return of how many runs.

    Those are submissions that died before their plan was stored, and what a submitter wrote that came
    too late, when its run was sealed already.

    Args:
        now_s: Seconds since the epoch.
        store: The listing is as long as there are unfinished runs with something withheld.
    """
    forgotten = 0
    for run_id in [name async for name in store.list_folders(keys.ORDERS)]:
        if is_uuid7(run_id) and now_s - created_s(run_id) > ABANDONED_S:
            plan_is_there = await _any(store, *(keys.plan(run_id, home) for home in keys.HOMES))
            if plan_is_there and not await is_sealed(run_id, store):
                continue
            if not plan_is_there:
                await _forget_snapshots(run_id, store)
            forgotten += await forget_orders(run_id, store) > 0
    if forgotten:
        logger.warning("withheld scenarios of %d runs that nobody needs any more are deleted", forgotten)
    return forgotten


async def is_sealed(run_id: str, store: Store) -> bool:
    """Tell whether the store has the run's summary: what is withheld is not needed from then on."""
    return await _any(store, *(keys.summary(run_id, home) for home in keys.HOMES))


async def _forget_snapshots(run_id: str, store: Store) -> None:
    for home in keys.HOMES:
        for key in [key async for key in store.list(keys.snapshots(run_id, home))]:
            await store.delete(key)


async def _any(store: Store, *names: str) -> bool:
    for name in names:
        with contextlib.suppress(ObjectMissing):
            await store.get(name)
            return True
    return False
