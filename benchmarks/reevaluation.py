"""``python -m benchmarks.reevaluation``: a whole run re-scored, with one worker process and with two.

The stored trials are made here, each an object like any other: four turns, three tool calls, three
findings. One assertion is edited, so that every trial has its trace opened, one check made
again and a record stored. Seconds belong to the machine; the ratio says what another process brings.
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
from datetime import UTC, datetime
from pathlib import Path

from salvo_cli.wiring import Site, open_site, surroundings
from salvo_core.errors import UsageError
from salvo_core.manifest.archive import encode_rows
from salvo_core.manifest.rows import Row
from salvo_core.record import finish
from salvo_core.reevaluate import Wish, prepare, reevaluate
from salvo_core.run.plan import Plan
from salvo_core.run.summary import summarise
from salvo_core.scenario.loading import Loaded, load_scenario
from salvo_core.store import keys
from salvo_core.submit import Order, make_plan
from salvo_core.trace.model import Message, Provenance, ScenarioRef, ToolCall, Trace, Turn, Usage
from salvo_core.trace.redaction import Redactor

SCENARIO = Path(__file__).with_name("four_turns.yaml")
TOOLS = ("lookup_order", "check_refund_policy", "issue_refund")
WRITTEN_AT_ONCE = 16


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--concurrency", type=int, default=32, help="trials at once in each worker")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in [name for name in os.environ if name.startswith("SALVO_")]:
            del os.environ[name]
        figures = asyncio.run(measure(chosen.trials, chosen.workers, chosen.concurrency))
    if chosen.json:
        print(json.dumps({"trials": chosen.trials, "concurrency": chosen.concurrency, "runs": figures}))
        return 0
    print(f"{chosen.trials:,} stored trials of 4 turns re-scored, one of 3 assertions edited")
    for one in figures:
        each = f"{one['workers']:.0f} worker{'s' if one['workers'] > 1 else ' '}"
        rate = f"{one['trials_per_s']:7.1f} trials/s   {one['flipped']:,.0f} flipped"
        print(f"  {each}   {one['wall_s']:7.1f} s   {rate}")
    return 0


async def measure(trials: int, workers: list[int], concurrency: int) -> list[dict[str, float]]:
    """Return the figures of one re-evaluation for each number of workers."""
    here = surroundings()
    figures = []
    async with open_site(here) as site:
        loaded = load_scenario(SCENARIO, project=here.project)
        plan = await stored_run(site, loaded, trials)
        edited = Path("edited.yaml")
        edited.write_text(SCENARIO.read_text().replace('contains: "42.50"', 'contains: "43.50"'))
        wish = Wish(plan.run_id, scenarios=[load_scenario(edited, project=here.project)])
        for count in workers:
            with running(count, concurrency):
                await until_there(site, count)
                began_s = time.perf_counter()
                prepared = await prepare(wish, site.observer, now=datetime.now(UTC))
                reeval = await reevaluate(
                    prepared, store=site.store, manifest=site.manifest, dispatcher=site.dispatcher
                )
                while (await site.manifest.counts(reeval.run_id)).state != "sealed":
                    await asyncio.sleep(0.1)
                wall_s = time.perf_counter() - began_s
            found = await site.observer.comparison(reeval.run_id)
            assert found is not None
            figures.append(
                {
                    "workers": count,
                    "wall_s": wall_s,
                    "trials_per_s": trials / wall_s,
                    "flipped": found.flipped,
                }
            )
    return figures


async def stored_run(site: Site, loaded: Loaded, trials: int) -> Plan:
    """Return the plan of a run that is sealed and that only the store remembers."""
    from salvo_core.run.withholding import keep_scenarios

    plan = make_plan(Order([loaded], trials=trials), now=datetime.now(UTC))
    redactor = Redactor()
    await keep_scenarios(plan, {loaded.digest: loaded.scenario}, redactor, site.store)
    await site.store.put(keys.plan(plan.run_id), plan.encode()[0])
    rows: dict[int, Row] = {}
    left = iter(range(trials))

    async def write() -> None:
        for index in left:
            ended = finish(trace(plan, index), loaded.scenario.assertions, redactor)
            await site.store.put_if_absent(ended.key, ended.body)
            rows[index] = Row(index, ended.status, 1, plan.trace_id(index), result=ended.result)

    await asyncio.gather(*(write() for _ in range(WRITTEN_AT_ONCE)))
    ordered = [rows[index] for index in range(trials)]
    summary = summarise(plan, ordered, {}, started_ms=0, finished_ms=1000, state="sealed")
    await site.store.put(keys.manifest(plan.run_id), encode_rows(plan.run_id, ordered))
    await site.store.put(keys.summary(plan.run_id), summary.encode()[0])
    return plan


def trace(plan: Plan, index: int) -> Trace:
    """Return what a trial of the four-turns scenario leaves."""
    cell, now = plan.cells[0], datetime.now(UTC)
    messages = [
        Message(role="system", content="You work at a refund desk."),
        Message(role="user", content="Please pay back order A-1001."),
    ]
    turns = []
    for number, name in enumerate(TOOLS):
        call = ToolCall(id=f"call_{index}_{number}", name=name, arguments={"order": "A-1001", "n": index})
        messages.append(Message(role="assistant", tool_calls=(call,)))
        messages.append(
            Message(role="tool_result", content='{"ok": true}', tool_call_id=call.id, tool_name=name)
        )
        turns.append(Turn(index=number, tool_calls=(call,), finish_reason="tool_calls"))
    answer = f"I have paid back $42.50 for order A-1001, reference {index:06d}."
    messages.append(Message(role="assistant", content=answer))
    turns.append(Turn(index=len(TOOLS), content=answer, finish_reason="stop"))
    return Trace(
        trace_id=plan.trace_id(index),
        run_id=plan.run_id,
        index=index,
        cell=0,
        trial=index,
        attempt=1,
        scenario=ScenarioRef(digest=cell.scenario_digest, name=cell.scenario_name, file=cell.scenario_file),
        model=cell.model,
        adapter=cell.adapter,
        threshold=cell.threshold,
        started_at=now,
        ended_at=now,
        outcome="completed",
        messages=tuple(messages),
        turns=tuple(turns),
        usage=Usage(input_tokens=400, output_tokens=200),
        cost_usd=0.001,
        latency_s=1.0,
        duration_s=1.5,
        finish_reason="stop",
        provenance=Provenance(salvo_version="0", python_version="3", host="bench", worker="bench"),
    )


@contextlib.contextmanager
def running(count: int, concurrency: int) -> Iterator[None]:
    """Keep so many workers of this folder's project running meanwhile."""
    command = [sys.executable, "-m", "salvo_cli", "worker", "-c", str(concurrency), "--loglevel", "warning"]
    with open("worker.log", "ab") as log:
        workers = [subprocess.Popen(command, stdout=log, stderr=log) for _ in range(count)]
    try:
        yield
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.wait(30)


async def until_there(site: Site, count: int) -> None:
    """Return once so many workers are ready."""
    for _ in range(600):
        if len(await site.registry.workers()) == count:
            return
        await asyncio.sleep(0.1)
    raise UsageError(f"no {count} workers came: {Path('worker.log').read_text()[-500:]}")


if __name__ == "__main__":
    sys.exit(main())
