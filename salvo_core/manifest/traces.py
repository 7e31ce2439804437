"""The predecessor's calls on its trace manifest, under their names, over the live manifest.

There they read and rewrote one JSON file, once per trial and after the run, so that
concurrent writers lost each other's entries. Here each of them is one question or one
fenced transition, safe from any number of processes, and a trial's entry exists before
the trial does. Two things differ for whoever calls them: they are coroutines, and a run
is known from its submission on, never created by an update.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypedDict, cast, get_args

from salvo_core.errors import NotFound, UsageError
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.connection import translated
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import SCORED, Result, Row, Status
from salvo_core.trace.model import ErrorKind, Trace

LastRecorded = Callable[[str], Awaitable[Row | None]]

SCHEMA_VERSION = 1
RUNS_LOADED = 100
UPDATABLE: frozenset[str] = SCORED | {"infra_error"}
"""The statuses that the predecessor's trials could end in."""

UPDATE_LEASE_S = 30.0
_WRITER = "update_trace_manifest"


class TraceEntry(TypedDict, total=False):
    """One trial; ``error`` is there for infrastructure errors only, and is their kind."""

    trace_id: str
    trial_index: int
    status: str
    error: str


class RunEntry(TypedDict):
    """One run and its trials, in index order."""

    trace_ids: list[TraceEntry]
    recorded: bool
    scenario_name: str
    created_at: str


class LoadedManifest(TypedDict):
    """What ``load_trace_manifest`` returns: the predecessor's document."""

    schema_version: int
    runs: dict[str, RunEntry]


