"""``python -m benchmarks.soak``: many trials through a few processes, and what grows meanwhile.

A worker that leaks a little per trial does well in every test and dies on the second night. So one run
of many trials goes through ``salvo worker --procs``, against the simulated provider, with objects as
files, and at regular counts of finished trials it is noted what each worker process and the embedded
server have in use, how fast trials end, and how many did not end well. Read the slopes: memory of a
worker per 10,000 trials, after the first quarter, which warms it up. A server's memory grows by what
a finished trial leaves there for a week; that slope divided by 10,000 is its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salvo_cli.embedded import Places
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_worker.children import resident_mb

SALVO = (sys.executable, "-P", "-m", "salvo_cli")
SCENARIO = Path(__file__).with_name("four_turns.yaml").resolve()
BOOK = Path(__file__).with_name("provider.yaml")
POLL_S = 0.5
STALL_S = 120.0
"""Without any trial ending for so long, the soak has failed."""


def main() -> int:
    """Run the soak; return 0 if every trial passed and no process was replaced."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--procs", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=100, help="trials at once, in each process")
    parser.add_argument("--latency-s", type=float, default=0.0, help="what each exchange takes")
    parser.add_argument("--every", type=int, default=5_000, help="trials between two lines")
    parser.add_argument("--folder", type=Path, help="on whose disk the objects lie; default: the temp folder")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="salvo-soak-", dir=chosen.folder) as folder,
        provider(Path(folder), chosen.latency_s) as base_url,
    ):
        figures = soak(Path(folder), base_url, chosen)
    print_slopes(figures)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures["passed"] == chosen.trials and not figures["replaced"] else 1


@contextmanager
def provider(folder: Path, latency_s: float) -> Iterator[str]:
    """Run the simulated provider; yields its address."""
    book = folder / "provider.yaml"
    book.write_text(BOOK.read_text() + f"    latency_s: {latency_s}\n")
    command = [*SALVO, "simulate", "--port", "0", "--script", book]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            yield simulator.stdout.readline().strip().partition("=")[2]
        finally:
            simulator.send_signal(signal.SIGTERM)


def soak(folder: Path, base_url: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run all trials and return what was seen.

    Args:
        folder: An empty project.
        base_url: Of the provider.
        chosen: The command line.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SALVO_")}
    environ = {**kept, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "soak"}
    how: dict[str, Any] = {"cwd": folder, "env": environ}
    (folder / "salvo.yaml").write_text("{}\n")
    with open(folder / "worker.log", "wb") as log:
        worker = subprocess.Popen(
            [*SALVO, "worker", "--procs", str(chosen.procs), "-c", str(chosen.concurrency)],
            stdout=log,
            stderr=log,
            **how,
        )
        try:
            until_there(worker, folder, chosen.procs)
            idle_mb = memory_of(worker.pid)
            # As on a fleet: or the command would bring a worker of its own.
            places = Places(folder / ".salvo")
            environ |= {"SALVO_REDIS_URL": places.redis_url, "SALVO_STORE_URL": places.store_url}
            began_s = time.monotonic()
            ordered = subprocess.run(
                [*SALVO, "submit", SCENARIO, "-n", str(chosen.trials), "-q"],
                **how, check=True, capture_output=True, text=True,
            )  # fmt: skip
            submitted_s = time.monotonic() - began_s
            run_id = ordered.stdout.split()[-1]
            lines = asyncio.run(watch(places.redis_url, run_id, worker, chosen.every, began_s))
        finally:
            worker.terminate()
            worker.wait()
    said = (folder / "worker.log").read_text(errors="replace")
    return {
        "trials": chosen.trials, "procs": chosen.procs, "concurrency": chosen.concurrency,
        "latency_s": chosen.latency_s, "submit_s": round(submitted_s, 2),
        "passed": lines[-1]["passed"], "wall_s": lines[-1]["at_s"],
        "trials_per_s": round(chosen.trials / lines[-1]["at_s"], 1),
        "idle_worker_mb": idle_mb, "replaced": said.count("another starts in"),
        "errors_logged": said.count(" ERROR "), "worker_exit_code": worker.returncode,
        "slopes_per_10k": slopes(lines), "lines": lines,
    }  # fmt: skip


def until_there(worker: subprocess.Popen[bytes], folder: Path, procs: int) -> None:
    """Return once every process is ready."""
    deadline_s = time.monotonic() + 60
    while (folder / "worker.log").read_text(errors="replace").count("is ready") < procs:
        if worker.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"the worker did not start: {(folder / 'worker.log').read_text()[-2000:]}")
        time.sleep(0.1)


