"""Plans and frozen scenarios as workers read them: once from the store, then from memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from salvo_core.errors import UsageError
from salvo_core.run.plan import Plan
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_core.scenario.digest import thaw
from salvo_core.scenario.model import Scenario
from salvo_core.store import keys
from salvo_core.store.protocol import Store

Document = TypeVar("Document")
REMEMBERED = 256
"""Plans, and scenarios, that a worker keeps; a document is written once, so none goes stale."""


class Orders:
    """What was ordered, by id.

    Args:
        store: Where plans and scenarios lie.
        signer: Whose signature plans must carry: given by workers, who act on them.
    """

    def __init__(self, store: Store, signer: Signer = UNSIGNED) -> None:
        self._store = store
        self._signer = signer
        self._plans: _Remembered[Plan] = _Remembered(self._read_plan)
        self._scenarios: _Remembered[Scenario] = _Remembered(self._read_scenario)

    async def plan(self, run_id: str) -> Plan:
        """Return a run's plan.

        Raises:
            ObjectMissing: The store has none.
            ObjectCorrupt: What it has is damaged.
            UsageError: It is no order of this site, or of another run.
        """
        return await self._plans.get(run_id)

    async def scenario(self, digest: str) -> Scenario:
        """Return the frozen scenario of that digest; raises as ``plan`` does."""
        return await self._scenarios.get(digest)

    async def _read_plan(self, run_id: str) -> Plan:
        key = keys.plan(run_id)
        plan = Plan.decode(await self._store.get(key), key, self._signer)
        if plan.run_id != run_id:  # a signed plan put in the place of another one
            raise UsageError(f"{key} holds the plan of run {plan.run_id[:40]}")
        return plan

    async def _read_scenario(self, digest: str) -> Scenario:
        key = keys.scenario(digest)
        return thaw(await self._store.get(key), key, digest)


class _Remembered(Generic[Document]):
    """The last documents read; callers that want one at the same moment share one read."""

    def __init__(self, read: Callable[[str], Awaitable[Document]]) -> None:
        self._read = read
        self._tasks: OrderedDict[str, asyncio.Task[Document]] = OrderedDict()

    async def get(self, name: str) -> Document:
        task = self._tasks.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._tasks[name] = asyncio.ensure_future(self._read(name))
        self._tasks.move_to_end(name)
        while len(self._tasks) > REMEMBERED:
            self._tasks.popitem(last=False)
        return await asyncio.shield(task)  # one caller that is cancelled does not take the read from the rest