class TraceManifest:
    """Runs and their trials, as the predecessor's users asked for them.

    Args:
        manifest: The live manifest.
        read_trace: Returns a stored trace by its id (``Observer.trace``).
        last_recorded: Returns the last row of a run that names a trace (``Observer.last_recorded``): asked
            for runs whose rows Redis does not have. Without it they have no latest trace.
    """

    def __init__(
        self,
        manifest: Manifest,
        read_trace: Callable[[str], Awaitable[Trace]],
        last_recorded: LastRecorded | None = None,
    ) -> None:
        self._manifest = manifest
        self._read_trace = read_trace
        self._last_recorded = last_recorded

    async def load_trace_manifest(self, runs_max: int = RUNS_LOADED) -> LoadedManifest:
        """Return the newest runs with their trials, oldest run first.

        Args:
            runs_max: Runs at most; every row of each is read.
        """
        found: dict[str, RunEntry] = {}
        for run_id in reversed(await self._manifest.recent(runs_max)):
            try:
                counts = await self._manifest.counts(run_id)
            except NotFound:  # sealed longer ago than Redis remembers
                continue
            found[run_id] = {
                "trace_ids": [_entry(row) async for row in self._manifest.rows(run_id)],
                "recorded": await self._is_recorded(run_id),
                "scenario_name": counts.name,
                "created_at": datetime.fromtimestamp(counts.created_ms / 1000, UTC).isoformat(),
            }
        return {"schema_version": SCHEMA_VERSION, "runs": found}

    async def update_trace_manifest(
        self,
        run_id: str,
        trace_id: str,
        trial_index: int,
        status: str,
        error: str | None = None,
        *,
        result: Result | None = None,
    ) -> bool:
        """End a trial that no worker holds, once; tell whether it was this call that did.

        A trial that has ended keeps the result it has, and a trial that a worker is at keeps
        its worker: then nothing changes and False is returned. Nobody is told to seal the run
        or to send further trials; the next sweep does both.

        Args:
            run_id: A submitted run.
            trace_id: The trial's own; another one is not found.
            trial_index: The trial's place in the run, 0-based.
            status: One of ``UPDATABLE``.
            error: The kind of an infrastructure error. Text that is no kind is kept as ``unknown``:
                rows carry no free text, the trace has the words.
            result: What the trial came to, with the digest of its stored trace. Without one, a
                passed trial scores 1, a failed one 0, and no trace is named.

        Raises:
            NotFound: No such run, or no such trial in it.
            UsageError: A status that a trial cannot end in, or a score missing from a graded result.
        """
        if status not in UPDATABLE:
            raise UsageError(
                f"{status[:40]!r} is no status that a trial ends in",
                hint=f"one of {', '.join(sorted(UPDATABLE))}",
            )
        given = result or _bare_result(status, error)
        if status in SCORED and given.score is None:
            raise UsageError(f"a trial that is {status} needs its score, 0 to 1")
        cells = (await self._manifest.counts(run_id)).cells
        claim = await self._manifest.claim(run_id, trial_index, trace_id, _WRITER, lease_s=UPDATE_LEASE_S)
        if isinstance(claim, Claim):
            committed = await self._manifest.commit(claim, trial_index % cells, cast(Status, status), given)
            return committed.won
        if claim.reason == "unknown":
            raise NotFound(f"run {run_id} has no trial {trial_index} with the trace id {trace_id[:60]}")
        return False

    async def mark_run_recorded(self, run_id: str) -> bool:
        """Note that somebody wants this run for replay; False when Redis knows no such run.

        Every trace is stored, marked or not. The latest mark is what
        ``load_latest_recorded_trace`` goes by.
        """
        try:
            counts = await self._manifest.counts(run_id)
        except NotFound:
            return False
        await self._note(keys.RECORDED, run_id, counts.now_ms)
        return True

    async def note_past_run(self, run_id: str, created_ms: int, *, recorded: bool) -> None:
        """Let lists know of a run that was over before this Redis heard of it.

        Its rows are in the store alone, like those of any run that Redis has forgotten.

        Args:
            run_id: Sealed, and stored.
            created_ms: Its place among the others, Unix time in ms.
            recorded: Whether it was marked as recorded then; later marks come before it.
        """
        await self._note(keys.RUNS, run_id, created_ms)
        if recorded:
            await self._note(keys.RECORDED, run_id, created_ms)

    async def _note(self, key: str, run_id: str, at_ms: int) -> None:
        with translated(self._manifest.address):
            pipe = self._manifest.redis.pipeline(transaction=False)
            pipe.zadd(key, {run_id: at_ms})
            pipe.zremrangebyrank(key, 0, -keys.RUNS_KEPT - 1)
            await pipe.execute()

    async def get_trace_ids_for_run(self, run_id: str) -> list[str]:
        """Return the trace ids of a run's trials in index order; none for a run that Redis does not know."""
        return [row.trace_id async for row in self._manifest.rows(run_id)]

    async def load_latest_recorded_trace(self) -> Trace | None:
        """Return the last trial's trace, in index order, of the run that was marked recorded last.

        None when no run is marked, or when nobody has the rows of the one that is: Redis forgets them a
        week after the seal, and then ``last_recorded`` is asked.

        Raises:
            ObjectCorrupt: The stored trace is not the one its row names.
        """
        with translated(self._manifest.address):
            marked = await self._manifest.redis.zrevrange(keys.RECORDED, 0, 0)
        trace_id = await self._last_stored(str(marked[0])) if marked else None
        return None if trace_id is None else await self._read_trace(trace_id)

    async def _last_stored(self, run_id: str) -> str | None:
        try:
            stop = (await self._manifest.counts(run_id)).seeded
        except NotFound:
            return await self._last_forgotten(run_id)
        while stop > 0:
            start = max(0, stop - ROWS_PER_CALL)
            rows = [row async for row in self._manifest.rows(run_id, start, stop)]
            for row in reversed(rows):
                if row.recorded:
                    return row.trace_id
            stop = start
        return None

    async def _last_forgotten(self, run_id: str) -> str | None:
        if self._last_recorded is None:
            return None
        try:
            row = await self._last_recorded(run_id)
        except NotFound:
            return None
        return row.trace_id if row else None

    async def _is_recorded(self, run_id: str) -> bool:
        with translated(self._manifest.address):
            return await self._manifest.redis.zscore(keys.RECORDED, run_id) is not None


def _entry(row: Row) -> TraceEntry:
    entry: TraceEntry = {"trace_id": row.trace_id, "trial_index": row.index, "status": row.status}
    if row.status == "infra_error":
        entry["error"] = (row.result.error if row.result else "") or "unknown"
    return entry


def _bare_result(status: str, error: str | None) -> Result:
    kind = error if error in get_args(ErrorKind) else "unknown"
    fields: dict[str, Any] = {"score": None, "outcome": "infra_error", "error": kind}
    if status in SCORED:
        fields = {"score": 1.0 if status == "passed" else 0.0, "outcome": "completed", "error": ""}
    return Result(
        **fields,
        cost_usd=None,
        latency_s=0.0,
        duration_s=0.0,
        input_tokens=0,
        output_tokens=0,
        turns=0,
        retries=0,
        worker=_WRITER,
        digest="",
    )
