"""One try at one trial, in every way a worker can lose it: one row, one whole trace, nothing paid twice."""

import asyncio

import pytest

from salvo_core.attempt import attempt
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Row
from salvo_core.store import keys
from tests.integration.site import TURNS, Fuse, loaded, order
from tests.integration.trials import STORES, check_paid_once, died, one_trial, row_of, site_on, trace_of

pytestmark = pytest.mark.servers


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    made = site_on(request.param, redis_url, tmp_path)
    yield made
    await made.aclose()


# -- as it should be ---------------------------------------------------------------------------------


async def test_a_message_leads_to_a_whole_trace_a_row_that_names_it_and_a_sealed_run(site):
    plan, message = await one_trial(site)
    await attempt(message, site.bench("host-1"))
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.attempt, row.result.worker, row.result.turns) == ("passed", 1, "host-1", 3)
    assert (trace.status, trace.outcome, trace.score, trace.grade) == ("passed", "completed", 1.0, "passed")
    assert [finding.passed for finding in trace.findings] == [True, True]
    assert (trace.run_id, trace.index, trace.cell, trace.trial) == (plan.run_id, 0, 0, 0)
    assert (trace.scenario.name, trace.model, trace.adapter) == ("refund desk", "gpt-4o-mini", "scripted")
    assert trace.ended_at >= trace.started_at
    assert await site.state(plan.run_id) == "sealed"
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_message_that_comes_ten_times_at_once_leads_to_one_commit(site):
    plan, message = await one_trial(site)
    benches = [site.bench(f"w{number}") for number in range(3)]
    await asyncio.gather(*(attempt(message, benches[number % 3]) for number in range(10)))
    await attempt(message, benches[0])
    await site.check(plan)
    await check_paid_once(site, plan)
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.claims, counts.ended, counts.turns) == (1, 1, TURNS)
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == [
        keys.trace(plan.run_id, message.trace_id, 1)
    ]


async def test_a_whole_run_over_many_workers_pays_for_every_turn_once(site):
    plan = await site.submit(order(20, [loaded(), loaded("b.yaml", description="second")]))
    await site.work(*(site.bench(f"w{number}") for number in range(3)))
    await site.check(plan)
    await check_paid_once(site, plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_the_end_of_a_trial_sends_the_message_of_the_next(site):
    plan = await site.submit(order(3, concurrency_max=1))
    assert [message.index for message in site.outbox.waiting] == [0]
    await site.work_one(site.bench())
    assert [message.index for message in site.outbox.waiting] == [1]
    await site.work()
    await site.check(plan)


async def test_messages_that_are_late_or_unknown_change_nothing(site):
    _, message = await one_trial(site)
    await attempt(message, site.bench())
    before = await site.everything_stored()
    other = await site.submit(order(2))
    stranger = message.model_copy(update={"run_id": other.run_id})
    for late in (message, stranger):
        await attempt(late, site.bench("w2"))
    await site.manifest.pause(other.run_id)
    await attempt(other.message(0), site.bench())
    assert len(site.stage.asked) == TURNS
    assert {key: value for key, value in (await site.everything_stored()).items() if key in before} == before
    assert {row.status for row in await site.rows(other.run_id)} == {"pending"}


# -- the claim is lost -------------------------------------------------------------------------------


async def taken_away(site, plan, worker="w2"):
    """Let the lease of the only trial end and another worker claim it."""
    await site.silence(plan.run_id)
    assert await site.manifest.expire(plan.run_id) == [0]
    return await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), worker, lease_s=30)


async def test_an_attempt_whose_trial_went_to_another_counts_for_nothing(site):
    plan, message = await one_trial(site)
    site.stage.close(1)
    running = asyncio.create_task(attempt(message, site.bench("w1")))
    await site.stage.reached(1)
    await taken_away(site, plan)
    site.stage.open(1)
    await running
    assert await row_of(site, plan) == Row(0, "running", 2, plan.trace_id(0), worker="w2")
    assert len(await site.manifest.journaled(plan.run_id, 0)) == 1  # the turn in flight was not kept
    assert [event[1] for event in site.stage.asked] == [0, 1]
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == []


