"""Ordering runs: idempotent, resumable after a death at any write, and never run twice."""

import asyncio

import pytest

from salvo_core.errors import NotFound, RedisUnavailable, StoreUnavailable, UsageError
from salvo_core.identity import is_uuid7
from salvo_core.manifest import keys as redis_keys
from salvo_core.resume import resume
from salvo_core.run.plan import TRIALS_MAX
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import Order, calls_max, make_plan
from salvo_core.sweep import SUBMITTER_SILENT_S, Sweeper
from tests.integration.site import NOW, Fuse, Killed, Site, loaded, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

STORE_WRITES = ("put_if_absent", "put")
MANIFEST_WRITES = ("reserve", "open", "seed", "release", "submitted")


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


@pytest.fixture
def small_windows(monkeypatch):
    """Rows and messages in windows of three, so that eight trials take several writes."""
    monkeypatch.setattr("salvo_core.submit.ROWS_PER_CALL", 3)


def fused(site, fuse):
    """The site's parts, each of whose writes may be its writer's last."""
    return {
        "store": fuse.on(site.store, *STORE_WRITES),
        "manifest": fuse.on(site.manifest, *MANIFEST_WRITES),
        "dispatcher": fuse.on(site.outbox, "publish"),
    }


async def runs_in(site):
    return [run_id async for run_id in site.store.list_folders(keys.RUNS)]


async def check_submitted(site, plan):
    """Assert that rows are the plan and that every trial has had its message."""
    rows = await site.rows(plan.run_id)
    assert [(row.index, row.trace_id) for row in rows] == [(i, plan.trace_id(i)) for i in range(plan.total)]
    assert await site.state(plan.run_id) == "running"
    assert site.outbox.indices(plan.run_id) == set(range(plan.total))
    assert await site.manifest.open_runs() == [plan.run_id]


# -- what is ordered ---------------------------------------------------------------------------------


async def test_an_order_becomes_scenarios_a_plan_rows_and_messages(site):
    plan = await site.submit(
        order(3, [loaded(), loaded("b.yaml", description="second")], models=["m1", "m2"])
    )
    assert is_uuid7(plan.run_id)
    assert (len(plan.cells), plan.total) == (4, 12)
    assert [(cell.scenario_name, cell.model) for cell in plan.cells] == [
        ("refund desk", "m1"),
        ("refund desk", "m2"),
        ("second", "m1"),
        ("second", "m2"),
    ]
    assert [message.cell for message in site.outbox.sent] == [0, 1, 2, 3] * 3  # any prefix is balanced
    await check_submitted(site, plan)
    stored = [key async for key in site.store.list("")]
    digests = {cell.scenario_digest for cell in plan.cells}
    assert sorted(stored) == sorted([keys.plan(plan.run_id), *(keys.scenario(one) for one in digests)])
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.name, counts.cells, counts.total) == ("refund desk and 1 more", 4, 12)


def test_a_plan_says_everything_a_worker_needs_and_comes_back_from_its_bytes():
    plan = make_plan(order(2, threshold=0.5, concurrency_max=7, labels={"commit": "abc"}), now=NOW)
    assert plan.cells[0].threshold == 0.5
    assert plan.cells[0].assertions == tuple(one.label() for one in loaded().scenario.assertions)
    assert type(plan).decode(plan.encode()[0], "x") == plan
    assert [plan.index_of(plan.trace_id(index)) for index in range(2)] == [0, 1]
    assert plan.index_of(make_plan(order(), now=NOW).trace_id(0)) is None


def test_without_models_each_scenario_runs_with_its_own_and_a_model_named_twice_runs_once():
    assert [cell.model for cell in make_plan(order(), now=NOW).cells] == ["gpt-4o-mini"]
    assert [cell.model for cell in make_plan(order(models=["a", "b", "a"]), now=NOW).cells] == ["a", "b"]


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (Order(()), "no scenario"),
        (order(0), "0 trials"),
        (order(-1), "-1 trials"),
        (order(TRIALS_MAX + 1), "cannot be run"),
        (order(threshold=1.5), "threshold of 1.5"),
        (order(threshold=-0.1), "threshold of -0.1"),
        (order(threshold=float("nan")), "threshold of nan"),
        (order(concurrency_max=0), "0 trials at once"),
        (order(models=[f"m{n}" for n in range(10_001)]), "10,001 cells"),
        (order(TRIALS_MAX, models=[f"m{n}" for n in range(5000)]), "5,000 cells of 1,000,000 trials"),
    ],
)
async def test_what_cannot_be_run_is_refused_before_anything_is_written(site, refused, why):
    with pytest.raises(UsageError, match=why):
        await site.submit(refused)
    assert await site.everything_stored() == {}
    assert await site.manifest.redis.dbsize() == 0
    assert site.outbox.sent == []


