"""The door that puts right what an audit found, as far as that is safe.

Every step is a script that does nothing when what was read has changed since, or a write that
comes to the same bytes. Dying before a step leaves the discrepancy, dying after it leaves one
fewer, and there is no between; auditing and repairing again goes on from there. No provider is
asked for anything but what ``rerun`` allows and what an unfinished run owes anyway.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from salvo_core.audit import true_header
from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.manifest.counters import recounted
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.repairs import Repairs, Restatement
from salvo_core.manifest.rows import Row
from salvo_core.run.discrepancies import Audit, Discrepancy, Remedy
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Plan
from salvo_core.run.summary import Summary
from salvo_core.seal import fold, seal
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import open_run, publish

RECOUNTS_MAX = 5
"""Times a run is counted that moves while it is; paused or over, it is still."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done.

    Attributes:
        restated: Rows that say now what their stored trace says.
        sent: Trials that are run (again).
        pruned: Objects of losing attempts that were deleted.
        sealed: Whether archive and summary were written.
    """

    restated: int
    sent: int
    pruned: int
    sealed: bool


async def repair(
    found: Audit,
    *,
    store: Store,
    manifest: Manifest,
    dispatcher: Dispatcher,
    rerun: bool = False,
    prune: bool = False,
) -> Repaired:
    """Put right what an audit found.

    Args:
        found: A fresh audit.
        store: The run's objects.
        manifest: Its rows.
        dispatcher: Sends trials that are run again.
        rerun: Whether trials that have ended and of which no whole trace is left are run again. Costs.
        prune: Whether objects of attempts that lost their trial are deleted.
    """
    repairs, plan, wrong = Repairs(manifest), found.plan, found.discrepancies
    remedies = {one.remedy for one in wrong}
    restated = [one.change for one in wrong if one.remedy == "restate" and one.change]
    again = [one.change for one in wrong if one.remedy == "rerun" and one.change] if rerun else []
    sealed = False
    if "header" in remedies:
        await repairs.restore_header(plan.run_id, true_header(plan, found.state))
    if found.live:
        await _restate(restated, plan, repairs)
    else:
        rows = _with(found.rows, restated)
        if restated or "seal" in remedies:
            await _seal_again(found, rows, store)
            sealed = True
        if again:
            await _bring_back(found, rows, manifest, repairs)
    await _restate(again, plan, repairs)
    for one in wrong:
        if one.remedy == "tidy" and one.index is not None:
            await repairs.tidy(plan.run_id, one.index)
    live = found.live or bool(again)
    if live and (restated or again or "recount" in remedies):
        await _recount(plan, repairs)
    sent = 0
    if live:
        sent = await _go_on(found, [*restated, *again], remedies, manifest, repairs, dispatcher)
        touched = bool(restated) or bool(remedies & {"seal", "recount"})
        if touched and await seal(plan.run_id, store=store, manifest=manifest) is not None:
            sealed = True
    if prune:
        for key in found.losing:
            await store.delete(key)
    return Repaired(
        restated=sum(change.after.result is not None for change in restated),
        sent=sent,
        pruned=len(found.losing) if prune else 0,
        sealed=sealed,
    )


async def _restate(changes: Sequence[Restatement], plan: Plan, repairs: Repairs) -> None:
    for low in range(0, len(changes), ROWS_PER_CALL):
        await repairs.restate(plan.run_id, changes[low : low + ROWS_PER_CALL], len(plan.cells))


def _with(rows: Iterable[Row], changes: Iterable[Restatement]) -> list[Row]:
    by_index = {row.index: row for row in rows} | {change.index: change.after for change in changes}
    return [by_index[index] for index in sorted(by_index)]


async def _seal_again(found: Audit, rows: Sequence[Row], store: Store) -> None:
    """Write archive and summary of a run that Redis has forgotten; the archive first, as sealing does."""
    plan = found.plan
    key = keys.summary(plan.run_id, plan.home)
    try:
        budget = Summary.decode(await store.get(key), key).budget
    except (ObjectMissing, ObjectCorrupt):
        budget = None  # what it spent is not in the rows
    summary, archive = await fold(
        plan, rows, store, started_ms=found.started_ms, finished_ms=found.finished_ms, budget=budget
    )
    await store.put(keys.manifest(plan.run_id, plan.home), archive)
    await store.put(keys.summary(plan.run_id, plan.home), summary.encode()[0])


async def _bring_back(found: Audit, rows: Sequence[Row], manifest: Manifest, repairs: Repairs) -> None:
    """Let Redis know a run again that it had forgotten: rows, then header, so that it is never half there."""
    plan = found.plan
    await _restate([Restatement(row.index, "", None, row) for row in rows], plan, repairs)
    past = {"created_ms": round(plan.created_at.timestamp() * 1000)}
    past |= {"seeded": plan.total, "released": plan.total}
    past |= {} if found.started_ms is None else {"started_ms": found.started_ms}
    await open_run(plan, manifest, past)
    await manifest.submitted(plan.run_id)  # which finds every trial ended


async def _recount(plan: Plan, repairs: Repairs) -> bool:
    """Count again until the run stands still for as long as that takes; False when it never does."""
    for _ in range(RECOUNTS_MAX):
        read = await repairs.counters(plan.run_id)
        lines = [(index, line) async for index, line in repairs.lines(plan.run_id, plan.total)]
        right = recounted(_readable(lines), len(plan.cells))
        if await repairs.recount(plan.run_id, read, right):
            return True
    return False


def _readable(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for index, line in lines:
        # A row that is nonsense and may not be run again counts as none, as it does in the audit.
        with contextlib.suppress(TypeError, ValueError, IndexError):
            yield Row.decode(index, line)


async def _go_on(
    found: Audit,
    changes: Sequence[Restatement],
    remedies: set[Remedy],
    manifest: Manifest,
    repairs: Repairs,
    dispatcher: Dispatcher,
) -> int:
    """Have the run looked after if it is not over, and send what waits; return the messages sent."""
    plan = found.plan
    waiting = [change.index for change in changes if change.after.result is None]
    owed = [
        one.index
        for one in found.discrepancies
        if one.kind == "not_ended" and one.change is None and one.index is not None
    ]
    if waiting or owed or "watch" in remedies:
        counts = await manifest.counts(plan.run_id)
        if counts.state not in ("paused", "sealed"):
            await repairs.look_after(plan.run_id, counts.created_ms)
    return await publish(plan, [*waiting, *owed], dispatcher) if waiting or owed else 0


def within_reach(one: Discrepancy, *, rerun: bool) -> bool:
    """Tell whether ``repair`` would put this right."""
    return one.remedy not in ("none", "rerun") or (one.remedy == "rerun" and rerun)
