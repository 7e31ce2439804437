"""``python -m benchmarks.submission``: what ordering, keeping and looking at a large run costs.

No worker runs. Orders go out by ``salvo submit`` as a process of its own; what a running and a finished
trial keep in Redis is made with kombu's own channel and the manifest's own scripts. Bytes are what the
server says it has more in use, divided by the trials; its list compression is off, as it is by default in a
fleet (the embedded server has it on, and takes a third). Seconds belong to the machine, bytes do not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.reevaluation import trace
from salvo_cli.wiring import Site, open_site, surroundings
from salvo_core.identity import digest
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.counters import recounted
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.plan import Plan
from salvo_core.seal import seal
from salvo_worker.app import make_app
from salvo_worker.letter import QUEUES

SCENARIO = Path(__file__).with_name("four_turns.yaml")
RESULTS = Path(__file__).with_name("results")
SALVO = [sys.executable, "-m", "salvo_cli"]
PROBE = """
import resource, subprocess, sys, time
began_s = time.perf_counter()
code = subprocess.call(sys.argv[1:])
wall_s = time.perf_counter() - began_s
print(wall_s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=sys.stderr)
sys.exit(code)
"""
"""Runs a command, and is small: Linux counts what the parent held when it forked as the child's peak."""
RUNNING = 500
"""Trials that are taken from the queue and claimed, to see what each keeps then."""

TARGETS = {
    "submit_per_s": ">= 10000",
    "redis_bytes_queued": "<= 900",
    "redis_bytes_running": "<= 1500",
    "redis_bytes_finished": "<= 350",
    "status_redis_ms": "<= 5",
    "status_s": "<= 0.3",
    "report_s": "<= 1",
    "report_reads": "1",
}


def main() -> int:
    """Measure, print and keep the figures; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5, help="times that status and report are asked")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in [name for name in os.environ if name.startswith("SALVO_")]:
            del os.environ[name]
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed Salvo is compiled
        figures = asyncio.run(measure(sorted(chosen.trials), chosen.rounds))
    document = {
        "benchmark": "submission",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "start_s": {what: figures.start_s[what] for what in figures.start_s},
        "runs": figures.runs,
        "targets": TARGETS,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "submission.json").write_text(json.dumps(document, indent=2) + "\n")
    print("".join(f"salvo {what}: {figures.start_s[what]:.2f} s   " for what in figures.start_s))
    print(f"{'trials':24}" + "".join(f"{run['trials']:>12,.0f}" for run in figures.runs))
    for name in [name for name in figures.runs[0] if name != "trials"]:
        line = "".join(f"{run[name]:>12,.{digits(name)}f}" for run in figures.runs)
        print(f"{name:24}{line}   {TARGETS.get(name, '')}")
    return 0


def digits(name: str) -> int:
    """Return how many decimals a figure is shown with."""
    return 3 if name.endswith(("_s", "_ms")) and not name.endswith("per_s") else 0


@dataclass
class Figures:
    """What was measured."""

    start_s: dict[str, float]
    runs: list[dict[str, float]]


async def measure(sizes: Sequence[int], rounds: int) -> Figures:
    """Return the figures of one run of each size, in one Redis after another."""
    Path("four_turns.yaml").write_text(SCENARIO.read_text())
    start_s = {word: statistics.median(timed([word])[0] for _ in range(rounds)) for word in ("--help",)}
    runs = []
    for trials in sizes:
        async with open_site(surroundings()) as site:
            redis: Any = site.manifest.redis
            await redis.flushall()
            await redis.config_set("list-compress-depth", 0)
            environ = {
                "SALVO_REDIS_URL": site.settings.redis_url,
                "SALVO_STORE_URL": site.settings.store_url,
            }
            runs.append(await one_run(site, trials, rounds, environ))
    return Figures(start_s, runs)


async def one_run(site: Site, trials: int, rounds: int, environ: dict[str, str]) -> dict[str, float]:
    """Return what one run costs, from its order to its report."""
    timed(["submit", "four_turns.yaml", "-n", "1", "--quiet"], environ)  # every code page is read once
    before = await used_bytes(site)
    wall_s, peak_mb, out = timed(["submit", "four_turns.yaml", "-n", str(trials), "--json"], environ)
    run_id = json.loads(out)["run_id"]
    plan = await site.observer.plan(run_id)
    queued = (await used_bytes(site) - before) / trials
    found = {
        "trials": trials,
        "submit_s": wall_s,
        "submit_per_s": trials / wall_s,
        "submit_peak_mb": peak_mb,
        "redis_bytes_queued": queued,
    }
    found |= await asked(site, ["status", run_id], "status", rounds, environ)
    found["redis_bytes_running"] = queued + await running(site, plan, min(RUNNING, trials - 1))
    await end(site, plan)
    found["redis_bytes_finished"] = (await used_bytes(site) - before) / trials
    began_s = time.perf_counter()
    await seal(run_id, store=site.store, manifest=site.manifest)
    found["seal_s"] = time.perf_counter() - began_s
    found |= await asked(site, ["report", run_id], "report", rounds, environ)
    found["report_reads"] = read_by(["report", run_id], environ)
    return found


def timed(arguments: Sequence[str], environ: dict[str, str] | None = None) -> tuple[float, float, str]:
    """Run a command; return (wall seconds, its peak memory in MB, what it printed)."""
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, *SALVO, *arguments],
        capture_output=True,
        text=True,
        env=dict(os.environ) | (environ or {}),
        check=False,
    )
    if ran.returncode not in (0, 1, 2):  # what a report leaves with is the verdict
        raise RuntimeError(f"salvo {' '.join(arguments)} left with {ran.returncode}: {ran.stderr[-500:]}")
    wall_s, peak_mb = map(float, ran.stderr.splitlines()[-1].split())
    return wall_s, peak_mb, ran.stdout


async def asked(
    site: Site, arguments: Sequence[str], name: str, rounds: int, environ: dict[str, str]
) -> dict[str, float]:
    """Return what one command takes, and how much of it is Redis' time; medians."""
    walls_s, servers_ms = [], []
    for _ in range(rounds):
        before_us = await server_us(site)
        walls_s.append(timed(arguments, environ)[0])
        servers_ms.append((await server_us(site) - before_us) / 1000)
    return {f"{name}_s": statistics.median(walls_s), f"{name}_redis_ms": statistics.median(servers_ms)}


