"""``python -m benchmarks.performance``: writes the tables of docs/performance.md from ``results/``.

Nothing is run. Each table names the benchmark whose figures it has.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import page

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
SOAK_EVERY = 10_000
"""Trials between two lines of the soak's table."""


def tables() -> dict[str, str]:
    """Return the page's tables as Markdown, by name."""
    return {
        "table": bench(_read("bench")),
        "commands": commands(_read("large_run"), _read("submission")),
        "layers": layers(_read("layers")),
        "soak": soak(_read("soak")),
        "curves": curves(_read("scale")),
        "turns": turns(_read("fair_share")),
        "limits": limits(_read("rate_limits")),
    }


def bench(found: dict[str, Any]) -> str:
    """Return the table of ``make bench``."""

    def row(line: dict[str, Any]) -> list[str]:
        sign = "<=" if line["at_most"] else ">="
        unit = "x" if line["baseline"] is not None else f" {line['unit']}"
        figures = (
            f"{line['measured']:.2f} / {line['baseline']:.2f} {line['unit']}" if line["baseline"] else ""
        )
        spread = f"{min(line['rounds']):.2f}–{max(line['rounds']):.2f}" if len(line["rounds"]) > 1 else ""
        met = "yes" if line["met"] else "**no**"
        return [
            line["what"],
            f"{line['ratio']:.2f}{unit}",
            f"{sign} {line['target']:g}",
            met,
            figures,
            spread,
        ]

    where = found["machine"]
    heads = ["what", "median", "target", "met", "of", "rounds"]
    said = (
        f"{found['measured_at'][:10]}, {where['processors']} processors ({where['model']}), Python "
        f"{where['python']}, {found['sizes']['rounds']} rounds, load before it {where['load_before']:.1f}:"
    )
    return f"{said}\n\n{page.table(heads, [row(line) for line in found['lines']])}"


def commands(large: dict[str, Any], submission: dict[str, Any]) -> str:
    """Return what ordering, closing and looking at a run of 100,000 costs."""
    figures = large["figures"]
    first, last = submission["runs"][0], submission["runs"][-1]
    rows = [
        ["`salvo submit`, rows seeded", f"{last['submit_per_s']:,.0f} trials/s", ">= 10,000"],
        [
            f"its memory at {first['trials']:,} and at {last['trials']:,} trials",
            f"{first['submit_peak_mb']:.0f} MB, {last['submit_peak_mb']:.0f} MB",
            "flat",
        ],
        *(
            [f"Redis, a trial that is {what}", f"{last[f'redis_bytes_{what}']:,.0f} bytes", f"<= {most:,}"]
            for what, most in (("queued", 900), ("running", 1500), ("finished", 350))
        ),
        ["`salvo status`: Redis' time", f"{figures['status_redis_ms']:.2f} ms", "<= 5 ms"],
        ["`salvo status`, the whole command", f"{figures['status_s']:.2f} s", "<= 0.3 s"],
        ["of it CPU", f"{figures['status_cpu_s']:.2f} s", ""],
        ["CPU of its libraries alone: the floor", f"{figures['floor_cpu_s']:.2f} s", ""],
        ["`salvo report`", f"{figures['report_s']:.2f} s", "<= 1 s"],
        ["objects it reads", f"{figures['report_reads']:g}", "1"],
        ["`salvo --help`", f"{figures['help_s']:.2f} s", "<= 0.25 s"],
        ["sealing, in the worker that ends the run", f"{figures['seal_cpu_s']:.2f} s CPU", ""],
    ]  # fmt: skip
    return page.table([f"100,000 trials, {large['at'][:10]}", "measured", "target"], rows)


def layers(found: dict[str, Any]) -> str:
    """Return where a trial's CPU went, for some versions."""
    versions: dict[str, Any] = found["versions"]
    rows = [
        [layer, *(f"{one['layers'][layer] * one['cpu_ms']:.2f}" for one in versions.values())]
        for layer in next(iter(versions.values()))["layers"]
    ]
    total = ["**all**", *(f"**{one['cpu_ms']:.2f}**" for one in versions.values())]
    return page.table(["ms CPU a trial", *versions], [*rows, total])


def soak(found: dict[str, Any]) -> str:
    """Return what was in use as the soak went on, and the slopes."""
    rows: list[list[str]] = []
    for line in found["lines"]:
        if line["ended"] // SOAK_EVERY > len(rows) or line is found["lines"][-1]:
            workers = " ".join(f"{mb:.0f}" for mb in line["workers_mb"])
            rows.append(
                [f"{line['at_s']:.0f}", f"{line['ended']:,}", f"{line['per_s']:.0f}", str(line["not_passed"]),
                 f"{line['redis_mb']:.0f}", workers]
            )  # fmt: skip
    heads = ["s", "trials ended", "a second", "not passed", "Redis, MB", "each worker, MB"]
    gained = found["slopes_per_10k"]
    failed = found["trials"] - found["passed"]
    said = (
        f"{found['trials']:,} trials, {found['procs']} processes of {found['concurrency']}: "
        f"{found['wall_s']:.0f} s, {found['trials_per_s']:.0f} trials a second, {failed} that did not pass, "
        f"{found['replaced']} processes replaced, {found['errors_logged']} errors logged. For each 10,000 "
        f"trials, after the first quarter: {gained['worker_mb']:+.2f} MB a worker, "
        f"{gained['redis_mb']:+.2f} MB in Redis, {gained['trials_per_s']:+.1f} trials a second."
    )
    return f"{page.table(heads, rows)}\n\n{said}"


def curves(found: dict[str, Any]) -> str:
    """Return what a trial costs as runs, concurrency and workers grow."""
    rows = [
        [name, f"{int(at):,}", f"{one['cpu_ms']:.2f}", f"{one['redis_cpu_ms']:.2f}",
         f"{one['trials_per_s']:.0f}", f"{one['memory_mb']:.0f}"]
        for name, curve in found["curves"].items()
        for at, one in curve.items()
    ]  # fmt: skip
    heads = ["what grows", "to", "ms CPU a trial", "ms of Redis", "trials/s", "largest worker, MB"]
    told = ", ".join(f"{share:+.0%} of {name}" for name, share in found["slope_per_tenfold"].items())
    return f"{page.table(heads, rows)}\n\nCPU a trial for each tenfold: {told}."


def turns(found: dict[str, Any]) -> str:
    """Return how long a small run waits beside large ones."""

    def row(what: str, one: dict[str, Any]) -> list[str]:
        figures = [one["wait_s"], one["wait_s_most"], one["first_s"], one["all_s"]]
        return [what, *(f"{figure:.2f}" for figure in figures)]

    rows = [row("nothing else", found["idle"]), *(row(what, one) for what, one in found["cases"].items())]
    heads = ["the run of 20, and what is under way", "waits, s", "at most", "first trial, s", "all ended, s"]
    return page.table(heads, rows)


def limits(found: dict[str, Any]) -> str:
    """Return what four workers make of a provider's limit."""
    rows = [
        [what, f"{one['use']:.1%}", f"{one['refused']:.2%}", str(one["lost"])]
        for what, one in found["figures"].items()
    ]
    return page.table(["four workers", "of what is allowed", "refused (429)", "trials lost"], rows)


def with_tables(text: str) -> str:
    """Return the page with its tables as they come out now."""
    return page.with_tables(text, tables(), "python -m benchmarks.performance")


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables into the page; return 0."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
