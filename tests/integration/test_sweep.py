"""Sweeping: what was abandoned goes on, what is under way is left alone, and sealing is done for good."""

import asyncio
import contextlib
import random

import pytest

from salvo_core.attempt import attempt
from salvo_core.errors import StoreUnavailable
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.archive import decode_rows
from salvo_core.manifest.rows import TERMINAL
from salvo_core.resume import resume
from salvo_core.run.summary import Summary
from salvo_core.seal import seal
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.sweep import Sweeper
from tests.integration.site import Fuse, Killed, Site, loaded, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

STILL_S = 5.0


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


class Sweeps:
    """A sweeper on a clock that its test moves."""

    def __init__(self, site, store=None):
        self.clock = StepClock()
        self.sweeper = Sweeper(store or site.store, site.manifest, site.outbox, self.clock, still_s=STILL_S)

    async def once(self, after_s=0.0):
        self.clock.time_s += after_s
        return await self.sweeper.sweep()


async def lose_messages(site):
    lost, site.outbox.waiting = site.outbox.waiting, []
    return lost


# -- messages ----------------------------------------------------------------------------------------


async def test_messages_that_were_lost_are_sent_again_once_the_run_has_stood_still(site):
    plan = await site.submit(order(4))
    await lose_messages(site)
    sweeps = Sweeps(site)
    assert await sweeps.once() == 1
    assert await sweeps.once(STILL_S - 1) == 1
    assert site.outbox.waiting == []
    await sweeps.once(1)
    assert [message.index for message in site.outbox.waiting] == [0, 1, 2, 3]
    await site.work()
    await site.check(plan)
    assert await sweeps.once(STILL_S) == 0


async def test_only_trials_that_have_not_begun_are_sent_again(site):
    plan = await site.submit(order(4))
    bench = site.bench()
    await site.work_one(bench)
    await site.manifest.claim(plan.run_id, 1, plan.trace_id(1), "w2", lease_s=30)
    await lose_messages(site)
    sweeps = Sweeps(site)
    await sweeps.once()
    await sweeps.once(STILL_S)
    assert [message.index for message in site.outbox.waiting] == [2, 3]


async def test_nothing_is_sent_while_the_queue_still_holds_messages(site):
    await site.submit(order(4))
    sweeps = Sweeps(site)
    for _ in range(4):
        await sweeps.once(STILL_S)
    assert len(site.outbox.sent) == 4


async def test_nothing_is_sent_while_trials_are_being_claimed(site):
    plan = await site.submit(order(4))
    await lose_messages(site)
    sweeps = Sweeps(site)
    await sweeps.once()
    for index in range(3):
        await site.manifest.claim(plan.run_id, index, plan.trace_id(index), "w", lease_s=30)
        await sweeps.once(STILL_S)
    assert site.outbox.waiting == []


async def test_messages_are_sent_again_as_often_as_they_are_lost_and_no_oftener(site):
    await site.submit(order(2))
    await lose_messages(site)
    sweeps = Sweeps(site)
    await sweeps.once()
    for _ in range(3):
        await sweeps.once(STILL_S)
        await sweeps.once(0.1)
        assert len(await lose_messages(site)) == 2


async def test_a_window_whose_next_message_was_never_released_goes_on(site):
    plan = await site.submit(order(3, concurrency_max=1))
    bench = site.bench("w1", dispatcher=Fuse(1).on(site.outbox, "publish"))
    with pytest.raises(Killed):
        await attempt(
            site.outbox.waiting.pop(0), bench
        )  # dies with the next trial released, its message not sent
    assert site.outbox.waiting == []
    sweeps = Sweeps(site)
    await sweeps.once()
    await sweeps.once(STILL_S)
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


# -- leases ------------------------------------------------------------------------------------------


async def test_trials_of_a_silent_worker_are_sent_again_at_once(site):
    plan = await site.submit(order(3))
    for index in range(2):
        await site.manifest.claim(plan.run_id, index, plan.trace_id(index), "dead", lease_s=30)
    await lose_messages(site)
    sweeps = Sweeps(site)
    await sweeps.once()
    assert site.outbox.waiting == []  # not while the leases last
    await site.silence(plan.run_id)
    await sweeps.once()
    assert sorted(message.index for message in site.outbox.waiting) == [0, 1]
    assert (await site.manifest.counts(plan.run_id)).expired == 2


async def test_a_merciful_sweep_leaves_leases_alone_and_cares_for_everything_else(site):
    plan = await site.submit(order(2))
    claim = await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "w0", lease_s=30)
    await site.silence(plan.run_id)
    await lose_messages(site)
    sweeper = Sweeper(site.store, site.manifest, site.outbox, StepClock(), still_s=0)
    for _ in range(2):
        await sweeper.sweep(merciful=True)
    assert site.outbox.waiting == [plan.message(1)]  # lost, and sent again
    assert (await site.rows(plan.run_id))[0].worker == "w0"
    assert (await site.manifest.renew("w0", [claim], lease_s=30))[plan.run_id].lost == frozenset()
    await sweeper.sweep()
    assert (await site.manifest.counts(plan.run_id)).expired == 0


