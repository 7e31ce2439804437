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
import platform
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import ObjectCorrupt, ObjectMissing, SalvoError, StoreRefused, StoreUnavailable
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.document import Functions
from salvo_core.evaluation.grading import evaluate, grade
from salvo_core.evaluation.rescoring import Division, divide
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import SCORED, TERMINAL, Result, Row, Status
from salvo_core.record import Recorded, StoreClosed, read_trace, store_patiently
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Cell, Plan, TrialMessage
from salvo_core.run.rescored import SCHEMA, Cited, Found, Rescored
from salvo_core.scenario.model import Scenario
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.model import Finding, Provenance, ScenarioRef, Trace, TrialError
from salvo_core.trace.redaction import Redactor
from salvo_core.version import VERSION

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


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A trial that there is nothing to judge of: its row says what it said."""

    status: Status
    result: Result | None


@dataclass(frozen=True, slots=True)
class _Again:
    """A recording, and the assertions it is put to."""

    row: Row
    key: str
    trace: Trace
    recorded: Sequence[AssertionSpec]
    """What its findings count in; empty if that scenario is gone."""
    scenario: Scenario


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
        StoreClosed: The store is away: the trial goes back.
    """
    claim, row = held.claim, None
    if claim.purpose == "close_cancelled":
        return Unchanged("cancelled", None)
    try:
        if claim.purpose == "close_lost":
            raise _Unscorable(_lost(plan.attempts_max))
        row = await _source_row(plan, held, desk)
        if not _has_a_conversation(row):
            return Unchanged(row.status, row.result and replace(row.result, digest=""))
        again = await _read(plan, row, held, desk)
        record = await _scored(again, plan, held, desk)
    except _Unscorable as problem:
        record = _unscored(problem.error, plan, row, held, desk)
    except (StoreUnavailable, StoreRefused) as error:
        raise StoreClosed(f"the recording could not be read: {error}") from error
    agents = row.result if row else None
    ended = await asyncio.to_thread(_encoded, record, agents, _redactor(desk))

    def reread(key: str, stored: bytes) -> Recorded:
        digest = codec.digest_of(SCHEMA, stored, where=key)
        there = Rescored.decode(stored, key)
        return Recorded(key, stored, cast(Status, there.status), _result(there, agents, digest))

    return await store_patiently(ended, held, desk.store, desk.clock, reread)


def _has_a_conversation(row: Row) -> bool:
    """Tell whether there is something to judge: a graded trial, or one that only lacks its judge."""
    if row.result is None or not row.recorded:
        return False
    return row.status in SCORED or (row.status == "infra_error" and row.result.error == "judge")


async def _source_row(plan: Plan, held: HeldTrial, desk: Desk) -> Row:
    """Return the recording's row: Redis's, or the sealed one where Redis has forgotten it."""
    assert plan.rescore is not None
    source_id, index = plan.rescore.run_id, _source_index(plan, held.claim.index)
    row = await anext(desk.manifest.rows(source_id, index, index + 1), None)
    if row is None:
        try:
            sealed = await desk.orders.rows(source_id)
        except (ObjectMissing, ObjectCorrupt) as error:
            raise _Unscorable(_store_error(error)) from error
        row = next((one for one in sealed[index : index + 1] if one.index == index), None)
    if row is None or row.trace_id != held.claim.trace_id or row.status not in TERMINAL:
        raise _Unscorable(
            TrialError(kind="store", message=f"run {source_id} has no trial {index} that has ended")
        )
    return row


def _source_index(plan: Plan, index: int) -> int:
    assert plan.rescore is not None
    return index if plan.rescore.index is None else plan.rescore.index


async def _read(plan: Plan, row: Row, held: HeldTrial, desk: Desk) -> _Again:
    assert plan.rescore is not None
    assert row.result is not None
    source_id = plan.rescore.run_id
    key = keys.trace(source_id, row.trace_id, row.attempt)
    try:
        stored = await desk.store.get(key)
        trace = await asyncio.to_thread(read_trace, stored, key, row.result.digest)
        scenario = await desk.orders.scenario(plan.cells[plan.cell_index(held.claim.index)].scenario_digest)
        source = await desk.orders.plan(source_id)
    except (ObjectMissing, ObjectCorrupt) as error:
        raise _Unscorable(_store_error(error)) from error
    try:
        recorded = await desk.orders.scenario(source.cells[source.cell_index(row.index)].scenario_digest)
    except (ObjectMissing, ObjectCorrupt):
        return _Again(row, key, trace, (), scenario)
    return _Again(row, key, trace, recorded.assertions, scenario)


async def _scored(again: _Again, plan: Plan, held: HeldTrial, desk: Desk) -> Rescored:
    assert plan.rescore is not None
    trace, assertions = again.trace, again.scenario.assertions
    division = divide(
        assertions,
        again.recorded,
        trace.findings,
        judging=plan.rescore.judging,
        fresh_votes=plan.rescore.fresh_votes,
        redacted=trace.redacted,
        content=trace.recording == "full",
    )
    _require_something(division, plan, trace)
    try:
        findings = await asyncio.to_thread(_findings, again, division, desk)
    except Exception as error:  # a fault of ours must end in a row that says so, not in a worker "lost"
        logger.exception("trial %s could not be scored again for a fault of Salvo's own", trace.trace_id)
        raise _Unscorable(_internal_error(error)) from error
    cell = plan.cells[plan.cell_index(held.claim.index)]
    graded = grade(findings, cell.threshold, outcome=trace.outcome)
    return Rescored(
        **_identity(plan, held, desk),
        source=_cited(plan, again.row, again.key),
        outcome=trace.outcome,
        before=Found(
            scenario=trace.scenario,
            threshold=trace.threshold,
            findings=trace.findings,
            score=trace.score,
            grade=trace.grade,
        ),
        after=Found(
            scenario=_scenario_ref(cell),
            threshold=cell.threshold,
            findings=findings,
            score=graded.score,
            grade=graded.grade,
        ),
        kept=tuple(division.kept),
        left_out=division.left_out,
        recording=trace.recording,
    )


