"""``python -m benchmarks.statistics``: each formula against its known answer, each rule against its promise.

Writes ``results/statistics.json`` and the two tables of ``docs/statistics.md``. Takes a few minutes; all
chance is seeded, so that the figures come out the same again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.known_answers import KNOWN
from benchmarks.promises import RATES

RESULTS = Path(__file__).with_name("results") / "statistics.json"
PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"


def main() -> int:
    """Compute, print, write; return 1 if an answer is wrong or a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="print, and write nothing")
    chosen = parser.parse_args()
    started_s = time.perf_counter()
    known = [known_line(place) for place in range(len(KNOWN))]
    rates = []
    for place in range(len(RATES)):
        rates.append(rate_line(place))
        print(f"  ... {rates[-1]['rule']}: {rates[-1]['figure']:.4g}", file=sys.stderr, flush=True)
    took_s = time.perf_counter() - started_s
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "took_s": round(took_s),
        "known_answers": known,
        "error_rates": rates,
    }
    print("\n\n".join(tables(document).values()))
    if not chosen.dry_run:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        PAGE.write_text(with_tables(PAGE.read_text("utf-8"), document), "utf-8")
    broken = [line for line in (*known, *rates) if not line["holds"]]
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0


def known_line(place: int) -> dict[str, Any]:
    """Return one known answer and what ours is, as the results hold it."""
    one = KNOWN[place]
    ours = [float(value) for value in one.ours()]
    return {
        "rule": one.rule,
        "given": one.given,
        "expected": list(one.expected),
        "ours": ours,
        "within": one.within,
        "source": one.source,
        "holds": one.holds,
    }


def rate_line(place: int) -> dict[str, Any]:
    """Return how often one rule errs, measured now, as the results hold it."""
    one = RATES[place]
    figure = float(one.measure(one.rounds, one.seed))
    return {
        "rule": one.rule,
        "setting": one.setting,
        "stated": one.stated,
        "low": one.low,
        "high": one.high,
        "figure": figure,
        "unit": one.unit,
        "rounds": one.rounds,
        "seed": one.seed,
        "holds": one.low <= figure <= one.high,
    }


def tables(document: Mapping[str, Any]) -> dict[str, str]:
    """Return both tables as Markdown, by name."""
    known = [
        [line["rule"], line["given"], _numbers(line["expected"]), _numbers(line["ours"]), line["source"]]
        for line in document["known_answers"]
    ]
    rates = [
        [
            line["rule"],
            line["setting"],
            line["stated"],
            f"**{_figure(line)}**",
            f"{line['rounds']:,} rounds, seed {line['seed']}" if line["rounds"] else "exact sum",
        ]
        for line in document["error_rates"]
    ]
    return {
        "known answers": page.table(("formula", "given", "expected", "ours", "source of the answer"), known),
        "error rates": page.table(("what happens", "setting", "stated", "how often", "how computed"), rates),
    }


def with_tables(text: str, document: Mapping[str, Any]) -> str:
    """Return a page with its tables replaced by those of a document.

    Raises:
        ValueError: It has no place for one.
    """
    return page.with_tables(text, tables(document), "benchmarks/results/statistics.json")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)


def _figure(line: Mapping[str, Any]) -> str:
    if line["unit"]:
        return f"{line['figure']:.3g} {line['unit']}"
    return f"{line['figure']:.2%}"


if __name__ == "__main__":
    raise SystemExit(main())
