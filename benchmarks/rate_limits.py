"""``python -m benchmarks.rate_limits``: how much of a provider's limit four worker processes use.

The simulated provider answers exactly R requests a minute (a bucket that holds one second's worth) and
refuses the rest with 429 and Retry-After. It is asked by four workers of one fleet whose profile states R;
by four that state nothing and find out; and, as peers do it, by four workers that know nothing of each
other, each with a Redis of its own and R as its own limit. Use is what was answered, of what could have
been, once all connections are open (the first seconds and the last are left out); the share of 429s is of
all requests. Both are ratios, whatever the machine, but a machine that is too busy to be on time is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results") / "rate_limits.json"
LATENCY_S = 0.3
WARM_S = 5.0
COOL_S = 1.0
WORKERS = 4
SCENARIO = {
    "description": "One turn",
    "adapter": "openai",
    "model": "one-turn",
    "prompt": "Say yes.",
    "assertions": [{"contains": "yes"}],
}


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1200, help="requests a minute that the provider allows")
    parser.add_argument("--seconds", type=int, default=45, help="how long each of the three takes at best")
    parser.add_argument("--concurrency", type=int, default=50, help="trials at once in each worker")
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("SALVO_")]:
        del os.environ[name]
    trials = chosen.rate * chosen.seconds // 60
    load_before = os.getloadavg()[0]
    figures: dict[str, dict[str, float]] = {}
    for name, stated, together in (
        ("one fleet, limit stated", chosen.rate, True),
        ("one fleet, nothing stated", None, True),
        ("four on their own, limit stated", chosen.rate, False),
    ):
        figures[name] = measured(chosen.rate, stated, trials, chosen.concurrency, together=together)
        one = figures[name]
        print(
            f"  {name:34}  use {one['use']:6.1%}   429s {one['refused']:6.2%}"
            f"   trials lost {one['lost']:4.0f}   {one['wall_s']:5.1f} s",
            flush=True,
        )
    document = {
        "measured_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "rate_per_min": chosen.rate,
        "trials": trials,
        "workers": WORKERS,
        "load_average": [load_before, os.getloadavg()[0]],
        "cpus": os.cpu_count(),
        "figures": figures,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(
        f"load average {load_before:.1f} before; written to {RESULTS.relative_to(Path(__file__).parents[1])}"
    )
    return 0


def measured(
    rate: int, stated: int | None, trials: int, concurrency: int, *, together: bool
) -> dict[str, float]:
    """Return the figures of one way to share the limit.

    Args:
        rate: What the provider allows, requests a minute.
        stated: What ``salvo.yaml`` says of it.
        trials: In all.
        concurrency: In each worker.
        together: Whether the four workers share a Redis, or have one each.
    """
    with tempfile.TemporaryDirectory() as name, provider(Path(name), rate) as base_url:
        folder = Path(name)
        os.environ["OPENAI_BASE_URL"] = base_url
        began_s = time.perf_counter()
        homes = [home(folder / "all", stated)] if together else [
            home(folder / f"w{number}", stated) for number in range(WORKERS)
        ]  # fmt: skip
        lost = fleet(homes[0], trials, concurrency) if together else alone(homes, trials, concurrency)
        wall_s = time.perf_counter() - began_s
        entries = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    return {**shares(entries, rate), "lost": lost, "wall_s": wall_s}


def shares(entries: list[dict[str, Any]], rate: int) -> dict[str, float]:
    """Return how much of the limit was used, and what share of the requests was refused."""
    began_s = datetime.fromisoformat(entries[0]["ts"]).timestamp()
    times = [
        (datetime.fromisoformat(entry["ts"]).timestamp() - began_s, entry["status"]) for entry in entries
    ]
    window_s = times[-1][0] - WARM_S - COOL_S
    answered = sum(status == 200 and WARM_S <= at_s < WARM_S + window_s for at_s, status in times)
    return {
        "requests": len(entries),
        "window_s": window_s,
        "use": answered / (rate / 60 * window_s),
        "refused": sum(status == 429 for _, status in times) / len(entries),
    }


@contextlib.contextmanager
def provider(folder: Path, rate: int) -> Iterator[str]:
    """Run a provider that allows so many requests a minute; its log lies in the folder."""
    book = folder / "provider.json"
    script = {"turns": [{"text": "yes"}], "latency_s": LATENCY_S}
    limit = {"requests_per_minute": rate, "burst": max(1, rate // 60)}
    book.write_text(json.dumps({"scripts": {"one-turn": script}, "rate_limit": limit}))
    command = [*salvo(), "simulate", "--script", book, "--log", folder / "requests.jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().partition("=")[2]
        finally:
            process.send_signal(signal.SIGTERM)


def home(folder: Path, stated: int | None) -> Path:
    """Return a new project whose profile states that limit."""
    folder.mkdir()
    profile = {"adapter": "openai"} | ({} if stated is None else {"requests_per_min": stated})
    (folder / "salvo.yaml").write_text(json.dumps({"providers": {"openai": profile}}))
    (folder / "one_turn.yaml").write_text(json.dumps(SCENARIO))
    return folder


def fleet(folder: Path, trials: int, concurrency: int) -> int:
    """Have one run done by all workers; return how many of its trials did not pass."""
    from benchmarks.reevaluation import running, until_there
    from salvo_cli.wiring import open_site, surroundings
    from salvo_core.scenario.loading import load_scenario
    from salvo_core.submit import Order, submit

    async def run() -> int:
        here = surroundings()
        async with open_site(here) as site:
            with running(WORKERS, concurrency):
                await until_there(site, WORKERS)
                loaded = load_scenario(Path("one_turn.yaml"), project=here.project)
                plan = await submit(
                    Order([loaded], trials=trials),
                    store=site.store,
                    manifest=site.manifest,
                    dispatcher=site.dispatcher,
                    clock=site.clock,
                )
                while (counts := await site.manifest.counts(plan.run_id)).state != "sealed":
                    await asyncio.sleep(0.1)
        return trials - counts.statuses["passed"]

    with contextlib.chdir(folder):
        return asyncio.run(run())


def alone(folders: list[Path], trials: int, concurrency: int) -> int:
    """Have each worker do its part of the trials as a run of its own; return how many did not pass."""
    each = trials // len(folders)
    command = [*salvo(), "run", "one_turn.yaml", "-n", str(each), "-j", str(concurrency), "--json", "--quiet"]
    runs = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for folder in folders
    ]
    return sum(each - json.loads(run.communicate()[0])["summary"]["counts"]["passed"] for run in runs)


def salvo() -> list[str]:
    """Return the command line's beginning."""
    return [sys.executable, "-m", "salvo_cli"]


if __name__ == "__main__":
    sys.exit(main())
