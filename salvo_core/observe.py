"""The door of whoever looks: what runs, how it goes, what it came to, what was said.

Live runs are read from Redis; what Redis forgot (sealed runs expire there after a week) is
read from the store, so the same question has the same answer for as long as the objects
last. Status never lists the store and never reads rows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from salvo_core.errors import NotFound, ObjectMissing, UsageError
from salvo_core.identity import is_uuid7, run_prefix
from salvo_core.manifest.archive import decode_rows
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.keys import RUNS_KEPT
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import TERMINAL, Row
from salvo_core.record import read_trace
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan, run_name
from salvo_core.run.summary import Summary, summarise
from salvo_core.scenario.model import Scenario
from salvo_core.seal import assertion_facts
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace.model import Trace

LATEST = "latest"
CANDIDATES_SHOWN = 5
_WHERE_TRACE_IDS_ARE = "`salvo trials RUN` shows the trace ids of a run"
_PREFIX = re.compile(r"[0-9a-f-]{4,36}")


class Observer:
    """Answers questions about runs; changes nothing.

    Args:
        store: What is settled.
        manifest: What is under way.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest
        self._orders = Orders(store)

    async def resolve(self, ref: str) -> str:
        """Return the run id that a person's word means.

        Args:
            ref: ``latest``, a run id, or the beginning of exactly one.

        Raises:
            NotFound: No run, or more than one; the hint lists candidates.
        """
        if ref == LATEST:
            recent = await self.manifest.recent(1) or await self._stored_runs("")
            if not recent:
                raise NotFound("there is no run yet", hint="`salvo run PATH` makes one")
            return recent[0]
        word = ref.strip().lower()
        if is_uuid7(word):
            return word
        if not _PREFIX.fullmatch(word):
            raise NotFound(
                f"{ref[:60]!r} is not a run",
                hint="give `latest`, a run id or at least four characters of one: see `salvo list`",
            )
        known = [run_id for run_id in await self.manifest.recent(RUNS_KEPT) if run_id.startswith(word)]
        found = known or await self._stored_runs(word)
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFound(f"no run id begins with {word!r}", hint="`salvo list` shows the runs there are")
        raise _ambiguous(word, f"{len(found)} run ids begin with", found)

    async def resolve_trial(self, ref: str) -> str:
        """Return the trace id that a person's word means.

        Ids of one run share their first 15 characters and sort by index: past them, a few
        more single out a trial, and the first 13 say which runs to look into.

        Args:
            ref: A trace id, or the beginning of exactly one.

        Raises:
            NotFound: No trial, or more than one; the hint lists candidates.
        """
        word = ref.strip().lower()
        if is_uuid7(word):
            return word
        if not _PREFIX.fullmatch(word):
            raise NotFound(f"{ref[:60]!r} is not a trace id", hint=_WHERE_TRACE_IDS_ARE)
        run_ids = await self._stored_runs(run_prefix(word))
        if len(run_ids) > 1 and word == run_prefix(word):  # every trial of each of them begins so
            raise _ambiguous(word, "the trials of several runs begin with", run_ids)
        found: list[tuple[Plan, range]] = []
        for run_id in run_ids:
            plan = await self.plan(run_id)
            found.append((plan, plan.indices_of(word)))
        count = sum(len(indices) for _, indices in found)
        if not count:
            raise NotFound(f"no trace id begins with {word!r}", hint=_WHERE_TRACE_IDS_ARE)
        firsts = [plan.trace_id(index) for plan, indices in found for index in indices[:CANDIDATES_SHOWN]]
        if count > 1:
            raise _ambiguous(word, f"{count:,} trace ids begin with", firsts)
        return firsts[0]

    async def status(self, run_id: str) -> RunCounts:
        """Return where the run stands: two small hashes in Redis, or its summary once Redis forgot it.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            return await self.manifest.counts(run_id)
        except NotFound:
            return counts_of(await self._sealed(run_id))

    async def listing(self, limit: int) -> list[RunCounts]:
        """Return the newest runs, newest first."""
        run_ids = await self.manifest.recent(limit) or (await self._stored_runs(""))[:limit]
        found = await asyncio.gather(*(self.status(run_id) for run_id in run_ids), return_exceptions=True)
        listed = []
        for answer in found:
            if isinstance(answer, RunCounts):
                listed.append(answer)
            elif not isinstance(
                answer, NotFound
            ):  # Redis remembers a run whose objects were deleted: left out
                raise answer
        return listed

    async def rows(self, run_id: str) -> AsyncIterator[Row]:
        """Yield the run's rows in index order.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            await self.manifest.counts(run_id)
        except NotFound:
            key = keys.manifest(run_id)
            try:
                stored = await self.store.get(key)
            except ObjectMissing:
                raise self._unknown(run_id) from None
            for row in decode_rows(stored, key):
                yield row
            return
        async for row in self.manifest.rows(run_id):
            yield row

    async def plan(self, run_id: str) -> Plan:
        """Return the run's order.

        Raises:
            NotFound: The store has none.
        """
        try:
            return await self._orders.plan(run_id)
        except ObjectMissing:
            raise self._unknown(run_id) from None

    async def scenario(self, digest: str) -> Scenario:
        """Return a frozen scenario."""
        return await self._orders.scenario(digest)

    async def summary(self, run_id: str) -> Summary:
        """Return the run in numbers: the sealed summary, or what the rows come to so far.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            counts = await self.manifest.counts(run_id)
        except NotFound:
            return await self._sealed(run_id)
        if counts.state == "sealed":
            return await self._sealed(run_id)
        plan = await self.plan(run_id)
        rows = [row async for row in self.manifest.rows(run_id)]
        return summarise(
            plan,
            rows,
            await assertion_facts(plan, self._orders),
            started_ms=counts.started_ms,
            finished_ms=counts.finished_ms,
            state=counts.state,
            budget=counts.budget,
        )

    async def trace(self, trace_id: str) -> Trace:
        """Return a trial's stored record.

        Args:
            trace_id: Its uuid7. The run is found by the time stamp the two ids share.

        Raises:
            NotFound: No such trial, or it has not ended yet.
            ObjectCorrupt: The object is not the one its row names.
        """
        place = await self.place_of(trace_id)
        row = await self._row_at(*place) if place else None
        if place is None or row is None:
            raise NotFound(f"no run has a trial {trace_id}", hint=_WHERE_TRACE_IDS_ARE)
        if row.status not in TERMINAL:
            raise NotFound(
                f"trial {trace_id} is {row.status}: its trace is stored when it ends",
                hint=f"`salvo wait {place[0]}` returns when the whole run has ended",
            )
        if not row.recorded:
            raise NotFound(f"trial {trace_id} was {row.status} before it began: there is no trace")
        return await self.trace_of(place[0], row)

    async def trace_of(self, run_id: str, row: Row) -> Trace:
        """Return the stored record that a row names; ``row.recorded`` says whether it names one.

        Raises:
            ObjectMissing: The store has lost it.
            ObjectCorrupt: The object is not the one the row names.
        """
        assert row.result is not None
        key = keys.trace(run_id, row.trace_id, row.attempt)
        return read_trace(await self.store.get(key), key, row.result.digest)

    async def place_of(self, trace_id: str) -> tuple[str, int] | None:
        """Return the run and the index of the trial with that trace id, None if no run has one.

        Raises:
            NotFound: It is no trace id.
        """
        if not is_uuid7(trace_id):
            raise NotFound(f"{trace_id[:60]!r} is not a trace id", hint=_WHERE_TRACE_IDS_ARE)
        for run_id in await self._stored_runs(run_prefix(trace_id)):
            index = (await self.plan(run_id)).index_of(trace_id)
            if index is not None:
                return run_id, index
        return None

    async def last_recorded(self, run_id: str) -> Row | None:
        """Return the run's row with the highest index that names a trace, None if none does yet.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            counts = await self.manifest.counts(run_id)
        except NotFound:
            recorded = [row async for row in self.rows(run_id) if row.recorded]
            return recorded[-1] if recorded else None
        for stop in range(counts.seeded, 0, -ROWS_PER_CALL):
            window = self.manifest.rows(run_id, max(0, stop - ROWS_PER_CALL), stop)
            if recorded := [row async for row in window if row.recorded]:
                return recorded[-1]
        return None

    async def _row_at(self, run_id: str, index: int) -> Row | None:
        try:
            await self.manifest.counts(run_id)
        except NotFound:
            rows = self.rows(run_id)
        else:
            rows = self.manifest.rows(run_id, index, index + 1)
        async for row in rows:
            if row.index == index:
                return row
        return None

    async def _sealed(self, run_id: str) -> Summary:
        key = keys.summary(run_id)
        try:
            return Summary.decode(await self.store.get(key), key)
        except ObjectMissing:
            raise self._unknown(run_id) from None

    async def _stored_runs(self, prefix: str) -> list[str]:
        """Return run ids in the store, newest first (uuid7 sorts by time)."""
        found = [name async for name in self.store.list_folders(keys.RUNS + prefix)]
        return sorted((name for name in found if is_uuid7(name)), reverse=True)

    def _unknown(self, run_id: str) -> UsageError:
        return NotFound(
            f"there is no run {run_id} in {self.manifest.address} or {self.store.address}",
            hint="`salvo list` shows the runs there are; `salvo config` shows where this looks",
        )


