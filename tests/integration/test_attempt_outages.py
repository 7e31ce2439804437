"""Attempts while the store or Redis fails: waited for, given back, never paid again."""

import asyncio
import logging

import pytest

from salvo_core.attempt import attempt
from salvo_core.errors import RedisUnavailable, StoreRefused, StoreUnavailable
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Row
from salvo_core.record import PATIENCE_S
from tests.integration.site import TURNS, Fuse
from tests.integration.trials import STORES, check_paid_once, one_trial, row_of, site_on
from tests.servers.process import free_port
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    made = site_on(request.param, redis_url, tmp_path)
    yield made
    await made.aclose()


# -- the store or Redis fails ------------------------------------------------------------------------


class Outage:
    """A store that fails some of its writes, whatever they are.

    Args:
        store: Works again after the outage.
        failures: How many writes fail.
        error: How.
    """

    def __init__(self, store, failures, error=None):
        self._store = store
        self.left = failures
        self._error = error or StoreUnavailable("the store is down")

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def put_if_absent(self, key, body):
        if self.left:
            self.left -= 1
            raise self._error
        return await self._store.put_if_absent(key, body)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreRefused("disk full")])
async def test_a_store_that_fails_for_a_while_is_waited_for_and_no_turn_is_asked_again(site, error):
    plan, message = await one_trial(site)
    site.clock = StepClock()
    await attempt(message, site.bench(store=Outage(site.store, 8, error)))
    assert [wait for wait in site.clock.slept if wait] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_store_that_stays_down_gives_the_trial_back_with_its_turns_kept(site):
    plan, message = await one_trial(site)
    site.clock = StepClock()
    await attempt(message, site.bench(store=Outage(site.store, 10**6)))
    assert site.clock.time_s > PATIENCE_S
    assert (await row_of(site, plan)).status == "pending"
    assert len(await site.manifest.journaled(plan.run_id, 0)) == TURNS
    await attempt(message, site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_worker_that_leaves_does_not_wait_for_the_store(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1", store=Outage(site.store, 10**6))
    site.stage.close(2)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(2)
    site.stage.open(2)
    bench.leases.leaving = True
    await running
    assert (await row_of(site, plan)).status == "pending"
    await site.work(site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_plan_that_cannot_be_read_for_now_gives_the_trial_back_without_a_strike(site):
    plan, message = await one_trial(site)

    class Deaf(Outage):
        async def get(self, key):
            raise StoreUnavailable("the store is down")

    deaf = site.bench(store=Deaf(site.store, 0))
    for _ in range(5):
        await attempt(message, deaf)
    assert await row_of(site, plan) == Row(0, "pending", 5, message.trace_id)
    assert not await site.manifest.redis.exists(redis_keys.strikes(plan.run_id))
    assert site.outbox.waiting == []  # a sweep sends it again; at once would only burn the processor
    await attempt(message, site.bench())
    await site.check(plan)


async def test_a_redis_that_is_away_when_a_message_comes_is_no_crash(site, caplog):
    plan, message = await one_trial(site)
    url = f"redis://127.0.0.1:{free_port()}/0"
    away = Manifest(connect(url, retries_max=0), url)
    site.clock = StepClock()
    with caplog.at_level(logging.WARNING):
        await attempt(message, site.bench(manifest=away))
    assert "was not begun" in caplog.text
    assert "Traceback" not in caplog.text
    await away.aclose()
    await attempt(message, site.bench())
    await site.check(plan)


@pytest.mark.parametrize(
    "after", [False, True], ids=["before", "after"]
)  # the call, or only its answer, is lost
@pytest.mark.parametrize("name", ["claim", "journaled", "journal", "commit", "give_back"])
async def test_a_redis_that_fails_for_a_moment_is_waited_for_and_costs_no_turn_and_no_strike(
    site, name, after
):
    plan, message = await one_trial(site)
    failing = Fuse(1, after=after, error=RedisUnavailable("gone"))
    bench = site.bench("w1", manifest=failing.on(site.manifest, name))
    if name == "give_back":
        bench.leases.leaving = True
    if name == "journaled":  # only asked for from the second attempt on
        await site.manifest.give_back(
            await site.manifest.claim(plan.run_id, 0, message.trace_id, "w0", lease_s=30)
        )
    await attempt(message, bench)
    assert failing.writes[:2] == [name, name]
    if name == "give_back":
        assert (await row_of(site, plan)).status == "pending"
        await attempt(message, site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)
    assert await site.manifest.redis.hgetall(redis_keys.strikes(plan.run_id)) == {}


async def test_a_redis_that_stays_away_ends_the_attempt_without_a_crash_and_its_turns_stay(site):
    plan, message = await one_trial(site)
    site.clock = StepClock()

    class Gone:
        def __getattr__(self, name):
            return getattr(site.manifest, name)

        async def commit(self, *_):
            raise RedisUnavailable("gone for good")

    await attempt(message, site.bench("w1", manifest=Gone()))
    assert site.clock.time_s > PATIENCE_S
    assert (await row_of(site, plan)).status == "running"  # until its lease runs out
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await attempt(message, site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_run_that_cannot_be_sealed_yet_is_left_to_a_sweep_without_a_crash(site, caplog):
    plan, message = await one_trial(site)
    failing = Fuse(1, error=StoreUnavailable("down")).on(site.store, "put")
    await attempt(message, site.bench(store=failing))
    assert "not sealed yet" in caplog.text
    assert await site.state(plan.run_id) == "finished"
    assert await site.manifest.open_runs() == [plan.run_id]
