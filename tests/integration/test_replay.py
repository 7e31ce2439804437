"""Recordings, read again: single trials and whole runs, from live and forgotten runs, whole and damaged."""

import pytest

from salvo_core.errors import ObjectNewer
from salvo_core.record import SCHEMA
from salvo_core.replay import (
    READS_AT_ONCE,
    NotReplayable,
    comparable,
    find,
    latest_recorded,
    replay_run,
    replay_trial,
)
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.trace import codec
from tests.integration.site import Site, loaded, order

pytestmark = pytest.mark.servers

BROKEN = {"turns": [{"error": {"kind": "permanent"}}]}


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def ran(site, **fields):
    plan = await site.submit(order(**fields))
    await site.work()
    return plan


async def key_of(site, plan, index):
    row = [row async for row in site.observer().rows(plan.run_id)][index]
    return keys.trace(plan.run_id, row.trace_id, row.attempt)


async def test_a_whole_run_folds_to_the_sealed_summary_live_and_after_redis_forgot_it(site):
    plan = await ran(
        site,
        trials=READS_AT_ONCE,
        scenarios=[loaded(), loaded("b.yaml", description="broken", script=BROKEN)],
    )
    sealed = await site.observer().summary(plan.run_id)
    assert sealed.counts["infra_error"] == READS_AT_ONCE
    replayed = await replay_run(plan.run_id, site.observer())
    assert (replayed.summary, replayed.traces, replayed.skipped) == (sealed, plan.total, ())
    await site.manifest.redis.flushall()
    assert (await replay_run(plan.run_id, site.observer())).summary == sealed


async def test_a_run_under_way_is_replayed_as_it_stands(site):
    plan = await site.submit(order(3))
    await site.work_one(site.bench())
    replayed = await replay_run(plan.run_id, site.observer())
    assert replayed.traces == 1
    assert replayed.summary == await site.observer().summary(plan.run_id)


async def test_recordings_that_cannot_be_read_are_named_and_skipped_only_on_demand(site):
    plan = await ran(site, trials=4)
    await site.store.delete(await key_of(site, plan, 1))
    await site.store.put(await key_of(site, plan, 3), b"nonsense")
    with pytest.raises(
        NotReplayable, match=r"2 of 4 recorded traces cannot be read: trial 1: .*; trial 3: "
    ) as no:
        await replay_run(plan.run_id, site.observer())
    assert "--allow-partial" in no.value.hint
    replayed = await replay_run(plan.run_id, site.observer(), allow_partial=True)
    assert [(one.index, one.trace_id) for one in replayed.skipped] == [(i, plan.trace_id(i)) for i in (1, 3)]
    assert (replayed.traces, replayed.summary.counts["passed"], replayed.summary.counts["skipped"]) == (
        2,
        2,
        2,
    )
    assert replayed.summary.verdict != "PASS"  # what is missing could have been anything


async def test_a_newer_recording_is_refused_whatever_is_allowed(site):
    plan = await ran(site, trials=2)
    newer, _ = codec.encode(SCHEMA.replace("/1", "/2"), {}, compress=True)
    await site.store.put(await key_of(site, plan, 1), newer)
    for asked in (
        replay_run(plan.run_id, site.observer(), allow_partial=True),
        replay_trial(plan.trace_id(1), site.observer()),
    ):
        with pytest.raises(NotReplayable, match="written by a newer Salvo") as refused:
            await asked
        assert not refused.value.skippable
        assert isinstance(refused.value.__cause__, ObjectNewer)
    assert (await replay_trial(plan.trace_id(0), site.observer())).status == "passed"


async def test_the_latest_recording_is_the_last_trial_of_the_newest_run_that_has_one(site):
    assert await latest_recorded(site.observer()) is None
    first = await ran(site, trials=3)
    waiting = await site.submit(order(2))
    await site.manifest.redis.zadd("salvo:runs", {first.run_id: 1, waiting.run_id: 2})
    assert await latest_recorded(site.observer()) == first.trace_id(2)
    await site.work_one(site.bench())
    assert await latest_recorded(site.observer()) == waiting.trace_id(0)


async def test_a_forgotten_runs_last_recording_is_found_in_the_store(site):
    plan = await ran(site, trials=2)
    await site.manifest.redis.flushall()
    assert await latest_recorded(site.observer()) == plan.trace_id(1)


async def test_a_word_means_a_run_before_it_means_a_trial(site):
    plan = await ran(site, trials=2)
    observer = site.observer()
    for word in ("latest", plan.run_id, plan.run_id[:8], f" {plan.run_id[:20].upper()} "):
        assert await find(word, observer) == ("run", plan.run_id)
    assert await find(plan.trace_id(1), observer) == ("trial", plan.trace_id(1))
    assert await find(plan.trace_id(1)[:28], observer) == ("trial", plan.trace_id(1))


@pytest.mark.parametrize("word", ["ffffffff", "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111", "../x", "*", "f" * 30])
async def test_a_word_that_means_nothing_is_not_replayable(site, word):
    await ran(site, trials=1)
    with pytest.raises(NotReplayable) as refused:
        await find(word, site.observer())
    assert refused.value.hint
    assert refused.value.skippable


async def test_a_trial_without_words_cannot_be_compared_and_one_with_them_brings_its_scenario(site):
    mute = await ran(site, trials=1, scenarios=[loaded(script=BROKEN)])
    trace = await replay_trial(mute.trace_id(0), site.observer())
    with pytest.raises(NotReplayable, match="never spoke"):
        await comparable(trace, site.observer())
    spoken = await ran(site, trials=1)
    trace = await replay_trial(spoken.trace_id(0), site.observer())
    assert (await comparable(trace, site.observer())).prompt == "Refund order A-1001."