async def server_us(site: Site) -> float:
    """Return the microseconds that the server has spent on commands, those of this script left out."""
    stats = await site.manifest.redis.info("commandstats")
    ours = ("cmdstat_info", "cmdstat_config", "cmdstat_memory")
    return float(sum(told["usec"] for name, told in stats.items() if not name.startswith(ours)))


async def used_bytes(site: Site) -> int:
    """Return what the server has in use for keys, clients and buffers left out."""
    stats = await site.manifest.redis.memory_stats()
    return int(stats["dataset.bytes"])


async def running(site: Site, plan: Plan, count: int) -> float:
    """Take so many messages and claim their trials; return by how many bytes each has grown.

    Half of its four turns are in the journal. The first is left out: with it the server learns the scripts,
    which it keeps once and not for each trial.
    """
    assert site.settings.redis_url is not None
    app = make_app(site.settings.redis_url)
    before = 0
    with app.connection() as connection:
        channel = connection.default_channel
        for index in range(count + 1):
            if index == 1:
                before = await used_bytes(site)
            taken = channel.basic_get(QUEUES[plan.lane], no_ack=False)
            assert taken is not None
            assert taken.headers["id"] == plan.trace_id(index)
            claim = await site.manifest.claim(
                plan.run_id, index, plan.trace_id(index), "bench-12345-0a1b2c3d", lease_s=3600
            )
            assert isinstance(claim, Claim)
            for turn in trace(plan, index).turns[:2]:
                await site.manifest.journal(claim, turn)
        grown = await used_bytes(site) - before
    app.close()
    return grown / count


async def end(site: Site, plan: Plan) -> None:
    """Bring every row to its end, as committing each would; empty the queue."""
    redis: Any = site.manifest.redis
    rows = [finished_row(plan, index) for index in range(plan.total)]
    for start in range(0, plan.total, 1000):
        some = rows[start : start + 1000]
        await redis.hset(keys.manifest(plan.run_id), mapping={str(row.index): row.encode() for row in some})
        journals = [key for row in some[:RUNNING] for key in keys.unfinished(plan.run_id, row.index)]
        await redis.delete(*journals)
    counted = recounted(rows, len(plan.cells))
    await redis.delete(
        keys.counters(plan.run_id), keys.leases(plan.run_id), "unacked", "unacked_index", *QUEUES
    )
    await redis.hset(keys.counters(plan.run_id), mapping=counted)
    now_ms = round(time.time() * 1000)
    ended = {"state": "finished", "finished_ms": now_ms, "started_ms": now_ms - 60_000}
    await redis.hset(keys.header(plan.run_id), mapping=ended)


def finished_row(plan: Plan, index: int) -> Row:
    """Return a row as a commit leaves it; every tenth trial failed an assertion."""
    failed = index % 10 == 0
    return Row(
        index,
        "failed" if failed else "passed",
        1,
        plan.trace_id(index),
        result=Result(
            score=0.667 if failed else 1.0, cost_usd=0.00123, latency_s=4.321, duration_s=4.567,
            input_tokens=1234, output_tokens=321, turns=4, retries=0, outcome="completed", error="",
            worker="bench-12345-0a1b2c3d",
            digest=digest(str(index).encode()),  # as little to compress as in life
            failed=((1, 0.0),) if failed else (),
        ),
    )  # fmt: skip


def read_by(arguments: Sequence[str], environ: dict[str, str]) -> int:
    """Return how many objects a command reads from the store."""
    script = (
        "import sys\n"
        "from salvo_core.store.files import FileStore\n"
        "from salvo_cli.main import main\n"
        "get, read = FileStore.get, []\n"
        "async def counted(self, key):\n"
        "    read.append(key)\n"
        "    return await get(self, key)\n"
        "FileStore.get = counted\n"
        "main(sys.argv[1:])\n"
        "print(len(read), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=dict(os.environ) | environ,
        check=True,
    )
    return int(ran.stderr.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
