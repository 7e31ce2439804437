"""A Redis that comes back empty: what was stored is never asked for again, and the run ends by itself."""

from __future__ import annotations

import sys

import pytest

from salvo_core.fleet.election import SWEEPER
from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.rebuild import rebuild
from salvo_core.resume import is_known
from salvo_core.run.plan import Plan, TrialMessage
from salvo_core.store import keys
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import GOOD_TURNS, TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
BUSY = {MODEL: script(0.3)}


async def known(fleet: Fleet, plan: Plan) -> None:
    """Return once Redis knows the run."""
    await until(lambda: is_known(plan.run_id, fleet.manifest), "Redis knows the run")


async def stored(fleet: Fleet, plan: Plan) -> set[str]:
    """Return the trace ids of which a trace is stored."""
    found = [keys.parse_trace(key) for key in await fleet.stored_traces(plan)]
    return {name[0] for name in found if name}


async def test_workers_go_on_with_what_they_hold_when_redis_has_lost_everything(fleet: Fleet) -> None:
    async with fleet.provider(BUSY):
        await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=40)
        await fleet.until_ended(plan, 10)
        fleet.redis_server.flush()
        await known(fleet, plan)
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert (summary.verdict, summary.counts["passed"]) == ("PASS", plan.total)
    assert len(fleet.asked()) == plan.total * TURNS
    assert not fleet.doubled(), "not even the turns that only the lost journals had"
    assert any("is held again" in worker.log() for worker in fleet.workers)


async def test_without_workers_a_rebuild_runs_what_is_missing_and_nothing_that_is_stored(
    fleet: Fleet,
) -> None:
    async with fleet.provider(BUSY):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=30, concurrency_max=12)
        await fleet.until_ended(plan, 8)
        for worker in workers:
            worker.kill9()
        whole, before = await stored(fleet, plan), fleet.asked()
        fleet.redis_server.flush()
        rebuilt = await rebuild(plan.run_id, **fleet.doors)
        assert rebuilt.restored is not None
        assert (rebuilt.restored.rows, rebuilt.left) == (len(whole), plan.total - len(whole))
        assert rebuilt.published <= 12
        again = await rebuild(plan.run_id, **fleet.doors)
        assert (again.restored, again.published, again.state) == (None, 0, "running")
        await fleet.start()
        await fleet.sealed(plan)
        await fleet.audit(plan)
    asked = fleet.asked()
    assert all(asked[trace_id, turn] == before[trace_id, turn] for trace_id in whole for turn in range(TURNS))
    assert len(asked) == plan.total * TURNS


async def test_an_idle_worker_notices_that_a_run_it_had_seen_is_gone(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    hang_once = GOOD_TURNS[0] | {"error": {"kind": "hang", "times": 1}}
    async with fleet.provider({MODEL: {"turns": [hang_once, *GOOD_TURNS[1:]]}}):
        (holding,) = await fleet.start(environ={"SALVO_LEASE_S": "600"})
        plan = await fleet.submit(scenario(MODEL), trials=2)
        await until(lambda: len(fleet.requests()) == 2, "both trials hang")
        holding.kill9()
        (idle,) = await fleet.start()

        async def sweeps() -> bool:
            return f"-{idle.pid}-" in str(await fleet.manifest.redis.get(SWEEPER))

        left_ms = [sys.maxsize]

        async def again() -> bool:
            left_ms.append(await fleet.manifest.redis.pttl(SWEEPER))
            return left_ms[-1] > left_ms[-2]

        await until(sweeps, "the idle worker sweeps")
        await until(again, "it has seen what there is, and begins once more")
        fleet.redis_server.flush()
        await known(fleet, plan)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert idle.log().count("rebuilding it") == 1


async def test_messages_of_a_run_that_is_nobodys_cost_the_store_one_look(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    async with fleet.provider(BUSY):
        (worker,) = await fleet.start(loglevel="debug")
        nobodys = new_run_id()
        messages = [
            TrialMessage(run_id=nobodys, cell=0, index=index, trace_id=trace_id_for(nobodys, index))
            for index in range(20)
        ]
        await fleet.dispatcher.publish(messages)
        await until(lambda: worker.log().count("was not begun: unknown") == 20, "all are refused")
        plan = await fleet.submit(scenario(MODEL), trials=2)
        await fleet.sealed(plan)
    assert "rebuilding it" not in worker.log()
