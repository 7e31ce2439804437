"""The door of a worker that looks at a recorded trial again: from its trace to a new row.

Nothing is said anew. What the recording holds is read and checked, the assertions in force are
put to it as ``evaluation.rescoring`` divides them, and what they find is stored as a small record
beside the re-evaluation; the recording itself is never touched. Writes go as in an
attempt: votes to the journal as they come, the record before the row that names it (I2), the
row only from the attempt that holds the trial. A worker that dies has changed nothing but the
journal, and whoever goes on asks for no vote twice.

A trial without a grade for want of its agent's infrastructure, or because it was cancelled or
skipped, stays what it was: there is nothing to judge (I6). One that only lacks its judge is judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from salvo_core.adapters.gate import Barred
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import ObjectCorrupt, ObjectMissing, SalvoError, StoreRefused, StoreUnavailable
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.document import Functions
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.panel import Forms
from salvo_core.evaluation.judge.recollection import recalled
from salvo_core.evaluation.rescoring import (
    Division,
    Known,
    cost_of_new_usd,
    divide,
    judged_before,
    known_votes,
)
from salvo_core.fleet.breaker import Breakers
from salvo_core.fleet.gate import gate_of
from salvo_core.fleet.turnstile import Turnstiles
from salvo_core.judge import brief_of, judge
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import SCORED, TERMINAL, Result, Row, Status
from salvo_core.record import Recorded, StoreClosed, graded, store_patiently
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Cell, Plan, Rescore, TrialMessage
from salvo_core.run.rescored import SCHEMA, Rescored, blank_record, filled
from salvo_core.scenario.snapshot import Snapshot
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.model import Finding, Trace, TrialError, Vote
from salvo_core.trace.redaction import Redactor
from salvo_core.trace.stored import read_trace
from salvo_core.trial.endings import as_trial_error, internal_error, log_fault, worker_lost

logger = logging.getLogger(__name__)


class Desk(Protocol):
    """What scoring again needs of a worker; an attempt's bench has it all."""

    @property
    def store(self) -> Store: ...  # noqa: D102
    @property
    def manifest(self) -> Manifest: ...  # noqa: D102
    @property
    def orders(self) -> Orders: ...  # noqa: D102
    @property
    def adapters(self) -> AdapterRegistry: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102
    @property
    def functions(self) -> Functions | None: ...  # noqa: D102
    @property
    def redaction_patterns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def forms(self) -> Forms: ...  # noqa: D102
    @property
    def breakers(self) -> Breakers: ...  # noqa: D102
    @property
    def turnstiles(self) -> Turnstiles: ...  # noqa: D102
    @property
    def ledger(self) -> Ledger: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A trial that there is nothing to judge of: its row says what it said."""

    status: Status
    result: Result | None


@dataclass(frozen=True, slots=True)
class _Task:
    """One trial of a re-evaluation, held by this worker."""

    plan: Plan
    order: Rescore
    held: HeldTrial
    desk: Desk

    @property
    def cell(self) -> Cell:
        return self.plan.cells[self.plan.cell_index(self.held.claim.index)]

    @property
    def source_index(self) -> int:
        return self.held.claim.index if self.order.index is None else self.order.index

    @property
    def redactor(self) -> Redactor:
        patterns = (*self.desk.redaction_patterns, *self.plan.recording.patterns)
        return Redactor(self.desk.adapters.known_secrets(), patterns)

    def blank(self, row: Row | None) -> Rescored:
        """Return the trial's record with nothing found yet; ``row`` is the recording's, if it is known."""
        claim = self.held.claim
        return blank_record(
            self.plan,
            row or Row(self.source_index, "pending", 0, claim.trace_id),
            index=claim.index,
            attempt=claim.attempt,
            worker=claim.worker,
            now=self.desk.clock.now(),
        )


@dataclass(frozen=True, slots=True)
class _Again:
    """A recording, and the assertions it is put to."""

    row: Row
    trace: Trace
    recorded: Sequence[Known]
    """What its findings count in; empty if that scenario is gone."""
    snapshot: Snapshot
    """What it is judged by."""
    same: bool
    """Whether that is the scenario it was recorded with."""
    same_task: bool
    """Whether it tells the agent what the recorded one did."""

    @property
    def assertions(self) -> Sequence[Known]:
        return _known(self.snapshot)


class _Unscorable(Exception):
    """The trial cannot be scored again, and why."""

    def __init__(self, error: TrialError) -> None:
        super().__init__(error.message)
        self.error = error


async def rescoring(message: TrialMessage, orders: Orders) -> Plan | None:
    """Return the plan of a re-evaluation if the message is of one.

    What is wrong with a plan or a message is the attempt's to tell.
    """
    try:
        plan = await orders.plan(message.run_id)
    except SalvoError:
        return None
    known = message.index < plan.total and plan.message(message.index) == message
    return plan if plan.rescore is not None and known else None


async def rescore(plan: Plan, held: HeldTrial, desk: Desk) -> Recorded | Unchanged:
    """Return what a trial of a re-evaluation comes to; its record is stored.

    Raises:
        LeaseLost: Another attempt holds the trial.
        Leaving: The worker is shutting down; votes that were under way have been journaled.
        StoreClosed: The store is away: the trial goes back.
        Barred: A judge's provider is to be awaited, or the budget does not reach for its first vote.
    """
    assert plan.rescore is not None
    task, row = _Task(plan, plan.rescore, held, desk), None
    if held.claim.purpose != "run" and not await desk.manifest.voted(plan.run_id, held.claim.index):
        # Nothing has been paid for that could be kept.
        if held.claim.purpose == "close_cancelled":
            return Unchanged("cancelled", None)
        return await _stored(_unscored(worker_lost(task.held.claim.past), None, task), None, task)
    try:
        row = await _source_row(task)
        if not _has_a_conversation(row):
            return Unchanged(row.status, row.result and row.result._replace(digest="", judged=()))
        record = await _scored(await _read(row, task), task)
    except _Unscorable as problem:
        record = _unscored(problem.error, row, task)
    except (StoreUnavailable, StoreRefused) as error:
        raise StoreClosed(f"the recording could not be read: {error}") from error
    return await _stored(record, row.result if row else None, task)


async def _stored(record: Rescored, agents: Result | None, task: _Task) -> Recorded:
    """Return the trial with its record durable; ``agents`` is what the conversation took."""
    key = keys.trace(record.reeval_id, record.source.trace_id, record.attempt, keys.REEVALS)
    body, digest = await asyncio.to_thread(record.encode, task.redactor)
    ended = Recorded(key, body, cast(Status, record.status), record.result(agents, digest))

    def reread(key: str, stored: bytes) -> Recorded:
        found = codec.digest_of(SCHEMA, stored, where=key)
        there = Rescored.decode(stored, key)
        return Recorded(key, stored, cast(Status, there.status), there.result(agents, found))

    return await store_patiently(ended, task.held, task.desk.store, task.desk.clock, reread)


def _has_a_conversation(row: Row) -> bool:
    """Tell whether there is something to judge: a graded trial, or one that only lacks its judge."""
    if row.result is None or not row.recorded:
        return False
    return row.status in SCORED or (row.status == "infra_error" and row.result.error == "judge")


async def _source_row(task: _Task) -> Row:
    """Return the recording's row: Redis's, or the sealed one where Redis has forgotten it."""
    source_id, index, orders = task.order.run_id, task.source_index, task.desk.orders
    row = await anext(task.desk.manifest.rows(source_id, index, index + 1), None)
    if row is None:
        try:
            sealed = await orders.rows(source_id)
        except (ObjectMissing, ObjectCorrupt) as error:
            raise _Unscorable(as_trial_error("store", error)) from error
        row = next((one for one in sealed[index : index + 1] if one.index == index), None)
    if row is None or row.trace_id != task.held.claim.trace_id or row.status not in TERMINAL:
        raise _Unscorable(
            TrialError(kind="store", message=f"run {source_id} has no trial {index} that has ended")
        )
    return row


async def _read(row: Row, task: _Task) -> _Again:
    assert row.result is not None
    desk, key = task.desk, keys.trace(task.order.run_id, row.trace_id, row.attempt)
    try:
        stored = await desk.store.get(key)
        trace = await asyncio.to_thread(read_trace, stored, key, row.result.digest)
        source = await desk.orders.recorded(task.order.run_id)
        cell = source.cells[source.cell_index(row.index)]
        same = cell.scenario_digest == task.cell.scenario_digest
        if task.cell.withheld and not same:
            snapshot = Snapshot.of(await desk.orders.scenario(task.plan, task.cell))
        else:
            snapshot = await desk.orders.snapshot(task.plan, task.cell)
    except (ObjectMissing, ObjectCorrupt) as error:
        raise _Unscorable(as_trial_error("store", error)) from error
    try:
        recorded = _known(await desk.orders.snapshot(source, cell))
    except (ObjectMissing, ObjectCorrupt):
        recorded = ()
    same_task = same or cell.agent_digest == task.cell.agent_digest != ""
    return _Again(row, trace, recorded, snapshot, same, same_task)


def _known(snapshot: Snapshot) -> Sequence[Known]:
    return [one if isinstance(one, AssertionSpec) else None for one in snapshot.assertions]


async def _scored(again: _Again, task: _Task) -> Rescored:
    order, trace = task.order, again.trace
    division = divide(
        again.assertions,
        again.recorded,
        trace.findings,
        same=again.same,
        judging=order.judging,
        fresh_votes=order.fresh_votes,
        redacted=trace.redacted or not again.snapshot.whole,
        content=trace.recording == "full",
    )
    _require_something(division, task, trace)
    asked, ballots, paid = await _judged(again, division, task)
    if asked.outcome != "cancelled" and asked.error is None:
        try:
            findings = await asyncio.to_thread(_findings, again, division, ballots, task)
        except Exception as error:  # a fault of ours must end in a row that says so, not in a worker "lost"
            what = f"trial {trace.trace_id} is not scored for a fault of Salvo's own"
            log_fault(logger, what, error, task.plan.recording)
            raise _Unscorable(internal_error(error)) from error
        asked = graded(asked.model_copy(update={"findings": findings, "threshold": task.cell.threshold}))
    return filled(
        task.blank(again.row),
        trace,
        asked,
        division,
        labels=task.cell.assertions,
        judge_cost_usd=paid,
        mode=task.plan.recording.mode,
    )


def _require_something(division: Division, task: _Task, trace: Trace) -> None:
    """Refuse a record that cannot answer what it is asked, unless that was agreed to.

    Who orders a re-evaluation is told before; this holds for a recording that says otherwise than its run.
    """
    if not division.left_out:
        return
    unkept = trace.recording != "full"
    if (unkept and not task.order.allow_partial) or not (division.kept or division.again):
        why = "what was said, which is not recorded" if unkept else "a judge, and none is asked"
        raise _Unscorable(
            TrialError(
                kind="scenario",
                message=f"{len(division.left_out)} of {len(task.cell.assertions)} assertions need {why}",
                hint="--allow-partial-reeval leaves them out, if others remain" if unkept else "",
            )
        )


async def _judged(
    again: _Again, division: Division, task: _Task
) -> tuple[Trace, Mapping[Judge, Ballot], float | None]:
    """Return the recording with what judges say of it now, their ballots, and the new votes' cost, USD."""
    blank = again.trace.model_copy(
        update={"error": None, "findings": (), "judgements": (), "judged": (), "score": None, "grade": None}
    )
    past = {} if task.order.fresh_votes else known_votes(again.trace)
    part = again.snapshot.scenario.model_copy(
        update={"assertions": [again.assertions[place] for place in division.again]}
    )
    if past and (again.trace.redacted or not again.snapshot.whole):
        past |= await asyncio.to_thread(
            recalled,
            again.trace,
            part.assertions,
            again.recorded,
            brief_of(part),
            past,
            defaults=task.plan.judge,
            same_task=again.same_task,
        )
    desk = task.desk
    gate = gate_of(task.held, desk)
    gate.budget, gate.opens = task.plan.budget, "judge"
    gate.discreet = task.plan.recording.mode != "full" or bool(task.plan.recording.patterns)
    heard, ballots = await judge(
        blank,
        part,
        task.held,
        plan=task.plan,
        adapters=desk.adapters,
        manifest=desk.manifest,
        clock=desk.clock,
        forms=desk.forms,
        past=past,
        gate=gate.of("judge"),
    )
    await gate.close()
    if heard.error is not None and heard.error.kind == "budget" and not _new_votes(heard, past):
        raise Barred("budget", heard.error.message)  # as if it had never begun: a higher budget lets it
    stand, stood = judged_before(again.trace, division.origin)
    judgements = tuple(
        one.model_copy(update={"assertions": tuple(division.again[place] for place in one.assertions)})
        for one in heard.judgements
    )
    judged = [one.model_copy(update={"assertion": division.again[one.assertion]}) for one in heard.judged]
    update = {
        "judgements": judgements + stand,
        "judged": tuple(sorted([*judged, *stood], key=lambda one: one.assertion)),
    }
    return heard.model_copy(update=update), ballots, cost_of_new_usd(judgements, past)


def _new_votes(heard: Trace, past: Mapping[tuple[str, int], Vote]) -> bool:
    return any(past.get((one.request, vote.number)) != vote for one in heard.judgements for vote in one.votes)


def _findings(
    again: _Again, division: Division, ballots: Mapping[Judge, Ballot], task: _Task
) -> tuple[Finding, ...]:
    """Return the findings by place: those that stand, and those made now."""
    asked = {place: one for place in division.again if (one := again.assertions[place])}
    made = evaluate(
        again.trace,
        list(asked.values()),
        redact=task.redactor.document,
        functions=task.desk.functions,
        ballots=ballots,
    )
    found = dict(division.kept)
    for (place, assertion), finding in zip(asked.items(), made, strict=True):
        affected = again.trace.redacted and assertion.needs_content()
        found[place] = finding.model_copy(update={"assertion": place, "redaction_affected": affected})
    return tuple(found[place] for place in sorted(found))


def _unscored(error: TrialError, row: Row | None, task: _Task) -> Rescored:
    return task.blank(row).model_copy(update={"error": error})
