"""Runs that are over, and the orders to judge them again."""

from datetime import UTC, datetime

from salvo_core.reevaluate import Wish, prepare, reevaluate
from tests.integration.site import order


async def ran(site, **fields):
    """Order a run and do it; return its plan. What the agent was asked is forgotten."""
    plan = await site.submit(order(**fields))
    await site.work()
    site.stage.asked.clear()
    return plan


async def ordered(site, ref, *scenarios, **wish):
    """Order a re-evaluation; return its plan."""
    prepared = await prepare(Wish(ref, scenarios, **wish), site.observer(), now=datetime.now(UTC))
    return await reevaluate(prepared, store=site.store, manifest=site.manifest, dispatcher=site.outbox)


async def again(site, ref, *scenarios, **wish):
    """Order a re-evaluation and do it; return its plan and its comparison."""
    plan = await ordered(site, ref, *scenarios, **wish)
    await site.work()
    return plan, await site.observer().comparison(plan.run_id)


async def records(site, plan):
    """Return the records of a re-evaluation's trials that have one, in index order."""
    rows = [row for row in await site.rows(plan.run_id) if row.recorded]
    return [await site.observer().rescored(plan.run_id, row) for row in rows]
