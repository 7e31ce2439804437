"""The doors that stop a run: for good, or until it is resumed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from salvo_core.errors import RedisUnavailable
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.resume import publish_pending
from salvo_core.run.control import note_command
from salvo_core.run.dispatch import Dispatcher
from salvo_core.seal import seal
from salvo_core.store.keys import home_of
from salvo_core.store.protocol import Store
from salvo_core.submit import read_plan, spread


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What cancelling came to.

    Attributes:
        changed: False when the run was cancelled or over already.
        state: The run's state now; ``cancelling`` while trials in flight end their turn.
        ended: Trials that had not begun and now never will.
    """

    changed: bool
    state: str
    ended: int


def would_cancel(counts: RunCounts) -> Cancelled:
    """Return what ``cancel`` would come to for a run that stands so; ``state`` is the one it has.

    ``ended`` counts all that nobody is at work on: those that were given back half way among them
    end with what they had paid for.
    """
    open_still = counts.state in ("submitting", "running", "paused")
    left = counts.total - counts.ended - counts.statuses["running"]
    return Cancelled(open_still, counts.state, left if open_still else 0)


async def cancel(
    run_id: str, *, store: Store, manifest: Manifest, dispatcher: Dispatcher, at_once: bool = False
) -> Cancelled:
    """Stop a run: what has not begun never will, what runs ends at its turn and is kept.

    Doing it again finishes a cancellation that was interrupted, and otherwise changes nothing.

    Args:
        run_id: The run.
        store: Where its plan lies.
        manifest: Where its rows are.
        dispatcher: Sends the trials that a worker must close.
        at_once: What runs is not given the time to end its turn either: it stops as soon as its worker
            hears of it, at the latest when that renews its leases. What was journaled is kept; what the
            exchange under way costs is never known.

    Raises:
        NotFound: There is no such run in Redis.
    """
    before = await manifest.counts(run_id)
    if before.state in ("submitting", "running", "paused") or (at_once and before.state == "cancelling"):
        # First: a run that Redis loses is not to go on. A store that is away keeps nobody from cancelling.
        home, now = home_of(reeval=before.reeval), at_once or None
        await note_command(run_id, home, store, dispatcher.signer, wish="cancel", at_once=now)
    changed, state = await manifest.cancel(run_id, at_once=at_once)
    if state != "cancelling":
        counts = await manifest.counts(run_id)
        return Cancelled(changed, counts.state, 0)
    plan = await read_plan(run_id, store)
    # A submission that died half way has no rows to cancel yet; every trial ends in a row (I1).
    await spread(plan, manifest=manifest, dispatcher=dispatcher)
    ended = 0
    for start in range(0, plan.total, ROWS_PER_CALL):
        rows, _ = await manifest.cancel_rows(run_id, start, min(start + ROWS_PER_CALL, plan.total))
        ended += rows
    # Of a nightly they may be a hundred thousand, and workers would take each to find its trial over. Where
    # they stay, that is all they do: a broker that does not let us keeps nobody from cancelling.
    with suppress(RedisUnavailable):
        await dispatcher.withdraw(run_id, plan.route)
    # Trials with turns in their journal are closed by a worker, so that what was paid is kept.
    await publish_pending(plan, manifest=manifest, dispatcher=dispatcher)
    await seal(run_id, store=store, manifest=manifest)
    return Cancelled(changed, (await manifest.counts(run_id)).state, ended)
