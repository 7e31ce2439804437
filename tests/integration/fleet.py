"""A fleet of real workers, with everything they need around them and a way to look at it all."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict

import redis

from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.server import SimulatedProvider
from salvo_core.audit import audit
from salvo_core.clock import SystemClock
from salvo_core.fleet.registry import WORKERS, WorkerCard
from salvo_core.manifest import keys as keys_of_run
from salvo_core.manifest.connection import connect
from salvo_core.manifest.counters import NANO, RunCounts
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import STATUSES, TERMINAL, Row
from salvo_core.observe import Observer
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Plan
from salvo_core.run.summary import Summary
from salvo_core.scenario.loading import load_paths
from salvo_core.scenario.project import load_project
from salvo_core.store import keys
from salvo_core.store.opening import open_store
from salvo_core.store.protocol import Store
from salvo_core.submit import Order, submit
from salvo_core.trace.model import Trace
from salvo_core.trace.stored import read_trace
from salvo_worker.dispatch import CeleryDispatcher
from tests.servers.process import ServerProcess, own_folder
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
UNACKED = "unacked"
"""Where kombu keeps the messages that a worker has taken and not acknowledged."""

KEY = "canary-5d1f0c7e-never-to-be-seen-anywhere"
"""The provider key of every worker here; a test greps the whole world for it."""

_OURS = ("SALVO_", "OPENAI_", "ANTHROPIC_", "CELERY_")
_POLL_S = 0.02
DEADLINE_S = 60.0
"""For what takes a second or two; several test processes share a machine that may be slow itself."""


async def until(condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as condition, which may be a coroutine function, gives something true.

    Raises:
        TimeoutError: It did not within the deadline.
    """
    ends = time.monotonic() + deadline_s
    while True:
        held = condition()
        if await held if inspect.isawaitable(held) else held:
            return
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s")
        await asyncio.sleep(_POLL_S)


class Doors(TypedDict):
    """What every door wants, by keyword."""

    store: Store
    manifest: Manifest
    dispatcher: Dispatcher


