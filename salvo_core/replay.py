"""The door of whoever looks back: what was recorded is shown again, or put to another model.

``replay_trial`` and ``replay_run`` read the store and ask nobody: no provider, no worker. A run's
report is folded anew from its traces, so what it shows is what the recordings hold. How a
live model does on a recording is ``trial.comparison``'s business; ``comparable`` says whether it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar, cast

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing, ObjectNewer, SalvoError
from salvo_core.identity import is_uuid7, run_prefix
from salvo_core.manifest.rows import Row, Status
from salvo_core.observe import Observer
from salvo_core.record import result_of
from salvo_core.run.facts import assertion_facts
from salvo_core.run.orders import Orders
from salvo_core.run.quoting import quoting_infra_errors
from salvo_core.run.summary import Summary, summarise
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Trace

Answer = TypeVar("Answer")

READS_AT_ONCE = 32
"""Traces under way from the store while a run is replayed."""

RUNS_LOOKED_INTO_MAX = 10
"""Newest runs that are searched for a recorded trial when none is named."""

SKIPPED_NAMED_MAX = 5
"""Unreadable traces that a refusal names; it counts the rest."""


class NotReplayable(SalvoError):
    """A recording that is missing, damaged, or newer than this Salvo.

    Attributes:
        skippable: Whether the rest can be shown without it; not so for a newer form, which
            is not understood at all.
    """

    exit_code = 1  # the predecessor's, which its users' scripts know

    def __init__(self, message: str, *, hint: str = "", skippable: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.skippable = skippable


class Target(NamedTuple):
    """What a person's word names."""

    kind: Literal["run", "trial"]
    id: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A recorded trial that cannot be shown, and why."""

    index: int
    trace_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """A run as its recordings tell it.

    Attributes:
        summary: Equal to the sealed one when nothing was skipped.
        traces: Recordings read.
        skipped: Recordings that could not be; in the summary their trials count as skipped.
    """

    summary: Summary
    traces: int
    skipped: tuple[Skipped, ...]


async def find(ref: str, observer: Observer) -> Target:
    """Return the run or the trial that a person's word means.

    Args:
        ref: ``latest``, an id of either kind, or the beginning of exactly one.
        observer: Knows the runs.

    Raises:
        NotReplayable: There is none, or more than one; the hint lists candidates.
    """
    word = ref.strip().lower()
    if is_uuid7(word):
        if await observer.place_of(word):
            return Target("trial", word)
        try:
            await observer.status(word)
        except NotFound as error:
            raise NotReplayable(f"{error.message}, nor such a trial", hint=error.hint) from None
        return Target("run", word)
    try:
        return Target("run", await observer.resolve(word))
    except NotFound as no_run:
        if word != run_prefix(word):  # long enough to single out a trial
            return Target("trial", await _readable(observer.resolve_trial(word)))
        raise NotReplayable(no_run.message, hint=no_run.hint) from None


async def latest_recorded(observer: Observer) -> str | None:
    """Return the trace id of the last recorded trial of the newest run that has one; None if there is none.

    "Last" is by the trial's place in its run, so that the answer does not depend on which trial
    happened to end last. The newest RUNS_LOOKED_INTO_MAX runs are looked into.
    """
    for counts in await observer.listing(RUNS_LOOKED_INTO_MAX):
        row = await observer.last_recorded(counts.run_id)
        if row is not None:
            return row.trace_id
    return None


async def replay_trial(trace_id: str, observer: Observer) -> Trace:
    """Return a trial's recording.

    Raises:
        NotReplayable: It is missing, damaged or newer, or its trial has not ended.
    """
    return await _readable(observer.trace(trace_id))


async def replay_run(run_id: str, observer: Observer, *, allow_partial: bool = False) -> ReplayedRun:
    """Return a run folded anew from its recorded traces.

    Trials that have no trace (not ended, or cancelled before they began) stand as the manifest
    has them.

    Args:
        run_id: The run.
        observer: Reads it.
        allow_partial: Whether to go on without traces that cannot be read.

    Raises:
        NotReplayable: The run is unknown, or a trace cannot be read and partial is not allowed.
    """
    plan = await _readable(observer.plan(run_id))
    if plan.rescore is not None:
        raise NotReplayable(
            f"{run_id} is a re-evaluation of run {plan.rescore.run_id}: nothing was said in it",
            hint=f"`salvo report {run_id}` shows what it came to",
            skippable=False,
        )
    counts = await _readable(observer.status(run_id))
    rows, skipped, traces = [], [], 0
    async for window in _windows(run_id, observer):
        read = await asyncio.gather(*(_read_again(run_id, row, observer) for row in window))
        rows += [row for row, _ in read]
        skipped += [found for _, found in read if found]
        traces += sum(row.recorded for row, _ in read)
    if skipped and not allow_partial:
        raise _unreadable(skipped, traces)
    facts = await assertion_facts(plan, Orders(observer.store))
    summary = await asyncio.to_thread(
        summarise,
        plan,
        rows,
        facts,
        started_ms=counts.started_ms,
        finished_ms=counts.finished_ms,
        state=counts.state,
        budget=counts.budget,
    )
    if counts.state == "sealed":
        summary = await quoting_infra_errors(summary, rows, observer.store)
    return ReplayedRun(summary, traces, tuple(skipped))


async def comparable(trace: Trace, observer: Observer) -> Scenario:
    """Return the scenario of a recording that a live model can be compared with.

    Raises:
        NotReplayable: Nothing was said, or what was asked is not kept or not there to be read.
    """
    if not trace.turns:
        raise NotReplayable(
            f"trial {trace.trace_id} has no turn to compare with: its agent never spoke",
            hint=f"`salvo trace {trace.trace_id}` shows why",
        )
    snapshot = await _readable(observer.snapshot(trace.run_id, trace.cell))
    if snapshot.recording == "metadata_only" and trace.recording == "full":
        raise NotReplayable(
            f"trial {trace.trace_id} cannot be compared: its scenario was not recorded with it",
            hint="`salvo run` asks a model the same again, if you have the scenario file",
        )
    if snapshot.recording == "metadata_only":
        raise NotReplayable(
            f"trial {trace.trace_id} cannot be compared: its run was recorded as metadata_only, and what "
            "was asked is not kept",
            hint="run the scenario with --recording full",
        )
    return snapshot.scenario


async def _windows(run_id: str, observer: Observer) -> AsyncIterator[list[Row]]:
    """Yield the run's rows, READS_AT_ONCE at a time."""
    window: list[Row] = []
    async for row in observer.rows(run_id):
        window.append(row)
        if len(window) == READS_AT_ONCE:
            yield window
            window = []
    yield window


