"""``python -m benchmarks.plan``: what runs of 10^5, 10^6 and 10^7 trials take, from what was measured.

Nothing is run. Every constant says where it was measured; those of ``results/`` are read from there. Writes
the tables of ``docs/scale.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import page
from salvo_core.manifest.archive import ARCHIVE_BYTES_MAX
from salvo_core.manifest.memory import MESSAGE_BYTES, ROW_BYTES, SHARE_MAX
from salvo_core.settings import QUEUED_MAX
from salvo_core.store.pack import MEMBERS_MAX, PACK_BYTES_MAX

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
SIZES = (100_000, 1_000_000, 10_000_000)
RATES_PER_S = (10, 100, 1_000)

ARCHIVE_LINE_BYTES = 215
"""Of a finished row in the archive, unpacked."""

SERVER_BYTES = 4_000_000
"""What a Redis without keys has in use, its clients' buffers with it."""

LONG_TRACE_BYTES = 20_000
"""Of a trace of some wordy turns, compressed; assumed."""

LISTED_AT_ONCE = 1_000
"""Keys that one ListObjectsV2 returns at most (S3 API reference)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A figure that the plan rests on.

    Attributes:
        name: What it is.
        value: In its unit.
        unit: Of it.
        source: Where it was measured, or who says so.
    """

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Constants:
    """All of them."""

    row_queued: Constant
    row_finished: Constant
    running: Constant
    message: Constant
    redis_commands: Constant
    redis_cpu: Constant
    redis_in: Constant
    worker_cpu: Constant
    trace: Constant
    archive: Constant
    archive_line: Constant
    seal_cpu: Constant
    seal_memory: Constant
    submit_rate: Constant
    puts: Constant
    put_usd: Constant
    get_usd: Constant
    stored_usd: Constant
    turns: Constant
    turn_s: Constant

    def all(self) -> list[Constant]:
        """Return them in the order of the page."""
        return [getattr(self, name) for name in self.__slots__]


def constants() -> Constants:
    """Return the constants, read from the results where a benchmark wrote them."""
    submission = json.loads((RESULTS / "submission.json").read_text("utf-8"))
    large = max(submission["runs"], key=lambda run: run["trials"])
    footprint = json.loads((RESULTS / "footprint.json").read_text("utf-8"))
    bench = json.loads((RESULTS / "bench.json").read_text("utf-8"))
    worker = next(line for line in bench["lines"] if line["key"] == "cpu_files")
    seal = max(footprint["seal"], key=lambda one: one["rows"])
    counted = f"benchmarks.footprint, {footprint['trials']:,} trials, {footprint['measured_at'][:10]}"
    ordered = f"benchmarks.submission, {large['trials']:,} trials, {submission['at'][:10]}"
    sealed = f"benchmarks.footprint, {seal['rows']:,} rows"
    listed = "list price of S3 Standard, US East (N. Virginia), as public in 2025; look it up"
    return Constants(
        Constant("Redis, a queued trial: row and unsigned message",
                 round(large["redis_bytes_queued"]), "bytes", ordered),
        Constant("Redis, a finished trial: row", round(large["redis_bytes_finished"]), "bytes", ordered),
        Constant("Redis, a running trial beside: message held, lease, journal of two short turns",
                 round(large["redis_bytes_running"] - large["redis_bytes_queued"]), "bytes", ordered),
        Constant("Redis, the largest usual message", MESSAGE_BYTES, "bytes",
                 "tests/integration/test_message_memory.py"),
        Constant("Redis commands, those inside scripts too",
                 footprint["redis_calls_all"], "a trial", counted),
        Constant("Redis CPU, user and system", footprint["redis_cpu_ms"], "ms a trial", counted),
        Constant("to Redis over the wire", footprint["redis_bytes_in"], "bytes a trial", counted),
        Constant("worker CPU, files, 100 at once", round(worker["measured"], 1), "ms a trial",
                 f"make bench, {bench['measured_at'][:10]}, median of {len(worker['rounds'])}; with S3 "
                 f"{footprint['worker_cpu_ms']:.1f} ms (benchmarks.footprint)"),
        Constant("a trace of four short turns, compressed", footprint["trace_bytes"], "bytes", counted),
        Constant("a row in the sealed archive, compressed", footprint["archive_bytes"], "bytes", counted),
        Constant("the same, unpacked", ARCHIVE_LINE_BYTES, "bytes",
                 "a finished row of benchmarks.submission with its index; tests/unit/test_scale_page.py"),
        Constant("sealing: CPU", 1e6 * seal["cpu_s"] / seal["rows"], "us a row", sealed),
        Constant("sealing: memory", 1024 * seal["peak_mb"] / seal["rows"], "KB a row", sealed),
        Constant("submission, rows seeded included", round(large["submit_per_s"]), "trials/s", ordered),
        Constant("PUT requests", footprint["trace_objects"], "a trial",
                 f"{counted}: objects, of one request each (salvo_core/store/s3.py); a HEAD more where "
                 "the store knows no conditional write"),
        Constant("PUT, COPY, POST, LIST", 5.0, "USD a million", listed),
        Constant("GET, HEAD", 0.4, "USD a million", listed),
        Constant("storage", 0.023, "USD a GB and month", listed),
        Constant("turns", 4, "a trial", "assumed: benchmarks/four_turns.yaml"),
        Constant("latency of a turn", 2.0, "s", "assumed"),
    )  # fmt: skip