def _require_something(division: Division, plan: Plan, trace: Trace) -> None:
    """Refuse a record that cannot answer what it is asked, unless that was agreed to.

    Who orders a re-evaluation is told before; this holds for a recording that says otherwise than its run.
    """
    assert plan.rescore is not None
    unkept = bool(division.left_out) and trace.recording != "full"
    if unkept and not (plan.rescore.allow_partial and (division.kept or division.again)):
        raise _Unscorable(
            TrialError(
                kind="scenario",
                message=f"{len(division.left_out)} assertions need what was said, which is not recorded",
                hint="--allow-partial-reeval leaves them out, if others remain",
            )
        )


def _findings(again: _Again, division: Division, desk: Desk) -> tuple[Finding, ...]:
    """Return the findings by place: those that stand, and those made now."""
    assertions = again.scenario.assertions
    made = evaluate(
        again.trace,
        [assertions[place] for place in division.again],
        redact=_redactor(desk).document,
        functions=desk.functions,
    )
    found = dict(division.kept)
    for place, finding in zip(division.again, made, strict=True):
        affected = again.trace.redacted and assertions[place].needs_content()
        found[place] = finding.model_copy(update={"assertion": place, "redaction_affected": affected})
    return tuple(found[place] for place in sorted(found))


def _unscored(error: TrialError, plan: Plan, row: Row | None, held: HeldTrial, desk: Desk) -> Rescored:
    cell = plan.cells[plan.cell_index(held.claim.index)]
    assert plan.rescore is not None
    index = _source_index(plan, held.claim.index)
    cited = Row(index, "pending", 0, held.claim.trace_id) if row is None else row
    key = keys.trace(plan.rescore.run_id, cited.trace_id, cited.attempt) if row else ""
    return Rescored(
        **_identity(plan, held, desk),
        source=_cited(plan, cited, key),
        outcome="infra_error",
        error=error,
        after=Found(scenario=_scenario_ref(cell), threshold=cell.threshold),
    )


def _identity(plan: Plan, held: HeldTrial, desk: Desk) -> dict[str, Any]:
    claim = held.claim
    return {
        "reeval_id": plan.run_id,
        "index": claim.index,
        "cell": plan.cell_index(claim.index),
        "attempt": claim.attempt,
        "evaluated_at": desk.clock.now(),
        "provenance": Provenance(
            salvo_version=VERSION,
            python_version=platform.python_version(),
            host=socket.gethostname(),
            worker=claim.worker,
        ),
    }


def _cited(plan: Plan, row: Row, key: str) -> Cited:
    assert plan.rescore is not None
    return Cited(
        run_id=plan.rescore.run_id,
        trace_id=row.trace_id,
        index=row.index,
        key=key,
        digest=row.result.digest if row.result else "",
    )


def _scenario_ref(cell: Cell) -> ScenarioRef:
    return ScenarioRef(digest=cell.scenario_digest, name=cell.scenario_name, file=cell.scenario_file)


def _encoded(record: Rescored, agents: Result | None, redactor: Redactor) -> Recorded:
    body, digest = codec.encode(SCHEMA, redactor.record(record), compress=True)
    key = keys.trace(record.reeval_id, record.source.trace_id, record.attempt, keys.REEVALS)
    return Recorded(key, body, cast(Status, record.status), _result(record, agents, digest))


def _result(record: Rescored, agents: Result | None, digest: str) -> Result:
    """Return the row's result: what is found now, and what the recorded conversation took.

    Args:
        record: What is found now.
        agents: The recording's; None when nobody knows it.
        digest: Of the stored record.
    """
    return replace(
        agents or _NOTHING_KNOWN,
        score=record.after.score,
        outcome=record.outcome,
        error=record.error.kind if record.error else "",
        worker=record.provenance.worker,
        digest=digest,
        failed=tuple(
            (finding.assertion, finding.score) for finding in record.after.findings if not finding.passed
        ),
        judge_cost_usd=record.judge_cost_usd,
        judged=(),
    )


_NOTHING_KNOWN = Result(None, None, 0.0, 0.0, 0, 0, 0, 0, "infra_error", "", "", "")


def _redactor(desk: Desk) -> Redactor:
    return Redactor(desk.adapters.known_secrets(), desk.redaction_patterns)


def _store_error(error: SalvoError) -> TrialError:
    return TrialError(kind="store", message=error.message, hint=error.hint)


def _lost(attempts_max: int) -> TrialError:
    return TrialError(
        kind="worker_lost",
        message=f"{attempts_max} workers in a row vanished while they scored this trial again",
        hint="look at those workers' logs and memory; something in this trial may end them",
    )


def _internal_error(error: Exception) -> TrialError:
    return TrialError(
        kind="internal",
        message=f"Salvo could not score this trial again: {str(error)[:300]}",
        error_class=type(error).__name__,
        hint="the worker's log has the details; please report it",
    )
