"""Plans, frozen scenarios and sealed rows as workers read them: once from the store, then from memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from salvo_core.errors import UsageError
from salvo_core.manifest.archive import decode_rows
from salvo_core.manifest.rows import Row
from salvo_core.run.extension import extended
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.route import USUAL, Route
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_core.store import keys
from salvo_core.store.homes import get_from_home
from salvo_core.store.protocol import Store

if TYPE_CHECKING:
    from salvo_core.scenario.model import Scenario
    from salvo_core.scenario.snapshot import Snapshot

Name = TypeVar("Name", bound=Hashable)
Document = TypeVar("Document")
REMEMBERED = 256
"""Plans, and scenarios, that a worker keeps; a document is written once, so none goes stale."""

ARCHIVES_REMEMBERED = 2
"""Sealed runs whose rows a worker keeps: a hundred thousand rows are some fifty megabytes."""


class Orders:
    """What was ordered, by id.

    Args:
        store: Where plans and scenarios lie.
        signer: Whose signature plans must carry: given by workers, who act on them.
    """

    def __init__(self, store: Store, signer: Signer = UNSIGNED) -> None:
        self._store = store
        self._signer = signer
        self._plans: _Remembered[str, Plan] = _Remembered(self._read_plan)
        self._recorded: _Remembered[str, Plan] = _Remembered(self._read_recorded)
        self._scenarios: _Remembered[tuple[str, str], Scenario] = _Remembered(self._read_scenario)
        self._snapshots: _Remembered[str, Snapshot] = _Remembered(self._read_snapshot)
        self._archives: _Remembered[str, Sequence[Row]] = _Remembered(self._read_rows, ARCHIVES_REMEMBERED)

    async def plan(self, run_id: str, index: int = 0) -> Plan:
        """Return the plan of a run, or of a re-evaluation.

        Args:
            run_id: Of either.
            index: Of a trial that it should have: if it has not, it may have been extended since it was
                read, and is read once more.

        Raises:
            ObjectMissing: The store has none.
            ObjectCorrupt: What it has is damaged.
            UsageError: It is no order of this site, or of another run.
        """
        plan = await self._plans.get(run_id)
        if index >= plan.total:
            self._plans.forget(run_id)
            plan = await self._plans.get(run_id)
        return plan

    def route(self, run_id: str) -> Route:
        """Return where a run's messages wait, as far as that is known without asking the store."""
        plan = self._plans.known(run_id)
        return USUAL if plan is None else plan.route

    async def recorded(self, run_id: str) -> Plan:
        """Return the plan of a run that is looked at and not carried out: its signature is not asked for.

        Whoever made it may have had no key, or another one. Raises as ``plan`` does.
        """
        return await self._recorded.get(run_id)

    async def scenario(self, plan: Plan, cell: Cell) -> Scenario:
        """Return the scenario that the cell's trials carry out; raises as ``plan`` does.

        Of a cell that is withheld it is gone once the run is over: then there is only its ``snapshot``.
        """
        digest = cell.scenario_digest
        key = keys.order(plan.run_id, digest) if cell.withheld else keys.scenario(digest)
        return await self._scenarios.get((key, digest))

    async def snapshot(self, plan: Plan, cell: Cell) -> Snapshot:
        """Return the cell's scenario as far as records keep it, before and after the run's end alike.

        Where nothing is withheld that is all of it. Raises as ``plan`` does.
        """
        from salvo_core.scenario.snapshot import Snapshot  # as in ``_read_scenario``

        if not cell.withheld:
            return Snapshot.of(await self.scenario(plan, cell), cell.agent_digest)
        return await self._snapshots.get(keys.snapshot(plan.run_id, cell.scenario_digest, plan.home))

    async def rows(self, run_id: str) -> Sequence[Row]:
        """Return the rows of a sealed run, in index order; raises as ``plan`` does."""
        return await self._archives.get(run_id)

    async def _read_plan(self, run_id: str) -> Plan:
        return await self._plan_by(run_id, self._signer)

    async def _read_recorded(self, run_id: str) -> Plan:
        return await self._plan_by(run_id, UNSIGNED)

    async def _plan_by(self, run_id: str, signer: Signer) -> Plan:
        key, stored = await get_from_home(self._store, keys.plan, run_id)
        plan = Plan.decode(stored, key, signer)
        if plan.run_id != run_id:  # a signed plan put in the place of another one
            raise UsageError(f"{key} holds the plan of run {plan.run_id[:40]}")
        return (await extended(plan, self._store, signer))[0]

    async def _read_scenario(self, name: tuple[str, str]) -> Scenario:
        from salvo_core.scenario.digest import thaw  # every assertion there is: whoever reports needs none

        key, digest = name
        return thaw(await self._store.get(key), key, digest)

    async def _read_snapshot(self, key: str) -> Snapshot:
        from salvo_core.scenario.snapshot import thaw_snapshot  # as in ``_read_scenario``

        return thaw_snapshot(await self._store.get(key), key)

    async def _read_rows(self, run_id: str) -> Sequence[Row]:
        key, stored = await get_from_home(self._store, keys.manifest, run_id)
        return await asyncio.to_thread(lambda: list(decode_rows(stored, key)))  # seconds of work, if large


class _Remembered(Generic[Name, Document]):
    """The last documents read; callers that want one at the same moment share one read."""

    def __init__(self, read: Callable[[Name], Awaitable[Document]], most: int = REMEMBERED) -> None:
        self._read = read
        self._most = most
        self._tasks: OrderedDict[Name, asyncio.Task[Document]] = OrderedDict()

    def forget(self, name: Name) -> None:
        """Read the document afresh when it is next asked for."""
        self._tasks.pop(name, None)

    def known(self, name: Name) -> Document | None:
        """Return the document if it has been read."""
        task = self._tasks.get(name)
        read = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if task is not None and read else None

    async def get(self, name: Name) -> Document:
        task = self._tasks.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._tasks[name] = asyncio.ensure_future(self._read(name))
        self._tasks.move_to_end(name)
        while len(self._tasks) > self._most:
            self._tasks.popitem(last=False)
        return await asyncio.shield(task)  # one caller that is cancelled does not take the read from the rest
