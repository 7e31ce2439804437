"""The lines of the table: each a ratio of two things measured in one run, or a figure with its bound."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import find_peers
from benchmarks.stand import BOOK, ROOT, SALVO, Stand, clean_environment, provider
from tests.servers.process import own_folder

SLOW_BOOK = Path(__file__).with_name("provider_200ms.yaml")
LATENCY_S, TURNS = 0.2, 4
SCRIPTED = """description: One scripted trial
adapter: scripted
model: none
prompt: hello
script: {turns: [{text: hello yourself}]}
assertions: [{contains: hello}]
"""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        key: Short, stable.
        what: What is measured, in words.
        unit: Of measured and baseline.
        measured: The median.
        baseline: What it is divided by, the median; None where the figure itself is bounded.
        ratio: The median of the rounds' ratios, or the figure itself.
        target: What the ratio is to be.
        at_most: Whether the target is an upper bound.
        rounds: Each round's ratio, or figure.
    """

    key: str
    what: str
    unit: str
    measured: float
    baseline: float | None
    ratio: float
    target: float
    at_most: bool
    rounds: tuple[float, ...]

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def document(self) -> dict[str, object]:
        """Return the line, JSON-ready."""
        return {**asdict(self), "met": self.is_met}


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    trials: int
    concurrency: int
    peer_trials: int
    peer_rounds: int


def table(sizes: Sizes, wanted: Callable[[str], bool], tell: Callable[[str], None]) -> Iterator[Line]:
    """Yield the lines whose group is wanted, as they are known.

    Args:
        sizes: How much is measured.
        wanted: Given ``cpu``, ``peers``, ``wall``, ``two``, ``memory`` or ``start``.
        tell: Hears what is going on.
    """
    if wanted("cpu"):
        yield from cpu_lines(sizes, tell, with_peers=wanted("peers"))
    if wanted("wall"):
        yield from wall_lines(sizes, tell)
    if wanted("two"):
        yield two_workers_line(sizes, tell)
    if wanted("memory"):
        yield from memory_lines(tell)
    if wanted("start"):
        yield start_line(sizes, tell)


def cpu_lines(sizes: Sizes, tell: Callable[[str], None], *, with_peers: bool) -> Iterator[Line]:
    """Yield what a trial costs a worker, by store, beside the bare loop and the peers."""
    peers = find_peers() if with_peers else {}
    bare: list[float] = []
    files: list[float] = []
    s3: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in peers}
    with provider(BOOK) as url, standing(url, store="files") as near, standing(url, store="s3") as far:
        near.run(sizes.concurrency)
        far.run(sizes.concurrency)
        for number in range(sizes.rounds):
            tell(f"cpu, round {number + 1} of {sizes.rounds}")
            bare.append(bare_loop(url, sizes.trials, sizes.concurrency)[0])
            files.append(near.run(sizes.trials).cpu_ms)
            s3.append(far.run(sizes.trials).cpu_ms)
            if number < sizes.peer_rounds:
                for name, measure in peers.items():
                    others[name].append(measure(url, sizes.peer_trials, sizes.concurrency))
    ms = "ms CPU a trial"
    yield _ratio("cpu_files", "worker, traces in files / bare httpx loop", ms, files, bare, 2.0)
    yield _ratio("cpu_s3", "worker, traces in S3 / in files", ms, s3, files, 1.6)
    for name, spent in others.items():
        target = 6.0 if name.startswith("salvo-ai") else 12.0
        if spent:
            yield _ratio(
                f"cpu_{name.split()[0]}", f"{name} / worker, traces in files", ms, spent, files, target, False
            )


def wall_lines(sizes: Sizes, tell: Callable[[str], None]) -> Iterator[Line]:
    """Yield how close to the wire one worker process comes, and how close the bare loop does.

    One process keeps one core busy, so neither can be nearer than the CPU of all trials allows.
    """
    trials, concurrency = 2 * sizes.trials, 200
    ideal_s = trials * TURNS * LATENCY_S / concurrency
    walls: list[float] = []
    bares: list[float] = []
    with provider(SLOW_BOOK) as url, standing(url, concurrency=concurrency) as stand:
        stand.run(concurrency)
        for number in range(sizes.rounds):
            tell(f"wall, round {number + 1} of {sizes.rounds}")
            bares.append(bare_loop(url, trials, concurrency)[1])
            walls.append(stand.run(trials).wall_s)
    what = f"wall / ideal: {trials:,} trials of 4 x 200 ms, {concurrency} at once"
    yield _ratio("wall", what, "s", walls, [ideal_s] * len(walls), 1.10)
    yield _ratio("wall_bare", "the bare httpx loop's wall / ideal", "s", bares, [ideal_s] * len(bares), 1.10)


