"""The door through which the runs of the first Salvo come in, under their own ids, as if sealed here.

The order of writes: aliases, the scenario, traces, the archive of rows, the summary, the plan, and
last the run's place in Redis. Nobody resumes or finds a run without its plan, so one that was carried
half is not there yet, and carrying it again writes the same again. What is there with its plan is
left as it is. The predecessor's folder is only read.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar, cast

from pydantic import ValidationError

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.manifest.archive import encode_rows
from salvo_core.manifest.rows import Result, Row, Status
from salvo_core.manifest.traces import TraceManifest
from salvo_core.predecessor.collection import Collection, FoundRun
from salvo_core.predecessor.conversion import LABEL, Converted, convert, ended_ms
from salvo_core.predecessor.folder import Skipped
from salvo_core.predecessor.traces import marked
from salvo_core.record import result_of
from salvo_core.run.aliases import keep_alias
from salvo_core.run.facts import AssertionFacts, facts_of
from salvo_core.run.plan import Plan
from salvo_core.run.quoting import quoting_infra_errors
from salvo_core.run.summary import Summary, summarise
from salvo_core.scenario.digest import freeze
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.snapshot import (
    ExcludedAssertion,
    Snapshot,
    freeze_remains,
    freeze_snapshot,
    thaw_snapshot,
)
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.exclusion import without_content
from salvo_core.trace.model import Trace
from salvo_core.trace.recording import EXCLUDED, RecordingMode
from salvo_core.trace.redaction import Redactor
from salvo_core.trace.stored import SCHEMA

WRITES_AT_ONCE = 16

State = Literal["carried", "present", "clash", "readable"]
"""``present``: carried over before. ``clash``: another run has its id. ``readable``: only looked at."""

_SAME = 1e-9
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class CarriedRun:
    """What became of one run.

    Attributes:
        run_id: The same there and here.
        name: Of its scenario.
        file: Of its scenario.
        model: That was asked.
        state: See ``State``.
        verdict: What its trials come to here.
        verdict_before: What they came to there.
        trials: That it had.
        traces: Conversations that could be read.
        marked: Whether it was marked as recorded.
        recording: What was kept of what was said.
        spread_differs: Whether a percentile there lay outside the scores it was taken of.
        notes: What a person should know of it.
        skipped: Its files that were not read.
    """

    run_id: str
    name: str
    file: str
    model: str
    state: State
    verdict: str
    verdict_before: str
    trials: int
    traces: int
    marked: bool
    recording: RecordingMode
    spread_differs: bool
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """A run as it is stored.

    Attributes:
        plan: Its order.
        objects: What is left of its scenario, and its traces: bytes by key.
        rows: In index order.
        archive: The same, as stored.
        summary: What they come to.
    """

    plan: Plan
    objects: tuple[tuple[str, bytes], ...]
    rows: tuple[Row, ...]
    archive: bytes
    summary: Summary


class Porter:
    """Carries runs over, one at a time.

    Args:
        store: Where they go.
        manifest: Who is told of them; None to write nothing at all.
        redactor: What nobody may find in the store.
        mode: What may be kept at most.
    """

    def __init__(
        self, store: Store, manifest: TraceManifest | None, redactor: Redactor, mode: RecordingMode = "full"
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._redactor = redactor
        self._mode = mode

    async def carry(self, collection: Collection, run_ids: Iterable[str]) -> AsyncIterator[CarriedRun]:
        """Yield what became of each run; one whose file cannot be read is left to ``collection.skipped``.

        Args:
            collection: Open.
            run_ids: Of its runs.

        Raises:
            StoreUnavailable, StoreRefused, RedisUnavailable: What is written stays; do it again.
        """
        for run_id in run_ids:
            found = await asyncio.to_thread(collection.run, run_id)
            if found is not None:
                yield await self._carry(found)

    async def _carry(self, found: FoundRun) -> CarriedRun:
        converted = await asyncio.to_thread(convert, found, self._redactor, self._mode)
        packed = await asyncio.to_thread(pack, converted, self._redactor)
        state, notes = await self._state(packed.plan), list(converted.notes)
        if self._manifest is not None and state == "readable":
            notes += await self._write(packed, converted)
            state = "carried"
        if self._manifest is not None and state in ("carried", "present"):
            # Also of a run that was there: its writer may have died before this line.
            await self._manifest.note_past_run(found.run_id, ended_ms(found.run_id), recorded=found.marked)
        cell = packed.plan.cells[0]
        return CarriedRun(
            run_id=found.run_id,
            name=cell.scenario_name,
            file=cell.scenario_file,
            model=cell.model,
            state=state,
            verdict=packed.summary.verdict,
            verdict_before=converted.verdict,
            trials=len(found.trials),
            traces=len(found.trials) - len(converted.without_record),
            marked=found.marked,
            recording=packed.plan.recording.mode,
            spread_differs=_beyond_the_data(found),
            notes=(*notes, *_differences(found, packed.summary)),
            skipped=found.skipped,
        )

    async def _state(self, plan: Plan) -> State:
        key = keys.plan(plan.run_id)
        try:
            there = Plan.decode(await self._store.get(key), key)
        except ObjectMissing:
            return "readable"
        except ObjectCorrupt:
            return "clash"
        return "present" if there.labels.get(LABEL) == plan.labels[LABEL] else "clash"

    async def _write(self, packed: Packed, converted: Converted) -> list[str]:
        plan, store = packed.plan, self._store
        named = await _all(partial(keep_alias, one.trace_id, plan.run_id, store) for one in converted.traces)
        elsewhere = sum(run_id != plan.run_id for run_id in named)
        await _all(partial(store.put, key, body) for key, body in packed.objects)
        await store.put(keys.manifest(plan.run_id), packed.archive)
        summary = await quoting_infra_errors(packed.summary, packed.rows, store)
        await store.put(keys.summary(plan.run_id), summary.encode()[0])
        await store.put_if_absent(keys.plan(plan.run_id), plan.encode()[0])
        if not elsewhere:
            return []
        return [f"{elsewhere:,} of its trace ids are those of another run's trials, and lead there"]


def pack(converted: Converted, redactor: Redactor) -> Packed:
    """Return a run as it is stored, without secrets: the same bytes every time.

    It is work: a caller with an event loop runs it in a thread.
    """
    plan = converted.plan
    scenario = _scenario_object(converted, redactor)
    objects = [] if scenario is None else [scenario]
    rows = {index: _skipped_row(plan, index, why) for index, why in converted.skipped.items()}
    for trace in converted.traces:
        kept = _kept(trace, converted.scenario, redactor)
        digest = ""
        if trace.index not in converted.without_record:
            body, digest = codec.encode(SCHEMA, kept.model_dump(mode="json"), compress=True)
            objects.append((keys.trace(plan.run_id, trace.trace_id, trace.attempt), body))
        rows[trace.index] = _row(kept, result_of(kept, digest))
    in_order = [rows[index] for index in sorted(rows)]
    summary = summarise(
        plan,
        in_order,
        {0: _facts(converted, scenario)},
        started_ms=converted.started_ms,
        finished_ms=converted.ended_ms,
        state="sealed",
    )
    return Packed(
        plan,
        tuple(objects),
        tuple(in_order),
        encode_rows(plan.run_id, in_order),
        summary,
    )


def _kept(trace: Trace, scenario: Scenario | None, redactor: Redactor) -> Trace:
    """Return a trace as it is stored."""
    redacted = Trace.model_validate(redactor.record(trace))
    done = marked(trace, redacted, scenario)
    return without_content(done) if done.recording == "metadata_only" else done


def _row(trace: Trace, result: Result) -> Row:
    return Row(
        index=trace.index,
        status=cast(Status, trace.status),
        attempt=trace.attempt,
        trace_id=trace.trace_id,
        result=result,
    )


def _skipped_row(plan: Plan, index: int, why: str) -> Row:
    return Row(index=index, status="skipped", attempt=0, trace_id=plan.trace_id(index), reason=why)


def _scenario_object(converted: Converted, redactor: Redactor) -> tuple[str, bytes] | None:
    """Return what is kept of the scenario, and where; None when nothing can be said of it."""
    plan, cell = converted.plan, converted.plan.cells[0]
    if converted.scenario is not None and not cell.withheld:
        return keys.scenario(cell.scenario_digest), freeze(converted.scenario)[0]
    key = keys.snapshot(plan.run_id, cell.scenario_digest)
    if converted.scenario is not None:
        return key, freeze_snapshot(converted.scenario, plan.recording.mode, redactor)
    left = [
        ExcludedAssertion(type=kind, weight=fact.weight, required=fact.required)
        for kind, fact in zip(converted.types, converted.facts, strict=True)
    ]
    try:
        named = Scenario(
            description=cell.scenario_name,
            adapter=cell.adapter,
            model=cell.model,
            prompt=EXCLUDED,
            threshold=cell.threshold,
        )
    except ValidationError:  # a model or an adapter without a name
        return None
    return key, freeze_remains(named, left, redactor)


def _facts(converted: Converted, stored: tuple[str, bytes] | None) -> Sequence[AssertionFacts]:
    """Return what ranking its failures needs, as whoever reads the store will have it."""
    plan, cell = converted.plan, converted.plan.cells[0]
    if converted.scenario is not None and not cell.withheld:
        return facts_of(cell, Snapshot.of(converted.scenario), plan.judge)
    if stored is None:
        return converted.facts
    key, body = stored
    return facts_of(cell, thaw_snapshot(body, key), plan.judge)


def _differences(found: FoundRun, summary: Summary) -> list[str]:
    """Return where the run's figures are not what its file says, in sentences."""
    suite, cell, told = found.suite, summary.cells[0], []
    if summary.verdict != suite.verdict:
        told.append(f"{summary.verdict} here and {suite.verdict} there: {summary.reason}")
    before = suite.score_avg
    if cell.scored and before is not None and not math.isclose(cell.score.mean, before, abs_tol=_SAME):
        told.append(f"its average score is {cell.score.mean:.4g} here and {before:.4g} there")
    if found.unknown:
        told.append(f"left out, because nobody here knows it: {', '.join(found.unknown[:5])}")
    return told


def _beyond_the_data(found: FoundRun) -> bool:
    """Tell whether the 95th percentile in the file lies above every score, as it did for few trials."""
    scores = [one.trial.score for one in found.trials if one.trial.status != "infra_error"]
    p95 = found.suite.score_p95
    return bool(scores) and p95 is not None and p95 > max(scores) + _SAME


async def _all(writes: Iterable[Callable[[], Awaitable[Answer]]]) -> list[Answer]:
    """Do many writes, a bounded number at a time; return their answers in order."""
    gate = asyncio.Semaphore(WRITES_AT_ONCE)

    async def one(write: Callable[[], Awaitable[Answer]]) -> Answer:
        async with gate:
            return await write()

    return list(await asyncio.gather(*map(one, writes)))