def _ambiguous(word: str, what: str, candidates: Sequence[str]) -> NotFound:
    shown = ", ".join(candidates[:CANDIDATES_SHOWN])
    return NotFound(f"{what} {word!r}", hint=f"give more of it: {shown}")


def counts_of(summary: Summary) -> RunCounts:
    """Return the status of a run that only its summary remembers."""
    ended_ms = summary.finished_ms or round(datetime.timestamp(summary.created_at) * 1000)
    return RunCounts(
        run_id=summary.run_id,
        state=summary.state,
        total=summary.total,
        cells=len(summary.cells),
        seeded=summary.total,
        released=summary.total,
        created_ms=round(summary.created_at.timestamp() * 1000),
        now_ms=ended_ms,
        started_ms=summary.started_ms,
        finished_ms=summary.finished_ms,
        concurrency_max=None,
        statuses=summary.counts,
        cost_usd=summary.cost.total_usd or 0.0,
        cost_unknown=summary.cost.unknown,
        judge_cost_usd=summary.judge_cost.total_usd or 0.0,
        judge_cost_unknown=summary.judge_cost.unknown,
        input_tokens=summary.input_tokens,
        output_tokens=summary.output_tokens,
        turns=0,
        retries=summary.retries,
        claims=0,
        expired=0,
        name=run_name([(cell.scenario_digest, cell.scenario_name) for cell in summary.cells]),
        verdict=summary.verdict,
        exit_code=summary.exit_code,
        budget=summary.budget,
    )
