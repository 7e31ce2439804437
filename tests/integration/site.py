"""A whole Salvo in one process: real Redis, a store, benches that attempt trials, a queue to look into."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.adapters.retrying import Backoff
from salvo_core.adapters.transport import Transport
from salvo_core.attempt import Bench, attempt
from salvo_core.clock import SystemClock
from salvo_core.identity import digest
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.leases import LeaseKeeper
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import TERMINAL
from salvo_core.observe import Observer
from salvo_core.run.orders import Orders
from salvo_core.run.plan import TrialMessage
from salvo_core.run.route import LANES, USUAL, Route
from salvo_core.run.signature import UNSIGNED
from salvo_core.scenario.digest import scenario_digest
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import Scenario
from salvo_core.settings import resolve
from salvo_core.store import keys
from salvo_core.submit import Order, submit
from salvo_core.trace.stored import read_trace

DEADLINE_S = 15.0
TURNS = 3

SCENARIO: dict[str, Any] = {
    "description": "refund desk",
    "adapter": "scripted",
    "model": "gpt-4o-mini",
    "prompt": "Refund order A-1001.",
    "tools": [{"name": "look_up", "description": "Looks.", "mock_response": {"found": True}}],
    "assertions": [
        {"type": "tool_sequence", "sequence": ["look_up", "look_up"]},
        {"type": "output_contains", "value": "refund"},
    ],
    "script": {
        "turns": [
            {"tool_calls": [{"name": "look_up", "arguments": {"n": 1}}]},
            {"tool_calls": [{"name": "look_up", "arguments": {"n": 2}}]},
            {"text": "Your refund is on its way."},
        ]
    },
}


def loaded(file: str = "refund.yaml", **fields: Any) -> Loaded:
    """Return a scenario as loading it would; fields replace those of ``SCENARIO``."""
    from salvo_core.evaluation.shorthand import canonical

    raw = SCENARIO | fields
    raw["assertions"] = [canonical(one) for one in raw["assertions"]]
    scenario = Scenario.model_validate(raw)
    return Loaded(scenario, scenario_digest(scenario), (), file, frozenset())


def order(trials: int = 3, scenarios: Iterable[Loaded] | None = None, **fields: Any) -> Order:
    """Return an order of three trials of one scenario, unless told otherwise."""
    return Order(tuple(scenarios or (loaded(),)), trials=trials, **fields)


class Outbox:
    """A dispatcher whose queue is a list: strict about what a message is, and open to inspection."""

    signer = UNSIGNED
    queued_max = 1_000_000

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.waiting: list[TrialMessage] = []
        self.sent: list[TrialMessage] = []

    async def publish(self, messages: Iterable[TrialMessage], route: Route = USUAL) -> int:
        # Through JSON, as on a wire: what does not survive that is no message.
        given = [TrialMessage.model_validate_json(message.model_dump_json()) for message in messages]
        await asyncio.sleep(0)
        self.waiting += given
        self.sent += given
        self.routes |= {message.run_id: route for message in given}
        return len(given)

    async def queued(self, route: Route | None = None) -> int:
        return sum(route in (None, self.routes[message.run_id]) for message in self.waiting)

    async def withdraw(self, run_id: str, route: Route) -> int:
        before = len(self.waiting)
        self.waiting = [message for message in self.waiting if message.run_id != run_id]
        return before - len(self.waiting)

    async def lanes(self) -> list[int]:
        return [sum(self.routes[one.run_id].lane == lane for one in self.waiting) for lane in range(LANES)]

    async def aclose(self) -> None:
        pass

    def indices(self, run_id: str) -> set[int]:
        """Return which trials of a run a message was ever sent for."""
        return {message.index for message in self.sent if message.run_id == run_id}


class Stage:
    """What the provider is asked, in order; and gates that hold an exchange until the test opens them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._reached: dict[int, asyncio.Event] = {}
        self._gates: dict[int, asyncio.Event] = {}

    def close(self, turn: int) -> None:
        """Hold every exchange of that turn from now on."""
        self._reached[turn], self._gates[turn] = asyncio.Event(), asyncio.Event()

    async def reached(self, turn: int) -> None:
        """Return when a closed turn has been asked for."""
        async with asyncio.timeout(DEADLINE_S):
            await self._reached[turn].wait()

    def open(self, turn: int) -> None:
        """Let what is held at that turn go on, and whatever comes after it."""
        self._gates.pop(turn).set()

    async def enter(self, trace_id: str, turn: int) -> None:
        """Note that a turn is asked for, and hold it there if that turn is closed."""
        self.asked.append((trace_id, turn))
        if gate := self._gates.get(turn):
            self._reached[turn].set()
            await gate.wait()


class StagedAdapter:
    """Any adapter, watched and held up by a stage."""

    def __init__(self, inner: Any, stage: Stage) -> None:
        self.name = inner.name
        self._inner = inner
        self._stage = stage

    async def send_turn(self, messages: Any, tools: Any, config: Any) -> Any:
        await self._stage.enter(config.trace_id, config.turn)
        return await self._inner.send_turn(messages, tools, config)

    async def aclose(self) -> None:
        await self._inner.aclose()


class StagedRegistry(AdapterRegistry):
    """The real registry; what it hands out is watched."""

    stage: Stage
    secrets: frozenset[str] = frozenset()
    judge: Any = None
    """Who answers as the adapter called judge."""

    def get(self, name: str, script: Any = None) -> Any:
        if name == "judge" and self.judge is not None:
            return self.judge
        return StagedAdapter(super().get(name, script), self.stage)

    def known_secrets(self) -> frozenset[str]:
        return super().known_secrets() | self.secrets


