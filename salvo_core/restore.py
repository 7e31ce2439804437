"""The door that puts a run back into a Redis that has lost it: rows from stored traces, then the header.

The order is the promise (I5). Rows are restored while the run has no header, so that no
worker is given a trial whose trace is about to be found; the header follows once every stored
trace has its row. Rows that are there already stay as they are, so that this may be done
again, by several at once, and after a death at any point.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.repairs import Repairs, Restatement
from salvo_core.manifest.rows import SCORED, Result, Row, Status
from salvo_core.record import result_of
from salvo_core.run.control import read_control
from salvo_core.run.discrepancies import misgraded, mistaken, regraded
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.run.rescored import SCHEMA as RESCORED
from salvo_core.run.rescored import Rescored
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import open_run
from salvo_core.trace import codec
from salvo_core.trace.stored import SCHEMA, read_trace

READ_AT_ONCE = 32
"""Traces that are read side by side; each is let go before the next window."""

Progress = Callable[[int, int], None]
"""Is told how much of how much is done."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Stored:
    """The attempts of a run's trials that the store holds, by name alone."""

    attempts: dict[int, list[int]] = field(default_factory=dict)
    """By index, ascending."""
    foreign: list[str] = field(default_factory=list)
    """Keys among the traces that are none of this run's."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What there was to restore.

    Attributes:
        rows: Trials whose stored trace is whole; each has a row now.
        missing: Trials without a complete stored trace: they are run (again).
        journaled: Those of them that go on from a journal that Redis still had.
        damaged: Stored attempts that could not be used, and why.
    """

    rows: int
    missing: int
    journaled: int
    damaged: tuple[str, ...]


async def stored_attempts(plan: Plan, store: Store) -> Stored:
    """Return which attempts at which trials left an object; none is read."""
    places = {plan.trace_id(index): index for index in range(plan.total)}
    found = Stored()
    async for key in store.list(keys.traces(plan.run_id, plan.home)):
        name = keys.parse_trace(key)
        index = places.get(name[0]) if name else None
        if name is None or index is None or key != keys.trace(plan.run_id, *name, plan.home):
            found.foreign.append(key)
        else:
            found.attempts.setdefault(index, []).append(name[1])
    for attempts in found.attempts.values():
        attempts.sort()
    return found


@dataclass(frozen=True, slots=True)
class Whole:
    """A stored attempt that is complete: the row that it is worth, and what else an audit asks of it."""

    row: Row
    started_at: datetime
    ended_at: datetime
    misgraded: str
    """How its grade does not follow from its findings; empty when it does."""
    set_aside: tuple[int, ...] = ()
    """Attempts that had ended and were retried: this one, where it ended, counts in their place."""


async def read_attempt(
    plan: Plan, index: int, attempt: int, store: Store, agents: Result | None = None
) -> Whole:
    """Return what a stored attempt is worth.

    Args:
        plan: The run, or re-evaluation.
        index: The trial.
        attempt: Which try.
        store: Where it is.
        agents: Of a re-evaluation's trial, what the recorded conversation took; its own record
            does not say.

    Raises:
        ObjectMissing: It is not there.
        ObjectCorrupt: Damaged, or the trace of something else.
    """
    key = keys.trace(plan.run_id, plan.trace_id(index), attempt, plan.home)
    stored = await store.get(key)
    if plan.rescore is not None:
        return await asyncio.to_thread(_rescored, plan, index, attempt, stored, key, agents)
    return await asyncio.to_thread(_traced, plan, index, attempt, stored, key)


def _traced(plan: Plan, index: int, attempt: int, stored: bytes, key: str) -> Whole:
    trace = read_trace(stored, key)
    _require_own(key, plan, index, attempt, (trace.run_id, trace.trace_id, trace.index, trace.attempt))
    result = result_of(trace, codec.digest_of(SCHEMA, stored, where=key))
    row = Row(index, cast(Status, trace.status), attempt, trace.trace_id, result=result)
    set_aside = tuple(one.attempt for one in trace.earlier if one.how == "retried")
    return Whole(row, trace.started_at, trace.ended_at, regraded(trace), set_aside)


def _rescored(plan: Plan, index: int, attempt: int, stored: bytes, key: str, agents: Result | None) -> Whole:
    one = Rescored.decode(stored, key)
    _require_own(key, plan, index, attempt, (one.reeval_id, one.source.trace_id, one.index, one.attempt))
    result = one.result(agents, codec.digest_of(RESCORED, stored, where=key))
    row = Row(index, cast(Status, one.status), attempt, one.source.trace_id, result=result)
    found, graded = one.after, ""
    if found.grade is not None:
        graded = misgraded(found.findings, found.threshold, one.outcome, found.grade, found.score)
    return Whole(row, one.evaluated_at, one.evaluated_at, graded)


def _require_own(key: str, plan: Plan, index: int, attempt: int, found: tuple[str, str, int, int]) -> None:
    if wrong := mistaken(plan, index, attempt, *found):
        raise ObjectCorrupt(f"{key} is not the trace of its name: {wrong}")


async def lowest_complete(
    plan: Plan, index: int, attempts: Sequence[int], store: Store, agents: Result | None = None
) -> tuple[Whole | None, list[str]]:
    """Return the first of these attempts that is whole, and what is wrong with those before it.

    One that was retried gives way to what became of that.


    Args:
        plan: The run.
        index: The trial.
        attempts: In the order of preference.
        store: Where they are.
        agents: As for ``read_attempt``.
    """
    damaged: list[str] = []
    found: Whole | None = None
    for attempt in attempts:
        if found is not None and (found.row.status in SCORED or plan.rescore is not None):
            break  # nobody retries what has a grade
        try:
            whole = await read_attempt(plan, index, attempt, store, agents)
        except (ObjectMissing, ObjectCorrupt) as error:
            damaged += [str(error)] if found is None else []
            continue
        if found is None or found.row.attempt in whole.set_aside:
            found = whole
    return found, damaged


