"""``python -m benchmarks.compression``: which zstd level traces are stored at, and whether a dictionary pays.

The traces are real ones: the simulated provider plays scripts whose words come from the standard library's
own manual, a different passage for each scenario, and Salvo runs them. A dictionary is trained twice:
on traces of *other* scenarios, which is what one that is shipped with Salvo could do, and on other trials
of the *same* scenarios, which is what one for each run could do. What is measured was never trained on.
Bytes are exact and the same everywhere; microseconds of CPU belong to the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import yaml
import zstandard

from salvo_core.trace import codec

SALVO = (sys.executable, "-m", "salvo_cli")
ROOT = Path(__file__).resolve().parent.parent
TURNS = (4, 10)
LEVELS = range(1, 20)
SCENARIOS = 16
TRIALS = 12
DICTIONARY_BYTES = 64 * 1024
ROUNDS = 5


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    as_json = parser.parse_args().json
    found = {}
    for turns in TURNS:
        with tempfile.TemporaryDirectory() as folder:
            found[turns] = measure(traces(Path(folder), turns))
    if as_json:
        print(json.dumps({str(turns): figures for turns, figures in found.items()}))
        return 0
    for turns, figures in found.items():
        print(f"traces of {turns} turns, {figures['raw_bytes']:,.0f} bytes on average as JSON")
        print("        no dictionary              of other scenarios         of the same scenarios")
        print("level   bytes  write µs  read µs   bytes  write µs  read µs   bytes  write µs  read µs")
        for level, row in figures["levels"].items():
            cells = (f"{one['bytes']:7,.0f} {one['write_us']:9,.0f} {one['read_us']:8,.0f}" for one in row)
            print(f"{level:5} " + "  ".join(cells))
        print()
    return 0


def traces(folder: Path, turns: int) -> list[list[bytes]]:
    """Return what is stored of each trial, unpacked, by scenario."""
    passages = words()
    scripts: dict[str, Any] = {}
    scenarios = folder / "scenarios"
    scenarios.mkdir()
    for number in range(SCENARIOS):
        model, said = f"model-{number}", [next(passages) for _ in range(turns + 3)]
        tools = ["_".join(re.findall(r"[a-z]+", said[place].lower())[:2]) for place in range(3)]
        calls = [
            {"tool_calls": [{"name": tools[place % 3], "arguments": {"about": said[place][:60]}}]}
            for place in range(turns - 1)
        ]
        scripts[model] = {"turns": [*calls, {"text": said[turns]}]}
        scenario = {
            "description": said[-1][:70],
            "adapter": "openai",
            "model": model,
            "system_prompt": said[-1],
            "prompt": said[-2],
            "tools": [
                {"name": name, "description": said[0][:80], "mock_response": {"found": said[place + 1]}}
                for place, name in enumerate(dict.fromkeys(tools))
            ],
            "assertions": [
                {"contains": said[turns].split()[0]},
                {"type": "tool_sequence", "mode": "in_order", "sequence": [tools[0]]},
                {"path": "metadata.turn_count", "eq": turns},
            ],
        }
        (scenarios / f"{number}.yaml").write_text(yaml.safe_dump(scenario))
    (folder / "book.yaml").write_text(yaml.safe_dump({"scripts": scripts}))
    run(folder)
    return collected(folder / ".salvo" / "store" / "runs")


def words() -> Iterator[str]:
    """Yield passages of a few hundred characters, none twice until all were there."""
    text = " ".join(topics[name] for name in sorted(topics))
    passages = textwrap.wrap(" ".join(text.split()), 320)
    return cycle(passages[:: max(1, len(passages) // 600)])


def run(folder: Path) -> None:
    """Run every scenario on the simulated provider."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SALVO_")}
    environment["PYTHONPATH"] = str(ROOT)
    provider = subprocess.Popen(
        [*SALVO, "simulate", "--port", "0", "--script", "book.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert provider.stdout is not None
        environment["OPENAI_BASE_URL"] = provider.stdout.readline().strip().partition("=")[2]
        environment["OPENAI_API_KEY"] = "simulated"
        command = [*SALVO, "run", "scenarios", "-n", str(TRIALS), "--quiet", "--json"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        provider.send_signal(signal.SIGTERM)
        provider.wait()
    if done.returncode != 0:
        raise SystemExit(f"the run failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def collected(runs: Path) -> list[list[bytes]]:
    """Return the documents of a store, unpacked, by cell."""
    by_cell: dict[int, list[bytes]] = {}
    for path in sorted(runs.glob("*/traces/*.zst")):
        line = zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=1 << 26)
        by_cell.setdefault(json.loads(line)["body"]["cell"], []).append(line)
    return list(by_cell.values())


def measure(by_scenario: Sequence[Sequence[bytes]]) -> dict[str, Any]:
    """Return the figures: measured are the last trials of the last half of the scenarios."""
    half = len(by_scenario) // 2
    measured = [line for lines in by_scenario[half:] for line in lines[TRIALS // 2 :]]
    others = [line for lines in by_scenario[:half] for line in lines]
    same = [line for lines in by_scenario[half:] for line in lines[: TRIALS // 2]]
    dictionaries = [None, *(zstandard.train_dictionary(DICTIONARY_BYTES, lines) for lines in (others, same))]
    return {
        "raw_bytes": statistics.mean(map(len, measured)),
        "level_stored": codec.ZSTD_LEVEL,
        "levels": {
            level: [at_level(level, dictionary, measured) for dictionary in dictionaries] for level in LEVELS
        },
    }


def at_level(level: int, dictionary: Any, lines: Sequence[bytes]) -> dict[str, float]:
    """Return bytes, and microseconds of CPU to write and to read, on average per trace."""
    if dictionary is not None:
        dictionary.precompute_compress(level=level)
    compressed: list[bytes] = []

    def write() -> None:
        # As the codec does: a new compressor for each document.
        compressed[:] = [
            zstandard.ZstdCompressor(level=level, dict_data=dictionary).compress(line) for line in lines
        ]

    def read() -> None:
        for stored in compressed:
            zstandard.ZstdDecompressor(dict_data=dictionary).decompress(stored)

    return {
        "write_us": cpu_us(write) / len(lines),
        "bytes": statistics.mean(map(len, compressed)),
        "read_us": cpu_us(read) / len(lines),
    }


def cpu_us(work: Callable[[], None]) -> float:
    """Return the CPU of one round of work, microseconds: the median of several."""
    taken = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        work()
        taken.append(time.process_time() - began_s)
    return statistics.median(taken) * 1e6


if __name__ == "__main__":
    sys.exit(main())
