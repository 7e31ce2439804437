"""The door that finishes what somebody began: a submission, an interrupted run, lost messages."""

from __future__ import annotations

from dataclasses import dataclass

from salvo_core.errors import NotFound
from salvo_core.manifest.live import Manifest
from salvo_core.restore import restore
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Plan
from salvo_core.seal import seal
from salvo_core.store.protocol import Store
from salvo_core.submit import is_forgotten, open_run, publish, read_plan, spread

PUBLISHED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Resumed:
    """What resuming came to.

    Attributes:
        seeded: Rows that were missing.
        published: Messages sent; some may repeat messages that still wait in the queue, which is harmless.
        state: The run's state now.
        left: Trials that have not ended.
    """

    seeded: int
    published: int
    state: str
    left: int


async def resume(run_id: str, *, store: Store, manifest: Manifest, dispatcher: Dispatcher) -> Resumed:
    """Let a run go on: unpause it, finish its submission, take back dead leases, send what is missing.

    Doing it twice, or to a run that needs nothing, changes nothing.

    Raises:
        UsageError: The run has no plan in the store, so nobody knows what it should run.
    """
    plan = await read_plan(run_id, store)
    if await is_forgotten(run_id, store=store, manifest=manifest):
        return Resumed(0, 0, "sealed", 0)
    if not await is_known(run_id, manifest):
        await restore(plan, store=store, manifest=manifest)  # or what is stored already would be run again
    await open_run(plan, manifest)
    if await seal(run_id, store=store, manifest=manifest) is not None:
        return Resumed(0, 0, "sealed", 0)
    await manifest.unpause(run_id)
    await manifest.expire(run_id)
    seeded, published = await spread(plan, manifest=manifest, dispatcher=dispatcher)
    published += await publish_pending(plan, manifest=manifest, dispatcher=dispatcher)
    counts = await manifest.counts(run_id)
    return Resumed(seeded, published, counts.state, counts.total - counts.ended)


async def is_known(run_id: str, manifest: Manifest) -> bool:
    """Tell whether Redis knows the run."""
    try:
        await manifest.counts(run_id)
    except NotFound:
        return False
    return True


async def publish_pending(plan: Plan, *, manifest: Manifest, dispatcher: Dispatcher) -> int:
    """Send a message for every released trial that nobody has begun; return how many.

    This reads the released rows, so it is for repair, not for every day.
    """
    counts = await manifest.counts(plan.run_id)
    if counts.state not in ("submitting", "running", "cancelling"):
        return 0
    sent, window = 0, []
    async for row in manifest.rows(plan.run_id, 0, counts.released):
        if row.status == "pending":
            window.append(row.index)
        if len(window) >= PUBLISHED_AT_ONCE:
            sent += await publish(plan, window, dispatcher)
            window = []
    return sent + (await publish(plan, window, dispatcher) if window else 0)