# -- cancelling, pausing -----------------------------------------------------------------------------


async def test_a_paused_run_is_left_alone(site):
    plan = await site.submit(order(3))
    await lose_messages(site)
    await site.manifest.pause(plan.run_id)
    sweeps = Sweeps(site)
    for _ in range(5):
        assert await sweeps.once(STILL_S) == 0
    assert site.outbox.waiting == []
    await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work()
    await site.check(plan)


async def test_a_submission_that_is_finished_after_an_outage_takes_no_lease_back(site):
    plan = await site.submit(order(3))
    await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "cut-off", lease_s=30)
    await site.silence(plan.run_id)
    await site.manifest.redis.hset(redis_keys.header(plan.run_id), "state", "submitting")
    for merciful, taken in ((True, 0), (False, 1)):
        sweeps = Sweeps(site)
        for after_s in (0, 16):
            sweeps.clock.time_s += after_s
            await sweeps.sweeper.sweep(merciful=merciful)
        assert (await site.manifest.counts(plan.run_id)).expired == taken
    await site.work()
    await site.check(plan)


async def test_a_cancellation_whose_caller_died_is_finished(site):
    plan = await site.submit(order(4))
    await lose_messages(site)
    claim = await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "dead", lease_s=30)
    assert claim.attempt == 1
    await site.manifest.cancel(plan.run_id)  # and nothing more: no row was ended
    sweeps = Sweeps(site)
    await sweeps.once()
    await sweeps.once(STILL_S)
    assert [row.status for row in await site.rows(plan.run_id)] == ["running"] + ["cancelled"] * 3
    await site.silence(plan.run_id)
    await sweeps.once()
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_a_run_cancelled_while_it_was_paused_comes_to_its_end(site):
    plan = await site.submit(order(3))
    await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "dead", lease_s=30)
    await lose_messages(site)
    await site.manifest.pause(plan.run_id)
    await site.manifest.cancel(plan.run_id)
    await site.silence(plan.run_id)
    sweeps = Sweeps(site)
    await sweeps.once()
    await sweeps.once(STILL_S)
    await site.work()
    await site.check(plan)
    assert {row.status for row in await site.rows(plan.run_id)} == {"cancelled"}
    assert await site.state(plan.run_id) == "sealed"


# -- sealing -----------------------------------------------------------------------------------------


async def unsealed(site, trials=3):
    """Return the plan of a run that is finished and that nobody sealed."""
    plan = await site.submit(order(trials))
    failing = Fuse(1, error=StoreUnavailable("down")).on(site.store, "put")
    await site.work(site.bench(store=failing))
    assert await site.state(plan.run_id) == "finished"
    return plan


async def test_a_finished_run_that_nobody_sealed_is_sealed(site):
    plan = await unsealed(site)
    sweeps = Sweeps(site)
    assert await sweeps.once() == 1
    assert await site.state(plan.run_id) == "sealed"
    assert await sweeps.once() == 0


async def test_sealing_again_and_at_once_writes_the_same_bytes(site):
    plan = await unsealed(site)
    parts = {"store": site.store, "manifest": site.manifest}
    await asyncio.gather(*(seal(plan.run_id, **parts) for _ in range(5)))
    once = await site.everything_stored()
    assert keys.manifest(plan.run_id) in once
    assert keys.summary(plan.run_id) in once
    await seal(plan.run_id, **parts)
    assert await site.everything_stored() == once


async def test_what_is_sealed_is_what_the_rows_were(site):
    plan = await unsealed(site)
    rows = await site.rows(plan.run_id)
    summary = await seal(plan.run_id, store=site.store, manifest=site.manifest)
    assert list(decode_rows(await site.store.get(keys.manifest(plan.run_id)), "x")) == rows
    assert Summary.decode(await site.store.get(keys.summary(plan.run_id)), "x") == summary
    assert (summary.verdict, summary.exit_code, summary.counts["passed"]) == ("PASS", 0, 3)
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.verdict, counts.exit_code) == ("PASS", 0)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True])
async def test_a_sealer_that_dies_at_any_write_is_followed_by_a_sweep(site, step, after):
    plan = await unsealed(site)
    fuse = Fuse(step, after=after)
    with pytest.raises(Killed):
        await seal(plan.run_id, store=fuse.on(site.store, "put"), manifest=fuse.on(site.manifest, "sealed"))
    if (await site.manifest.counts(plan.run_id)).state == "sealed":
        assert step == 3  # a run that says it is sealed has its numbers in the store
    await Sweeps(site).once()
    assert await site.state(plan.run_id) == "sealed"
    assert (await site.observer().summary(plan.run_id)).verdict == "PASS"
    assert await site.manifest.open_runs() == []


async def test_a_run_under_way_or_unknown_is_not_sealed(site):
    plan = await site.submit(order(2))
    parts = {"store": site.store, "manifest": site.manifest}
    assert await seal(plan.run_id, **parts) is None
    await site.manifest.redis.flushdb()
    assert await seal(plan.run_id, **parts) is None
    assert keys.summary(plan.run_id) not in await site.everything_stored()