class Agents:
    """What the conversations took that a re-evaluation looks at again, as their run's archive says.

    Args:
        plan: Of any run; only a re-evaluation's trials have any.
        store: Where the archive is.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._rows: dict[str, Result | None] | None = None

    async def of(self, index: int) -> Result | None:
        """Return it for one trial, None when nobody knows."""
        rescore = self._plan.rescore
        if rescore is None:
            return None
        if self._rows is None:
            self._rows = {}
            with suppress(ObjectMissing, ObjectCorrupt):
                archived = await Orders(self._store).rows(rescore.run_id)
                self._rows = {row.trace_id: row.result for row in archived}
        return self._rows.get(self._plan.trace_id(index))


async def restore(
    plan: Plan,
    *,
    store: Store,
    manifest: Manifest,
    signer: Signer,
    on_progress: Progress | None = None,
) -> Restored:
    """Restore a run that has no header in Redis: every stored trial's row, then the header.

    Afterwards the run is in state ``submitting``, or paused or cancelling if somebody commanded that, and
    its budget is as it was raised; whoever resumes it seeds the rows of the trials that are missing and
    sends their messages. Costs one read of each stored trace.

    Args:
        plan: The run. It must not be sealed.
        store: Where its traces are.
        manifest: Where its rows will be.
        signer: Whose commands are honoured.
        on_progress: Told of the trials that were looked at.
    """
    control = await read_control(plan.run_id, plan.home, store, signer)
    looked = _Survey(plan, store, Repairs(manifest))
    async for window in looked.windows(on_progress):
        await looked.restore(window)
    missing = [index for index in range(plan.total) if index not in looked.found]
    journals = await looked.repairs.journals(plan.run_id, missing)
    # A claim of attempt 1 takes no journal for its own; whoever comes second goes on from it.
    begun = [_pending(plan, index, 1) for index in journals]
    for low in range(0, len(begun), ROWS_PER_CALL):
        await looked.repairs.restate(plan.run_id, begun[low : low + ROWS_PER_CALL], len(plan.cells))
    plan = plan.model_copy(update={"budget": control.raised(plan.budget)})
    commanded = control.header if missing else {}  # a run of which nothing is missing is over
    await open_run(plan, manifest, {**looked.remembered(), **commanded})
    return Restored(len(looked.found), len(missing), len(journals), tuple(looked.damaged))


async def survey(plan: Plan, *, store: Store, manifest: Manifest) -> Restored:
    """Return what ``restore`` would find; nothing is written."""
    looked = _Survey(plan, store, Repairs(manifest))
    async for _ in looked.windows(None):
        pass
    missing = [index for index in range(plan.total) if index not in looked.found]
    journals = await looked.repairs.journals(plan.run_id, missing)
    return Restored(len(looked.found), len(missing), len(journals), tuple(looked.damaged))


class _Survey:
    """One walk over what a run left in the store."""

    def __init__(self, plan: Plan, store: Store, repairs: Repairs) -> None:
        self.plan = plan
        self.store = store
        self.repairs = repairs
        self.found: set[int] = set()
        self.damaged: list[str] = []
        self._agents = Agents(plan, store)
        self._started: datetime | None = None

    async def windows(self, on_progress: Progress | None) -> AsyncIterator[list[Row]]:
        """Yield the rows that stored traces are worth, some at a time, in index order."""
        stored = sorted((await stored_attempts(self.plan, self.store)).attempts.items())
        for low in range(0, len(stored), READ_AT_ONCE):
            window = stored[low : low + READ_AT_ONCE]
            agents = [await self._agents.of(index) for index, _ in window]
            answers = await asyncio.gather(
                *(
                    lowest_complete(self.plan, index, attempts, self.store, known)
                    for (index, attempts), known in zip(window, agents, strict=True)
                )
            )
            rows = []
            for whole, damaged in answers:
                self.damaged += damaged
                if whole is not None:
                    rows.append(whole.row)
                    self.found.add(whole.row.index)
                    self._started = min(filter(None, (self._started, whole.started_at)))
            if on_progress is not None:
                on_progress(min(low + READ_AT_ONCE, len(stored)), len(stored))
            yield rows

    async def restore(self, rows: list[Row]) -> None:
        """Write these rows where there are none."""
        changes = [Restatement(row.index, "", None, row) for row in rows]
        await self.repairs.restate(self.plan.run_id, changes, len(self.plan.cells))

    def remembered(self) -> Mapping[str, int]:
        """Return what the header said of the run's past, as far as its traces tell.

        Messages had been sent up to the last trial that ended, at least: were the cursor set
        further back, more trials than may run at once would be sent from there.
        """
        created_ms = round(self.plan.created_at.timestamp() * 1000)
        started = {} if self._started is None else {"started_ms": round(self._started.timestamp() * 1000)}
        return {"created_ms": created_ms, "released": max(self.found, default=-1) + 1, **started}


def _pending(plan: Plan, index: int, attempt: int) -> Restatement:
    return Restatement(index, "", None, Row(index, "pending", attempt, plan.trace_id(index)))
