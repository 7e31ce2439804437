"""A nightly whose agent gets worse, through the doors: real trials, a real Redis, two beats at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from salvo_core.adapters.protocol import TurnReply
from salvo_core.alerts.incident import Followed
from salvo_core.errors import UsageError
from salvo_core.fire import Beat
from salvo_core.follow import Follower
from salvo_core.past_nights import past_decisions, past_firings, stands_of
from salvo_core.reorder import kept_in_store
from salvo_core.run.baselines import set_baseline
from salvo_core.run.schedule import Schedule, keep_schedule
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.trace.model import Usage
from salvo_core.trace.recording import Recording
from tests.integration.site import Site, loaded, order

pytestmark = pytest.mark.servers

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


class Wall:
    """A clock that a test sets."""

    def __init__(self):
        self.at = MIDNIGHT

    def now(self):
        return self.at


class Moody:
    """An agent that says what the test lets it say."""

    name = "judge"  # under this name a site's registry hands out what a test gives it

    def __init__(self):
        self.says = "good"

    async def send_turn(self, messages, tools, config):
        return TurnReply(self.says, usage=Usage(input_tokens=1, output_tokens=1), finish_reason="stop")

    async def aclose(self):
        pass


def asked(name, **fields):
    assertions = [{"type": "output_contains", "value": "good"}]
    return loaded(
        f"{name}.yaml",
        **{"description": name, "adapter": "judge", "tools": [], "script": None, "assertions": assertions}
        | fields,
    )


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    made.judge = Moody()
    await made.manifest.redis.flushall()
    yield made
    await made.aclose()


class World:
    """A site with one schedule, and as many beats as are wanted."""

    def __init__(self, site):
        self.site = site
        self.wall = Wall()
        self.told = []
        self.recording = Recording()
        self.scenarios = [asked("the desk"), asked("the door", model="other")]

    def beat(self):
        async def tell(schedule, alert):
            if alert.id not in [one.id for one in self.told]:
                self.told.append(alert)
            return True

        site = self.site
        beat = Beat(site.store, site.manifest, site.outbox, self.wall, self.ordered)
        return Follower(beat, tell)

    def ordered(self, schedule):
        return order(schedule.trials, self.scenarios, recording=self.recording)

    async def scheduled(self, **fields):
        return await keep_schedule(
            Schedule(
                **{
                    "name": "hourly", "cron": "0 * * * *", "timezone": "UTC", "trials": 10,
                    "confirm_trials": 12, "baseline": "main", "since": MIDNIGHT,
                }
                | fields
            ),
            self.site.store,
            self.site.outbox.signer,
        )  # fmt: skip

    async def look(self, *followers):
        for one in followers or (self.beat(),):
            await one.beat.tick()
            await one.tick()

    async def night(self, says, *followers):
        """Have the next hour, its run, and what follows."""
        self.site.judge.says = says
        self.wall.at = self.wall.at.replace(minute=0) + timedelta(hours=1, seconds=5)
        await self.look(*followers)
        await self.site.work()
        await self.look(*followers)


@pytest.fixture
async def world(site):
    made = World(site)
    base = await site.submit(order(30, made.scenarios))
    await site.work()
    await set_baseline("main", base.run_id, site.store, at=MIDNIGHT)
    return made


async def confirmations(site):
    return [one for one in await past_firings("hourly", site.store) if one.confirms]


async def test_an_agent_that_gets_worse_is_confirmed_once_and_told_once_by_two_beats(site, world):
    await world.scheduled()
    one, other = world.beat(), world.beat()
    await world.night("good", one, other)
    assert world.told == []

    site.judge.says = "bad"
    world.wall.at += timedelta(hours=1)
    await one.beat.tick()
    await site.work()
    # What a night is asked again is what it was asked, whatever the folder holds by now.
    world.scenarios = [asked("something else")]
    await asyncio.gather(one.tick(), other.tick())
    (firing,) = await confirmations(site)
    plan = await site.observer().plan(firing.run_id)
    assert [(cell.scenario_name, cell.model) for cell in plan.cells] == [
        ("the desk", "gpt-4o-mini"),
        ("the door", "other"),
    ]
    assert (plan.trials, plan.labels["confirms"]) == (12, firing.confirms)
    assert world.told == []

    await site.work()
    await asyncio.gather(one.tick(), other.tick())
    await asyncio.gather(one.tick(), other.tick())
    (alert,) = world.told
    assert (alert.kind, alert.run_id) == ("alert", firing.run_id)
    assert {cell.scenario for cell in alert.cells} == {"the desk", "the door"}


async def test_only_what_is_suspected_is_confirmed_within_its_budget(site, world):
    await world.scheduled(confirm_budget_usd=0.5, budget_usd=2.0)
    # Only one of the cells falls: the other's assertion asks for less.
    world.scenarios[1] = asked(
        "the door", model="other", assertions=[{"type": "output_contains", "value": "b"}]
    )
    await world.night("bad")
    (firing,) = await confirmations(site)
    plan = await site.observer().plan(firing.run_id)
    assert [cell.scenario_name for cell in plan.cells] == ["the desk"]
    assert plan.budget.usd_max == 0.5


async def test_what_the_store_may_not_keep_is_confirmed_only_while_it_is_unchanged(site, world):
    await world.scheduled()
    world.recording = Recording(mode="metadata_only")
    one = world.beat()
    await world.night("bad", one)
    (firing,) = await confirmations(site)
    assert (await site.observer().plan(firing.run_id)).recording.mode == "metadata_only"
    await site.work()
    await world.look(one)
    assert [alert.kind for alert in world.told] == ["alert"]

    await world.scheduled(name="other")
    world.wall.at = world.wall.at.replace(minute=0) + timedelta(hours=1, seconds=5)
    await one.beat.tick()
    await site.work()
    world.scenarios = [asked("the desk", prompt="Be better.")]
    await world.look(one)
    (firing,) = [one for one in await past_firings("other", site.store) if one.confirms]
    assert "edited or removed" in firing.why
    assert not firing.run_id


async def test_a_redis_that_forgot_everything_changes_nothing_that_was_decided(site, world):
    await world.scheduled()
    await world.night("good")
    await world.night("bad")
    await site.work()
    await world.look()
    assert [alert.kind for alert in world.told] == ["alert"]

    async def looked_back():
        stands, note = await stands_of(await world.scheduled(), site.store)
        return stands, note, await past_decisions("hourly", site.store)

    before = await looked_back()
    await site.manifest.redis.flushall()
    await world.look()
    await world.look()
    assert await looked_back() == before
    assert [alert.kind for alert in world.told] == ["alert"]
    assert len(await confirmations(site)) == 1


async def test_a_schedule_that_keeps_its_scenarios_needs_no_folder(site, world):
    schedule = await world.scheduled()
    kept = await kept_in_store(schedule, world.ordered(schedule), site.store)
    await keep_schedule(kept, site.store, site.outbox.signer)

    def no_folder(schedule):
        raise UsageError("there is no folder here")

    beat = Beat(site.store, site.manifest, site.outbox, world.wall, no_folder)
    world.wall.at += timedelta(hours=1, seconds=5)
    (fired,) = await beat.tick()
    plan = await site.observer().plan(fired.run_id)
    assert [cell.scenario_name for cell in plan.cells] == ["the desk", "the door"]
    assert plan.labels["schedule"] == "hourly"
    with pytest.raises(UsageError, match="may not stay in the store"):
        await kept_in_store(
            schedule,
            order(1, [asked("secret", prompt="my key is sk-1234567890abcdef1234567890abcdef")]),
            site.store,
        )


async def test_a_due_time_that_cannot_be_ordered_is_trouble_after_some_tries(site, world):
    await world.scheduled()

    def broken(schedule):
        raise UsageError("refund.yaml is broken")

    one = world.beat()
    one.beat.order_for = broken
    world.wall.at += timedelta(hours=1, seconds=5)
    for _ in range(4):
        await world.look(one)
    assert [alert.kind for alert in world.told] == ["trouble"]
    one.beat.order_for = world.ordered
    await world.look(one)
    await site.work()
    await world.look(one)
    assert [alert.kind for alert in world.told] == ["trouble", "all clear"]
    key = keys.followed("hourly", MIDNIGHT + timedelta(hours=1))
    assert Followed.decode(await site.store.get(key), key).works
