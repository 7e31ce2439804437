"""``make bench``: what a trial costs a worker, each line a ratio measured in one run against its baseline.

See README.md beside this file for what the lines mean and how to repeat them. Writes
``results/bench.json`` and ``results/bench.svg``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.picture import svg
from benchmarks.table import Line, Sizes, machine, table

RESULTS = Path(__file__).with_name("results")
GROUPS = ("cpu", "peers", "wall", "two", "memory", "start")


def main() -> int:
    """Measure, print, write; return 0 whatever the figures are: a machine is no test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-trials", type=int, default=200)
    parser.add_argument("--peer-rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="peers are measured beside cpu")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing written")
    chosen = parser.parse_args()
    sizes = Sizes(chosen.rounds, chosen.trials, chosen.concurrency, chosen.peer_trials, chosen.peer_rounds)
    where = machine()
    lines: list[Line] = []
    started_s = time.perf_counter()
    for line in table(sizes, lambda group: group in (chosen.only or GROUPS), _tell):
        lines.append(line)
        if not chosen.json:
            print(_written(line), flush=True)
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    document: dict[str, Any] = {
        "measured_at": measured_at,
        "machine": where,
        "sizes": asdict(sizes),
        "took_s": round(time.perf_counter() - started_s, 1),
        "lines": [line.document() | {"measured_at": measured_at} for line in lines],
    }
    if chosen.json:
        print(json.dumps(document))
        return 0
    RESULTS.mkdir(exist_ok=True)
    if chosen.only:
        document["lines"] = kept_beside(document["lines"], RESULTS / "bench.json")
    (RESULTS / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    subtitle = f"{document['measured_at'][:10]}, {where['processors']} processors, {where['model']}, "
    subtitle += f"Python {where['python']}, medians of {sizes.rounds}"
    title = "What a trial of four turns, three tool calls and three assertions costs"
    (RESULTS / "bench.svg").write_text(svg(document["lines"], title=title, subtitle=subtitle))
    print(f"written to {RESULTS}/bench.json and bench.svg; took {document['took_s']:.0f} s", file=sys.stderr)
    return 0


def kept_beside(lines: Sequence[Mapping[str, Any]], path: Path) -> list[Mapping[str, Any]]:
    """Return a file's lines with those that were measured again in their places, and new ones at the end."""
    before = json.loads(path.read_text())["lines"] if path.exists() else []
    fresh = {line["key"]: line for line in lines}
    return [fresh.pop(line["key"], line) for line in before] + list(fresh.values())


def _tell(what: str) -> None:
    print(f"  ... {what}", file=sys.stderr, flush=True)


def _written(line: Line) -> str:
    mark = "met   " if line.is_met else "MISSED"
    sign = "<=" if line.at_most else ">="
    of = "" if line.baseline is None else f"   {line.measured:.2f} / {line.baseline:.2f} {line.unit}"
    unit = "x" if line.baseline is not None else f" {line.unit}"
    return f"{mark} {line.what:<58} {line.ratio:8.2f}{unit} ({sign} {line.target:g}){of}"


if __name__ == "__main__":
    sys.exit(main())
