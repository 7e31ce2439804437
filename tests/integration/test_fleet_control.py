"""People who stop a run, pause it, or bound it while it runs."""

from __future__ import annotations

from collections import Counter

import pytest

from salvo_core.cancel import cancel
from salvo_core.resume import resume
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import GOOD_TURNS, TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
BUSY = {MODEL: script(0.1)}


async def test_a_cancelled_run_keeps_what_was_said_and_begins_nothing_more(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.4)}):
        await fleet.start(2, environ={"SALVO_LEASE_S": "1"})  # a worker hears of it as it renews its leases
        plan = await fleet.submit(scenario(MODEL, threshold=1.0), trials=60)
        await until(lambda: len(fleet.requests()) >= 16 * TURNS + 16, "the second trials have begun")
        stopped = await cancel(plan.run_id, **fleet.doors)
        assert stopped.changed
        assert stopped.ended > 0
        summary = await fleet.sealed(plan)
        asked = fleet.asked()
        traces = await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert summary.verdict == "INCONCLUSIVE"
    rows = await fleet.rows(plan)
    statuses = Counter(row.status for row in rows)
    assert set(statuses) == {"passed", "cancelled"}
    partial = [trace for trace in traces if trace.outcome == "cancelled"]
    assert partial, "those in flight ended at their turn"
    assert all(0 < len(trace.turns) < TURNS for trace in partial)
    assert len([row for row in rows if row.result is None]) == stopped.ended
    said = {(trace.trace_id, turn.index): 1 for trace in traces for turn in trace.turns}
    assert asked == fleet.asked() == said


async def test_a_paused_run_begins_nothing_until_it_is_resumed(fleet: Fleet) -> None:
    async with fleet.provider(BUSY):
        await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=40)
        await fleet.until_ended(plan, 4)
        assert await fleet.manifest.pause(plan.run_id)
        paused = await fleet.until(plan, lambda counts: not counts.statuses["running"], "nothing runs")
        await fleet.nothing_is_left()
        assert paused.state == "paused"
        assert 4 <= paused.ended < plan.total
        assert len(fleet.requests()) == paused.ended * TURNS
        again = await fleet.manifest.counts(plan.run_id)
        assert (again.claims, again.ended) == (paused.claims, paused.ended)
        resumed = await resume(plan.run_id, **fleet.doors)
        assert (resumed.state, resumed.left) == ("running", plan.total - paused.ended)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert set(fleet.asked().values()) == {1}


async def test_a_bounded_run_never_asks_more_than_its_bound_at_once(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.02)}) as provider:
        await fleet.start(2, concurrency=20)
        plan = await fleet.submit(scenario(MODEL), trials=60, concurrency_max=5)
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
        assert provider.stats()["in_flight_peak"] == 5
    assert len({trace.provenance.worker for trace in traces}) == 2
    assert set(fleet.asked().values()) == {1}


async def test_a_run_cancelled_at_once_does_not_wait_for_turns_that_do_not_end(fleet: Fleet) -> None:
    turns = [GOOD_TURNS[0], GOOD_TURNS[1] | {"error": {"kind": "hang", "times": 1}}, GOOD_TURNS[2]]
    async with fleet.provider({MODEL: {"turns": turns}}):
        await fleet.start(environ={"SALVO_LEASE_S": "3"})
        plan = await fleet.submit(scenario(MODEL), trials=10)
        await until(lambda: len(fleet.requests()) == 8 * 2, "eight trials hang in their second turn")
        assert (await cancel(plan.run_id, **fleet.doors)).changed
        assert (await cancel(plan.run_id, at_once=True, **fleet.doors)).changed, "it may be said later"
        assert not (await cancel(plan.run_id, at_once=True, **fleet.doors)).changed
        await fleet.sealed(plan, deadline_s=10)
        traces = await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert len(traces) == 8
    for trace in traces:
        assert (trace.outcome, len(trace.turns), trace.cost_usd) == ("cancelled", 1, None)
        assert trace.error is not None
        assert (trace.error.kind, trace.error.turn) == ("abandoned", 1)
    counts = await fleet.manifest.counts(plan.run_id)
    assert (counts.cost_unknown, counts.turns) == (8, 8)
