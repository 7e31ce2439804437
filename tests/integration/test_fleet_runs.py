"""A run over several workers, from order to verdict."""

from __future__ import annotations

import pytest

from salvo_core.manifest.archive import decode_rows
from salvo_core.run.plan import Plan
from salvo_core.store import keys
from tests.integration.fleet import Fleet
from tests.integration.scripts import GOOD_TURNS, TURNS, scenario, script

pytestmark = pytest.mark.servers

MODELS = ("gpt-4o-mini", "gpt-4o")
SCRIPTS = {model: script(0.02) for model in MODELS}


async def a_run_over_three_workers(fleet: Fleet) -> Plan:
    async with fleet.provider(SCRIPTS):
        await fleet.start(3, concurrency=10)
        plan = await fleet.submit(scenario(), trials=60, models=MODELS)
        summary = await fleet.sealed(plan)
        await fleet.nothing_is_left()
    assert (summary.verdict, summary.total, len(summary.cells)) == ("PASS", 120, 2)
    return plan


async def test_every_trial_of_a_run_over_three_workers_ends_once_and_is_paid_once(fleet: Fleet) -> None:
    plan = await a_run_over_three_workers(fleet)
    traces = await fleet.audit(plan)
    assert len({trace.provenance.worker for trace in traces}) == 3
    assert len(traces) == len(await fleet.stored_traces(plan)) == plan.total
    assert [cell.model for cell in plan.cells] == list(MODELS)
    assert fleet.asked() == {
        (plan.trace_id(index), turn): 1 for index in range(plan.total) for turn in range(TURNS)
    }
    sealed = decode_rows(await fleet.store.get(keys.manifest(plan.run_id)), "manifest")
    assert list(sealed) == await fleet.rows(plan)


async def test_it_is_the_same_with_redis_7_and_files(fleet_on_files: Fleet) -> None:
    plan = await a_run_over_three_workers(fleet_on_files)
    assert len(await fleet_on_files.audit(plan)) == plan.total
    assert len(await fleet_on_files.stored_traces(plan)) == plan.total
    assert set(fleet_on_files.asked().values()) == {1}
    assert len(fleet_on_files.asked()) == plan.total * TURNS


async def test_a_slot_that_becomes_free_is_filled_at_once(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    async with fleet.provider({MODELS[0]: {"turns": [GOOD_TURNS[-1]]}}):
        await fleet.start(concurrency=1)
        plan = await fleet.submit(scenario(MODELS[0], assertions=[]), trials=40)
        # A slot that waited for the consumer's next look at the queue would cost a second each.
        await fleet.sealed(plan, deadline_s=20)
        await fleet.audit(plan)