async def watch(
    redis_url: str, run_id: str, worker: subprocess.Popen[bytes], every: int, began_s: float
) -> list[dict[str, Any]]:
    """Print and return a line for every so many trials that have ended, until the run is sealed.

    Args:
        redis_url: Of the embedded server.
        run_id: What is watched.
        worker: The parent of the processes.
        every: Trials between two lines.
        began_s: When the order was given, monotonic.
    """
    lines: list[dict[str, Any]] = []
    client = connect(redis_url, connections_max=2)
    manifest = Manifest(client, redis_url)
    moved_s, ended = time.monotonic(), 0
    try:
        while True:
            counts, now_s = await manifest.counts(run_id), time.monotonic()
            sealed = counts.state == "sealed"
            if counts.ended > ended:
                moved_s, ended = now_s, counts.ended
            elif now_s - moved_s > STALL_S or worker.poll() is not None:
                raise SystemExit(f"nothing has ended for {now_s - moved_s:.0f} s: {counts}")
            before = lines[-1] if lines else {"ended": 0, "at_s": 0.0}
            if ended // every > before["ended"] // every or (sealed and ended > before["ended"]):
                told = await client.info()
                at_s = now_s - began_s
                lines.append({
                    "at_s": round(at_s, 2), "ended": ended, "passed": counts.statuses["passed"],
                    "not_passed": ended - counts.statuses["passed"], "retries": counts.retries,
                    "claims": counts.claims, "expired": counts.expired,
                    "per_s": round((ended - before["ended"]) / max(0.01, at_s - before["at_s"]), 1),
                    "workers_mb": memory_of(worker.pid), "parent_mb": megabytes(worker.pid),
                    "redis_mb": round(told["used_memory"] / 1e6, 1),
                    "redis_rss_mb": round(told["used_memory_rss"] / 1e6, 1),
                })  # fmt: skip
                print_line(lines[-1], first=len(lines) == 1)
            if sealed:
                return lines
            await asyncio.sleep(POLL_S)
    finally:
        await manifest.aclose()


def memory_of(parent: int) -> list[float]:
    """Return what each worker process has in use, MB, the oldest first; the embedded server is none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            is_worker = b"--tether" in (entry / "cmdline").read_bytes()
        except OSError:  # it has ended this moment
            continue
        if above == parent and is_worker:
            found.append(int(entry.name))
    return [megabytes(pid) for pid in sorted(found) or [parent]]  # one process has no parent


def megabytes(pid: int) -> float:
    """Return what a process has in use, MB; 0 if it is gone."""
    return round(resident_mb(pid) or 0.0, 1)


def slopes(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Return what is gained per 10,000 trials, by least squares, after the first quarter of the run."""
    late = [line for line in lines if line["ended"] >= lines[-1]["ended"] / 4]
    columns = {
        "worker_mb": [sum(line["workers_mb"]) / max(1, len(line["workers_mb"])) for line in late],
        "redis_mb": [line["redis_mb"] for line in late],
        "trials_per_s": [line["per_s"] for line in late],
    }
    at = [line["ended"] / 10_000 for line in late]
    return {name: round(_slope(at, values), 3) for name, values in columns.items()}


def _slope(xs: list[float], ys: list[float]) -> float:
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def print_line(line: dict[str, Any], *, first: bool) -> None:
    """Print one line of the table, and before the first its heading."""
    if first:
        print(f"{'s':>7} {'trials':>8} {'a second':>9} {'not passed':>10} {'Redis MB':>9}  workers MB")
    workers = " ".join(f"{mb:.0f}" for mb in line["workers_mb"])
    print(
        f"{line['at_s']:7.0f} {line['ended']:8,} {line['per_s']:9.1f} {line['not_passed']:10,} "
        f"{line['redis_mb']:9.1f}  {workers}",
        flush=True,
    )


def print_slopes(figures: dict[str, Any]) -> None:
    """Print what it came to."""
    gained = figures["slopes_per_10k"]
    print(
        f"{figures['passed']:,} of {figures['trials']:,} trials passed in {figures['wall_s']:,.0f} s, "
        f"{figures['trials_per_s']:.1f} a second; idle worker {figures['idle_worker_mb']} MB"
    )
    print(
        f"per 10,000 trials: a worker {gained['worker_mb']:+.2f} MB, Redis {gained['redis_mb']:+.2f} MB, "
        f"rate {gained['trials_per_s']:+.2f} trials a second"
    )


if __name__ == "__main__":
    sys.exit(main())