def by_size(known: Constants) -> list[list[str]]:
    """Return the table of what a run takes in all: a line each, a column for each of SIZES."""

    def row(what: str, figure: Callable[[int], str]) -> list[str]:
        return [what, *(figure(trials) for trials in SIZES)]

    def queued_bytes(trials: int) -> float:
        return min(trials, QUEUED_MAX) * known.message.value

    def packs(trials: int) -> int:
        return trials // min(MEMBERS_MAX, int(PACK_BYTES_MAX / known.trace.value)) + 1

    def usd(puts_and_lists: float, gets: float = 0) -> str:
        return _usd((puts_and_lists * known.put_usd.value + gets * known.get_usd.value) / 1e6)

    def lists(trials: int) -> int:
        return math.ceil(trials / LISTED_AT_ONCE)

    unpacked = f"archive, unpacked (at most {_bytes(ARCHIVE_BYTES_MAX)} of one run)"
    return [
        row("Redis: rows when all have ended", lambda n: _bytes(n * known.row_finished.value)),
        row(f"Redis: messages, at most {QUEUED_MAX:,} at once", lambda n: _bytes(queued_bytes(n))),
        row(
            "Redis: maxmemory (800 trials at once, a tenth free)",
            lambda n: _bytes(maxmemory_bytes(n, known)),
        ),
        row("Redis: commands", lambda n: _count(n * known.redis_commands.value)),
        row("Redis: CPU", lambda n: _time(n * known.redis_cpu.value / 1000)),
        row("workers: CPU", lambda n: _time(n * known.worker_cpu.value / 1000)),
        row("submission", lambda n: _time(n / known.submit_rate.value)),
        row("S3: PUT requests", lambda n: _count(n * known.puts.value)),
        row("S3: dollars for them", lambda n: usd(n * known.puts.value)),
        row("S3: stored, short traces", lambda n: _bytes(n * known.trace.value)),
        row("S3: stored, traces of 20 KB", lambda n: _bytes(n * LONG_TRACE_BYTES)),
        row(
            "S3: dollars a month for those",
            lambda n: _usd(n * LONG_TRACE_BYTES / 1e9 * known.stored_usd.value),
        ),
        row("S3: LIST requests of an audit or a rebuild", lambda n: _count(lists(n))),
        row("S3: dollars for one (LIST, and a GET a trace)", lambda n: usd(lists(n), n)),
        row("`salvo pack`: packs of short traces", lambda n: _count(packs(n))),
        row("`salvo pack`: dollars (LIST, GET, PUT; DELETE is free)", lambda n: usd(lists(n) + packs(n), n)),
        row("seal: CPU", lambda n: _time(n * known.seal_cpu.value / 1e6)),
        row("seal: memory of the worker that seals", lambda n: _bytes(n * known.seal_memory.value * 1024)),
        row("archive, compressed", lambda n: _bytes(n * known.archive.value)),
        row(unpacked, lambda n: _bytes(n * known.archive_line.value)),
        row("report: objects read", lambda n: "1"),
    ]


