"""``make bench``: the CPU a trial costs, beside a bare httpx loop that makes the same calls.

Both talk to the simulated provider of this repository, in a process of its own, at the same
concurrency, in the same run. The figure to read is the ratio; seconds belong to the machine. CPU is
the whole tree's user and system time as the operating system accounts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
SALVO = Path(sys.executable).with_name("salvo")
SCENARIO = Path(__file__).with_name("four_turns.yaml")
BOOK = Path(__file__).with_name("provider.yaml")


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    chosen = parser.parse_args()
    with subprocess.Popen(
        [SALVO, "simulate", "--port", "0", "--script", BOOK],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as provider:
        try:
            base_url = provider.stdout.readline().strip().partition("=")[2]
            rounds = [measure(base_url, chosen.trials, chosen.concurrency) for _ in range(chosen.rounds)]
        finally:
            provider.send_signal(signal.SIGTERM)
    figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    figures["ratio_cpu"] = figures["salvo_cpu_ms"] / figures["bare_cpu_ms"]
    if chosen.json:
        print(
            json.dumps(
                {
                    "trials": chosen.trials,
                    "concurrency": chosen.concurrency,
                    "median": figures,
                    "rounds": rounds,
                }
            )
        )
        return 0
    print(
        f"{chosen.trials} trials of 4 turns, 3 tool calls, 3 assertions; concurrency {chosen.concurrency}; ",
        end="",
    )
    print(f"medians of {chosen.rounds} rounds")
    print(f"  bare httpx loop, a client per slot   {figures['bare_cpu_ms']:7.2f} ms CPU a trial")
    print(f"  salvo run, worker and Valkey         {figures['salvo_cpu_ms']:7.2f} ms CPU a trial  ", end="")
    print(f"{figures['ratio_cpu']:.1f} x bare")
    print(f"  trials per second                    {figures['trials_per_s']:7.1f}")
    return 0


def measure(base_url: str, trials: int, concurrency: int) -> dict[str, float]:
    """Return one round's figures: milliseconds of CPU per trial, and trials per second."""
    began_s = cpu_s(resource.RUSAGE_SELF)
    asyncio.run(bare(base_url, trials, concurrency))
    bare_s = cpu_s(resource.RUSAGE_SELF) - began_s
    with tempfile.TemporaryDirectory() as folder:
        began_s = cpu_s(resource.RUSAGE_CHILDREN)
        report = salvo(
            ["run", SCENARIO, "-n", str(trials), "-j", str(concurrency), "--json", "--quiet"],
            folder,
            base_url,
        )
        # The worker and Valkey are the command's children, reaped by it: their time is in its own.
        whole_s = cpu_s(resource.RUSAGE_CHILDREN) - began_s
    return {
        "bare_cpu_ms": bare_s / trials * 1000,
        "salvo_cpu_ms": whole_s / trials * 1000,
        "trials_per_s": json.loads(report)["summary"]["trials_per_s"],
    }


def salvo(arguments: list[str | Path], folder: str, base_url: str) -> str:
    """Run one command in an empty project; return its stdout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SALVO_")}
    environment["OPENAI_BASE_URL"] = base_url
    done = subprocess.run(
        [SALVO, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


async def bare(base_url: str, trials: int, concurrency: int) -> None:
    """Make the calls that the scenario's trials make, and nothing else."""
    context = httpx.create_ssl_context()
    left = iter(range(trials))

    async def slot() -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        async with httpx.AsyncClient(verify=context, limits=limits) as client:
            for _ in left:
                await bare_trial(client, base_url)

    await asyncio.gather(*(slot() for _ in range(concurrency)))


async def bare_trial(client: httpx.AsyncClient, base_url: str) -> None:
    """Hold one conversation of four turns."""
    messages: list[dict[str, object]] = [{"role": "user", "content": "Please pay back order A-1001."}]
    while True:
        body = {"model": "four-turns", "messages": messages}
        reply = (await client.post(f"{base_url}/chat/completions", json=body)).json()["choices"][0]["message"]
        messages.append(reply)
        if not reply.get("tool_calls"):
            return
        for call in reply["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": '{"ok": true}'})


def cpu_s(whose: int) -> float:
    """Return user and system time so far, seconds."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    started_s = time.perf_counter()
    code = main()
    print(f"took {time.perf_counter() - started_s:.0f} s", file=sys.stderr)
    sys.exit(code)
