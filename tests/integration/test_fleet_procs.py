"""A worker of several processes: what one of them does to itself costs the others nothing."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.integration.fleet import Fleet, until
from tests.integration.processes import SupervisedWorker, is_there
from tests.integration.scripts import scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
DEADLINE_S = 60.0
ONLY_BY_MESSAGE = {"SALVO_SWEEP_S": "600", "SALVO_LEASE_S": "600"}
"""Nothing is found by leases or sweeps within a test: what goes on was handed on."""

ODD = 7
CREW = """
import asyncio
import os

from salvo_core.adapters.protocol import TurnReply
from salvo_core.trace.model import ToolCall, Usage

hoard = []


class Crew:
    name = "crew"

    async def send_turn(self, messages, tools, config):
        await asyncio.sleep(0.05)
        if config.trial == {odd} and config.turn == 1:
            {deed}
        names = ("lookup_order", "issue_refund")[config.turn : config.turn + 1]
        call = [ToolCall(id="c", name=name) for name in names]
        return TurnReply("refund", call, Usage(input_tokens=10, output_tokens=5), "stop", config.model)

    async def aclose(self):
        pass
"""


def give_crew(fleet: Fleet, deed: str) -> None:
    """Let trials of the fleet be run by an adapter of its own that does something odd in one of them."""
    (fleet.folder / "odd_crew.py").write_text(CREW.format(odd=ODD, deed=deed))
    fleet.environ["PYTHONPATH"] += f":{fleet.folder}"
    fleet.environ["SALVO_ALLOW_IMPORTS"] = "odd_crew.*"


async def start(worker: SupervisedWorker) -> SupervisedWorker:
    await asyncio.to_thread(worker.start)
    return worker


async def test_a_poison_trial_ends_two_processes_which_are_replaced_and_is_set_aside(
    fleet_on_files: Fleet,
) -> None:
    fleet = fleet_on_files
    give_crew(fleet, "os._exit(1)")
    worker = await start(SupervisedWorker(fleet, 2))
    first = worker.children()
    plan = await fleet.submit(scenario("m", adapter="odd_crew.Crew"), trials=30)
    await fleet.sealed(plan, deadline_s=DEADLINE_S)
    traces = await fleet.audit(plan)
    assert [trace.index for trace in traces if trace.status != "passed"] == [ODD]
    error = traces[ODD].error
    assert error is not None
    assert error.kind == "worker_lost"
    await until(lambda: len(worker.children()) == 2, "both places are taken again", deadline_s=DEADLINE_S)
    assert worker.is_alive
    assert worker.children() != first
    worker.signal(signal.SIGTERM)
    assert await worker.ended(deadline_s=DEADLINE_S) == 0
    log = worker.log()
    assert log.count("ended: exit code 1; another starts in") == 2
    for name in ("w1", "w2", "w3", "w4"):
        assert f" {name} salvo_worker" in log, "each line says which process wrote it"


async def test_processes_whose_parent_is_killed_hand_their_trials_on_and_leave(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.3)}):
        worker = await start(SupervisedWorker(fleet, 2, environ=ONLY_BY_MESSAGE))
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await fleet.until_ended(plan, 4)
        children = worker.children()
        worker.kill9()
        await until(lambda: not any(map(is_there, children)), "all have left", deadline_s=DEADLINE_S)
        rows = await fleet.rows(plan)
        assert {row.status for row in rows} == {"passed", "pending"}, "nothing is held by the dead"
        await fleet.start(environ=ONLY_BY_MESSAGE, concurrency=30)
        await fleet.sealed(plan, deadline_s=DEADLINE_S)
        await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert not fleet.doubled(), "their turns in flight came back and were kept"
    assert (await fleet.manifest.counts(plan.run_id)).expired == 0


async def test_a_process_that_grows_too_large_hands_its_trials_on_and_is_replaced(
    fleet_on_files: Fleet,
) -> None:
    fleet = fleet_on_files
    give_crew(fleet, "hoard.append(b'x' * 300_000_000)")
    limit = ("--memory-max-mb", "250")
    worker = await start(SupervisedWorker(fleet, 2, arguments=limit, environ=ONLY_BY_MESSAGE))
    plan = await fleet.submit(scenario("m", adapter="odd_crew.Crew"), trials=300)
    await fleet.sealed(plan, deadline_s=DEADLINE_S)
    assert {trace.status for trace in await fleet.audit(plan)} == {"passed"}
    await until(
        lambda: "had grown too large, has left: exit code 0" in worker.log(),
        "it was relieved",
        deadline_s=DEADLINE_S,
    )
    await until(lambda: len(worker.children()) == 2, "both places are taken", deadline_s=DEADLINE_S)
    await fleet.nothing_is_left()
    assert (await fleet.manifest.counts(plan.run_id)).expired == 0
    worker.signal(signal.SIGTERM)
    assert await worker.ended(deadline_s=DEADLINE_S) == 0
