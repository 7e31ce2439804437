"""The door that has trials tried again that infrastructure ended: in the same run, under their own trace ids.

What an earlier attempt left is kept: its object stays where it is, named by its attempt, and the next
trace says which it follows and what that had paid. Turns that were completed are put back into the
journal, so that only the exchange that failed is asked for again (I3), unless something in them is
struck out or not kept: such a trial begins anew, and what it had paid counts in its cost all the same.

What holds if the process dies: each trial is one script, so it waits again with all it goes on from,
or nothing has changed. Those that were not reached are as they were; doing it again does the rest. Of
those that were, a sweep sends the messages that are missing. A run that Redis has forgotten is first
put back from its archive, rows before header: until the header is there, nobody sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from salvo_core.errors import ObjectCorrupt, ObjectMissing, UsageError
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.repairs import Reopening, Repairs, Restatement
from salvo_core.manifest.rows import TERMINAL, Row, Status
from salvo_core.run.control import command, read_control
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import is_forgotten, open_run, read_plan, release, room_for, spread
from salvo_core.trace.model import EarlierAttempt, Trace, Turn, Usage
from salvo_core.trace.stored import read_trace
from salvo_core.trial.earlier import added

AT_ONCE = 32
"""Traces that are read side by side."""

RETRIED: frozenset[Status] = frozenset({"infra_error"})
CHOSEN: frozenset[Status] = frozenset({"infra_error", "cancelled"})
"""What is tried again if it is named. A trial with a grade is not: that would be picking results."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What retrying came to, or would come to.

    Attributes:
        trials: That wait again.
        continued: Of them, those that go on from turns that are paid for.
        state: The run's state now.
    """

    trials: int
    continued: int
    state: str


async def retry(
    run_id: str,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    trace_ids: Collection[str] = (),
    errors_only: bool = False,
    dry_run: bool = False,
) -> Retried:
    """Attempt trials again: those that infrastructure ended, or those that are named.

    Doing it again changes nothing for trials that wait or run already.

    Args:
        run_id: The run; one that is over is opened again, and sealed anew in the end.
        store: Where its plan and traces are.
        manifest: Where its rows are.
        dispatcher: Sends the messages.
        trace_ids: The trials; none means all that ended as infra_error. Cancelled ones are retried only
            if they are named.
        errors_only: Of those that are named, leave out the ones that were cancelled.
        dry_run: Only tell what would be done.

    Raises:
        UsageError: A trial is not of this run or has a grade, the run is being cancelled, or what it
            was asked was not kept.
    """
    plan = await read_plan(run_id, store)
    if plan.rescore is not None:
        raise UsageError(
            f"{run_id} is a re-evaluation: no conversation of it can be held again",
            hint=f"`salvo retry {plan.rescore.run_id}` and then a new `salvo reeval`",
        )
    named = {_index(plan, trace_id) for trace_id in trace_ids}
    forgotten = await is_forgotten(run_id, store=store, manifest=manifest)
    if forgotten and not dry_run:
        await put_back(plan, store, manifest, dispatcher)
    repairs = Repairs(manifest)
    rows = await _rows(plan, store, repairs, forgotten=forgotten and dry_run)
    chosen = _chosen(rows, named, errors_only=errors_only)
    await require_orders(plan, {plan.cell_index(row.index) for _, row in chosen}, store)
    counts = None if forgotten and dry_run else await manifest.counts(run_id)
    if chosen and counts is not None and not dry_run:
        await let_go_on(plan, counts, store, manifest, dispatcher.signer)
    now_ms = counts.now_ms if counts else 0
    trials = continued = 0
    for low in range(0, len(chosen), AT_ONCE):
        window = chosen[low : low + AT_ONCE]
        again = await asyncio.gather(*(_again(plan, line, row, now_ms, store) for line, row in window))
        if dry_run:
            trials, continued = trials + len(again), continued + sum(bool(one.turns) for one in again)
            continue
        done = [one for one in again if await repairs.reopen(run_id, one, len(plan.cells))]
        trials, continued = trials + len(done), continued + sum(bool(one.turns) for one in done)
        # Before the messages: should this process die now, a sweep sends them.
        await repairs.look_after(run_id, round(plan.created_at.timestamp() * 1000))
        # What the queue has no room for is sent by sweeps as it empties.
        room = await room_for(await manifest.counts(run_id), dispatcher)
        await release(plan, room, manifest, dispatcher)
    state = "sealed" if forgotten and dry_run else (await manifest.counts(run_id)).state
    return Retried(trials, continued, state)


def _index(plan: Plan, trace_id: str) -> int:
    index = plan.index_of(trace_id)
    if index is None:
        raise UsageError(f"trial {trace_id[:60]} is not one of run {plan.run_id}")
    return index


async def _rows(plan: Plan, store: Store, repairs: Repairs, *, forgotten: bool) -> list[tuple[str, Row]]:
    """Return each row with its own text."""
    if forgotten:
        return [(row.encode(), row) for row in await Orders(store).rows(plan.run_id)]
    return [
        (line, Row.decode(index, line))
        async for index, line in repairs.lines(plan.run_id, plan.total)
        if line
    ]


def _chosen(
    rows: Sequence[tuple[str, Row]], named: Collection[int], *, errors_only: bool
) -> list[tuple[str, Row]]:
    wanted = RETRIED if errors_only or not named else CHOSEN
    for _, row in rows:
        if row.index in named and row.status in TERMINAL - CHOSEN:
            raise UsageError(
                f"trial {row.trace_id} ended as {row.status}: only trials that infrastructure ended, or that "
                "were cancelled, are tried again",
                hint="a result that does not please is a result; `salvo extend` adds trials, `salvo reeval` "
                "judges again",
            )
    return [(line, row) for line, row in rows if row.status in wanted and (not named or row.index in named)]


async def require_orders(plan: Plan, cells: Collection[int], store: Store) -> None:
    """Refuse what nobody could carry out: the run kept no content, and its scenarios went with its end.

    Raises:
        UsageError: A cell's scenario is not in the store.
    """
    orders = Orders(store)
    for number in sorted(cells):
        cell = plan.cells[number]
        try:
            await orders.scenario(plan, cell)
        except (ObjectMissing, ObjectCorrupt) as error:
            raise UsageError(
                f"what {cell.label} was asked is not in the store any more: {error.message}",
                hint="a run that keeps no content forgets its scenarios when it ends: submit it anew"
                if cell.withheld
                else "`salvo audit` tells what else is missing",
            ) from None


async def _again(plan: Plan, line: str, row: Row, now_ms: int, store: Store) -> Reopening:
    """Return how a trial goes on: from the turns of its trace, or from its beginning."""
    change = Restatement(row.index, line, row, Row(row.index, "pending", row.attempt, row.trace_id))
    if row.result is None:
        return Reopening(change)
    trace = await _trace(plan, row, store)
    kept = trace is not None and trace.recording == "full" and not trace.redacted
    turns = trace.turns if trace is not None and kept else ()
    before = trace.earlier if trace is not None else ()
    own = EarlierAttempt(
        attempt=row.attempt,
        worker=row.result.worker,
        how="retried",
        at_ms=now_ms,
        error=row.result.error or row.status,
        dropped_usage=_left_usage(row, turns, before),
        dropped_cost_usd=_left_cost_usd(row, turns, before),
    )
    votes = tuple(
        (one.request, vote)
        for one in (trace.judgements if trace is not None and kept else ())
        for vote in one.votes
        if vote.heard
    )
    return Reopening(change, (*before, own), turns, votes)


async def _trace(plan: Plan, row: Row, store: Store) -> Trace | None:
    if not row.recorded:
        return None
    key = keys.trace(plan.run_id, row.trace_id, row.attempt, plan.home)
    try:
        return read_trace(await store.get(key), key)
    except (ObjectMissing, ObjectCorrupt):
        return None  # it begins anew; what it had paid stands in the row


def _left_usage(row: Row, turns: Sequence[Turn], before: Sequence[EarlierAttempt]) -> Usage:
    """Return what the row was billed and the next attempt's turns do not account for."""
    assert row.result is not None
    known = sum((turn.billed for turn in turns), Usage())
    known = sum((one.dropped_usage for one in before), known)
    return Usage(
        input_tokens=max(0, row.result.input_tokens - known.input_tokens),
        output_tokens=max(0, row.result.output_tokens - known.output_tokens),
    )