class Worker(ServerProcess):
    """One ``python -m salvo_worker``; ready when its card is in the registry.

    Args:
        folder: Its own, its current folder too; a ``salvo.yaml`` may lie above it.
        redis_url: Where its card will be.
        concurrency: Trials at once.
        loglevel: How much it says.
        environ: On top of this process's own, without what names a Salvo or a provider there.
    """

    def __init__(
        self, folder: Path, redis_url: str, concurrency: int, loglevel: str, environ: Mapping[str, str]
    ) -> None:
        self._redis_url = redis_url
        super().__init__(
            f"worker {folder.name}",
            [sys.executable, "-m", "salvo_worker", "-c", str(concurrency), "--loglevel", loglevel],
            folder=folder,
            is_ready=self._has_a_card,
            ready_s=DEADLINE_S,
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._env = {**inherited, **environ}

    def _has_a_card(self) -> bool:
        try:
            with redis.Redis.from_url(self._redis_url) as client:
                names = list(client.scan_iter(f"{WORKERS}:*"))
                cards = client.mget(names) if names else []
        except redis.ConnectionError:  # a worker may be there before its Redis
            return False
        return any(card and WorkerCard.model_validate_json(card).pid == self.pid for card in cards)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal and do not wait for what comes of it."""
        os.kill(self.pid, number)

    async def ended(self, *, deadline_s: float = DEADLINE_S) -> int:
        """Return the exit code once the process is over."""
        process = self._process
        assert process is not None
        await until(lambda: process.poll() is not None, f"{self.name} ends", deadline_s=deadline_s)
        assert process.returncode is not None
        return process.returncode

    def log(self) -> str:
        """Return all that it wrote."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""


class Fleet:
    """Redis, a store, a provider, workers, and the doors that a command line would use.

    Args:
        redis_server: Runs; emptied by whoever made it.
        store_url: A folder or a bucket; credentials stand in the environment.
        s3_endpoint_url: Where the bucket is.
        redis_url: How workers and doors reach the Redis, if not as the server says.
    """

    def __init__(
        self,
        redis_server: RedisServer,
        store_url: str,
        *,
        s3_endpoint_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        redis_url = redis_url or redis_server.url
        self.redis_server = redis_server
        self.folder = own_folder("fleet")
        self.environ = {
            "PYTHONPATH": str(ROOT),
            "SALVO_REDIS_URL": redis_url,
            "SALVO_STORE_URL": store_url,
            "SALVO_SWEEP_S": "0.2",
            "SALVO_LEASE_S": "2",
            "OPENAI_API_KEY": KEY,
            "SALVO_ALLOW_ROOT": "1",  # tests may run as root, outside a container too
        }
        if s3_endpoint_url:
            self.environ["SALVO_S3_ENDPOINT_URL"] = s3_endpoint_url
        self.workers: list[Worker] = []
        self.manifest = Manifest(connect(redis_url), redis_url)
        self.store = open_store(store_url, endpoint_url=s3_endpoint_url)
        self.dispatcher = CeleryDispatcher(redis_url)
        self.observer = Observer(self.store, self.manifest)
        self.doors: Doors = {
            "store": self.store,
            "manifest": self.manifest,
            "dispatcher": self.dispatcher,
        }

    async def aclose(self) -> None:
        """Kill the workers, close every connection and remove the folder."""
        for worker in self.workers:
            worker.kill9()
            worker.close()
        await self.dispatcher.aclose()
        await self.store.aclose()
        await self.manifest.aclose()
        shutil.rmtree(self.folder)

    # -- what there is ------------------------------------------------------------------------

    def project(self, **settings: Any) -> None:
        """Write the ``salvo.yaml`` that workers started from now on read."""
        (self.folder / "salvo.yaml").write_text(json.dumps(settings))

    @asynccontextmanager
    async def provider(self, scripts: Mapping[str, Any], **book: Any) -> AsyncIterator[SimulatedProvider]:
        """Run a pretend provider that demands ``KEY``, for workers started from now on."""
        document = ScriptBook.read({"scripts": scripts, **book})
        log = self.folder / "requests.jsonl"
        async with SimulatedProvider(document, api_key=KEY, request_log=log) as provider:
            self.environ["OPENAI_BASE_URL"] = f"{provider.url}/v1"
            yield provider

    async def start(
        self,
        count: int = 1,
        *,
        concurrency: int = 8,
        loglevel: str = "info",
        environ: Mapping[str, str] | None = None,
    ) -> list[Worker]:
        """Start workers, all at once, and return them when all are ready."""
        started = []
        for _ in range(count):
            folder = self.folder / f"w{len(self.workers) + 1}"
            folder.mkdir()
            variables = {**self.environ, **(environ or {})}
            worker = Worker(folder, self.redis_server.url, concurrency, loglevel, variables)
            self.workers.append(worker)
            started.append(worker)
        await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in started))
        return started

    # -- runs ---------------------------------------------------------------------------------

    async def submit(self, *scenarios: Mapping[str, Any], trials: int, **order: Any) -> Plan:
        """Order a run of scenarios, given as what their files say."""
        files = []
        for number, scenario in enumerate(scenarios):
            files.append(self.folder / f"scenario-{number}.yaml")
            files[-1].write_text(json.dumps(scenario))
        loaded = load_paths(files, project=load_project(self.folder))
        return await submit(Order(loaded, trials=trials, **order), **self.doors, clock=SystemClock())

    async def until(
        self, plan: Plan, holds: Callable[[RunCounts], bool], what: str, *, deadline_s: float = DEADLINE_S
    ) -> RunCounts:
        """Return the run's counts as soon as they are as wanted."""
        seen: list[RunCounts] = []

        async def look() -> bool:
            seen[:] = [await self.manifest.counts(plan.run_id)]
            return holds(seen[0])

        try:
            await until(look, what, deadline_s=deadline_s)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; {seen}") from None
        return seen[0]

    async def until_ended(self, plan: Plan, count: int) -> RunCounts:
        """Return the run's counts once so many of its trials have ended."""
        return await self.until(plan, lambda counts: counts.ended >= count, f"{count} trials end")

    async def until_all_hold(self, plan: Plan) -> None:
        """Return once every worker holds a trial of the run; it may not have read the plan yet."""

        async def hold() -> bool:
            running = {row.worker for row in await self.rows(plan) if row.status == "running"}
            return len(running) == len(self.workers)

        await until(hold, "every worker holds a trial")

    async def until_all_ended(self, plan: Plan) -> None:
        """Return once every worker has ended a trial of the run: all are in the middle of it."""

        async def ended() -> bool:
            return len({row.result.worker for row in await self.rows(plan) if row.result}) == len(
                self.workers
            )

        await until(ended, "every worker has ended a trial")

    async def sealed(self, plan: Plan, *, deadline_s: float = 2 * DEADLINE_S) -> Summary:
        """Return the run's summary, as the store has it, once it is sealed."""
        await self.until(plan, lambda c: c.state == "sealed", "the run is sealed", deadline_s=deadline_s)
        return Summary.decode(await self.store.get(keys.summary(plan.run_id)), "summary")

    async def rows(self, plan: Plan) -> list[Row]:
        """Return the run's rows."""
        return [row async for row in self.manifest.rows(plan.run_id)]

    # -- what must always hold ----------------------------------------------------------------

    async def audit(self, plan: Plan) -> list[Trace]:
        """Return the run's traces in index order, having checked what every finished run promises.

        One terminal row per trial (I1); each names an object that is there and has the row's
        digest (I2); counters say what the rows say; ``salvo audit`` finds nothing either, so that it
        is tried on every kind of run here; no message waits, and no worker's log holds a traceback.
        """
        rows = await self.rows(plan)
        assert [row.index for row in rows] == list(range(plan.total))
        assert [row.trace_id for row in rows] == [plan.trace_id(row.index) for row in rows]
        assert {row.status for row in rows} <= TERMINAL
        _assert_counted(await self.manifest.counts(plan.run_id), rows)
        traces = []
        for row in rows:
            if row.result is None:
                unsaid = row.status == "skipped" and row.reason == "budget"  # claimed, and had to stop
                assert unsaid or (row.status, row.attempt) in (("cancelled", 0), ("skipped", 0)), row
                continue
            key = keys.trace(plan.run_id, row.trace_id, row.attempt)
            trace = read_trace(await self.store.get(key), key, row.result.digest)
            assert (trace.trace_id, trace.index, trace.status) == (row.trace_id, row.index, row.status)
            traces.append(trace)
        found = await audit(plan.run_id, store=self.store, manifest=self.manifest)
        assert found.clean, found.discrepancies
        await until(self._is_queue_empty, "no message waits")
        for worker in self.workers:
            _, mark, told = worker.log().partition("Traceback")
            assert not mark, f"{worker.name} failed on a fault of ours: {told[:4000]}"
        return traces

    async def stored_traces(self, plan: Plan) -> list[str]:
        """Return the names of every trace object of the run."""
        return [key async for key in self.store.list(keys.traces(plan.run_id))]

    async def nothing_is_left(self) -> None:
        """Return once no message waits and none is taken but not acknowledged.

        A worker that was killed leaves those it had taken behind, for an hour: ask this of the living.
        """

        async def empty() -> bool:
            return await self._is_queue_empty() and not await self.manifest.redis.hlen(UNACKED)

        await until(empty, "every message is acknowledged")

    async def _is_queue_empty(self) -> bool:
        return not await self.dispatcher.queued()

    async def finished_turns(self, plan: Plan) -> set[tuple[str, int]]:
        """Return the turns that are paid for and kept, in a journal or a trace: (trace id, turn)."""
        names = [keys_of_run.journal(plan.run_id, index) for index in range(plan.total)]
        pipe = self.manifest.redis.pipeline(transaction=False)
        for name in names:
            pipe.llen(name)
        turns = dict(enumerate(await pipe.execute()))
        # After the journals: a trial that ends in between has lost its journal and got its row.
        turns |= {row.index: row.result.turns for row in await self.rows(plan) if row.result}
        return {(plan.trace_id(index), turn) for index, count in turns.items() for turn in range(count)}

    def requests(self) -> list[dict[str, Any]]:
        """Return the provider's log: one entry for each request, in order."""
        log = self.folder / "requests.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def asked(self) -> Counter[tuple[str, int]]:
        """Return how often each turn of each trial was asked for: (trace id, turn) -> requests."""
        return Counter((entry["trace_id"], entry["turn"]) for entry in self.requests())

    def doubled(self) -> set[tuple[str, int]]:
        """Return the turns that were asked for more than once."""
        return {turn for turn, times in self.asked().items() if times > 1}


def _assert_counted(counts: RunCounts, rows: Iterable[Row]) -> None:
    rows = list(rows)
    results = [row.result for row in rows if row.result is not None]
    by_status = Counter(row.status for row in rows)
    assert dict(counts.statuses) == {status: by_status[status] for status in STATUSES}
    assert counts.ended == counts.total == len(rows)
    assert counts.input_tokens == sum(result.input_tokens for result in results)
    assert counts.output_tokens == sum(result.output_tokens for result in results)
    assert counts.turns == sum(result.turns for result in results)
    assert counts.retries == sum(result.retries for result in results)
    assert round(counts.cost_usd * NANO) == sum(round((result.cost_usd or 0) * NANO) for result in results)
    assert counts.cost_unknown == sum(result.cost_usd is None for result in results)
    judged = sum(round((result.judge_cost_usd or 0) * NANO) for result in results)
    assert round(counts.judge_cost_usd * NANO) == judged
    told = [row for row in rows if row.result or row.status == "skipped"]
    for cell in range(counts.cells):
        of_cell = Counter(row.status for row in told if row.index % counts.cells == cell)
        assert {s: n for s, n in counts.per_cell[cell].statuses.items() if n} == dict(of_cell)
