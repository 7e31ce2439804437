"""``python -m benchmarks.large_run``: what closing and looking at a run of 100,000 trials costs.

No worker runs: rows are written as commits would have written them, in a Valkey and a folder of their own.
CPU seconds are user and system time of the process that does it, and a start of Python with what every
command needs from others (Typer, pydantic, redis-py, Rich) stands beside those of commands: what a
command takes beyond that is ours. Medians; wall seconds belong to a machine that does nothing else.

No narrower import of the others was found that uses public names only: `redis` imports its clients for
clusters, Sentinels and modules itself, Typer takes pydantic to read a command line, and both look for their
versions by `importlib.metadata`, which takes `email`. In instructions of Python 3.11, in millions, start
and end of Python included: Python alone 37; Typer with pydantic, redis-py and Rich 903; `status` 1,260,
`report` 1,480. Where several processes share a core such counts say more than seconds:
`valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null python -m salvo_cli status`.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.submission import RESULTS, SALVO, SCENARIO, end, read_by, server_us, timed
from salvo_cli.wiring import Site, open_site, surroundings

FLOOR = (
    "import gc; gc.set_threshold(20_000); import typer._adapters, redis.asyncio, rich.console; gc.freeze()"
)
"""What every command that asks Redis and prints imports, and is not ours; collected and ended as ours are."""

SEALING = """
import asyncio, resource, sys
from salvo_cli.wiring import open_site, surroundings
from salvo_core.seal import seal
async def act():
    async with open_site(surroundings()) as site:
        before = resource.getrusage(resource.RUSAGE_SELF)
        await seal(sys.argv[1], store=site.store, manifest=site.manifest)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(cpu_s, before.ru_maxrss / 1024, after.ru_maxrss / 1024)
asyncio.run(act())
"""
"""Seals a run in a process of its own; prints CPU seconds, and its peak memory before and after, MB."""

TARGETS = {
    "help_s": "<= 0.25",
    "status_s": "<= 0.3",
    "status_redis_ms": "<= 5",
    "report_s": "<= 1",
    "report_reads": "1",
}


def main() -> int:
    """Measure, print and keep the figures; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7, help="times that each command is called")
    chosen = parser.parse_args()
    root = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in [name for name in os.environ if name.startswith("SALVO_")]:
            del os.environ[name]
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed Salvo is compiled
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        os.environ["PYTHONPATH"] = str(root)
        figures = asyncio.run(measure(chosen.trials, chosen.rounds))
    document = {
        "benchmark": "large_run",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "targets": TARGETS,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "large_run.json").write_text(json.dumps(document, indent=2) + "\n")
    for name, figure in figures.items():
        print(f"{name:24}{figure:>12,.3f}   {TARGETS.get(name, '')}")
    return 0


async def measure(trials: int, rounds: int) -> dict[str, float]:
    """Return the figures of one run of that size."""
    Path("four_turns.yaml").write_text(SCENARIO.read_text())
    async with open_site(surroundings()) as site:
        environ = {
            "SALVO_REDIS_URL": str(site.settings.redis_url),
            "SALVO_STORE_URL": str(site.settings.store_url),
        }
        wall_s, peak_mb, out = timed(["submit", "four_turns.yaml", "-n", str(trials), "--json"], environ)
        found = {"trials": float(trials), "submit_s": wall_s, "submit_peak_mb": peak_mb}
        run_id = json.loads(out)["run_id"]
        await end(site, await site.observer.plan(run_id))
        found |= sealed(run_id, rounds, environ)
        found["floor_cpu_s"] = statistics.median(
            child([sys.executable, "-c", FLOOR], environ)[1] for _ in range(rounds)
        )
        found |= await called(site, ["--help"], "help", rounds, environ)
        found |= await called(site, ["status", run_id], "status", rounds, environ)
        found |= await called(site, ["report", run_id], "report", rounds, environ)
        found["report_reads"] = read_by(["report", run_id], environ)
    return found


def sealed(run_id: str, rounds: int, environ: dict[str, str]) -> dict[str, float]:
    """Return what it costs to seal the run: sealing again does it all again."""
    told = []
    for _ in range(rounds):
        command = [sys.executable, "-c", SEALING, run_id]
        out = subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, check=True)
        told.append([float(word) for word in out.stdout.split()])
    cpu_s, before_mb, after_mb = (statistics.median(column) for column in zip(*told, strict=True))
    return {"seal_cpu_s": cpu_s, "seal_grows_mb": after_mb - before_mb}


async def called(
    site: Site, arguments: Sequence[str], name: str, rounds: int, environ: dict[str, str]
) -> dict[str, float]:
    """Return what one command takes: wall and CPU seconds, and the server's milliseconds; medians."""
    child([*SALVO, *arguments], environ)  # compiles
    told = []
    for _ in range(rounds):
        before_us = await server_us(site)
        wall_s, cpu_s = child([*SALVO, *arguments], environ)
        told.append((wall_s, cpu_s, (await server_us(site) - before_us) / 1000))
    wall_s, cpu_s, redis_ms = (statistics.median(column) for column in zip(*told, strict=True))
    return {f"{name}_s": wall_s, f"{name}_cpu_s": cpu_s, f"{name}_redis_ms": redis_ms}


def child(command: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a command; return its wall and CPU seconds."""
    began_s = time.perf_counter()
    process: Any = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environ
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - began_s, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
