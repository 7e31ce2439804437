"""``python -m benchmarks.million``: a run of 1,000,000 trials in a Redis of the size that docs/scale.md says.

The server has that maxmemory and evicts nothing. The order goes out by ``salvo submit`` as a process of its
own; no worker runs. Messages are then taken from the queue many at a time and their rows ended as commits
would have ended them, while the sweeper of a worker, in this process, releases what the queue's window held
back. At the end a process of its own seals the run. Bytes and counts are the program's; seconds are the
machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.large_run import SEALING
from benchmarks.plan import maxmemory_bytes
from benchmarks.submission import RESULTS, SCENARIO, asked, finished_row, read_by, timed
from salvo_cli.wiring import Site, open_site, surroundings
from salvo_core.manifest import keys
from salvo_core.manifest.counters import recounted
from salvo_core.run.plan import Plan
from salvo_core.sweep import Sweeper
from salvo_worker.letter import QUEUES
from tests.servers.redis import RedisServer

TAKEN_AT_ONCE = 20_000
"""Trials that end between two looks of the sweeper: a fleet's 4,000 a second, and it looks every 5 s."""

WRITTEN_AT_ONCE = 1_000


def main() -> int:
    """Measure, print and keep the figures; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--maxmemory", type=int, help="bytes; default: what docs/scale.md says")
    parser.add_argument("--rounds", type=int, default=3, help="times that status and report are asked")
    chosen = parser.parse_args()
    limit = chosen.maxmemory or round(maxmemory_bytes(chosen.trials))
    load_before = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        RedisServer("valkey", transport="unix", options=("--maxmemory", str(limit))).start() as server,
    ):
        for name in [name for name in os.environ if name.startswith("SALVO_")]:
            del os.environ[name]
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed Salvo is compiled
        environ = {"SALVO_REDIS_URL": server.url, "SALVO_STORE_URL": f"file://{folder}/store"}
        os.environ |= environ
        figures = asyncio.run(measure(chosen.trials, chosen.rounds, environ))
    figures["maxmemory_mb"] = limit / 1e6
    document = {
        "benchmark": "million",
        "measured_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": [load_before, os.getloadavg()[0]],
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "million.json").write_text(json.dumps(document, indent=2) + "\n")
    for name, figure in figures.items():
        print(f"{name:24}{figure:>16,.{3 if name.endswith(('_s', '_ms')) else 1}f}")
    return 0


async def measure(trials: int, rounds: int, environ: dict[str, str]) -> dict[str, float]:
    """Return what one run costs from its order to its report, and print each part as it is known."""
    Path("four_turns.yaml").write_text(SCENARIO.read_text())
    timed(["submit", "four_turns.yaml", "-n", "1", "--quiet"], environ)  # every code page is read once
    async with open_site(surroundings()) as site:
        before = await used(site)
        wall_s, peak_mb, out = timed(["submit", "four_turns.yaml", "-n", str(trials), "--json"], environ)
        plan = await site.observer.plan(json.loads(out)["run_id"])
        queued = await used(site)
        found = {
            "trials": float(trials),
            "submit_s": wall_s,
            "submit_per_s": trials / wall_s,
            "submit_peak_mb": peak_mb,
            "queued_messages": float(await site.dispatcher.queued()),
            "queued_mb": (queued - before) / 1e6,
        }
        found |= await asked(site, ["status", plan.run_id], "status", rounds, environ)
        print(f"submitted: {found}", flush=True)
        found |= await drained(site, plan)
        found["redis_bytes_finished"] = (await used(site) - before) / trials
        found["redis_peak_mb"] = (await site.manifest.redis.info("memory"))["used_memory_peak"] / 1e6
        found |= sealed(plan.run_id, environ)
        found |= await asked(site, ["report", plan.run_id], "report", rounds, environ)
        found["report_reads"] = read_by(["report", plan.run_id], environ)
    return found


@dataclass
class Drain:
    """Ends the trials of one run whose messages lie in the queue.

    Args:
        site: Where.
        plan: The run.
    """

    site: Site
    plan: Plan

    async def take(self) -> int:
        """Take messages from the queue and end their trials, as commits would have; return how many."""
        redis: Any = self.site.manifest.redis
        letters = await redis.rpop(QUEUES[self.plan.lane], TAKEN_AT_ONCE) or []
        indices = [index_of(letter) for letter in letters]
        for start in range(0, len(indices), WRITTEN_AT_ONCE):
            rows = [finished_row(self.plan, index) for index in indices[start : start + WRITTEN_AT_ONCE]]
            pipe = redis.pipeline(transaction=True)
            pipe.hset(keys.manifest(self.plan.run_id), mapping={str(row.index): row.encode() for row in rows})
            pipe.hincrby(keys.counters(self.plan.run_id), "pending", -len(rows))
            for field, by in recounted(rows, len(self.plan.cells)).items():
                pipe.hincrby(keys.counters(self.plan.run_id), field, by)
            await pipe.execute()
        return len(indices)


def index_of(letter: str | bytes) -> int:
    """Return whose message this is."""
    body = json.loads(base64.b64decode(json.loads(letter)["body"]))
    return int(body[1]["index"])


async def drained(site: Site, plan: Plan) -> dict[str, float]:
    """End every trial as its message comes, and return how the sweeper kept the queue filled."""
    sweeper = Sweeper(site.store, site.manifest, site.dispatcher, site.clock)
    drain, looks_s, most_queued, ended, began_s = Drain(site, plan), [], 0, 0, time.perf_counter()
    while taken := await drain.take():
        ended += taken
        looked_s = time.perf_counter()
        await sweeper.sweep()
        looks_s.append(time.perf_counter() - looked_s)
        most_queued = max(most_queued, await site.dispatcher.queued())
    if ended != plan.total:
        raise SystemExit(f"{ended:,} of {plan.total:,} trials came by the queue; nothing is measured by that")
    now_ms = round(time.time() * 1000)
    over = {"state": "finished", "finished_ms": now_ms, "started_ms": now_ms - 60_000}
    redis: Any = site.manifest.redis
    await redis.hset(keys.header(plan.run_id), mapping=over)
    return {
        "drain_s": time.perf_counter() - began_s,
        "sweeps": float(len(looks_s)),
        "sweep_s": statistics.median(looks_s),
        "sweep_s_most": max(looks_s),
        "queued_most": float(most_queued),
    }


def sealed(run_id: str, environ: dict[str, str]) -> dict[str, float]:
    """Seal the run in a process of its own, and return what that took."""
    began_s = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", SEALING, run_id],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
        check=True,
    ).stdout
    cpu_s, _, peak_mb = map(float, out.split())
    return {"seal_s": time.perf_counter() - began_s, "seal_cpu_s": cpu_s, "seal_peak_mb": peak_mb}


async def used(site: Site) -> int:
    """Return what the server has in use for keys, clients and buffers left out."""
    return int((await site.manifest.redis.memory_stats())["dataset.bytes"])


if __name__ == "__main__":
    sys.exit(main())
