"""``python -m benchmarks.fair_share``: how long a small run waits while a large one is under way.

A nightly of 100,000 trials is ordered and has every slot of one worker process; then a person orders
twenty trials with ``salvo run``. Told is what that person sees: seconds from the order until the first
trial begins, until the last has ended, and until the verdict is printed, beside the same order on the idle
fleet; and how much of that was waiting in the queue, from the run's header in Redis to its first claim,
which is all that the nightly can be blamed for. What the nightly does in the seconds from the order on is put
beside what it did in as many before. Last, two runs of equal priority are ordered one after the other,
and the trials of each are counted while both are under way.

Redis' clock tells when trials begin and end. Ratios are of figures of one run of this program, medians of
its rounds; starting the command is most of what an idle fleet takes, and grows on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.stand import BOOK, SALVO, SCENARIO, Stand, provider
from salvo_core.manifest import keys

RESULTS = Path(__file__).with_name("results") / "fair_share.json"
FILL_S = 5.0
"""A nightly has had every slot for so long before anything is measured."""

CASES: tuple[tuple[str, str], ...] = (("low", "normal"), ("normal", "normal"), ("normal", "high"))
"""Priorities: the nightly's, the small run's."""

NIGHTLIES = 9
"""So many at once, for the case in which each lane of the queue has one and the next shares."""

FIGURES = ("first_s", "all_s", "verdict_s")
"""Seconds from the order."""


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fair_share", description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000, help="of the nightly")
    parser.add_argument("--small", type=int, default=20, help="trials of the small run")
    parser.add_argument("--equal", type=int, default=5000, help="trials of each of two equal runs")
    parser.add_argument("--concurrency", type=int, default=100, help="trials at once in the one worker")
    parser.add_argument("--latency-s", type=float, default=0.2, help="what each turn takes")
    parser.add_argument("--rounds", type=int, default=3, help="small runs in each case")
    parser.add_argument("--window-s", type=float, default=5.0, help="over which the nightly's rate is taken")
    chosen = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "provider.yaml")
        book.write_text(BOOK.read_text() + f"    latency_s: {chosen.latency_s}\n")
        with provider(book) as base_url, standing(base_url, chosen.concurrency) as stand:
            figures = measured(stand, chosen)
    document = {
        "benchmark": "fair_share",
        "measured_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_average": [load_before, os.getloadavg()[0]],
        **{name: value for name, value in vars(chosen).items()},
        **figures,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"load average {load_before:.1f} before; written to benchmarks/results/{RESULTS.name}")
    return 0


@contextmanager
def standing(base_url: str, concurrency: int) -> Iterator[Stand]:
    """Keep one worker process meanwhile."""
    with closing(Stand(base_url, concurrency=concurrency)) as stand:
        yield stand


def measured(stand: Stand, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of every case, printed as they come."""
    small_run(stand, chosen.small, "normal")  # warms everybody up
    idle = medians([small_run(stand, chosen.small, "normal") for _ in range(chosen.rounds)])
    heads = ("first begins", "all have ended", "verdict", "nightly goes on")
    print(f"  {'':36}{'waits':>8}" + "".join(f"{head:>18}" for head in heads))
    print(line("idle fleet", idle, idle), flush=True)
    cases: dict[str, dict[str, float]] = {}
    for nightly, small in CASES:
        name = f"{small}, nightly {nightly}"
        with nightlies(stand, 1, chosen.trials, nightly) as runs:
            cases[name] = beside(stand, runs, small, chosen)
        print(line(name, cases[name], idle), flush=True)
    name = f"normal, {NIGHTLIES} nightlies normal"
    with nightlies(stand, NIGHTLIES, chosen.trials // NIGHTLIES, "normal") as runs:
        cases[name] = beside(stand, runs, "normal", chosen)
    print(line(name, cases[name], idle), flush=True)
    shares = equal_runs(stand, chosen)
    print(f"two runs of equal priority, {chosen.equal:,} trials each: ended {shares}", flush=True)
    return {"idle": idle, "cases": cases, "equal_ended": shares}


def beside(stand: Stand, runs: Sequence[str], priority: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Return the figures of small runs that are ordered while large ones have every slot."""
    found = []
    for _ in range(chosen.rounds):
        before = rate(stand, runs, chosen.window_s)
        order = ordered(stand, chosen.small, priority)
        meanwhile = rate(stand, runs, chosen.window_s)
        found.append({**finished(stand, order), "nightly_per_s": before, "kept": meanwhile / before})
    return medians(found)


def small_run(stand: Stand, trials: int, priority: str) -> dict[str, float]:
    """Order a small run and return when it began and ended."""
    return finished(stand, ordered(stand, trials, priority))


def ordered(stand: Stand, trials: int, priority: str) -> tuple[float, subprocess.Popen[str]]:
    """Order a small run as a person does; return when, by Redis' clock, and the command."""
    now_s = redis_s(stand)
    command = subprocess.Popen(
        [*SALVO, "run", str(SCENARIO), "-n", str(trials), "--priority", priority, "--json", "--quiet"],
        cwd=stand.folder,
        env=stand.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return now_s, command


def finished(stand: Stand, order: tuple[float, subprocess.Popen[str]]) -> dict[str, float]:
    """Return the seconds from an order to its first trial, its last one's end, and its verdict."""
    began_s, command = order
    out, said = command.communicate()
    verdict_s = redis_s(stand) - began_s
    if command.returncode:
        raise SystemExit(f"a small run ended with {command.returncode}:\n{said}")
    with closing(stand.redis.client()) as client:
        times = client.hmget(
            keys.header(json.loads(out)["summary"]["run_id"]), "created_ms", "started_ms", "finished_ms"
        )
    created_ms, started_ms, finished_ms = map(int, times)
    return {
        "wait_s": (started_ms - created_ms) / 1000,
        "first_s": started_ms / 1000 - began_s,
        "all_s": finished_ms / 1000 - began_s,
        "verdict_s": verdict_s,
    }


@contextmanager
def nightlies(stand: Stand, count: int, trials: int, priority: str) -> Iterator[list[str]]:
    """Keep so many large runs under way meanwhile, and cancel them then."""
    runs = [submitted(stand, trials, priority) for _ in range(count)]
    rate(stand, runs, FILL_S)
    try:
        yield runs
    finally:
        cancelled(stand, runs)


def submitted(stand: Stand, trials: int, priority: str) -> str:
    """Order a large run; return its id."""
    arguments = ["submit", str(SCENARIO), "-n", str(trials), "--priority", priority, "--quiet"]
    return stand.salvo(*arguments).strip()


def cancelled(stand: Stand, runs: Sequence[str]) -> None:
    """End runs for good, and return once nothing of them is under way."""
    for run_id in runs:
        stand.salvo("cancel", run_id, "--now")
    with closing(stand.redis.client()) as client:
        while any(client.hget(keys.header(run_id), "state") != b"sealed" for run_id in runs):
            time.sleep(0.1)


def equal_runs(stand: Stand, chosen: argparse.Namespace) -> list[int]:
    """Return how many trials of each of two equal runs end while both are under way."""
    runs = [submitted(stand, chosen.equal, "normal") for _ in range(2)]
    time.sleep(FILL_S)
    before = [ended(stand, run_id) for run_id in runs]
    time.sleep(2 * chosen.window_s)
    shares = [ended(stand, run_id) - earlier for run_id, earlier in zip(runs, before, strict=True)]
    cancelled(stand, runs)
    return shares


def rate(stand: Stand, runs: Sequence[str], window_s: float) -> float:
    """Return how many trials of these runs end a second, in the seconds to come."""
    before, began_s = sum(ended(stand, run_id) for run_id in runs), time.monotonic()
    time.sleep(window_s)
    return (sum(ended(stand, run_id) for run_id in runs) - before) / (time.monotonic() - began_s)


def ended(stand: Stand, run_id: str) -> int:
    """Return how many trials of a run have passed or failed so far."""
    with closing(stand.redis.client()) as client:
        return sum(int(count or 0) for count in client.hmget(keys.counters(run_id), "passed", "failed"))


def redis_s(stand: Stand) -> float:
    """Return what time it is by Redis' clock."""
    with closing(stand.redis.client()) as client:
        seconds, micros = client.time()
    return int(seconds) + int(micros) / 1e6


def medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each figure's median, and the most that was waited."""
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    return {**middle, "wait_s_most": max(one["wait_s"] for one in found)}


def line(name: str, one: dict[str, float], idle: dict[str, float]) -> str:
    """Return a case as it is printed: seconds, and how many times those of the idle fleet."""
    told = "".join(f"{one[figure]:8.2f} s  x{one[figure] / idle[figure]:<5.1f}" for figure in FIGURES)
    kept = f"{one['nightly_per_s']:9.0f}/s x{one['kept']:.2f}" if "kept" in one else ""
    return f"  {name:36}{one['wait_s']:6.2f} s{told}{kept}"


if __name__ == "__main__":
    sys.exit(main())
