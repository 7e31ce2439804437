"""One trial on a site: ordered, attempted, looked at."""

import pytest

from salvo_core.attempt import attempt
from salvo_core.store.files import FileStore
from salvo_core.store.memory import MemoryStore
from tests.integration.site import TURNS, Killed, Site, order

STORES = ("memory", "files")


def site_on(store, redis_url, folder):
    """Return a site whose store is one of ``STORES``."""
    return Site(redis_url, MemoryStore() if store == "memory" else FileStore(folder / "store"))


async def one_trial(site, **fields):
    """Order a run of one trial; return its plan and its message."""
    plan = await site.submit(order(1, **fields))
    (message,) = site.outbox.waiting
    site.outbox.waiting.clear()
    return plan, message


async def row_of(site, plan, index=0):
    return (await site.rows(plan.run_id))[index]


async def trace_of(site, plan, index=0):
    row = await row_of(site, plan, index)
    return await site.trace_of(row, plan.run_id)


async def check_paid_once(site, plan):
    """Assert that every turn of every trial was asked for exactly once."""
    assert sorted(site.stage.asked) == sorted(
        (plan.trace_id(i), turn) for i in range(plan.total) for turn in range(TURNS)
    )


async def died(message, bench):
    with pytest.raises(Killed):
        await attempt(message, bench)