async def test_an_attempt_that_learns_of_its_loss_from_the_keeper_asks_for_no_further_turn(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1")
    site.stage.close(0)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(0)
    await taken_away(site, plan)
    await bench.leases.renew()
    site.stage.open(0)
    await running
    assert len(site.stage.asked) == 1
    assert len(bench.leases) == 0
    assert (await row_of(site, plan)).worker == "w2"


async def test_a_commit_that_comes_too_late_leaves_an_object_that_no_row_names(site):
    plan, message = await one_trial(site)
    fuse = Fuse()
    late = asyncio.Event()

    class Slow(Manifest):
        async def commit(self, *args):
            late.set()
            await taken_away(site, plan)
            return await super().commit(*args)

    slow = Slow(site.manifest.redis, site.manifest.address)
    await attempt(message, site.bench("w1", manifest=slow, store=fuse.on(site.store, "put_if_absent")))
    assert late.is_set()
    assert await row_of(site, plan) == Row(0, "running", 2, plan.trace_id(0), worker="w2")
    assert (await site.manifest.counts(plan.run_id)).ended == 0


# -- the worker dies or leaves -----------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", ["journal 1", "journal 2", "journal 3", "put_if_absent", "commit"])
async def test_a_worker_that_dies_at_any_write_is_followed_by_one_that_pays_only_for_the_rest(
    site, step, after
):
    plan, message = await one_trial(site)
    name, _, number = step.partition(" ")
    fuse = Fuse(int(number or 1), after=after)
    store, manifest = site.store, site.manifest
    if name == "put_if_absent":
        store = fuse.on(store, name)
    else:
        manifest = fuse.on(manifest, name)
    await died(message, site.bench("w1", store=store, manifest=manifest))
    await site.silence(plan.run_id)
    for index in await site.manifest.expire(plan.run_id):
        await attempt(plan.message(index), site.bench("w2"))
    await site.check(plan)
    row = await row_of(site, plan)
    if (name, after) == ("commit", True):
        assert (row.status, row.attempt) == ("passed", 1)  # it was over; only sealing is left to a sweep
    else:
        assert (row.status, row.attempt, row.result.worker) == ("passed", 2, "w2")
        assert await site.state(plan.run_id) == "sealed"
    lost = 1 if name == "journal" and not after else 0
    assert len(site.stage.asked) == TURNS + lost
    assert row.result.turns == TURNS


async def test_a_worker_that_dies_between_the_object_and_the_row_leaves_an_object_that_loses(site):
    plan, message = await one_trial(site)
    manifest = Fuse(1).on(site.manifest, "commit")
    await died(message, site.bench("w1", manifest=manifest))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await attempt(message, site.bench("w2"))
    row = await row_of(site, plan)
    assert row.attempt == 2
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == [
        keys.trace(plan.run_id, message.trace_id, attempt) for attempt in (1, 2)
    ]
    assert (await trace_of(site, plan)).attempt == 2
    await check_paid_once(site, plan)


async def test_an_attempt_number_that_comes_again_takes_the_trace_that_is_there(site):
    # As when Redis lost the last second in a power cut: the object is there, the claim is not.
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(1).on(site.manifest, "commit")))
    stored = await site.everything_stored()
    await site.manifest.redis.hset(
        redis_keys.manifest(plan.run_id), "0", Row(0, "pending", 0, message.trace_id).encode()
    )
    await site.manifest.redis.delete(
        redis_keys.leases(plan.run_id), redis_keys.journal(plan.run_id, 0), redis_keys.counters(plan.run_id)
    )
    await site.manifest.redis.hset(redis_keys.counters(plan.run_id), "pending", 1)
    await attempt(message, site.bench("w2"))
    row = await row_of(site, plan)
    assert (row.status, row.attempt, row.result.worker) == ("passed", 1, "w1")
    await site.check(plan)
    now = await site.everything_stored()
    assert {key: now[key] for key in stored} == stored


async def test_a_damaged_object_in_the_way_is_replaced(site):
    plan, message = await one_trial(site)
    key = keys.trace(plan.run_id, message.trace_id, 1)
    await site.store.put(key, b"half a tra")
    await attempt(message, site.bench())
    assert (await row_of(site, plan)).status == "passed"
    await site.check(plan)


async def test_a_worker_that_leaves_hands_the_trial_on_with_its_turns_and_a_message(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1")
    site.stage.close(1)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(1)
    bench.leases.leaving = True
    site.stage.open(1)
    await running
    assert await row_of(site, plan) == Row(0, "pending", 1, message.trace_id)
    assert site.outbox.waiting == [message]  # or the trial would wait until the queue of all runs is empty
    assert not await site.manifest.redis.exists(redis_keys.strikes(plan.run_id))
    await site.work(site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)
    trace = await trace_of(site, plan)
    assert [turn.attempt for turn in trace.turns] == [1, 1, 2]
    assert [turn.worker for turn in trace.turns] == ["w1", "w1", "w2"]


async def test_an_attempt_that_is_cancelled_gives_its_trial_back_at_once(site):
    plan, message = await one_trial(site)
    site.stage.close(1)
    bench = site.bench("w1")
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await row_of(site, plan) == Row(0, "pending", 1, message.trace_id)
    assert site.outbox.waiting == []  # its own message is not acknowledged, and so comes again
    assert len(bench.leases) == 0
    site.stage.open(1)
    await attempt(message, site.bench("w2"))
    await site.check(plan)
    assert len(site.stage.asked) == TURNS + 1  # only the turn in flight is paid again


async def test_a_trial_that_lost_too_many_workers_ends_as_infrastructure_with_what_was_paid(site):
    plan, message = await one_trial(site)
    for number in range(1, plan.crashes_max + 1):
        fuse = Fuse(1)
        await died(
            message,
            site.bench(f"w{number}", manifest=fuse.on(site.manifest, "journal" if number > 1 else "commit")),
        )
        await site.silence(plan.run_id)
        await site.manifest.expire(plan.run_id)
        await site.manifest.redis.ltrim(redis_keys.journal(plan.run_id, 0), 0, 0)
    asked = len(site.stage.asked)
    await attempt(message, site.bench("last"))
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, row.attempt) == ("infra_error", "worker_lost", 3)
    assert "2 workers vanished" in trace.error.message
    assert [(one.attempt, one.worker, one.how, one.turns) for one in trace.earlier] == [
        (1, "w1", "lost", 1),
        (2, "w2", "lost", 0),
    ]
    assert "attempt 1 on w1" in trace.error.message
    assert "1 turn kept ($" in trace.error.message
    assert len(trace.turns) == 1
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool_result"]
    assert trace.usage.total_tokens == 150
    assert len(site.stage.asked) == asked
    await site.check(plan)
