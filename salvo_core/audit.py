"""The door of whoever doubts: does a run's every row say what its stored trace says, and nothing else?

Read in the reverse order of writing (I2): counters, rows, then the objects that the rows name. It
changes nothing, works beside running workers, and keeps a row and a few words per trial in
memory, never a trace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing, ObjectNewer
from salvo_core.manifest.archive import decode_rows
from salvo_core.manifest.counters import recounted
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.repairs import Repairs, Restatement
from salvo_core.manifest.rows import SCORED, TERMINAL, Row
from salvo_core.observe import lost
from salvo_core.restore import (
    READ_AT_ONCE,
    Agents,
    Progress,
    Stored,
    Whole,
    lowest_complete,
    read_attempt,
    stored_attempts,
)
from salvo_core.run.discrepancies import Audit, Discrepancy, Kind, differing, miscounted
from salvo_core.run.plan import Plan
from salvo_core.run.summary import Summary
from salvo_core.seal import fold
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import read_plan

OVER = frozenset({"finished", "sealed"})
logger = logging.getLogger(__name__)


async def audit(
    run_id: str, *, store: Store, manifest: Manifest, on_progress: Progress | None = None
) -> Audit:
    """Return how a run's rows, counters, traces, archive and summary fit together.

    Args:
        run_id: The run, under way or over.
        store: Its objects; each trace that a row names is read once.
        manifest: Its rows, as long as Redis has them.
        on_progress: Told of the trials that were looked at.

    Raises:
        NotFound: Nobody knows the run, or (``RunLost``) only the store does and it is not over.
    """
    plan = await read_plan(run_id, store)
    auditor = _Auditor(plan, store, Repairs(manifest), on_progress)
    if await auditor.repairs.header(run_id):
        await auditor.live()
    else:
        await auditor.forgotten(manifest.address)
    return auditor.found


class _Auditor:
    """One audit under way."""

    def __init__(self, plan: Plan, store: Store, repairs: Repairs, on_progress: Progress | None) -> None:
        self.plan = plan
        self.store = store
        self.repairs = repairs
        self.found = Audit(plan)
        self._stored = Stored()
        self._agents = Agents(plan, store)
        self._on_progress = on_progress

    def note(self, kind: Kind, what: str, remedy: str, key: str = "") -> None:
        """Remember something that is about no single trial."""
        self.found.discrepancies.append(Discrepancy(kind, what, remedy, key=key))  # type: ignore[arg-type]

    # -- where the rows are ---------------------------------------------------------------------

    async def live(self) -> None:
        """Audit a run that Redis knows."""
        run_id, plan, found = self.plan.run_id, self.plan, self.found
        read = await self.repairs.counters(run_id)
        lines = [line async for _, line in self.repairs.lines(run_id, plan.total)]
        found.moving = await self.repairs.counters(run_id) != read
        header = await self.repairs.header(run_id)
        if not header:
            raise NotFound(f"run {run_id} went away while it was looked at", hint="audit it again")
        found.state = header.get("state", "")
        found.started_ms, found.finished_ms = _stamp(header, "started_ms"), _stamp(header, "finished_ms")
        await self._rows(lines)
        await self._belongings(lines)
        self._header(header)
        wrong = "" if found.moving else miscounted(read, recounted(found.rows, len(plan.cells)))
        if wrong:
            self.note("counters", wrong, "recount")
        if found.state == "sealed":
            await self._documents(await self._archived())
        elif found.state == "finished":
            self.note("state", "every trial has ended, and the run is not sealed", "seal")
        if found.state not in ("paused", "sealed") and not await self.repairs.is_looked_after(run_id):
            self.note("unwatched", "the run is not over, and no sweep looks after it", "watch")

    async def forgotten(self, redis: str) -> None:
        """Audit a run that only the store remembers."""
        run_id, found = self.plan.run_id, self.found
        found.live = False
        summary = await self._summary()
        if summary is None:
            raise lost(run_id, redis, self.store.address)
        archived = await self._archived()
        by_index = {row.index: row.encode() for row in archived or ()}
        await self._rows([by_index.get(index, "") for index in range(self.plan.total)])
        if isinstance(summary, Summary):
            found.started_ms, found.finished_ms = summary.started_ms, summary.finished_ms
        await self._documents(archived)

    # -- rows and their traces ------------------------------------------------------------------

    async def _rows(self, lines: Sequence[str]) -> None:
        self._stored = await stored_attempts(self.plan, self.store)
        for key in self._stored.foreign:
            self.note("object_foreign", "this is no trace of this run: look at it, remove it", "none", key)
        for low in range(0, len(lines), READ_AT_ONCE):
            window = range(low, min(low + READ_AT_ONCE, len(lines)))
            answers = await asyncio.gather(*(self._row(index, lines[index]) for index in window))
            for row, wrong in answers:
                if row is not None:
                    self.found.rows.append(row)
                if wrong is not None:
                    self.found.discrepancies.append(wrong)
            if self._on_progress is not None:
                self._on_progress(window.stop, len(lines))

    async def _row(self, index: int, line: str) -> tuple[Row | None, Discrepancy | None]:
        """Return a row, if it can be read, and what is wrong with it or its trace."""
        row, wrong = self._decoded(index, line)
        if row is None:
            return None, await self._restorable("row_missing", index, line, None, wrong) if wrong else None
        if row.status not in TERMINAL:
            self.found.uncommitted += len(self._stored.attempts.get(index, ()))
            if self.found.state not in OVER:
                return row, None
            return row, await self._restorable(
                "not_ended", index, line, row, f"the run is over, the trial is {row.status}"
            )
        if not row.recorded:
            self.found.unrecorded += row.status in SCORED or row.status == "infra_error"
            return row, None
        kind, what = await self._against_its_trace(row)
        if kind is None:
            return row, None
        if kind in ("grade_differs", "object_newer"):  # nothing that writing the row again could mend
            return row, Discrepancy(kind, what, "none", index, row.trace_id, self._key(row))
        return row, await self._restorable(kind, index, line, row, what)

    def _decoded(self, index: int, line: str) -> tuple[Row | None, str]:
        """Return the row that a line says, or why there is none; neither while it is still to be made."""
        if not line:
            return None, "" if self.found.state == "submitting" else "the trial has no row"
        try:
            row = Row.decode(index, line)
        except (TypeError, ValueError, IndexError) as error:
            return None, f"its row cannot be read: {str(error)[:80]}"
        if row.trace_id != self.plan.trace_id(index):
            return None, f"its row is of another trial, {row.trace_id[:40]}"
        if row.status in SCORED and row.result is None:
            return None, f"its row says {row.status} and nothing else"
        return row, ""

    async def _against_its_trace(self, row: Row) -> tuple[Kind | None, str]:
        assert row.result is not None
        try:
            # A re-evaluation's record does not say what the conversation took: that stands as the row has it.
            whole = await read_attempt(self.plan, row.index, row.attempt, self.store, row.result)
        except ObjectMissing:
            return "object_missing", "the object that its row names is gone"
        except ObjectNewer as error:
            return "object_newer", error.message
        except ObjectCorrupt as error:
            return "object_damaged", error.message
        self.found.checked += 1
        self._note_times(whole)
        true = whole.row
        assert true.result is not None
        if true.result.digest != row.result.digest:
            return "object_other", "the object is whole, but not the one whose digest its row has"
        if wrong := differing(row, true.status, true.result):
            return "row_differs", wrong
        if whole.misgraded:
            return "grade_differs", whole.misgraded
        self._note_losing(row, whole.set_aside)
        return None, ""

    async def _restorable(self, kind: Kind, index: int, line: str, row: Row | None, what: str) -> Discrepancy:
        """Return the discrepancy and what corrects it: the row of its own attempt, else of the lowest."""
        attempts = self._stored.attempts.get(index, [])
        mine = [row.attempt] if row is not None and row.attempt in attempts else []
        others = [attempt for attempt in attempts if attempt not in mine]
        agents = row.result if row is not None else await self._agents.of(index)
        whole, _ = await lowest_complete(self.plan, index, mine + others, self.store, agents)
        trace_id = self.plan.trace_id(index)
        key = self._key(row) if row is not None and row.recorded else ""
        if whole is not None:
            change = Restatement(index, line, row, whole.row)
            return Discrepancy(kind, what, "restate", index, trace_id, key, change)
        if kind == "not_ended":
            return Discrepancy(kind, what, "recount", index, trace_id, key)
        begun = max([*attempts, row.attempt if row else 0])
        change = Restatement(index, line, row, Row(index, "pending", begun, trace_id))
        # A trial that has never ended is owed; one that has is paid for again.
        owed = row is None and self.found.state not in OVER
        if not owed and self.plan.cells[self.plan.cell_index(index)].withheld:
            return Discrepancy(kind, f"{what}; what it was asked was not kept", "none", index, trace_id, key)
        return Discrepancy(kind, what, "restate" if owed else "rerun", index, trace_id, key, change)

    def _note_losing(self, row: Row, set_aside: Collection[int]) -> None:
        for attempt in self._stored.attempts.get(row.index, ()):
            if attempt != row.attempt and attempt not in set_aside:  # what was retried is kept
                self.found.losing.append(self._key(replace(row, attempt=attempt)))

    def _note_times(self, trace: Whole) -> None:
        if not self.found.live:
            started_ms = round(trace.started_at.timestamp() * 1000)
            ended_ms = round(trace.ended_at.timestamp() * 1000)
            self.found.started_ms = min(self.found.started_ms or started_ms, started_ms)
            self.found.finished_ms = max(self.found.finished_ms or ended_ms, ended_ms)

    def _key(self, row: Row) -> str:
        return keys.trace(self.plan.run_id, row.trace_id, row.attempt, self.plan.home)

    # -- what Redis keeps beside the rows -------------------------------------------------------

    async def _belongings(self, lines: Sequence[str]) -> None:
        total = len(lines)
        have = await self.repairs.belongings(self.plan.run_id, total)
        ended = {row.index for row in self.found.rows if row.status in TERMINAL}
        stray = {index for index in have.leases | have.strikes if not 0 <= index < total}
        for index in sorted((have.leases | have.strikes | set(have.journals)) & ended | stray):
            kept = [("a lease", have.leases), ("strikes", have.strikes), ("a journal", have.journals)]
            named = " and ".join(name for name, indices in kept if index in indices)
            self._of_trial("leftover", f"it has ended and still has {named}", index)
        for row in self.found.rows:
            if row.status == "running" and row.index not in have.leases:
                async for _, line in self.repairs.lines_of(self.plan.run_id, [row.index]):
                    if line == lines[row.index]:  # or it has ended since
                        self._of_trial("no_lease", "it runs without a lease: nobody takes it back", row.index)

    def _of_trial(self, kind: Kind, what: str, index: int) -> None:
        trace_id = self.plan.trace_id(index) if 0 <= index < self.plan.total else ""
        self.found.discrepancies.append(Discrepancy(kind, what, "tidy", index, trace_id))

    def _header(self, header: dict[str, str]) -> None:
        for name, right in true_header(self.plan, self.found.state).items():
            if header.get(name) != str(right):
                self.note("header", f"{name} is {header.get(name)} and should be {right}", "header")
        if self.found.state in ("running", "cancelling") and self.found.ended == self.plan.total:
            self.note("state", f"every trial has ended, and the run is {self.found.state}", "recount")

    # -- what is sealed -------------------------------------------------------------------------

    async def _archived(self) -> list[Row] | None:
        key = keys.manifest(self.plan.run_id, self.plan.home)
        try:
            stored = await self.store.get(key)
            return await asyncio.to_thread(lambda: list(decode_rows(stored, key)))
        except (ObjectMissing, ObjectCorrupt) as error:
            self.note("archive", error.message, "seal", key)
            return None

    async def _summary(self) -> Summary | str | None:
        """Return the stored summary; why it cannot be read; None when there is none."""
        key = keys.summary(self.plan.run_id, self.plan.home)
        try:
            return Summary.decode(await self.store.get(key), key)
        except ObjectMissing:
            return None
        except ObjectCorrupt as error:
            return error.message

    async def _documents(self, archived: Sequence[Row] | None) -> None:
        """Compare the archive and the summary with the rows."""
        found, plan = self.found, self.plan
        if archived is not None and (count := sum(a != b for a, b in _pairs(archived, found.rows))):
            key = keys.manifest(plan.run_id, plan.home)
            self.note("archive", f"{count:,} of its rows are not the manifest's", "seal", key)
        stored = await self._summary()
        expected, _ = await fold(
            plan,
            found.rows,
            self.store,
            started_ms=found.started_ms,
            finished_ms=found.finished_ms,
            # Rows do not tell what was spent on exchanges whose end nobody saw.
            budget=stored.budget if isinstance(stored, Summary) else None,
        )
        if stored != expected:
            wrong = "it is not what the rows come to"
            if not isinstance(stored, Summary):
                wrong = stored or "there is none"
            self.note("summary", wrong, "seal", keys.summary(plan.run_id, plan.home))


def true_header(plan: Plan, state: str) -> dict[str, int]:
    """Return what a run's header must say, by its plan alone."""
    said = {"total": plan.total, "cells": len(plan.cells), "attempts_max": plan.attempts_max}
    said["concurrency_max"] = plan.concurrency_max or 0
    return said if state in ("submitting", "paused", "cancelling") else said | {"seeded": plan.total}


def _pairs(archived: Sequence[Row], rows: Sequence[Row]) -> list[tuple[Row | None, Row | None]]:
    one, other = ({row.index: row for row in side} for side in (archived, rows))
    return [(one.get(index), other.get(index)) for index in sorted(one.keys() | other.keys())]


def _stamp(header: dict[str, str], name: str) -> int | None:
    return int(header[name]) if name in header else None
