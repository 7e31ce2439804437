"""From a finished conversation to durable bytes and the row that will name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, ObjectCorrupt, StoreRefused, StoreUnavailable
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.document import Functions
from salvo_core.evaluation.grading import UNGRADED, evaluate, grade, ungradable
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.keeping import kept
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.rows import Result, Status
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.model import Finding, Trace, TrialError
from salvo_core.trace.recording import RecordingMode
from salvo_core.trace.redaction import Redactor
from salvo_core.trace.stored import SCHEMA, read_trace

PATIENCE_S = 3600.0
"""How long one attempt waits for a store that fails; after that the trial goes back, journal and all."""

_WAIT_FIRST_S, _WAIT_MAX_S = 0.5, 30.0
logger = logging.getLogger(__name__)


class StoreClosed(Exception):
    """The trace could not be stored in this attempt's time; its turns stay in the journal."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A trial ready to be stored and committed."""

    key: str
    body: bytes
    status: Status
    result: Result


def finish(
    trace: Trace,
    assertions: Sequence[AssertionSpec],
    redactor: Redactor,
    functions: Functions | None = None,
    ballots: Mapping[Judge, Ballot] | None = None,
    *,
    mode: RecordingMode = "full",
    labels: Sequence[str] = (),
) -> Recorded:
    """Return the trial graded, redacted and encoded.

    Assertions see the conversation as it was; what is encoded is redacted, and in ``metadata_only``
    holds no content. A trial that infrastructure ended, that was cancelled, or whose judge could not
    be heard (it says so in ``error`` already), has no grade.

    Args:
        trace: The conversation, and what judges were asked about it.
        assertions: The scenario's list.
        redactor: Strikes out what must not be kept.
        functions: Where ``custom`` assertions get their functions from.
        ballots: What judges said, by the assertion that asked.
        mode: What the run keeps of what was said.
        labels: What the plan calls the assertions; without them their own labels are used.
    """

    def evaluated(said: Trace) -> tuple[Finding, ...]:
        return evaluate(said, assertions, redact=redactor.document, functions=functions, ballots=ballots)

    if trace.outcome not in UNGRADED:
        trace = trace.model_copy(update={"findings": evaluated(trace)})
        trace = graded(trace) if trace.error is None else trace
    record = kept(trace, assertions, redactor, evaluated, mode=mode, labels=labels)
    body, digest = codec.encode(SCHEMA, record, compress=True)
    key = keys.trace(trace.run_id, trace.trace_id, trace.attempt)
    return Recorded(key, body, cast(Status, trace.status), result_of(trace, digest))


def graded(trace: Trace) -> Trace:
    """Return the trace with the score and grade that its findings come to, or with the error that bars them.

    Args:
        trace: Its outcome is one that is graded.
    """
    missing = ungradable(trace.findings)
    if missing is not None:
        return trace.model_copy(update={"score": None, "grade": None, "error": _unheard(missing)})
    found = grade(trace.findings, trace.threshold, outcome=trace.outcome)
    return trace.model_copy(update={"score": found.score, "grade": found.grade})


def _unheard(finding: Finding) -> TrialError:
    why = "is required" if finding.required else "is all that carries weight"
    return TrialError(
        kind="judge",
        message=f"`{finding.label}` {why} and could not be decided: {finding.error}",
        hint="the conversation and every vote are stored: `salvo reeval` asks again for what is missing",
    )


def result_of(trace: Trace, digest: str) -> Result:
    """Return what the manifest row says of a trace.

    Args:
        trace: Graded, if it can be.
        digest: Of its stored document.
    """
    return Result(
        score=trace.score,
        cost_usd=trace.cost_usd,
        latency_s=trace.latency_s,
        duration_s=trace.duration_s,
        input_tokens=trace.usage.input_tokens,
        output_tokens=trace.usage.output_tokens,
        turns=len(trace.turns),
        retries=trace.retries_total,
        outcome=trace.outcome,
        error=trace.error.kind if trace.error else "",
        worker=trace.provenance.worker,
        digest=digest,
        failed=tuple(
            (finding.assertion, finding.score)
            for finding in trace.findings
            if not finding.passed and not finding.infra
        ),
        judge_cost_usd=trace.judge_cost_usd,
        judged=tuple((one.assertion, one.k, one.heard, one.in_favour) for one in trace.judged),
        retried=sum(one.how == "retried" for one in trace.earlier),
        undecided=tuple(finding.assertion for finding in trace.findings if finding.infra),
    )


def reread(key: str, stored: bytes) -> Recorded:
    """Return the trial that a stored trace tells of.

    Raises:
        ObjectCorrupt: It cannot be read.
    """
    digest = codec.digest_of(SCHEMA, stored, where=key)
    trace = read_trace(stored, key)
    return Recorded(key, stored, cast(Status, trace.status), result_of(trace, digest))


async def store_patiently(
    recorded: Recorded,
    held: HeldTrial,
    store: Store,
    clock: Clock,
    reread: Callable[[str, bytes], Recorded] = reread,
) -> Recorded:
    """Return what is durable under the trace's key, however long that takes, while the trial is still ours.

    A finished conversation is paid for: a store that is down, full or refuses is waited for,
    louder and slower each time, up to PATIENCE_S. No turn is asked for again.

    Returns:
        What was given; or, where an attempt of the same number has stored its trace and Redis
        has forgotten it since, the trace that is there: a trace is written once.

    Raises:
        LeaseLost: Another attempt holds the trial.
        StoreClosed: The worker is leaving, or patience ran out.
    """
    wait_s, began_s = _WAIT_FIRST_S, clock.monotonic_s()
    while True:
        try:
            if await store.put_if_absent(recorded.key, recorded.body):
                return recorded
            return await _as_stored(recorded, store, reread)
        except (StoreUnavailable, StoreRefused) as error:
            interruption = held.interruption()
            if interruption == "lost":
                raise LeaseLost(f"trial {held.claim.trace_id} is held by another attempt") from error
            if interruption == "leaving" or clock.monotonic_s() - began_s > PATIENCE_S:
                raise StoreClosed(f"its trace could not be stored: {error}") from error
            logger.error("trace %s waits %.1f s for the store: %s", held.claim.trace_id, wait_s, error)
        await clock.sleep(wait_s)
        wait_s = min(wait_s * 2, _WAIT_MAX_S)


async def _as_stored(recorded: Recorded, store: Store, reread: Callable[[str, bytes], Recorded]) -> Recorded:
    stored = await store.get(recorded.key)
    if stored == recorded.body:
        return recorded  # our own: an earlier try arrived, its answer did not
    try:
        there = reread(recorded.key, stored)
    except ObjectCorrupt as error:
        logger.warning("%s; it is replaced", error)
        await store.put(recorded.key, recorded.body)
        return recorded
    logger.warning("%s is there already: that trace counts", recorded.key)
    return there