def two_workers_line(sizes: Sizes, tell: Callable[[str], None]) -> Line:
    """Return what a second worker process brings where neither provider nor processor is the limit."""
    concurrency, trials = 25, sizes.trials // 2
    rates: dict[int, list[float]] = {1: [], 2: []}
    with provider(SLOW_BOOK) as url:
        for workers, measured in rates.items():
            with standing(url, workers=workers, concurrency=concurrency) as stand:
                stand.run(concurrency)
                for number in range(sizes.rounds):
                    tell(f"{workers} worker(s), round {number + 1} of {sizes.rounds}")
                    measured.append(stand.run(trials).trials_per_s)
    what = f"two worker processes / one, {concurrency} trials at once in each"
    return _ratio("two_workers", what, "trials/s", rates[2], rates[1], 1.8, False)


def memory_lines(tell: Callable[[str], None]) -> Iterator[Line]:
    """Yield the most that a worker held, beside 150 MB and 0.3 MB for each trial at once."""
    for concurrency in (100, 400):
        tell(f"memory at {concurrency}")
        with provider(SLOW_BOOK) as url, standing(url, concurrency=concurrency) as stand:
            held = stand.run(concurrency * 5).memory_mb
        yield Line(
            f"memory_{concurrency}", f"worker's memory, {concurrency} trials at once", "MB", held, None, held,
            150 + 0.3 * concurrency, True, (held,),
        )  # fmt: skip


def start_line(sizes: Sizes, tell: Callable[[str], None]) -> Line:
    """Return how long a person waits for one scripted trial, servers and worker started and all.

    The first run is left out: it compiles what is compiled once an installed Salvo was started, also where
    this process may not write bytecode.
    """
    waits: list[float] = []
    environment = clean_environment(PYTHONPYCACHEPREFIX=str(own_folder("bench-bytecode")))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in range(sizes.rounds + 1):
        tell(f"salvo run, round {number} of {sizes.rounds}")
        folder = own_folder("bench-start")
        (folder / "one.yaml").write_text(SCRIPTED)
        began_s = time.perf_counter()
        subprocess.run(
            [*SALVO, "run", "one.yaml", "-n", "1", "--quiet"],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        waits.append(time.perf_counter() - began_s)
    del waits[0]
    found = statistics.median(waits)
    return Line(
        "start", "salvo run of one scripted trial, from enter to verdict", "s", found, None, found, 2.5, True,
        tuple(waits),
    )  # fmt: skip


def bare_loop(base_url: str, trials: int, concurrency: int) -> tuple[float, float]:
    """Return what the bare loop's trial costs, ms of CPU, and how long all took, s; in its own process."""
    command = [sys.executable, "-m", "benchmarks.bare", base_url, str(trials), str(concurrency)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), check=True, capture_output=True, text=True
    )
    cpu_ms, wall_s = map(float, done.stdout.split())
    return cpu_ms, wall_s


@contextmanager
def standing(url: str, **how: object) -> Iterator[Stand]:
    """Give a stand to the block, and take it down."""
    stand = Stand(url, **how)  # type: ignore[arg-type]
    try:
        yield stand
    finally:
        stand.close()


def _ratio(
    key: str,
    what: str,
    unit: str,
    above: list[float],
    below: list[float],
    target: float,
    at_most: bool = True,
) -> Line:
    middle = statistics.median(below)
    # A peer may have fewer rounds than we: each round against the baseline of the same round.
    ratios = tuple(one / other for one, other in zip(above, below, strict=False))
    return Line(
        key, what, unit, statistics.median(above), middle, statistics.median(ratios), target, at_most, ratios
    )


def machine() -> Mapping[str, object]:
    """Return what the figures were measured on."""
    import os
    import platform

    model = "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or model
    return {
        "processors": os.cpu_count(),
        "model": model,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }
