"""The door of whoever looks: what runs, how it goes, what it came to, what was said.

Live runs are read from Redis; what Redis forgot (sealed runs expire there after a week) is
read from the store, so the same question has the same answer for as long as the objects
last. Status never lists the store and never reads rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from salvo_core.errors import NotFound, ObjectMissing, RunLost, UsageError
from salvo_core.manifest.archive import decode_rows
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import TERMINAL, Row
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.run.references import WHERE_TRACE_IDS_ARE, References
from salvo_core.store import keys
from salvo_core.store.homes import get_from_home, stored_ids
from salvo_core.store.protocol import Store

if TYPE_CHECKING:
    from salvo_core.run.comparison import Comparison
    from salvo_core.run.rescored import Rescored
    from salvo_core.run.summary import Summary
    from salvo_core.scenario.snapshot import Snapshot
    from salvo_core.trace.model import Trace


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
        self._references = References(store, manifest, self._orders)
        self._homes: dict[str, str] = {}

    async def resolve(self, ref: str) -> str:
        """Return the id of the run, or of the re-evaluation, that a person's word means.

        Args:
            ref: ``latest``, which is a run, or an id, or the beginning of exactly one.

        Raises:
            NotFound: No run, or more than one; the hint lists candidates.
        """
        return await self._references.run(ref)

    async def resolve_trial(self, ref: str) -> str:
        """Return the trace id that a person's word means.

        Args:
            ref: A trace id, or the beginning of exactly one.

        Raises:
            NotFound: No trial, or more than one; the hint lists candidates.
        """
        return await self._references.trial(ref)

    async def status(self, run_id: str) -> RunCounts:
        """Return where the run stands: two small hashes in Redis, or its summary once Redis forgot it.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            return await self.manifest.counts(run_id)
        except NotFound:
            from salvo_core.run.standing import counts_of  # status of what Redis knows needs no summary

            key, summary = await self._sealed(run_id)
            return counts_of(summary, reeval=key.startswith(keys.REEVALS))

    async def listing(self, limit: int, *, reevals: bool = False) -> list[RunCounts]:
        """Return the newest runs, or the newest re-evaluations, newest first."""
        home = keys.REEVALS if reevals else keys.RUNS
        run_ids = await self.manifest.recent(limit, reevals=reevals)
        run_ids = run_ids or (await stored_ids(self.store, home=home))[:limit]
        found = await asyncio.gather(*(self.status(run_id) for run_id in run_ids), return_exceptions=True)
        listed = []
        for answer in found:
            if isinstance(answer, RunCounts):
                listed.append(answer)
            elif not isinstance(answer, NotFound):
                raise answer
            # Else Redis remembers a run whose objects were deleted: left out.
        return listed

    async def lost_runs(self, limit: int) -> list[str]:
        """Return which of the newest runs are not over and known to the store alone, if Redis knows no run.

        A Redis that knows some has not come back empty, and is not doubted.
        """
        if await self.manifest.recent(1):
            return []
        run_ids = (await stored_ids(self.store))[:limit]
        found = await asyncio.gather(*(self.status(run_id) for run_id in run_ids), return_exceptions=True)
        return [run_id for run_id, answer in zip(run_ids, found, strict=True) if isinstance(answer, RunLost)]

    async def rows(self, run_id: str) -> AsyncIterator[Row]:
        """Yield the run's rows in index order.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            await self.manifest.counts(run_id)
        except NotFound:
            try:
                key, stored = await get_from_home(self.store, keys.manifest, run_id)
            except ObjectMissing:
                raise await self._absent(run_id) from None
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

    async def snapshot(self, run_id: str, cell: int) -> Snapshot:
        """Return the scenario of a run's cell, as far as its records keep it.

        Args:
            run_id: The run.
            cell: Its place in the plan, 0-based.

        Raises:
            NotFound: The store has no such plan.
            ObjectMissing, ObjectCorrupt: The scenario is gone or damaged.
        """
        plan = await self.plan(run_id)
        return await self._orders.snapshot(plan, plan.cells[cell])

    async def summary(self, run_id: str) -> Summary:
        """Return the run in numbers: the sealed summary, or what the rows come to so far.

        Raises:
            NotFound: Nobody knows the run.
        """
        try:
            counts = await self.manifest.counts(run_id)
        except NotFound:
            return (await self._sealed(run_id))[1]
        if counts.state == "sealed":
            with suppress(RunLost):  # somebody removed it: it is told once more from the rows
                return (await self._sealed(run_id))[1]
        from salvo_core.run.facts import assertion_facts  # as in ``status``
        from salvo_core.run.summary import summarise

        plan = await self.plan(run_id)
        return summarise(
            plan,
            await self.manifest.lines(run_id),
            await assertion_facts(plan, self._orders),
            started_ms=counts.started_ms,
            finished_ms=counts.finished_ms,
            state=counts.state,
            budget=counts.budget,
        )

    async def is_reeval(self, run_id: str) -> bool:
        """Tell whether this is a re-evaluation; of whose sealed summary has been read, without another read.

        Raises:
            NotFound: Nobody knows the run.
        """
        home = self._homes.get(run_id) or (await self.plan(run_id)).home
        return home == keys.REEVALS

    async def comparison(self, reeval_id: str) -> Comparison | None:
        """Return how a sealed re-evaluation differs from what it looked at; None where none is stored.

        Raises:
            ObjectCorrupt: It is damaged.
        """
        from salvo_core.run.comparison import Comparison  # reports of runs need none of it

        key = keys.comparison(reeval_id)
        try:
            return Comparison.decode(await self.store.get(key), key)
        except ObjectMissing:
            return None

    async def rescored(self, reeval_id: str, row: Row) -> Rescored:
        """Return the record that a re-evaluation's row names; raises as ``trace_of`` does."""
        from salvo_core.run.rescored import Rescored  # as in ``comparison``

        assert row.result is not None
        key = keys.trace(reeval_id, row.trace_id, row.attempt, keys.REEVALS)
        return Rescored.decode(await self.store.get(key), key, row.result.digest)

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
            raise NotFound(f"no run has a trial {trace_id}", hint=WHERE_TRACE_IDS_ARE)
        if row.status not in TERMINAL:
            raise NotFound(
                f"trial {trace_id} is {row.status}: its trace is stored when it ends",
                hint=f"`salvo wait {place[0]}` returns when the whole run has ended",
            )
        if not row.recorded:
            began = row.result is not None and row.status not in ("cancelled", "skipped")
            why = (
                f"of trial {trace_id} nothing is kept but its row"
                if began
                else (f"trial {trace_id} was {row.status} before it began")
            )
            raise NotFound(f"{why}: there is no trace")
        return await self.trace_of(place[0], row)

    async def trace_of(self, run_id: str, row: Row) -> Trace:
        """Return the stored record that a row names; ``row.recorded`` says whether it names one.

        Raises:
            ObjectMissing: The store has lost it.
            ObjectCorrupt: The object is not the one the row names.
        """
        from salvo_core.trace.stored import read_trace  # whoever asks how a run goes reads none

        assert row.result is not None
        key = keys.trace(run_id, row.trace_id, row.attempt)
        return read_trace(await self.store.get(key), key, row.result.digest)

    async def place_of(self, trace_id: str) -> tuple[str, int] | None:
        """Return the run and the index of the trial with that trace id, None if no run has one.

        Raises:
            NotFound: It is no trace id.
        """
        return await self._references.place_of(trace_id)

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

    async def _sealed(self, run_id: str) -> tuple[str, Summary]:
        """Return a sealed summary, and where it lies."""
        from salvo_core.run.summary import Summary  # as in ``status``

        try:
            key, stored = await get_from_home(self.store, keys.summary, run_id)
            self._homes[run_id] = keys.REEVALS if key.startswith(keys.REEVALS) else keys.RUNS
            return key, Summary.decode(stored, key)
        except ObjectMissing:
            raise await self._absent(run_id) from None

    async def _absent(self, run_id: str) -> NotFound:
        """Return the error for a run whose sealed documents are not there."""
        try:
            await self.plan(run_id)
        except NotFound as unknown:
            return unknown
        return lost(run_id, self.manifest.address, self.store.address)

    def _unknown(self, run_id: str) -> UsageError:
        return NotFound(
            f"there is no run {run_id} in {self.manifest.address} or {self.store.address}",
            hint="`salvo list` shows the runs there are; `salvo config` shows where this looks",
        )


def lost(run_id: str, redis: str, store: str) -> RunLost:
    """Return the error for a run that is not over and that Redis does not know.

    Args:
        run_id: The run.
        redis: The server's address, for people.
        store: As redis.
    """
    return RunLost(
        f"run {run_id} is not over, and Redis at {redis} knows nothing of it: only {store} does",
        hint=f"`salvo rebuild {run_id}` restores what is stored and runs what is missing",
    )
