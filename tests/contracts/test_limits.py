"""One provider's limits, as every worker sees them: who is let through, who has to wait, and how long."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salvo_core.adapters.profile import Allowance
from salvo_core.fleet.limits import ProviderLimits, Terms
from salvo_core.manifest.connection import connect

pytestmark = pytest.mark.servers

NAME = "openai"
TERMS = Terms(ahead_s=0.0, burst_s=0.0, episode_s=0.0)
"""Without a moment ahead, what is granted is what may begin now."""


@pytest.fixture
async def redis(redis_flavour):
    made = connect(redis_flavour)
    yield made
    await made.aclose()


@pytest.fixture
def limits(redis):
    return ProviderLimits(redis, "here", TERMS)


def per_min(requests):
    return Allowance(requests_per_min=requests)


async def granted(limits, allowance, wanted, *, worker="one", **fields):
    """Return how many of so many exchanges of no tokens were let through."""
    return len((await limits.acquire(NAME, worker, allowance, [0] * wanted, **fields)).delays_s)


async def learned(limits):
    """Return the rate that refusals taught."""
    await limits.acquire(NAME, "watcher", Allowance(), [], waiting_else={"r": 1})
    queues = await limits.queues([NAME])
    await limits.leave(NAME, "watcher")
    return queues[0].learned_per_min if queues else None


async def test_without_a_limit_and_a_refusal_there_is_nothing_in_redis(limits, redis):
    grant = await limits.acquire(NAME, "one", Allowance(), [0] * 50)
    assert (len(grant.delays_s), grant.limited) == (50, False)
    assert not await limits.known(NAME)
    assert await redis.keys() == []


async def test_requests_are_let_through_one_interval_apart_whoever_asks(redis):
    fleet = [ProviderLimits(redis, "here", Terms(ahead_s=3600.0, burst_s=0.0)) for _ in range(2)]
    began_s, due_s = time.monotonic(), []
    for number in range(6):
        limits, worker = fleet[number % 2], f"w{number % 2}"
        now_s = time.monotonic() - began_s
        due_s.append(now_s + (await limits.acquire(NAME, worker, per_min(0.5), [0])).delays_s[0])
    # Two minutes apart; how long the questions themselves took is not known so exactly.
    assert due_s == pytest.approx([0, 120, 240, 360, 480, 600], abs=30)


async def test_who_has_to_wait_is_told_for_how_long(limits):
    assert await granted(limits, per_min(6), 1) == 1
    grant = await limits.acquire(NAME, "two", per_min(6), [0])
    assert (grant.delays_s, grant.why) == ((), "requests")
    assert 0 < grant.wait_s <= TERMS.poll_s_max


async def test_what_was_left_unused_is_caught_up_with_only_so_far(redis):
    limits = ProviderLimits(redis, "here", Terms(ahead_s=0.0, burst_s=0.5))
    # 60,000 a minute are 500 in half a second: however long nobody asked, no more come at once.
    assert 500 <= await granted(limits, per_min(60_000), 2000) < 1000


async def test_tokens_are_taken_by_estimate_and_settled_by_what_was_billed(limits):
    allowance = Allowance(tokens_per_min=60_000)  # a thousand a second
    assert len((await limits.acquire(NAME, "one", allowance, [30_000])).delays_s) == 1
    blocked = await limits.acquire(NAME, "one", allowance, [10])
    assert (blocked.delays_s, blocked.why) == ((), "tokens")
    freed = await limits.acquire(NAME, "one", allowance, [30_000], settled_tokens=-30_000)
    assert len(freed.delays_s) == 1
    more = await limits.acquire(NAME, "one", allowance, [10], settled_tokens=-29_000)
    assert len(more.delays_s) == 0, "a thousand are a second"


async def test_what_was_let_through_and_not_sent_is_there_for_the_next(limits):
    assert await granted(limits, per_min(6), 1) == 1
    assert await granted(limits, per_min(6), 1) == 0
    assert await granted(limits, per_min(6), 1, unused=1) == 1


async def test_slots_are_given_up_to_the_limit_and_come_back_with_what_a_worker_says(limits):
    most = Allowance(concurrency_max=3)
    assert await granted(limits, most, 2, worker="one") == 2
    assert await granted(limits, most, 2, worker="two") == 1
    assert await granted(limits, most, 1, worker="two", held=1) == 0
    assert await granted(limits, most, 0, worker="one", held=1) == 0
    assert await granted(limits, most, 2, worker="two", held=1) == 1


async def test_a_worker_that_falls_silent_holds_no_slot_and_waits_for_nothing(redis):
    limits = ProviderLimits(redis, "here", Terms(lease_s=0.2))
    most = Allowance(concurrency_max=1)
    assert await granted(limits, most, 1, worker="killed", waiting={"r": 5}) == 1
    async with asyncio.timeout(30):
        while not await granted(limits, most, 1, worker="two"):
            await asyncio.sleep(0.02)
    assert await limits.queues([NAME]) == []


async def test_a_worker_that_leaves_gives_its_slots_back_at_once(limits):
    most = Allowance(concurrency_max=1)
    assert await granted(limits, most, 1, worker="one") == 1
    await limits.leave(NAME, "one")
    assert await granted(limits, most, 1, worker="two") == 1


async def test_a_worker_with_few_trials_is_not_starved_by_one_with_many(limits):
    most = Allowance(concurrency_max=8)
    assert await granted(limits, most, 8, worker="many", waiting={"r": 100}) == 8
    assert await granted(limits, most, 4, worker="few", waiting={"s": 100}) == 0
    # Half the slots are the second worker's: the first gets none of the four that it gives back.
    assert await granted(limits, most, 4, worker="many", held=4, waiting={"r": 96}) == 0
    assert await granted(limits, most, 4, worker="few", waiting={"s": 100}) == 4
    assert await granted(limits, most, 1, worker="many", held=4, waiting={"r": 96}) == 0


async def test_one_slot_goes_round(limits):
    most = Allowance(concurrency_max=1)
    assert await granted(limits, most, 1, worker="one", waiting={"r": 9}) == 1
    assert await granted(limits, most, 1, worker="two", waiting={"r": 9}) == 0
    assert await granted(limits, most, 1, worker="one", waiting={"r": 9}) == 0, "it is the other's turn"
    assert await granted(limits, most, 1, worker="two", waiting={"r": 9}) == 1


async def exceeded(limits, *, worker="one", stated=None, age_s=0.0, answered=600.0, **fields):
    return await limits.exceeded(
        NAME, worker, Allowance(requests_per_min=stated), age_s=age_s, answered_per_min=answered, **fields
    )


async def test_retry_after_is_waited_out_by_workers_that_never_saw_it(limits):
    assert await exceeded(limits, retry_after_s=30.0)
    for worker in ("one", "two"):
        grant = await limits.acquire(NAME, worker, Allowance(), [0])
        assert (grant.delays_s, grant.why) == ((), "pause")
    assert await limits.known(NAME)
    await limits.acquire(NAME, "two", Allowance(), [0], waiting={"r": 1})
    (queue,) = await limits.queues([NAME])
    assert 0 < queue.pause_s <= 30


async def test_a_shorter_retry_after_ends_no_longer_pause_and_a_silly_one_is_not_believed(limits):
    await exceeded(limits, retry_after_s=1e9)
    await exceeded(limits, retry_after_s=0.01)
    await limits.acquire(NAME, "one", Allowance(), [0], waiting={"r": 1})
    (queue,) = await limits.queues([NAME])
    assert 60 < queue.pause_s <= TERMS.pause_s_max


async def test_one_episode_cuts_a_stated_rate_once_however_many_workers_are_refused(limits):
    cuts = [
        await exceeded(limits, worker=f"w{number % 4}", stated=1000, age_s=number * 10.0)
        for number in range(20)
    ]
    assert cuts == [True] + [False] * 19
    assert await learned(limits) == pytest.approx(800)


async def test_a_refusal_of_what_was_let_through_after_the_cut_cuts_again(limits):
    assert await exceeded(limits, stated=1000)
    assert await exceeded(limits, stated=1000)
    assert await learned(limits) == pytest.approx(640)


async def test_a_refusal_so_soon_after_a_cut_that_the_provider_had_not_felt_it_cuts_nothing(redis):
    limits = ProviderLimits(redis, "here", Terms(episode_s=600.0))
    assert await exceeded(limits, stated=1000)
    assert not await exceeded(limits, stated=1000)
    assert await learned(limits) == pytest.approx(800)


async def test_no_cut_goes_below_a_tenth_of_what_is_stated(limits):
    for _ in range(40):
        await exceeded(limits, stated=100)
    assert await learned(limits) == pytest.approx(10)


async def test_the_first_rate_is_made_of_what_the_whole_fleet_had_answered(limits):
    assert await exceeded(limits, worker="one", answered=600)
    assert not await exceeded(limits, worker="two", age_s=60, answered=400)
    assert not await exceeded(limits, worker="two", age_s=60, answered=400)
    assert await learned(limits) == pytest.approx(800)


async def test_a_rate_that_was_guessed_of_no_answer_is_at_what_is_usual_within_ten_seconds(redis):
    limits = ProviderLimits(redis, "here", Terms(ahead_s=0.05, burst_s=0.0, pause_s=0.001))
    assert await exceeded(limits, answered=0), "a refusal comes back sooner than the first answer"
    assert await learned(limits) == pytest.approx(30, rel=0.1)
    for _ in range(10):
        await limits.acquire(NAME, "one", Allowance(), [0] * 50)
        await redis.hincrby(f"salvo:limit:{{{NAME}}}", "grown_us", -1_000_000)  # a second has gone by
    await limits.acquire(NAME, "one", Allowance(), [0])
    assert await learned(limits) > 1200


async def test_a_guess_halves_and_becomes_what_was_answered_where_it_is_refused_as_soon_as_it_is_tried(redis):
    key = f"salvo:limit:{{{NAME}}}"
    limits = ProviderLimits(redis, "here", Terms(ahead_s=60.0, burst_s=0.0, episode_s=0.0, pause_s=0.001))
    assert await exceeded(limits, answered=6000)
    assert await exceeded(limits)
    assert await learned(limits) == pytest.approx(6000 * 0.8 / 2, rel=0.05)
    assert await granted(limits, Allowance(), 200) == 200
    await redis.hincrby(key, "cut_us", -10_000_000)  # it took ten seconds
    assert await exceeded(limits)
    assert await learned(limits) == pytest.approx(199 * 6, rel=0.05)


async def test_a_guess_that_stood_a_while_is_cut_like_any_other_rate(limits, redis):
    assert await exceeded(limits, answered=6000)
    assert await exceeded(limits)
    for left in (0.8, 0.8 * 0.8):
        await redis.hset(f"salvo:limit:{{{NAME}}}", mapping={"cut_us": 1, "pause_us": 1})
        assert await exceeded(limits)
        assert await learned(limits) == pytest.approx(6000 * 0.8 / 2 * left, rel=0.05)


async def test_a_probe_that_is_refused_makes_all_wait_and_cuts_nothing(limits):
    assert not await exceeded(limits, stated=1000, may_cut=False)
    assert await learned(limits) is None
    assert (await limits.acquire(NAME, "one", per_min(1000), [0])).why == "pause"


async def test_a_rate_that_was_cut_grows_while_trials_wait_until_it_is_the_stated_one(redis):
    limits = ProviderLimits(redis, "here", Terms(ahead_s=0.05, burst_s=0.0, pause_s=0.05, growth=2.0))
    await exceeded(limits, stated=6000)
    async with asyncio.timeout(30):
        while await learned(limits) is not None:
            await limits.acquire(NAME, "one", per_min(6000), [0] * 50)
            await asyncio.sleep(0.01)


async def test_a_rate_that_nobody_asks_for_does_not_grow(limits):
    await exceeded(limits, stated=1000, retry_after_s=0.05)
    before = await learned(limits)
    await asyncio.sleep(0.3)
    assert await learned(limits) == before


async def test_queues_say_who_waits_for_what(limits):
    await limits.acquire(NAME, "one", per_min(6), [0] * 3, waiting={"r": 3}, waiting_else={})
    await limits.acquire(NAME, "two", per_min(6), [0], waiting={"r": 2, "s": 4}, waiting_else={"r": 2})
    (queue,) = await limits.queues([NAME, "anthropic"])
    assert (queue.provider, queue.waiting, queue.runs) == (NAME, 9, {"r": 5, "s": 4})
    assert (queue.why, queue.requests_per_min, queue.tokens_per_min) == ("requests", 6, None)


class _Model:
    """The same limits, in words of one process."""

    def __init__(self, most):
        self.most = most
        self.held = {"a": 0, "b": 0, "c": 0}

    def free(self):
        return self.most - sum(self.held.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    most=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 4)), max_size=20),
)
async def test_whatever_workers_do_no_slot_is_given_twice_and_none_is_withheld(redis, most, steps):
    await redis.flushdb()
    limits, model = ProviderLimits(redis, "here"), _Model(most)
    for worker, finished, wanted in steps:
        model.held[worker] -= min(finished, model.held[worker])
        got = await granted(
            limits, Allowance(concurrency_max=most), wanted, worker=worker, held=model.held[worker]
        )
        # Nobody says that it waits, so nobody has to leave room to others.
        assert got == min(wanted, model.free())
        model.held[worker] += got


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.integers(60, 100_000),
    batches=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 3)), max_size=12),
)
async def test_whatever_workers_ask_the_fleet_is_let_through_no_faster_than_its_rate(redis, rate, batches):
    await redis.flushdb()
    limits = ProviderLimits(redis, "here", Terms(ahead_s=0.2, burst_s=0.1))
    began_s, given_out = time.monotonic(), 0
    for worker, wanted, given_back in batches:
        unused = min(given_back, given_out)
        given_out += await granted(limits, per_min(rate), wanted, worker=worker, unused=unused) - unused
    took_s = time.monotonic() - began_s
    assert given_out <= 1 + (took_s + 0.2 + 0.1) * rate / 60
