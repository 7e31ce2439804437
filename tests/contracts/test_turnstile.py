"""One worker's turnstiles: who is next, how often Redis is asked, and what a refusal does to all workers."""

from __future__ import annotations

import asyncio

import pytest

from salvo_core.adapters.gate import Asking
from salvo_core.adapters.profile import Allowance
from salvo_core.adapters.protocol import TurnConfig
from salvo_core.clock import SystemClock
from salvo_core.errors import RedisUnavailable
from salvo_core.fleet.limits import ProviderLimits, Terms
from salvo_core.fleet.turnstile import LOOK_EVERY_S, Turnstiles
from salvo_core.manifest.connection import connect
from salvo_core.trace.model import Message, Usage

pytestmark = pytest.mark.servers

NAME = "openai"
CLOCK = SystemClock()
DEADLINE_S = 60.0


def asking(text: str = "Hello.") -> Asking:
    messages = [Message(role="user", content=text)]
    return Asking(NAME, messages, None, TurnConfig(model="m"), lambda _model, _usage: None)


class Counted(ProviderLimits):
    """Counts its questions."""

    questions = 0
    looks = 0
    away = 0
    """How many of the next questions are not answered."""

    async def acquire(self, *arguments, **fields):
        self.questions += 1
        if self.away:
            self.away -= 1
            raise RedisUnavailable("Redis is away")
        return await super().acquire(*arguments, **fields)

    async def known(self, provider):
        self.looks += 1
        return await super().known(provider)


@pytest.fixture
async def workers(redis_url):
    """Makes workers that share a Redis: their limits and their turnstile for NAME."""
    redis = connect(redis_url)
    made = []

    def worker(name="one", terms=None, **stated):
        limits = Counted(redis, "here", terms)
        turnstiles = Turnstiles(limits, name, lambda _: Allowance(**stated), CLOCK)
        made.append(turnstiles)
        return limits, turnstiles.of(NAME)

    yield worker
    for turnstiles in made:
        await turnstiles.aclose()
    await redis.aclose()


async def permit_of(place):
    """Return the permit that a place is given in the end."""
    permit = await place.within(DEADLINE_S)
    assert permit is not None
    return permit


async def test_where_nothing_is_limited_redis_is_asked_hardly_ever(workers):
    limits, turnstile = workers()
    began_s = CLOCK.monotonic_s()
    for number in range(500):
        permit = await permit_of(await turnstile.place("r", f"t{number}", asking()))
        turnstile.answered(permit, Usage(input_tokens=1, output_tokens=1))
    assert limits.questions == 0
    assert 1 <= limits.looks <= 1 + (CLOCK.monotonic_s() - began_s) / LOOK_EVERY_S


async def test_two_hundred_that_wait_ask_as_one(workers):
    limits, turnstile = workers(requests_per_min=600)
    began_s = CLOCK.monotonic_s()
    places = [await turnstile.place("r", f"t{number}", asking()) for number in range(200)]
    for place in places[:30]:
        await permit_of(place)
    took_s = CLOCK.monotonic_s() - began_s
    assert limits.questions <= 5 + took_s / (limits.terms.ahead_s / 2)
    (queue,) = await limits.queues([NAME])
    assert 0 < queue.waiting <= 200
    assert set(queue.runs) == {"r"}


async def test_runs_take_turns_however_many_trials_one_has_waiting(workers):
    _, turnstile = workers(concurrency_max=1)
    first = await permit_of(await turnstile.place("many", "first", asking()))
    order = []

    async def go_through(run, number):
        place = await turnstile.place(run, f"{run}{number}", asking())
        permit = await permit_of(place)
        order.append(run)
        turnstile.give_back(permit)

    many = [asyncio.create_task(go_through("many", number)) for number in range(20)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(go_through("few", number)) for number in range(3)]
    await asyncio.sleep(0)
    turnstile.give_back(first)
    await asyncio.wait_for(asyncio.gather(*many, *few), DEADLINE_S)
    assert order[:6].count("few") == 3, "each second turn is the other run's"


async def test_slots_of_exchanges_under_way_never_exceed_the_limit_over_two_workers(workers):
    stated = {"concurrency_max": 3}
    turnstiles = [workers(name, **stated)[1] for name in ("one", "two")]
    under_way, most = 0, 0

    async def exchange(number):
        nonlocal under_way, most
        turnstile = turnstiles[number % 2]
        permit = await permit_of(await turnstile.place("r", f"t{number}", asking()))
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        turnstile.answered(permit, Usage(input_tokens=1, output_tokens=1))

    await asyncio.wait_for(asyncio.gather(*(exchange(number) for number in range(60))), DEADLINE_S)
    assert most <= 3


async def test_who_leaves_its_place_takes_no_slot(workers):
    _, turnstile = workers(concurrency_max=1)
    permit = await permit_of(await turnstile.place("r", "a", asking()))
    leaving = await turnstile.place("r", "b", asking())
    assert await leaving.within(0.01) is None
    leaving.leave()
    staying = await turnstile.place("r", "c", asking())
    turnstile.give_back(permit)
    turnstile.give_back(permit)  # a permit comes back once
    permit = await permit_of(staying)
    last = await turnstile.place("r", "d", asking())
    assert await last.within(0.3) is None
    last.leave()


async def test_a_refusal_that_one_worker_met_makes_the_other_wait_too(workers):
    _, one = workers("one")
    limits, two = workers("two")
    refused = await permit_of(await one.place("r", "a", asking()))
    assert (await permit_of(await two.place("r", "b", asking()))).counted is False
    one.failed(refused, 0)
    await one.exceeded(refused, 3600.0, may_cut=True)  # believed for two minutes
    assert (await one.place("r", "a", asking())).ready.done() is False
    async with asyncio.timeout(DEADLINE_S):
        while (place := await two.place("r", "b", asking())).ready.done():
            await asyncio.sleep(0.02)
        while not (queues := await limits.queues([NAME])) or queues[0].waiting < 2:
            await asyncio.sleep(0.02)
    assert queues[0].why == "pause"
    assert queues[0].learned_per_min is not None
    assert place.ready.done() is False


async def test_what_an_answer_was_billed_makes_room_or_takes_it(workers):
    limits, turnstile = workers(terms=Terms(ahead_s=0.0, burst_s=0.0), tokens_per_min=600)
    permit = await permit_of(await turnstile.place("r", "a", asking()))
    assert permit.tokens > 600, "the estimate is more than a minute's worth"
    waiting = await turnstile.place("r", "b", asking())
    assert await waiting.within(0.2) is None
    async with asyncio.timeout(DEADLINE_S):
        while not (queues := await limits.queues([NAME])):
            await asyncio.sleep(0.02)
    assert queues[0].why == "tokens"
    turnstile.answered(permit, Usage(input_tokens=1, output_tokens=1))  # it was next to nothing
    await permit_of(waiting)


async def test_a_redis_that_is_away_is_waited_for(workers):
    limits, turnstile = workers(requests_per_min=6000)
    limits.away = 1
    await permit_of(await turnstile.place("r", "a", asking()))
    assert limits.questions >= 2
