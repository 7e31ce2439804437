"""``python -m benchmarks.layers``: where the CPU of a trial goes in a worker, layer by layer.

The worker runs the scenario of the table while py-spy (not among our dependencies: ``pip install py-spy``)
looks at it two hundred times a second. A sample belongs to the innermost frame whose file has a layer's name;
what a library does for us is the library's. Samples are shares of the time in which Python's lock was
held, so what runs beside it (compression, the operating system) is left out, and the milliseconds beside
each share are the worker's CPU by the same shares. With ``--top`` the functions that took most are listed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.stand import BOOK, Stand, provider

LAYERS = (
    ("HTTP to the provider", ("aiohttp/", "httpx/", "httpcore/", "h11/", "anyio/", "yarl/", "multidict/",
                              "adapters/line.py", "adapters/transport.py", "adapters/connection.py")),
    ("Redis client", ("redis/", "hiredis/", "salvo_core/manifest/", "salvo_core/fleet/")),
    ("Celery, kombu and the pool", ("celery/", "kombu/", "vine/", "amqp/", "billiard/", "salvo_worker/")),
    ("the trial", ("salvo_core/trial/", "salvo_core/attempt.py", "salvo_core/record.py",
                   "salvo_core/adapters/")),
    ("evaluation, redaction, store", ("salvo_core/",)),
    ("pydantic", ("pydantic/",)),
    ("Python: event loop, JSON, threads", ("",)),
)  # fmt: skip
"""Looked through in order; the last takes the rest."""

STANDARD = (
    "asyncio/",
    "json/",
    "concurrent/",
    "threading.py",
    "contextlib.py",
    "dataclasses.py",
    "<",
    "logging/",
)
"""Frames that belong to whoever called them, except for what the loop itself does."""


def main() -> int:
    """Measure, print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--top", type=int, default=0, help="list so many functions")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    chosen = parser.parse_args()
    spy = shutil.which("py-spy")
    if spy is None:
        print("py-spy is not installed: pip install py-spy", file=sys.stderr)
        return 64
    cpu_ms, samples = sampled(spy, chosen.trials, chosen.concurrency)
    shares = by_layer(samples)
    if chosen.json:
        print(json.dumps({"cpu_ms": cpu_ms, "layers": shares}))
        return 0
    print(f"{cpu_ms:.2f} ms CPU a trial, py-spy's looking included")
    for name, share in shares.items():
        print(f"{name:<40}{share:>6.1%}{share * cpu_ms:>8.2f} ms")
    for name, share in top(samples, chosen.top):
        print(f"{share:>6.1%}  {name}")
    return 0


def sampled(spy: str, trials: int, concurrency: int) -> tuple[float, Counter[tuple[str, ...]]]:
    """Return the CPU of one trial, milliseconds, and how often each stack was seen, outermost frame first."""
    with tempfile.TemporaryDirectory() as folder, provider(BOOK) as url:
        stand, out = Stand(url, concurrency=concurrency), Path(folder, "stacks")
        try:
            stand.run(concurrency)
            # -g: only threads that hold Python's lock; or every idle thread would count.
            command = [
                spy,
                "record",
                "-p",
                str(stand.workers[0].pid),
                "-r",
                "200",
                "-g",
                "-f",
                "raw",
                "-o",
                out,
            ]
            spying = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(1)  # py-spy says nothing when it begins; a second of idleness takes no sample
            measured = stand.run(trials)
            spying.send_signal(signal.SIGINT)
            spying.wait()
        finally:
            stand.close()
        return measured.cpu_ms, stacks(out.read_text())


def stacks(text: str) -> Counter[tuple[str, ...]]:
    """Return how often each stack was seen, from py-spy's raw form: frames by semicolons, then a count."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        found[tuple(frames.split(";"))] += int(count)
    return found


def by_layer(samples: Counter[tuple[str, ...]]) -> dict[str, float]:
    """Return the share of each layer."""
    total = sum(samples.values()) or 1
    found: Counter[str] = Counter()
    for stack, count in samples.items():
        found[layer_of(stack)] += count
    return {name: found[name] / total for name, _ in LAYERS}


def layer_of(stack: tuple[str, ...]) -> str:
    """Return the layer of the innermost frame that has one."""
    if "asyncio/runners.py" in stack[-1]:
        return LAYERS[-1][0]  # uvloop's own work: its frames are none of Python's
    for frame in reversed(stack):
        where = frame.rpartition("(")[2].rpartition("site-packages/")[2]
        if where.startswith(STANDARD):
            continue
        for name, marks in LAYERS[:-1]:
            if any(mark in where for mark in marks):
                return name
    return LAYERS[-1][0]


def top(samples: Counter[tuple[str, ...]], count: int) -> list[tuple[str, float]]:
    """Return the functions at the end of most stacks, with their shares."""
    total = sum(samples.values()) or 1
    ends: Counter[str] = Counter()
    for stack, seen in samples.items():
        ends[stack[-1].rpartition(":")[0].replace(" (", " in ", 1)] += seen
    return [(name, seen / total) for name, seen in ends.most_common(count)]


if __name__ == "__main__":
    sys.exit(main())
