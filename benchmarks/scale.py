"""``python -m benchmarks.scale``: what a trial costs as runs, workers and concurrency grow.

Three curves, each with the slope of its cost: per cent of CPU a trial for each tenfold (trials,
concurrency) or each doubling (workers). Writes ``results/scale.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.stand import Measured, provider
from benchmarks.table import SLOW_BOOK, machine, standing

CURVES = ("trials", "concurrency", "workers")
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Measure, print, write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[10, 50, 100, 200, 500])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--only", nargs="+", choices=CURVES, default=CURVES, help="keep the other curves")
    parser.add_argument("--each", type=int, default=1000, help="trials at each point of the other two curves")
    chosen = parser.parse_args()
    measure = {
        "trials": lambda url: by_trials(url, chosen.trials),
        "concurrency": lambda url: by_concurrency(url, chosen.concurrency, chosen.each),
        "workers": lambda url: by_workers(url, chosen.workers, chosen.each),
    }
    path = RESULTS / "scale.json"
    kept = json.loads(path.read_text())["curves"] if path.exists() else {}
    curves = {
        name: {int(at): Measured(**one) for at, one in kept.get(name, {}).items()}
        for name in CURVES
        if name not in chosen.only
    }
    with provider(SLOW_BOOK) as url:
        curves |= {name: measure[name](url) for name in CURVES if name in chosen.only}
    curves = {name: curves[name] for name in CURVES if curves.get(name)}
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "curves": {
            name: {str(at): asdict(found) for at, found in curve.items()} for name, curve in curves.items()
        },
        "slope_per_tenfold": {name: slope(curve) for name, curve in curves.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    for name, share in document["slope_per_tenfold"].items():  # type: ignore[attr-defined]
        print(f"CPU a trial changes by {share:+.0%} for each tenfold of {name}")
    return 0


def by_trials(url: str, sizes: Sequence[int]) -> dict[int, Measured]:
    """Return runs of so many trials on one worker, 200 at once."""
    with standing(url, concurrency=200) as stand:
        stand.run(200)
        return {trials: _told("trials", trials, stand.run(trials)) for trials in sizes}


def by_concurrency(url: str, sizes: Sequence[int], each: int) -> dict[int, Measured]:
    """Return runs of ``each`` trials, fewer where few run at once, on one worker with so many slots."""
    curve = {}
    for slots in sizes:
        with standing(url, concurrency=slots) as stand:
            stand.run(slots)
            curve[slots] = _told("concurrency", slots, stand.run(min(each, 50 * slots)))
    return curve


def by_workers(url: str, sizes: Sequence[int], each: int) -> dict[int, Measured]:
    """Return runs of ``each`` trials on so many workers of 50 slots."""
    curve = {}
    for workers in sizes:
        with standing(url, workers=workers, concurrency=50) as stand:
            stand.run(50 * workers)
            curve[workers] = _told("workers", workers, stand.run(each))
    return curve


def slope(curve: Mapping[int, Measured]) -> float:
    """Return how much of the mean cost is added per tenfold: the least squares line over log10."""
    points = [(math.log10(at), found.cpu_ms) for at, found in curve.items()]
    if len(points) < 2:
        return 0.0
    xs, ys = zip(*points, strict=True)
    return _slope(xs, ys) / statistics.mean(ys)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    return statistics.linear_regression(xs, ys).slope


def _told(what: str, at: int, found: Measured) -> Measured:
    print(
        f"{what:<12}{at:>8,}  {found.cpu_ms:6.2f} ms CPU a trial  {found.redis_cpu_ms:5.2f} ms of Redis  "
        f"{found.trials_per_s:7.1f} trials/s   {found.memory_mb:5.0f} MB",
        flush=True,
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
