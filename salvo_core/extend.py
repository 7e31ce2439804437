"""The door that gives a run more trials: of the same cells, numbered on, under trace ids derived as before.

The order of writes is a submission's (I4): first the extension, an object of its own beside the plan
(``run.extension``), then the run's header, then rows and messages. Until the extension is stored
nothing has happened. Who dies after it leaves an order that the header does not know of yet: doing
it again takes it up. From the header on, a sweep finishes it like any submission.
"""

from __future__ import annotations

from dataclasses import dataclass

from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.manifest.live import Manifest
from salvo_core.retry import let_go_on, put_back, require_orders
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.extension import EXTENSIONS_MAX, Extension, extended
from salvo_core.run.orders import Orders
from salvo_core.run.plan import RUN_TRIALS_MAX, TRIALS_MAX, Plan
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import is_forgotten, read_plan, spread


@dataclass(frozen=True, slots=True)
class Extended:
    """What extending came to, or would come to.

    Attributes:
        added: Trials that the run has more, over all cells.
        trials: Repetitions of each cell now.
        state: The run's state now.
    """

    added: int
    trials: int
    state: str


async def extend(
    run_id: str,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    clock: Clock,
    by: int = 0,
    to: int = 0,
    idempotency_key: str = "",
    dry_run: bool = False,
) -> Extended:
    """Give each cell of a run more trials, or see to it that it has so many.

    Asked to see to a number, doing it again changes nothing; asked for more, only with the same key.

    Args:
        run_id: The run; one that is over is opened again, and sealed anew in the end.
        store: Where its plan is.
        manifest: Where its rows are.
        dispatcher: Signs the extension and sends the messages.
        clock: Dates the extension.
        by: How many more for each cell.
        to: How many for each cell in all; given instead of ``by``.
        idempotency_key: Two requests with one key are one.
        dry_run: Only tell what would be done.

    Raises:
        UsageError: The run cannot be extended; says why.
    """
    plan = await read_plan(run_id, store)
    _require_extensible(plan)
    cells = len(plan.cells)
    forgotten = await is_forgotten(run_id, store=store, manifest=manifest)
    if forgotten and not dry_run:
        await put_back(plan, store, manifest, dispatcher)
    if forgotten and dry_run:
        had, state = len(await Orders(store).rows(run_id)) // cells, "sealed"
    else:
        counts = await manifest.counts(run_id)
        had, state = counts.total // cells, counts.state
    wanted = to or had + by
    if idempotency_key and not dry_run:
        wanted = int(await manifest.reserve(f"extend {run_id} {idempotency_key}", str(wanted)))
    if wanted > TRIALS_MAX or wanted * cells > RUN_TRIALS_MAX:
        raise UsageError(
            f"{wanted:,} trials of each of {cells:,} cells are too many", hint="submit another run"
        )
    if wanted <= had:
        return Extended(0, had, state)
    await require_orders(plan, range(cells), store)
    if dry_run:
        return Extended((wanted - had) * cells, wanted, state)
    if state == "cancelling":
        raise _cancelling(run_id)
    await let_go_on(plan, await manifest.counts(run_id), store, manifest, dispatcher.signer)
    plan, written = await _stored(run_id, wanted, store, dispatcher, clock)
    if await manifest.extend(run_id, plan.total) is None:  # cancelled since we looked
        for key in written:
            await store.delete(key)
        raise _cancelling(run_id)
    await spread(plan, manifest=manifest, dispatcher=dispatcher)
    return Extended(plan.total - had * cells, plan.trials, (await manifest.counts(run_id)).state)


def _require_extensible(plan: Plan) -> None:
    if plan.rescore is not None:
        why, what = "is a re-evaluation", f"extend {plan.rescore.run_id} and evaluate it again"
    elif plan.trace_ids is not None:
        why, what = "was carried over from another Salvo", "submit a run of its scenarios"
    elif plan.early_stop:
        why, what = "stops cells early, by the number of trials it was ordered with", "submit another run"
    else:
        return
    raise UsageError(f"{plan.run_id} {why}: it cannot be extended", hint=what)


def _cancelling(run_id: str) -> UsageError:
    return UsageError(f"run {run_id} is being cancelled", hint="once it has ended, it can be extended")


async def _stored(
    run_id: str, trials: int, store: Store, dispatcher: Dispatcher, clock: Clock
) -> tuple[Plan, list[str]]:
    """Return the plan with at least so many trials, stored, and the keys that this call wrote."""
    written: list[str] = []
    while True:
        key = keys.plan(run_id)
        plan, number = await extended(Plan.decode(await store.get(key), key), store)
        if plan.trials >= trials:
            return plan, written  # if not ours: somebody died after that write, or was as quick as we are
        if number >= EXTENSIONS_MAX:
            raise UsageError(f"run {run_id} was extended {number:,} times already", hint="submit another run")
        one = Extension(run_id=run_id, number=number + 1, trials=trials, created_at=clock.now())
        key = keys.extension(run_id, number + 1)
        if await store.put_if_absent(key, one.signed(dispatcher.signer).encode()):
            written.append(key)
