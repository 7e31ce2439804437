"""A fleet with servers of its own, which may be killed, frozen and brought back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.server import SimulatedProvider
from salvo_core.errors import SalvoError
from salvo_core.run.plan import Plan
from salvo_core.store import keys
from tests.integration.fleet import KEY, Fleet, Worker
from tests.integration.scripts import GOOD_TURNS, scenario
from tests.servers.minio import MinioServer
from tests.servers.process import start_on_free_port
from tests.servers.redis import RedisServer

WORKERS = 3
CONCURRENCY = 12
LEASE_S, SWEEP_S = 3.0, 0.5
BUCKET = "salvo-chaos"
MODELS = ("gpt-4o-mini", "gpt-4o")
USAGE = {"input_tokens": 100, "output_tokens": 20}

# A worker whose clock is an hour ahead: all that Salvo asks of a machine's wall clock goes through these.
_SKEWED = (
    "import datetime, sys, time; from salvo_core import clock; real = time.time;"
    "time.time = lambda: real() + 3600.0;"
    "clock.SystemClock.now = lambda self: datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1);"
    "from salvo_worker.main import main; sys.exit(main(sys.argv[1:]))"
)


def well(latency_s: float) -> dict[str, Any]:
    """Return the book in which every model does well."""
    script = {"turns": GOOD_TURNS, "latency_s": latency_s, "usage": USAGE}
    return {"scripts": dict.fromkeys(MODELS, script)}


def stormy(kind: str, latency_s: float) -> dict[str, Any]:
    """Return the book in which every turn fails with that kind of fault."""
    turns = [{"error": {"kind": kind}} for _ in GOOD_TURNS]
    return {"scripts": {model: {"turns": turns, "latency_s": latency_s} for model in MODELS}}


@dataclass
class Killed:
    """One kill of a worker: whom it held, until when."""

    at_s: float
    worker: str
    held: set[tuple[str, int]]
    recovered_s: float | None = None


@dataclass
class World:
    """Everything that a campaign can reach."""

    fleet: Fleet
    redis: RedisServer
    minio: MinioServer
    provider: SimulatedProvider
    rng: random.Random
    latency_s: float
    plans: list[Plan] = field(default_factory=list)
    kills: list[Killed] = field(default_factory=list)
    in_flight_max: int = 0
    """Exchanges that may have been paid without being kept: the slots of every worker that was killed."""
    wall_skewed: bool = False
    _following: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def living(self) -> list[Worker]:
        """Workers that run and are not frozen."""
        return [worker for worker in self.fleet.workers if worker.is_alive]

    async def keep_staffed(self) -> None:
        """Bring the fleet back to its strength; one in four newcomers has a clock that is an hour ahead."""
        for _ in range(WORKERS - len(self.living)):
            (worker,) = (
                await self.fleet.start(concurrency=CONCURRENCY)
                if self.rng.random() > 0.25
                else [await self._skewed()]
            )
            assert worker.is_alive

    async def _skewed(self) -> Worker:
        fleet = self.fleet
        folder = fleet.folder / f"w{len(fleet.workers) + 1}"
        folder.mkdir()
        worker = Worker(folder, fleet.redis_server.url, CONCURRENCY, "info", fleet.environ)
        worker._command = [sys.executable, "-c", _SKEWED, "-c", str(CONCURRENCY)]
        fleet.workers.append(worker)
        await asyncio.to_thread(worker.start)
        self.wall_skewed = True
        return worker

    def follow(self, book: dict[str, Any]) -> None:
        """Let the provider answer from another book from now on."""
        self.provider.follow(ScriptBook.read(book))

    async def held_by(self, worker: Worker) -> tuple[str, set[tuple[str, int]]]:
        """Return the worker's name in the manifest and the trials it holds, as far as Redis says."""
        name, held = "", set()
        for plan in self.plans:
            try:
                rows = await self.fleet.rows(plan)
            except SalvoError:
                continue
            for row in rows:
                if row.status == "running" and f"-{worker.pid}-" in row.worker:
                    name = row.worker
                    held.add((plan.run_id, row.index))
        return name, held

    def note_kill(self, worker: str, held: set[tuple[str, int]]) -> None:
        """Remember a kill, and begin to watch how long its trials are nobody's."""
        kill = Killed(time.monotonic(), worker, held)
        self.kills.append(kill)
        self.in_flight_max += CONCURRENCY
        if held:
            self._following.append(asyncio.create_task(self._watch(kill)))

    async def _watch(self, kill: Killed) -> None:
        left = set(kill.held)
        while left:
            for plan in self.plans:
                try:
                    rows = await self.fleet.rows(plan)
                except SalvoError:  # Redis is away, too
                    break
                left -= {(plan.run_id, row.index) for row in rows if row.worker != kill.worker}
            await asyncio.sleep(0.1)
        kill.recovered_s = time.monotonic() - kill.at_s

    async def settled(self) -> None:
        """Return when no trial is a killed worker's any more."""
        await asyncio.wait_for(asyncio.gather(*self._following), 90)

    # -- a person at a command line ------------------------------------------------------------

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of ``salvo``."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("SALVO_", "OPENAI_"))}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "salvo_cli", *arguments],
            cwd=self.fleet.folder,
            env={**inherited, **self.fleet.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scenarios(self) -> Path:
        """Write the scenarios of a run, one a model, and return their folder."""
        folder = self.fleet.folder / "scenarios"
        folder.mkdir(exist_ok=True)
        for model in MODELS:
            (folder / f"{model}.yaml").write_text(json.dumps(scenario(model)))
        return folder

    async def new_plan(self, known: set[str]) -> Plan | None:
        """Return the plan of a run that was not there before; None if there is none (yet)."""
        found = {name async for name in self.fleet.store.list_folders(keys.RUNS)} - known
        for run_id in found:
            try:
                return Plan.decode(await self.fleet.store.get(keys.plan(run_id)), run_id)
            except SalvoError:
                continue
        return None

    # -- what the provider saw -----------------------------------------------------------------

    def answered(self) -> Counter[tuple[str, int]]:
        """Return how often each turn of each trial was answered and paid: (trace id, turn) -> answers."""
        return Counter(
            (entry["trace_id"], entry["turn"]) for entry in self.fleet.requests() if entry["status"] == 200
        )


@asynccontextmanager
async def open_world(seed: int, *, latency_s: float = 0.15) -> AsyncIterator[World]:
    """Start Redis, MinIO, a provider and workers; end them all."""
    with (
        start_on_free_port(lambda port: RedisServer("valkey", port=port)) as redis,
        start_on_free_port(MinioServer) as minio,
    ):
        minio.client().create_bucket(Bucket=BUCKET)
        credentials = {
            "AWS_ACCESS_KEY_ID": minio.access_key,
            "AWS_SECRET_ACCESS_KEY": minio.secret_key,
            "AWS_REGION": minio.region,
        }
        os.environ.update(credentials)  # this process looks at the store, too; the servers are its own
        fleet = Fleet(redis, f"s3://{BUCKET}/salvo", s3_endpoint_url=minio.endpoint_url)
        fleet.environ |= {
            "SALVO_LEASE_S": str(LEASE_S),
            "SALVO_SWEEP_S": str(SWEEP_S),
            "PYTHONFAULTHANDLER": "1",  # a worker that is killed by its own doing says where it stood
            **credentials,
        }
        log = fleet.folder / "requests.jsonl"
        book = ScriptBook.read(well(latency_s))
        try:
            async with SimulatedProvider(book, api_key=KEY, request_log=log) as provider:
                fleet.environ["OPENAI_BASE_URL"] = f"{provider.url}/v1"
                world = World(fleet, redis, minio, provider, random.Random(seed), latency_s)
                await fleet.start(WORKERS, concurrency=CONCURRENCY)
                yield world
        finally:
            for worker in fleet.workers:
                if worker.is_alive:
                    worker.signal(signal.SIGCONT)
            if os.environ.get("SALVO_CHAOS_KEEP"):
                shutil.copytree(fleet.folder, os.environ["SALVO_CHAOS_KEEP"], dirs_exist_ok=True)
            await fleet.aclose()
