"""One run for each due time, whoever fires it and whenever they die."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from salvo_core.errors import StoreUnavailable, UsageError
from salvo_core.fire import Beat
from salvo_core.run.schedule import Schedule, firing_keys, keep_schedule, read_firing
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.integration.site import Site, order

pytestmark = pytest.mark.servers

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


class Wall:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = MIDNIGHT

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    await made.manifest.redis.flushall()
    yield made
    await made.aclose()


@pytest.fixture
def wall():
    return Wall()


def a_beat(site, wall, **parts):
    return Beat(
        **{
            "store": site.store,
            "manifest": site.manifest,
            "dispatcher": site.outbox,
            "clock": wall,
            "order_for": lambda schedule: order(schedule.trials),
        }
        | parts
    )


async def scheduled(site, **fields):
    return await keep_schedule(
        Schedule(
            **{"name": "hourly", "cron": "0 * * * *", "timezone": "UTC", "trials": 2, "since": MIDNIGHT}
            | fields
        ),
        site.store,
        site.outbox.signer,
    )


async def runs(site):
    return [name async for name in site.store.list_folders(keys.RUNS)]


async def test_a_due_time_is_one_run_however_many_beats_look_and_how_often(site, wall):
    await scheduled(site)
    one, other = a_beat(site, wall), a_beat(site, wall)
    assert await one.tick() == []
    wall.at += timedelta(hours=1, seconds=5)
    (fired,) = await one.tick()
    await other.tick()
    await one.tick()
    await a_beat(site, wall).tick()
    assert await runs(site) == [fired.run_id]
    await site.work()
    assert (await site.observer().status(fired.run_id)).state == "sealed"
    plan = await site.observer().plan(fired.run_id)
    assert plan.labels == {"due": "2026-11-24T01:00:00+00:00"}
    await a_beat(site, wall).tick()
    assert await runs(site) == [fired.run_id]


class DyingStore(MemoryStore):
    """A store that stops working before, or right after, its n-th conditional write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left = 10**6
        self.takes_the_last = False

    async def put_if_absent(self, key, body):
        self.writes_left -= 1
        if self.writes_left < 0:
            if self.takes_the_last and self.writes_left == -1:
                await super().put_if_absent(key, body)
            raise StoreUnavailable("the beat died here")
        return await super().put_if_absent(key, body)


@pytest.mark.parametrize("takes_the_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("redis_too", [False, True], ids=["redis stays", "redis forgets"])
async def test_a_beat_may_die_at_every_write_and_there_is_one_run(site, wall, takes_the_last, redis_too):
    for writes in range(3):  # the firing, the scenario, the plan
        site.store = DyingStore()
        await site.manifest.redis.flushall()
        await scheduled(site)
        wall.at = MIDNIGHT + timedelta(hours=1, seconds=5)
        site.store.writes_left, site.store.takes_the_last = writes, takes_the_last
        assert await a_beat(site, wall).tick() == []
        named = [
            (await read_firing(key, site.store)).run_id for key in await firing_keys("hourly", site.store)
        ]
        site.store.writes_left = 10**6
        if redis_too:
            await site.manifest.redis.flushall()
        await a_beat(site, wall).tick()
        (run_id,) = await runs(site)
        assert named in ([], [run_id])
        assert len(await firing_keys("hourly", site.store)) == 1


async def test_a_redis_that_lost_its_memory_gets_no_second_run(site, wall):
    await scheduled(site)
    wall.at += timedelta(hours=1, seconds=5)
    (fired,) = await a_beat(site, wall).tick()
    await site.work()
    await site.manifest.redis.flushall()
    await a_beat(site, wall).tick()
    assert await runs(site) == [fired.run_id]


@pytest.mark.parametrize(
    ("overlap", "ran", "first"),
    [("skip", 1, "running"), ("queue", 2, "running"), ("cancel", 2, "cancelling")],
    ids=["skip", "queue", "cancel"],
)
async def test_what_becomes_of_a_due_time_while_the_run_before_is_not_over(site, wall, overlap, ran, first):
    await scheduled(site, overlap=overlap)
    beat = a_beat(site, wall)
    wall.at += timedelta(hours=1, seconds=5)
    (before,) = await beat.tick()
    wall.at += timedelta(hours=1)
    (after,) = await beat.tick()
    assert len(await runs(site)) == ran
    assert bool(after.run_id) == (ran == 2)
    assert (before.run_id in after.why) == (ran == 1)
    # Nothing of a cancelled run was under way: it may be over already.
    assert (await site.observer().status(before.run_id)).state in {first, "sealed" if ran == 2 else first}


async def test_missed_due_times_are_said_and_caught_up_as_far_as_asked(site, wall):
    await scheduled(site, catchup_s=2 * 3600, overlap="queue")
    wall.at += timedelta(hours=5, minutes=30)
    fired = await a_beat(site, wall).tick()
    assert [(one.due_at.hour, bool(one.run_id)) for one in fired] == [(3, False), (4, True), (5, True)]
    assert "missed" in fired[0].why
    assert await a_beat(site, wall).tick() == []
    assert len(await runs(site)) == 2


async def test_a_paused_schedule_does_not_fire_and_a_broken_one_stops_no_other(site, wall):
    await scheduled(site, paused=True)
    await scheduled(site, name="broken")
    await scheduled(site, name="whole")
    await site.store.put(keys.schedule("torn"), b"{half")
    wall.at += timedelta(hours=1, seconds=5)
    broken = True

    def ordered(schedule):
        if broken and schedule.name == "broken":
            raise UsageError("no scenario is there")
        return replace(order(schedule.trials), labels={"schedule": schedule.name})

    beat = a_beat(site, wall, order_for=ordered)
    assert [one.schedule for one in await beat.tick()] == ["whole"]
    broken = False  # the due time still counts
    assert [one.schedule for one in await beat.tick()] == ["broken"]
    assert len(await runs(site)) == 2


async def test_a_persons_word_is_a_run_beside_the_due_times(site, wall):
    schedule = await scheduled(site)
    wall.at += timedelta(minutes=30)
    by_hand = await a_beat(site, wall).fire(schedule, wall.at, by_hand=True)
    await site.work()
    wall.at += timedelta(minutes=30, seconds=5)
    (due,) = await a_beat(site, wall).tick()
    assert sorted(await runs(site)) == sorted([by_hand.run_id, due.run_id])