class Site:
    """One Redis, one store, one queue, and as many workers as a test wants."""

    def __init__(self, redis_url: str, store: Any) -> None:
        self.manifest = Manifest(connect(redis_url), redis_url)
        self.store = store
        self.outbox = Outbox()
        self.stage = Stage()
        self.judge: Any = None
        self.clock: Any = SystemClock()

    def bench(self, worker: str = "w1", **parts: Any) -> Bench:
        """Return a worker's bench; parts replace the site's own."""
        settings = resolve({})
        adapters = StagedRegistry(
            profiles={},
            allow_imports=(),
            secrets=settings,
            transport=Transport(4),
            clock=self.clock,
            prices=None,
            backoff=Backoff(base_s=0.001),
        )
        adapters.stage = self.stage
        adapters.judge = self.judge
        manifest = parts.pop("manifest", self.manifest)
        store = parts.pop("store", self.store)
        given = {
            "store": store,
            "manifest": manifest,
            "dispatcher": self.outbox,
            "adapters": adapters,
            "leases": LeaseKeeper(manifest, worker, lease_s=30.0, clock=self.clock),
            "orders": Orders(store),
            "clock": self.clock,
        }
        return Bench(**(given | parts))

    async def submit(self, ordered: Order | None = None, **parts: Any) -> Any:
        """Order a run; return its plan. Parts replace the site's own."""
        given = {
            "store": self.store,
            "manifest": self.manifest,
            "dispatcher": self.outbox,
            "clock": SystemClock(),
        }
        return await submit(ordered or order(), **(given | parts))

    async def work(self, *benches: Bench, at_once: int = 8) -> None:
        """Attempt what waits in the queue, and what that puts there, until it is empty."""
        benches = benches or (self.bench(),)

        async def worker(bench: Bench) -> None:
            while self.outbox.waiting:
                await attempt(self.outbox.waiting.pop(0), bench)

        await asyncio.gather(*(worker(bench) for bench in benches for _ in range(at_once)))
        if self.outbox.waiting:
            await self.work(*benches, at_once=at_once)

    async def work_one(self, bench: Bench) -> None:
        """Attempt the next trial in the queue."""
        await attempt(self.outbox.waiting.pop(0), bench)

    async def silence(self, run_id: str) -> None:
        """Let every lease of the run end now."""
        leases = redis_keys.leases(run_id)
        for index in await self.manifest.redis.zrange(leases, 0, -1):
            await self.manifest.redis.zadd(leases, {index: 1})

    async def rows(self, run_id: str) -> list[Any]:
        return [row async for row in self.manifest.rows(run_id)]

    async def state(self, run_id: str) -> str:
        return (await self.manifest.counts(run_id)).state

    def observer(self) -> Observer:
        return Observer(self.store, self.manifest)

    async def trace_of(self, row: Any, run_id: str) -> Any:
        """Return the trace that a row names, whose digest must be the row's."""
        key = keys.trace(run_id, row.trace_id, row.attempt)
        return read_trace(await self.store.get(key), key, row.result.digest)

    async def check(self, plan: Any) -> None:
        """Assert I1 and I2: every trial ended in one row, which names a whole object that is stored."""
        rows = await self.rows(plan.run_id)
        assert [row.index for row in rows] == list(range(plan.total))
        assert [row.trace_id for row in rows] == [plan.trace_id(index) for index in range(plan.total)]
        assert {row.status for row in rows} <= TERMINAL
        counts = await self.manifest.counts(plan.run_id)
        found = Counter(row.status for row in rows)
        assert {status: n for status, n in counts.statuses.items() if n} == dict(found)
        for row in rows:
            if row.result is not None and row.result.digest:
                trace = await self.trace_of(row, plan.run_id)
                assert (trace.trace_id, trace.attempt, trace.status) == (
                    row.trace_id,
                    row.attempt,
                    row.status,
                )
        for row in rows:
            unfinished = (
                redis_keys.journal(plan.run_id, row.index),
                redis_keys.votes(plan.run_id, row.index),
            )
            assert not await self.manifest.redis.exists(*unfinished)

    async def everything_stored(self) -> dict[str, str]:
        """Return the digest of every object in the store, by key."""
        return {key: digest(await self.store.get(key)) async for key in self.store.list("")}

    async def aclose(self) -> None:
        await self.manifest.aclose()
        await self.store.aclose()


class Killed(BaseException):
    """What stands for a SIGKILL: nothing in the code may catch it."""


class Fuse:
    """Counts writes and burns through at one of them.

    Args:
        step: The write that fails, counted from 1; 0 for none.
        after: Whether that write is done before its writer dies.
        error: What is raised there.
    """

    def __init__(self, step: int = 0, *, after: bool = False, error: BaseException | None = None) -> None:
        self.step = step
        self.after = after
        self.error = error or Killed()
        self.writes: list[str] = []

    def on(self, target: Any, *names: str) -> Any:
        """Return target with the calls of these names counted."""
        return _Fused(target, self, frozenset(names))

    async def pass_through(self, name: str, call: Any) -> Any:
        self.writes.append(name)
        burns = len(self.writes) == self.step
        if burns and not self.after:
            raise self.error
        answer = await call()
        if burns:
            raise self.error
        return answer


class _Fused:
    def __init__(self, target: Any, fuse: Fuse, names: frozenset[str]) -> None:
        self._target = target
        self._fuse = fuse
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._names:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._fuse.pass_through(name, lambda: found(*args, **kwargs))

        return call


NOW = datetime(2026, 1, 1, tzinfo=UTC)