def test_the_most_calls_of_a_run_are_every_turn_of_every_trial_with_all_its_retries():
    plan = make_plan(
        order(5, [loaded(max_turns=4), loaded("b.yaml", max_turns=2)], models=["a", "b"]), now=NOW
    )
    scenarios = {one.digest: one.scenario for one in (loaded(max_turns=4), loaded("b.yaml", max_turns=2))}
    assert calls_max(plan, scenarios, lambda adapter: 3) == 5 * 2 * (4 + 2) * 4


# -- dying half way ----------------------------------------------------------------------------------


async def writes_of_a_whole_submission(site, ordered):
    fuse = Fuse()
    await site.submit(ordered, **fused(site, fuse))
    return fuse.writes


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
async def test_a_submission_killed_at_any_write_is_whole_after_it_is_resumed(
    site, small_windows, after, window
):
    ordered = order(8, concurrency_max=window)
    writes = await writes_of_a_whole_submission(site, ordered)
    assert len(writes) >= 6
    for step in range(1, len(writes) + 1):
        await site.manifest.redis.flushdb()
        site.store, site.outbox = MemoryStore(), type(site.outbox)()
        with pytest.raises(Killed):
            await site.submit(ordered, **fused(site, Fuse(step, after=after)))
        for run_id in await runs_in(site):
            await resume(run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
            plan = await site.observer().plan(run_id)
            if window is None:
                await check_submitted(site, plan)
            await site.work(site.bench())
            await site.check(plan)
            assert await site.state(run_id) == "sealed"
            assert len(site.stage.asked) == 8 * 3, f"killed at {writes[step - 1]}"
        if not await runs_in(site):
            assert site.outbox.sent == []  # nothing has happened, so there is nothing to finish
            assert await site.manifest.redis.dbsize() == 0
        site.stage.asked.clear()


async def test_a_submission_killed_at_any_write_is_whole_after_the_same_order_comes_again(
    site, small_windows
):
    ordered = order(8, idempotency_key="nightly-42")
    writes = await writes_of_a_whole_submission(site, ordered)
    for step in range(1, len(writes) + 1):
        await site.manifest.redis.flushdb()
        site.store, site.outbox = MemoryStore(), type(site.outbox)()
        with pytest.raises(Killed):
            await site.submit(ordered, **fused(site, Fuse(step, after=bool(step % 2))))
        plan = await site.submit(ordered)
        assert await runs_in(site) == [plan.run_id]
        # What was released to a submitter who died is sent again by a resume or a sweep, as any lost message.
        await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
        await check_submitted(site, plan)


async def test_a_submission_that_died_is_finished_by_a_sweep(site, small_windows):
    ordered = order(8)
    writes = await writes_of_a_whole_submission(site, ordered)
    for step in range(writes.index("open") + 1, len(writes) + 1):
        await site.manifest.redis.flushdb()
        site.store, site.outbox = MemoryStore(), type(site.outbox)()
        with pytest.raises(Killed):
            await site.submit(ordered, **fused(site, Fuse(step, after=True)))
        (run_id,) = await runs_in(site)
        clock = StepClock()
        sweeper = Sweeper(site.store, site.manifest, site.outbox, clock, still_s=5.0)
        await sweeper.sweep()
        clock.time_s += SUBMITTER_SILENT_S
        site.outbox.waiting.clear()  # as if no message had arrived
        for _ in range(3):
            await sweeper.sweep()
            clock.time_s += SUBMITTER_SILENT_S
        assert {message.index for message in site.outbox.waiting} == set(range(8))
        assert await site.state(run_id) == "running"


async def test_a_submission_that_only_takes_long_is_left_to_its_submitter(site, small_windows):
    with pytest.raises(Killed):
        await site.submit(order(8), **fused(site, Fuse(5, after=True)))
    sent, clock = len(site.outbox.sent), StepClock()
    sweeper = Sweeper(site.store, site.manifest, site.outbox, clock)
    for _ in range(3):
        await sweeper.sweep()
        clock.time_s += SUBMITTER_SILENT_S / 4
    assert len(site.outbox.sent) == sent


async def test_a_store_that_is_down_stops_the_submission_before_redis_hears_of_it(site):
    fuse = Fuse(1, error=StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable):
        await site.submit(order(), **fused(site, fuse))
    assert await site.manifest.redis.dbsize() == 0


async def test_a_broker_that_fails_leaves_a_run_that_can_be_resumed(site):
    fuse = Fuse(1, error=RedisUnavailable("down"))
    with pytest.raises(RedisUnavailable):
        await site.submit(order(), dispatcher=fuse.on(site.outbox, "publish"))
    (run_id,) = await runs_in(site)
    resumed = await resume(run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (resumed.state, resumed.seeded, resumed.published, resumed.left) == ("running", 0, 3, 3)
    await check_submitted(site, await site.observer().plan(run_id))


# -- one key, one run --------------------------------------------------------------------------------


async def test_two_orders_with_one_key_are_one_run(site):
    first = await site.submit(order(idempotency_key="nightly-42"))
    again = await site.submit(order(idempotency_key="nightly-42"))
    assert again == first
    assert await runs_in(site) == [first.run_id]
    assert len(await site.rows(first.run_id)) == 3
    other = await site.submit(order(idempotency_key="nightly-43"))
    assert other.run_id != first.run_id


async def test_a_key_that_was_used_stands_for_the_order_that_came_first(site):
    first = await site.submit(order(3, idempotency_key="nightly-42"))
    again = await site.submit(order(9, models=["other"], idempotency_key="nightly-42"))
    assert again == first
    assert len(await site.rows(first.run_id)) == 3


async def test_orders_that_race_for_one_key_agree_on_one_plan_even_when_they_differ(site):
    orders = [order(trials, idempotency_key="nightly-42") for trials in (2, 3, 4, 5, 6)]
    plans = await asyncio.gather(*(site.submit(one) for one in orders))
    assert len({plan.run_id for plan in plans}) == 1
    assert all(plan == plans[0] for plan in plans)
    await check_submitted(site, plans[0])
    await site.work()
    await site.check(plans[0])


async def test_a_key_whose_first_order_died_before_its_plan_is_used_by_the_next(site):
    reserved = make_plan(order(), now=NOW).run_id
    await site.manifest.reserve("nightly-42", reserved)
    plan = await site.submit(order(idempotency_key="nightly-42"))
    assert plan.run_id == reserved
    await check_submitted(site, plan)


# -- windows, and runs that are over -----------------------------------------------------------------


async def test_no_more_trials_are_out_at_once_than_were_ordered(site):
    plan = await site.submit(order(10, concurrency_max=3))
    assert len(site.outbox.sent) == 3
    most, bench = 0, site.bench()
    while site.outbox.waiting:
        counts = await site.manifest.counts(plan.run_id)
        most = max(most, counts.released - counts.ended)
        await site.work_one(bench)
    assert most == 3
    assert len(site.outbox.sent) == 10
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


async def finished(site, **fields):
    plan = await site.submit(order(**fields))
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    return plan


async def test_resuming_a_run_that_is_over_changes_nothing(site):
    plan = await finished(site)
    before, sent = await site.everything_stored(), len(site.outbox.sent)
    for _ in range(2):
        resumed = await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
        assert (resumed.state, resumed.seeded, resumed.published, resumed.left) == ("sealed", 0, 0, 0)
    assert await site.everything_stored() == before
    assert len(site.outbox.sent) == sent
    assert await site.manifest.open_runs() == []


async def test_a_run_that_is_over_and_that_redis_forgot_is_not_run_again(site):
    plan = await finished(site, idempotency_key="nightly-42")
    before, sent = await site.everything_stored(), len(site.outbox.sent)
    for key in await site.manifest.redis.keys(f"salvo:*{plan.run_id}*"):
        await site.manifest.redis.delete(key)  # as after a week
    resumed = await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert resumed.state == "sealed"
    assert await site.submit(order(idempotency_key="nightly-42")) == plan
    assert await site.everything_stored() == before
    assert len(site.outbox.sent) == sent
    with pytest.raises(NotFound):
        await site.manifest.counts(plan.run_id)


async def test_a_run_that_redis_lost_half_way_is_run_again_from_its_plan(site):
    plan = await site.submit()
    await site.manifest.redis.flushdb()
    site.outbox.waiting.clear()
    resumed = await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (resumed.state, resumed.seeded, resumed.left) == ("running", 3, 3)
    await site.work()
    await site.check(plan)


async def test_resuming_a_run_without_a_plan_is_a_mistake_that_says_where_it_looked(site):
    run_id = make_plan(order(), now=NOW).run_id
    with pytest.raises(UsageError, match="has no plan in memory://") as refused:
        await resume(run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert "SALVO_STORE_URL" in refused.value.hint
    assert await site.manifest.redis.dbsize() == 0


async def test_resuming_takes_back_what_dead_workers_hold_and_unpauses(site):
    plan = await site.submit()
    claims = [
        await site.manifest.claim(plan.run_id, index, plan.trace_id(index), "dead", lease_s=30)
        for index in range(3)
    ]
    assert len(claims) == 3
    site.outbox.waiting.clear()
    await site.manifest.pause(plan.run_id)
    await site.silence(plan.run_id)
    resumed = await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (resumed.state, resumed.published) == ("running", 3)
    assert await site.manifest.redis.hlen(redis_keys.strikes(plan.run_id)) == 3
    await site.work()
    await site.check(plan)