def _left_cost_usd(row: Row, turns: Sequence[Turn], before: Sequence[EarlierAttempt]) -> float | None:
    assert row.result is not None
    known = added([*(turn.cost_usd for turn in turns), *(one.dropped_cost_usd for one in before)])
    if row.result.cost_usd is None or known is None:
        return None
    return max(0.0, added([row.result.cost_usd, -known]) or 0.0)


async def let_go_on(plan: Plan, counts: RunCounts, store: Store, manifest: Manifest, signer: Signer) -> None:
    """Let a run that is over go on: that it was cancelled is past, and its books do not expire with it."""
    if counts.state not in ("finished", "sealed"):
        return
    control = await read_control(plan.run_id, plan.home, store, signer)
    if control.wish != "run":
        await command(plan.run_id, plan.home, store, signer, wish="run", at_once=False)
    if (budget := control.raised(plan.budget)) is not None:
        await Ledger(manifest).open(plan.run_id, budget)


async def put_back(plan: Plan, store: Store, manifest: Manifest, dispatcher: Dispatcher) -> None:
    """Put a sealed run back into a Redis that has forgotten it, as its archive has it."""
    control = await read_control(plan.run_id, plan.home, store, dispatcher.signer)
    plan = plan.model_copy(update={"budget": control.raised(plan.budget)})
    rows = await Orders(store).rows(plan.run_id)
    repairs = Repairs(manifest)
    for low in range(0, len(rows), ROWS_PER_CALL):
        changes = [Restatement(row.index, "", None, row) for row in rows[low : low + ROWS_PER_CALL]]
        await repairs.restate(plan.run_id, changes, len(plan.cells))
    created_ms = round(plan.created_at.timestamp() * 1000)
    await open_run(plan, manifest, {"created_ms": created_ms, "released": len(rows)})
    await spread(plan, manifest=manifest, dispatcher=dispatcher)  # all rows are there: it is finished