def maxmemory_bytes(trials: int, known: Constants | None = None) -> float:
    """Return the maxmemory with which an empty Redis takes an order of so many trials.

    An order reckons with the largest usual row and message: it would be refused where only what was measured
    had room. A run holds no more than that at once.
    """
    known = known or constants()
    ordered = trials * ROW_BYTES + min(trials, QUEUED_MAX) * MESSAGE_BYTES
    running = _running(100, known) * known.running.value
    return (ordered + running + SERVER_BYTES) / SHARE_MAX


def by_rate(known: Constants) -> list[list[str]]:
    """Return the table of what a rate takes while it lasts, a column for each of RATES_PER_S."""

    def row(what: str, figure: Callable[[int], str]) -> list[str]:
        return [what, *(figure(rate) for rate in RATES_PER_S)]

    return [
        row("trials at once", lambda rate: _count(_running(rate, known))),
        row("provider requests a minute", lambda rate: _count(60 * rate * known.turns.value)),
        row("worker cores", lambda rate: f"{rate * known.worker_cpu.value / 1000:.2g}"),
        row("Redis commands a second", lambda rate: _count(rate * known.redis_commands.value)),
        row("share of Redis' one core", lambda rate: f"{rate * known.redis_cpu.value / 1000:.1%}"),
        row("to Redis", lambda rate: f"{_bytes(rate * known.redis_in.value)}/s"),
        row("Redis: running trials", lambda rate: _bytes(_running(rate, known) * known.running.value)),
        row("S3 PUT a second", lambda rate: _count(rate * known.puts.value)),
        *(row(f"time for {trials:,} trials", _duration(trials)) for trials in SIZES),
    ]


def as_run(known: Constants) -> list[list[str]]:
    """Return what a million trials took when they were run, beside what the plan says of them."""
    ran = json.loads((RESULTS / "million.json").read_text("utf-8"))["figures"]
    trials = round(ran["trials"])
    submission_s = trials / known.submit_rate.value
    return [
        ["submission", _time(submission_s), _time(ran["submit_s"])],
        ["memory of `salvo submit`", "", _bytes(ran["submit_peak_mb"] * 2**20)],
        ["messages in the queue, at most", _count(min(trials, QUEUED_MAX)), _count(ran["queued_most"])],
        ["`salvo status` meanwhile: Redis' time", "", f"{ran['status_redis_ms']:.2g} ms"],
        ["a sweep that sends 20,000 messages more", "", _time(ran["sweep_s"])],
        ["Redis: rows when all have ended", _bytes(trials * known.row_finished.value),
         _bytes(trials * ran["redis_bytes_finished"])],
        ["Redis: maxmemory, and the most in use", _bytes(maxmemory_bytes(trials, known)),
         _bytes(ran["redis_peak_mb"] * 1e6)],
        ["seal: CPU", _time(trials * known.seal_cpu.value / 1e6), _time(ran["seal_cpu_s"])],
        ["seal: memory", _bytes(trials * known.seal_memory.value * 1024),
         _bytes(ran["seal_peak_mb"] * 2**20)],
        ["report: objects read", "1", _count(ran["report_reads"])],
    ]  # fmt: skip


def tables() -> dict[str, str]:
    """Return the page's tables as markdown, by name."""
    known = constants()
    sizes = [f"{trials:,} trials" for trials in SIZES]
    rates = [f"{rate:,} trials/s" for rate in RATES_PER_S]
    told = [[one.name, f"{one.value:.4g} {one.unit}", one.source] for one in known.all()]
    return {
        "by size": page.table(["", *sizes], by_size(known)),
        "as run": page.table(["1,000,000 trials", "on paper", "measured"], as_run(known)),
        "by rate": page.table(["", *rates], by_rate(known)),
        "constants": page.table(["constant", "value", "from"], told),
    }


def with_tables(text: str) -> str:
    """Return a page with its tables as they come out now.

    Raises:
        ValueError: It has no place for one.
    """
    return page.with_tables(text, tables(), "python -m benchmarks.plan")


def main() -> int:
    """Print the tables and write them into the page; return 0."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("\n\n".join(tables().values()))
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
    return 0


def _duration(trials: int) -> Callable[[int], str]:
    return lambda rate: _time(trials / rate)


def _running(rate_per_s: float, known: Constants) -> float:
    """Return how many trials are under way at once at a rate."""
    return rate_per_s * known.turns.value * known.turn_s.value


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _count(number: float) -> str:
    return f"{number:.3g}" if number >= 1e8 else f"{round(number):,}"


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.3g} days"


if __name__ == "__main__":
    sys.exit(main())