# -- trouble -----------------------------------------------------------------------------------------


async def test_several_sweepers_at_once_do_what_one_does(site):
    """The lock that elects one of them may have expired while its holder was stopped."""
    over = await unsealed(site)
    lost = await site.submit(order(3))
    for index in range(2):
        await site.manifest.claim(lost.run_id, index, lost.trace_id(index), "dead", lease_s=30)
    await lose_messages(site)
    many = [Sweeps(site) for _ in range(4)]
    await asyncio.gather(*(sweeps.once() for sweeps in many))
    assert await site.state(over.run_id) == "sealed"
    sealed = await site.everything_stored()
    await site.silence(lost.run_id)
    await asyncio.gather(*(sweeps.once(STILL_S) for sweeps in many))
    counts = await site.manifest.counts(lost.run_id)
    # Each lease was taken back by one of them. Messages may have been sent by several: those are hints.
    assert (counts.expired, counts.statuses["pending"]) == (2, 3)
    assert {message.index for message in site.outbox.waiting} >= {0, 1}
    for _ in range(4):  # the third trial is missed once the queue is empty and the run has stood still
        await site.work()
        await asyncio.gather(*(sweeps.once(STILL_S) for sweeps in many))
    await site.check(lost)
    assert {row.status for row in await site.rows(lost.run_id)} == {"passed"}
    assert (await site.everything_stored()).items() >= sealed.items()


async def test_the_trouble_of_one_run_does_not_keep_the_others_waiting(site, caplog):
    bad, good = await site.submit(order(2)), await site.submit(order(2))
    await lose_messages(site)
    await site.store.delete(keys.plan(bad.run_id))
    sweeps = Sweeps(site)
    assert await sweeps.once() == 2
    assert await sweeps.once(STILL_S) == 2
    assert {message.run_id for message in site.outbox.waiting} == {good.run_id}
    assert f"run {bad.run_id} cannot be swept" in caplog.text


async def test_a_store_that_is_down_does_not_end_the_sweep(site, caplog):
    plan = await unsealed(site)
    failing = Fuse(1, error=StoreUnavailable("down")).on(site.store, "get")
    sweeps = Sweeps(site, failing)
    assert await sweeps.once() == 1
    assert await sweeps.once() == 1
    assert await site.state(plan.run_id) == "sealed"


async def test_a_sealed_run_that_redis_forgot_is_taken_off_the_list_of_open_ones(site):
    plan = await unsealed(site)
    await seal(plan.run_id, store=site.store, manifest=site.manifest)
    await site.manifest.redis.zadd(redis_keys.OPEN, {plan.run_id: 1})  # its sealer died before this
    for key in await site.manifest.redis.keys(f"salvo:*{plan.run_id}*"):
        await site.manifest.redis.delete(key)
    sweeps = Sweeps(site)
    await sweeps.once()
    assert await site.manifest.open_runs() == []
    assert await sweeps.once() == 0


async def test_an_open_run_that_redis_forgot_is_said_to_be_lost_and_stays_on_the_list(site, caplog):
    plan = await site.submit(order(2))
    await site.manifest.redis.delete(redis_keys.header(plan.run_id))
    await Sweeps(site).once()
    assert "Redis lost its header" in caplog.text
    assert await site.manifest.open_runs() == [plan.run_id]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_lost_every_trial_ends_once_and_every_turn_is_kept(site, seed):
    """Messages vanish and repeat, workers die between any two writes; sweeps put it right (seeded)."""
    rng = random.Random(seed)
    plan = await site.submit(
        order(12, [loaded(), loaded("b.yaml", description="second")], concurrency_max=rng.choice([None, 5]))
    )
    sweeps = Sweeps(site)
    for round_ in range(400):
        if await site.state(plan.run_id) == "sealed":
            break
        for message in list(site.outbox.waiting):
            site.outbox.waiting.remove(message)
            fate = rng.random()
            if fate < 0.2:
                continue  # lost on the wire
            fuse = Fuse(rng.randint(1, 12) if fate < 0.4 else 0, after=rng.random() < 0.5)
            bench = site.bench(
                f"w{round_}",
                manifest=fuse.on(site.manifest, "claim", "journal", "commit", "sealed"),
                store=fuse.on(site.store, "put_if_absent", "put"),
                dispatcher=fuse.on(site.outbox, "publish"),
            )
            copies = 2 if fate > 0.9 else 1
            with contextlib.suppress(Killed):
                await asyncio.gather(*(attempt(message, bench) for _ in range(copies)))
        await site.silence(plan.run_id)
        await sweeps.once(STILL_S)
    assert await site.state(plan.run_id) == "sealed", f"seed {seed}"
    await site.check(plan)
    rows = await site.rows(plan.run_id)
    assert {row.status for row in rows} <= {"passed", "infra_error"}
    for row in rows:
        if row.status == "infra_error":
            assert row.result.error == "worker_lost"
    assert all(row.status in TERMINAL for row in rows)
