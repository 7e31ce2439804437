"""One provider's breaker, as every worker sees it: what opens it, who probes, what closes it."""

from __future__ import annotations

import asyncio

import pytest

from salvo_core.adapters.profile import BreakerTerms
from salvo_core.fleet.breaker import Breakers, Wait
from salvo_core.manifest.connection import connect

pytestmark = pytest.mark.servers

TERMS = BreakerTerms(failures=6, trials=3, wait_first_s=0.05, wait_s_max=0.2, probe_s=0.3)
NAME = "openai"


def worker(redis, url, terms=TERMS):
    return Breakers(redis, url, lambda _: terms, leave_s=0.3)


@pytest.fixture
async def fleet(redis_url):
    """Two workers' views of the same breakers."""
    redis = connect(redis_url)
    await redis.delete(f"salvo:breaker:{{{NAME}}}")
    yield worker(redis, redis_url), worker(redis, redis_url)
    await redis.aclose()


async def fail(breakers, times, *, trials=("a", "b", "c"), kind="transient", **fields):
    state = "closed"
    for number in range(times):
        who = trials[number % len(trials)]
        state = await breakers.failed(NAME, who, kind, "answered 503", **fields)
    return state


async def until_probe(breakers, who):
    """Return once who was let through as a probe."""
    async with asyncio.timeout(5):
        while await breakers.enter(NAME, who) != "probe":
            await asyncio.sleep(0.01)


async def test_a_streak_over_the_fleet_opens_it_and_nobody_is_let_through(fleet):
    one, two = fleet
    await fail(one, 3)
    assert await one.enter(NAME, "a") == "go"
    assert await fail(two, 3) == "open"
    for breakers in fleet:
        wait = await breakers.enter(NAME, "d")
        assert isinstance(wait, Wait)
        assert (wait.state, wait.kind, wait.reason) == ("open", "transient", "answered 503")
    (trouble,) = await two.troubles()
    assert (trouble.provider, trouble.state, trouble.kind) == (NAME, "open", "transient")
    assert await one.troubles(["anthropic"]) == []


async def test_a_success_in_between_begins_the_streak_again(fleet):
    one, two = fleet
    await fail(one, 5)
    await two.enter(NAME, "d")
    await two.worked(NAME, "d")
    assert await fail(one, 5) == "closed"


async def test_failures_of_several_kinds_are_no_streak(fleet):
    one, _ = fleet
    for _ in range(10):
        assert await fail(one, 1) == "closed"
        assert await fail(one, 1, kind="rate_limited") == "closed"


async def test_one_trial_that_always_fails_is_its_own_trouble_and_opens_nothing(fleet):
    one, _ = fleet
    assert await fail(one, 50, trials=("a",)) == "closed"
    assert await fail(one, 50, trials=("a", "b")) == "closed"
    assert await one.enter(NAME, "c") == "go"


async def test_one_refused_key_opens_it_at_once(fleet):
    one, two = fleet
    assert await one.failed(NAME, "a", "authentication", "key revoked", at_once=True) == "open"
    wait = await two.enter(NAME, "b")
    assert (wait.kind, wait.reason) == ("authentication", "key revoked")


async def test_one_at_a_time_probes_and_its_success_closes(fleet):
    one, two = fleet
    await fail(one, 6)
    await asyncio.sleep(0.06)
    let_through = await asyncio.gather(*(fleet[n % 2].enter(NAME, f"t{n}") for n in range(20)))
    assert let_through.count("probe") == 1
    assert all(isinstance(leave, Wait) for leave in let_through if leave != "probe")
    prober = f"t{let_through.index('probe')}"
    await two.worked(NAME, "a")  # sent before it opened: says nothing about now
    assert isinstance(await two.enter(NAME, "z"), Wait)
    await one.worked(NAME, prober, probe=True)
    assert await two.enter(NAME, "z") == "go"
    assert await two.troubles() == []


async def test_probes_that_fail_are_made_ever_more_seldom_up_to_a_cap(fleet):
    one, _ = fleet
    await fail(one, 6)
    waits = []
    for number in range(5):
        await until_probe(one, f"t{number}")
        assert await fail(one, 1, trials=(f"t{number}",), probe=True) == "open"
        waits.append((await one.enter(NAME, "z")).due_s)
    assert waits[0] == pytest.approx(0.1, abs=0.03)
    assert waits[-1] == pytest.approx(0.2, abs=0.03)


async def test_who_probed_in_vain_leaves_the_next_probe_to_others_for_a_while(fleet):
    one, _ = fleet
    await fail(one, 6)
    await until_probe(one, "poisoned")
    await fail(one, 1, trials=("poisoned",), probe=True)
    await asyncio.sleep(0.12)
    assert isinstance(await one.enter(NAME, "poisoned"), Wait)
    assert await one.enter(NAME, "other") == "probe"


async def test_a_prober_that_dies_is_replaced(fleet):
    one, two = fleet
    await fail(one, 6)
    await until_probe(one, "dying")
    assert isinstance(await two.enter(NAME, "b"), Wait)
    await until_probe(two, "b")
    await one.worked(NAME, "dying", probe=True)  # late: it is somebody else's turn to say
    assert isinstance(await two.enter(NAME, "c"), Wait)
    await two.leave(NAME, "b")
    assert await one.enter(NAME, "c") == "probe"


async def test_somebody_who_mended_it_lets_the_next_probe_go_at_once(redis_url, fleet):
    one, _ = fleet
    patient = Breakers(connect(redis_url), redis_url)
    await patient.failed(NAME, "a", "authentication", "key revoked", at_once=True)
    for _ in range(3):
        await until_probe(patient, "a")
        await patient.failed(NAME, "a", "authentication", "key revoked", at_once=True, probe=True)
        await patient.mended([NAME])
    assert await one.enter(NAME, "a") == "probe"


async def test_each_worker_judges_a_provider_by_its_own_terms(redis_url):
    redis = connect(redis_url)
    await redis.delete(f"salvo:breaker:{{{NAME}}}")
    strict = worker(redis, redis_url, BreakerTerms(failures=2, trials=1, wait_first_s=7, wait_s_max=9))
    patient = worker(redis, redis_url, BreakerTerms(failures=50))
    assert await fail(patient, 10) == "closed"
    assert await fail(strict, 1) == "open"  # it would have opened long since
    assert 6 < (await patient.enter(NAME, "z")).due_s <= 7
    await redis.aclose()


async def test_a_worker_that_saw_no_trouble_hears_in_a_moment_of_a_breaker_that_others_opened(fleet):
    one, two = fleet
    assert await one.enter(NAME, "a") == "go"
    assert await fail(two, 6) == "open"
    async with asyncio.timeout(5):
        while not isinstance(await one.enter(NAME, "b"), Wait):
            await asyncio.sleep(0.01)


async def test_a_worker_whose_own_exchanges_fail_looks_at_once(fleet):
    one, _ = fleet
    assert await one.enter(NAME, "a") == "go"
    assert await fail(one, 6) == "open"
    assert isinstance(await one.enter(NAME, "b"), Wait)


async def test_that_there_is_no_trouble_is_asked_once_for_all_trials(fleet, redis_url):
    redis = connect(redis_url)
    calm = Breakers(redis, redis_url, look_s=60)
    assert await calm.enter(NAME, "a") == "go"
    before = (await redis.info("commandstats"))["cmdstat_hget"]["calls"]
    assert [await calm.enter(NAME, str(trial)) for trial in range(9)] == ["go"] * 9
    assert (await redis.info("commandstats"))["cmdstat_hget"]["calls"] == before
    await redis.aclose()
