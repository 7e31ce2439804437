"""Workers that leave, die, freeze: their trials go on elsewhere, and nothing is paid for twice."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest

from salvo_core.run.plan import Plan
from tests.integration.fleet import Fleet, Worker, until
from tests.integration.scripts import GOOD_TURNS, TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
BUSY = {MODEL: script(0.2)}
ONLY_BY_MESSAGE = {"SALVO_SWEEP_S": "600", "SALVO_LEASE_S": "600"}
"""Nothing is found by leases or sweeps within a test: what goes on was handed on."""


async def until_at_work(fleet: Fleet, plan: Plan, worker: Worker) -> None:
    """Return once some trials have ended and that worker is in the middle of others."""
    await fleet.until_ended(plan, 4)

    async def holds_some() -> bool:
        finished = Counter(trace_id for trace_id, _ in await fleet.finished_turns(plan))
        rows = await fleet.rows(plan)
        return any(
            f"-{worker.pid}-" in row.worker and finished[row.trace_id] == 1 for row in rows if not row.result
        )

    await until(holds_some, "the worker holds trials of which one turn is paid")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_worker_told_to_leave_hands_its_trials_on_at_once(fleet: Fleet, how: signal.Signals) -> None:
    async with fleet.provider(BUSY):
        leaving, staying = await fleet.start(2, environ=ONLY_BY_MESSAGE)
        plan = await fleet.submit(scenario(MODEL), trials=30)
        await until_at_work(fleet, plan, leaving)
        leaving.signal(how)
        assert await leaving.ended() == 0
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert staying.is_alive
    assert len(fleet.asked()) == plan.total * TURNS
    assert not fleet.doubled(), "its turns in flight came back and were kept"
    counts = await fleet.manifest.counts(plan.run_id)
    assert counts.claims > plan.total
    assert counts.expired == 0
    assert any(len({turn.worker for turn in trace.turns}) == 2 for trace in traces)


HANG_ONCE = {"error": {"kind": "hang", "times": 1}}
HANGING_SECOND_TURN = [GOOD_TURNS[0], GOOD_TURNS[1] | HANG_ONCE, GOOD_TURNS[2]]


async def test_a_worker_whose_turns_do_not_end_is_gone_within_its_grace(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: {"turns": HANGING_SECOND_TURN}}):
        (worker,) = await fleet.start(environ=ONLY_BY_MESSAGE | {"SALVO_GRACE_S": "3"})
        plan = await fleet.submit(scenario(MODEL), trials=4)
        await until(lambda: len(fleet.requests()) == 4 * 2, "every trial hangs in its second turn")
        worker.signal(signal.SIGTERM)
        told_s = time.monotonic()
        assert await worker.ended(deadline_s=10) == 0
        assert 1.0 < time.monotonic() - told_s < 4.0, "it gave the turns time, and no more than it had"
        assert {row.status for row in await fleet.rows(plan)} == {"pending"}
        await fleet.start(environ=ONLY_BY_MESSAGE)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert fleet.doubled() == {(plan.trace_id(index), 1) for index in range(4)}


async def test_a_fleet_is_replaced_worker_by_worker_under_load_and_repeats_nothing(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.5)}):
        first = await fleet.start(3, environ=ONLY_BY_MESSAGE)
        plan = await fleet.submit(scenario(MODEL), trials=600)  # enough to last until the third is replaced
        for worker in first:
            await fleet.start(1, environ=ONLY_BY_MESSAGE)
            await until_at_work(fleet, plan, worker)
            worker.signal(signal.SIGTERM)
            assert await worker.ended() == 0
        before = await fleet.manifest.counts(plan.run_id)
        assert before.ended < plan.total, "it was under load to the end"
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert all(trace.status == "passed" for trace in traces)
    assert set(fleet.asked().values()) == {1}
    assert len(fleet.asked()) == plan.total * TURNS
    counts = await fleet.manifest.counts(plan.run_id)
    assert counts.expired == 0
    assert counts.claims > plan.total


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_leaves_now_and_still_hands_the_trials_on(
    fleet: Fleet, second: signal.Signals
) -> None:
    async with fleet.provider({MODEL: {"turns": HANGING_SECOND_TURN}}):
        (worker,) = await fleet.start(environ=ONLY_BY_MESSAGE)
        plan = await fleet.submit(scenario(MODEL), trials=4)
        await until(lambda: len(fleet.requests()) == 4 * 2, "every trial hangs in its second turn")
        worker.signal(signal.SIGTERM)
        await until(lambda: "Warm shutdown" in worker.log(), "the worker was told")
        assert worker.is_alive
        worker.signal(second)
        assert await worker.ended(deadline_s=10) == 0
        assert {row.status for row in await fleet.rows(plan)} == {"pending"}
        await fleet.start(environ=ONLY_BY_MESSAGE)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert fleet.doubled() == {(plan.trace_id(index), 1) for index in range(4)}
    assert (await fleet.manifest.counts(plan.run_id)).expired == 0


async def test_a_run_survives_kill_9_and_pays_only_for_what_was_in_flight(fleet: Fleet) -> None:
    async with fleet.provider(BUSY):
        killed, _ = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=30)
        await until_at_work(fleet, plan, killed)
        killed.kill9()
        finished = await fleet.finished_turns(plan)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert len(fleet.asked()) == plan.total * TURNS
    assert not fleet.doubled() & finished
    assert len(fleet.doubled()) <= 8, "one turn for each trial that it held"
    assert (await fleet.manifest.counts(plan.run_id)).expired > 0


async def test_a_run_whose_workers_all_died_goes_on_when_one_comes(fleet: Fleet) -> None:
    async with fleet.provider(BUSY):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=30)
        await until_at_work(fleet, plan, workers[0])
        for worker in workers:
            worker.kill9()
        finished = await fleet.finished_turns(plan)
        await fleet.start(concurrency=30)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert not fleet.doubled() & finished
    assert len(fleet.doubled()) <= 16


async def test_a_worker_that_was_frozen_past_its_leases_changes_nothing_when_it_wakes(fleet: Fleet) -> None:
    async with fleet.provider(BUSY):
        frozen, other = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=30)
        await until_at_work(fleet, plan, frozen)
        frozen.signal(signal.SIGSTOP)
        await fleet.sealed(plan)
        rows = await fleet.rows(plan)
        other.kill9()
        frozen.signal(signal.SIGCONT)
        # It is itself again: alone, it does the next run.
        following = await fleet.submit(scenario(MODEL), trials=8)
        await fleet.sealed(following)
        await fleet.audit(following)
    assert await fleet.rows(plan) == rows
    await fleet.audit(plan)
    assert (await fleet.manifest.counts(plan.run_id)).expired > 0
