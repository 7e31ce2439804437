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

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Measure, print, write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[10, 50, 100, 200, 500])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--each", type=int, default=1000, help="trials at each point of the other two curves")
    chosen = parser.parse_args()
    curves: dict[str, dict[int, Measured]] = {"trials": {}, "concurrency": {}, "workers": {}}
    with provider(SLOW_BOOK) as url:
        with standing(url, concurrency=200) as stand:
            stand.run(200)
            for trials in chosen.trials:
                curves["trials"][trials] = _told("trials", trials, stand.run(trials))
        for concurrency in chosen.concurrency:
            with standing(url, concurrency=concurrency) as stand:
                stand.run(concurrency)
                trials = min(chosen.each, 50 * concurrency)
                found = _told("concurrency", concurrency, stand.run(trials))
                curves["concurrency"][concurrency] = found
        for workers in chosen.workers:
            with standing(url, workers=workers, concurrency=50) as stand:
                stand.run(50 * workers)
                curves["workers"][workers] = _told("workers", workers, stand.run(chosen.each))
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "curves": {
            name: {str(at): asdict(found) for at, found in curve.items()} for name, curve in curves.items()
        },
        "slope_per_tenfold": {name: slope(curve) for name, curve in curves.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
    for name, share in document["slope_per_tenfold"].items():  # type: ignore[attr-defined]
        print(f"CPU a trial changes by {share:+.0%} for each tenfold of {name}")
    return 0


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
