"""The door that finishes what somebody began: a submission, an interrupted run, lost messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from salvo_core.errors import NotFound, UsageError
from salvo_core.fleet.breaker import Breakers
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.restore import restore
from salvo_core.run.control import command, read_control
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Plan
from salvo_core.run.signature import Signer
from salvo_core.seal import seal
from salvo_core.store.protocol import Store
from salvo_core.submit import (
    LET_IN_ALWAYS,
    is_forgotten,
    open_run,
    publish,
    read_plan,
    room_for,
    spread,
)

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


async def resume(
    run_id: str,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    budget: Budget | None = None,
    merciful: bool = False,
) -> Resumed:
    """Let a run go on: unpause it, finish its submission, take back dead leases, send what is missing.

    Doing it twice, or to a run that needs nothing, changes nothing. That a person wants it to go on is
    written down before Redis is told (``run.control``).

    Args:
        run_id: The run.
        store: Where its plan is.
        manifest: Where it stands.
        dispatcher: Sends what is missing.
        budget: Its limits are raised to these, and trials that were skipped for want of money wait again.
        merciful: Leave leases alone that ran out: Redis was away, and whoever holds them could not say that
            they are there. Sweeps take back what nobody spoke for.

    Raises:
        UsageError: The run has no plan in the store, so nobody knows what it should run; or its budget
            cannot be raised.
    """
    plan = await read_plan(run_id, store)
    if await is_forgotten(run_id, store=store, manifest=manifest):
        if budget is not None:
            raise UsageError(f"run {run_id} is over, and too old to be continued", hint="submit it again")
        return Resumed(0, 0, "sealed", 0)
    known = await is_known(run_id, manifest)
    await _command(plan, budget, store, manifest, dispatcher.signer, known=known)
    if not known:  # or what is stored already would be run again
        await restore(plan, store=store, manifest=manifest, signer=dispatcher.signer)
    await open_run(plan, manifest)
    if budget is not None:
        await _raise_budget(plan, budget, manifest)
    if (await manifest.counts(run_id)).paused_by:
        await _ask_again(manifest)
    if await seal(run_id, store=store, manifest=manifest) is not None:
        return Resumed(0, 0, "sealed", 0)
    await manifest.unpause(run_id)
    if not merciful:
        await manifest.expire(run_id)
    # First what had been released before, then what is released from there on: nothing twice.
    published = await publish_pending(plan, manifest=manifest, dispatcher=dispatcher)
    seeded, sent = await spread(plan, manifest=manifest, dispatcher=dispatcher)
    published += sent
    counts = await manifest.counts(run_id)
    return Resumed(seeded, published, counts.state, counts.total - counts.ended)


async def _command(
    plan: Plan, budget: Budget | None, store: Store, manifest: Manifest, signer: Signer, *, known: bool
) -> None:
    """Write down, before Redis is told, that a paused run is to go on, and what its budget is raised to."""
    change: dict[str, Any] = {}
    if budget is not None:
        _require_budget(plan, budget)
        change |= {"usd_max": budget.usd_max, "tokens_max": budget.tokens_max}
    if known:
        goes_on = (await manifest.counts(plan.run_id)).state == "paused"
    else:
        goes_on = (await read_control(plan.run_id, plan.home, store, signer)).wish == "pause"
    if goes_on:
        change["wish"] = "run"
    if change:
        await command(plan.run_id, plan.home, store, signer, **change)


async def is_known(run_id: str, manifest: Manifest) -> bool:
    """Tell whether Redis knows the run."""
    try:
        await manifest.counts(run_id)
    except NotFound:
        return False
    return True


def _require_budget(plan: Plan, budget: Budget) -> None:
    had = plan.budget or Budget()
    if (budget.usd_max is not None and had.usd_max is None) or (
        budget.tokens_max is not None and had.tokens_max is None
    ):
        raise UsageError(
            f"run {plan.run_id} was submitted without such a budget, so there is none to raise",
            hint="it spends what it takes; `salvo cancel` stops it",
        )


async def _raise_budget(plan: Plan, budget: Budget, manifest: Manifest) -> None:
    raised = await Ledger(manifest).raise_to(plan.run_id, budget, plan.total)
    spending = (await manifest.counts(plan.run_id)).budget
    if not raised and spending is not None and spending.closed:
        limits = [] if spending.usd_max is None else [f"${spending.usd_max:,.6g}"]
        limits += [] if spending.tokens_max is None else [f"{spending.tokens_max:,} tokens"]
        raise UsageError(
            f"run {plan.run_id} has a budget of {' and '.join(limits)}, and that is used up",
            hint="give more than that",
        )


async def _ask_again(manifest: Manifest) -> None:
    """Let providers be asked again that did not accept who we are: whoever resumes has mended that."""
    breakers = Breakers(manifest.redis, manifest.address)
    refusing = [one.provider for one in await breakers.troubles() if one.kind == "authentication"]
    await breakers.mended(refusing)


async def publish_pending(plan: Plan, *, manifest: Manifest, dispatcher: Dispatcher) -> int:
    """Send messages of released trials that nobody has begun, as far as there is room; return how many.

    Those that wait again for a place are left out: whoever makes one sends them. What there is no room for is
    found by a sweep, once the run stands still.

    This reads the released rows, so it is for repair, not for every day.
    """
    counts = await manifest.counts(plan.run_id)
    if counts.state not in ("submitting", "running", "cancelling"):
        return 0
    # Some always, however full others have made the queue: their trials do not end ours.
    room = max(await room_for(counts, dispatcher), min(LET_IN_ALWAYS, dispatcher.queued_max))
    sent, window = 0, list[int]()
    later = await manifest.waiting_again(plan.run_id) if counts.again else frozenset()
    async for row in manifest.rows(plan.run_id, 0, counts.released):
        if sent + len(window) == room:
            break
        if row.status == "pending" and row.index not in later:
            window.append(row.index)
        if len(window) >= PUBLISHED_AT_ONCE:
            sent += await publish(plan, window, dispatcher)
            window = []
    return sent + (await publish(plan, window, dispatcher) if window else 0)
