"""``python -m benchmarks.footprint``: what a trial asks of Redis and leaves in the store; what seals take.

A run of four-turn trials against the simulated provider, traces in a MinIO, after one to warm up. Redis tells
each command it was sent (those inside scripts too); objects are listed before and after. Then the memory of a
seal, in a process of its own. Writes ``results/footprint.json``, which ``benchmarks.plan`` reads. Counts and
bytes are the program's; milliseconds belong to the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stand import ROOT, Stand, provider
from benchmarks.table import machine

RESULTS = Path(__file__).with_name("results") / "footprint.json"
SEALED = (20_000, 100_000)


def main() -> int:
    """Measure, print, write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--seal", type=int, help="only seal so many rows, and print what that took")
    chosen = parser.parse_args()
    if chosen.seal:
        print(json.dumps(sealed(chosen.seal)))
        return 0
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "trials": chosen.trials,
        "concurrency": chosen.concurrency,
        **run(chosen.trials, chosen.concurrency),
        "seal": [apart(rows) for rows in SEALED],
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(json.dumps(document, indent=1))
    return 0


def run(trials: int, concurrency: int) -> dict[str, Any]:
    """Return what one run's trials asked of Redis and of the store, each."""
    with provider() as url, closing(Stand(url, store="s3", concurrency=concurrency)) as stand:
        stand.run(concurrency)
        with closing(stand.redis.client()) as client:
            before, objects_before = _told(client), _objects(stand)
            measured = stand.run(trials)
            after, objects = _told(client), _objects(stand)
    calls = {
        name: (after["calls"][name] - before["calls"].get(name, 0)) / trials
        for name in after["calls"]
        if after["calls"][name] > before["calls"].get(name, 0)
    }
    stored = {key: size for key, size in objects.items() if key not in objects_before}
    traces = [size for key, size in stored.items() if "/traces/" in key]
    return {
        "redis_calls": {
            name: round(calls[name], 2)
            for name in sorted(calls, key=lambda one: -calls[one])
            if calls[name] >= 0.1
        },
        "redis_calls_all": round(sum(calls.values()), 1),
        "worker_cpu_ms": round(measured.cpu_ms, 2),
        "redis_cpu_ms": round(measured.redis_cpu_ms, 3),
        "redis_bytes_in": round((after["in"] - before["in"]) / trials),
        "redis_bytes_out": round((after["out"] - before["out"]) / trials),
        "trace_objects": len(traces) / trials,
        "trace_bytes": round(sum(traces) / len(traces)),
        "other_objects": len(stored) - len(traces),
        "archive_bytes": round(
            next(size for key, size in stored.items() if key.endswith("manifest.json.zst")) / trials, 1
        ),
    }


def _told(client: Any) -> dict[str, Any]:
    stats: Mapping[str, Mapping[str, Any]] = client.info("commandstats")
    flow = client.info("stats")
    ours = {
        name.removeprefix("cmdstat_"): told
        for name, told in stats.items()
        # What this script asks while it waits.
        if not name.startswith(("cmdstat_info", "cmdstat_client", "cmdstat_ping"))
    }
    return {
        "calls": {name: told["calls"] for name, told in ours.items()},
        "in": flow["total_net_input_bytes"],
        "out": flow["total_net_output_bytes"],
    }


def _objects(stand: Stand) -> dict[str, int]:
    """Return the size of every object, by key."""
    import boto3

    access = {name: stand.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    client = boto3.client(
        "s3",
        endpoint_url=stand.environment["SALVO_S3_ENDPOINT_URL"],
        region_name=stand.environment["AWS_REGION"],
        aws_access_key_id=access["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=access["AWS_SECRET_ACCESS_KEY"],
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bench")
    return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}


def apart(rows: int) -> dict[str, float]:
    """Return what sealing so many rows takes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.footprint", "--seal", str(rows)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def sealed(count: int) -> dict[str, float]:
    """Fold so many rows as a seal does; return seconds, CPU seconds, and megabytes above the start's."""
    from benchmarks.submission import finished_row
    from salvo_core.manifest.archive import encode_rows
    from salvo_core.run.plan import Cell, Plan
    from salvo_core.run.summary import summarise

    plan = Plan(
        run_id="01a20e0e-0000-7000-8000-000000000001",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=(
            Cell(scenario_digest="0" * 64, scenario_name="s", model="m", adapter="openai", threshold=0.8),
        ),
        trials=count,
        salvo_version="0",
    )
    encode_rows(plan.run_id, [finished_row(plan, 0)])  # what is loaded once
    before_kb, cpu_s, wall_s = _peak_kb(), time.process_time(), time.perf_counter()
    rows = [finished_row(plan, index) for index in range(count)]
    made_s = time.process_time()
    summarise(plan, rows, {}, started_ms=0, finished_ms=1, state="sealed")
    archive = encode_rows(plan.run_id, rows)
    return {
        "rows": count,
        "wall_s": round(time.perf_counter() - wall_s - (made_s - cpu_s), 2),
        "cpu_s": round(time.process_time() - made_s, 2),
        "peak_mb": round((_peak_kb() - before_kb) / 1024, 1),
        "archive_bytes": len(archive),
    }


def _peak_kb() -> int:
    # Not ru_maxrss, which counts the memory of the process that this one was forked from.
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:  # no /proc here (macOS, where it counts bytes)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    sys.exit(main())
