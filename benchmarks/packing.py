"""``python -m benchmarks.packing``: a large sealed run packed, read before and after, and exported.

The stored trials are made here, as in ``benchmarks.reevaluation``. Each figure is of one command in a process
of its own: wall seconds and CPU belong to the machine, megabytes are the process's peak. With SALVO_STORE_URL
set, that store is used; else a folder that is removed again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.reevaluation import SCENARIO, stored_run
from salvo_cli.wiring import open_site, surroundings
from salvo_core.scenario.loading import load_scenario
from salvo_core.store import keys

COMMANDS = (
    ("audit", "RUN", "-q"),
    ("export", "RUN", "-o", "trials.csv"),
    ("export", "RUN", "-o", "turns.jsonl", "--what", "turns"),
    ("pack", "RUN", "-q"),
    ("audit", "RUN", "-q"),
    ("export", "RUN", "-o", "turns.jsonl", "--what", "turns"),
    ("trace", "TRIAL", "--json"),
    ("pack", "RUN", "-q"),
)


COMMAND = """
import sys
from pathlib import Path
from salvo_cli.main import main
code = main(sys.argv[1:])
# Not ru_maxrss: that still counts the memory of the process that this one was forked from.
status = Path("/proc/self/status").read_text()
Path("peak").write_text(status.partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_id, trace_id = asyncio.run(stored(chosen.trials))
        names = {"RUN": run_id, "TRIAL": trace_id}
        before = asyncio.run(objects(run_id))
        figures = [measured([names.get(word, word) for word in command]) for command in COMMANDS]
        after = asyncio.run(objects(run_id))
    if chosen.json:
        print(json.dumps({"trials": chosen.trials, "objects": [before, after], "commands": figures}))
        return 0
    print(f"{chosen.trials:,} stored trials of 4 turns: {before:,} objects before, {after:,} after packing")
    for command, one in zip(COMMANDS, figures, strict=True):
        figure = f"{one['wall_s']:7.1f} s {one['cpu_s']:7.1f} s CPU {one['peak_mb']:7.0f} MB"
        print(f"  {' '.join(command):44} {figure}")
    return 0


async def stored(trials: int) -> tuple[str, str]:
    """Store a sealed run; return its id and the trace id of a trial in its middle."""
    here = surroundings()
    async with open_site(here) as site:
        plan = await stored_run(site, load_scenario(SCENARIO, project=here.project), trials)
        return plan.run_id, plan.trace_id(trials // 2)


async def objects(run_id: str) -> int:
    """Return how many objects a run has."""
    async with open_site(surroundings()) as site:
        return len([key async for key in site.store.objects.list(f"{keys.RUNS}{run_id}/")])


def measured(arguments: list[str]) -> dict[str, float]:
    """Run one command; return its wall and CPU seconds, and its peak memory in megabytes."""
    began_s = time.perf_counter()
    with Path("output").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"salvo {' '.join(arguments)} failed: {Path('output').read_text()[-1000:]}")
    return {
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": int(Path("peak").read_text()) / 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