async def _read_again(run_id: str, row: Row, observer: Observer) -> tuple[Row, Skipped | None]:
    """Return the row as its trace tells it; where that cannot be read, as one that was skipped."""
    if not row.recorded:
        return row, None
    assert row.result is not None
    try:
        trace = await _readable(observer.trace_of(run_id, row))
    except NotReplayable as error:
        if not error.skippable:
            raise
        gone = replace(row, status="skipped", worker="", result=None)
        return gone, Skipped(row.index, row.trace_id, error.message)
    told = Row(
        index=trace.index,
        status=cast(Status, trace.status),
        attempt=trace.attempt,
        trace_id=trace.trace_id,
        result=result_of(trace, row.result.digest),
    )
    return told, None


async def _readable(asked: Awaitable[Answer]) -> Answer:
    """Return an answer of the observer's; what is not there to read is not replayable."""
    try:
        return await asked
    except ObjectNewer as error:
        raise NotReplayable(error.message, hint=error.hint, skippable=False) from error
    except ObjectMissing as error:
        raise NotReplayable(
            f"the recording is gone from the store: {error.message}", hint=error.hint
        ) from error
    except (NotFound, ObjectCorrupt) as error:
        raise NotReplayable(error.message, hint=error.hint) from error


def _unreadable(skipped: Sequence[Skipped], traces: int) -> NotReplayable:
    named = "; ".join(f"trial {one.index}: {one.reason}" for one in skipped[:SKIPPED_NAMED_MAX])
    more = len(skipped) - SKIPPED_NAMED_MAX
    return NotReplayable(
        f"{len(skipped):,} of {len(skipped) + traces:,} recorded traces cannot be read: {named}"
        + (f"; and {more:,} more" if more > 0 else ""),
        hint="--allow-partial shows what the others come to",
    )
