"""Corrections of a manifest: each is heard only while what its caller read is still so."""

import asyncio

import pytest

from salvo_core.manifest import keys
from salvo_core.manifest.live import Refusal
from salvo_core.manifest.repairs import Repairs, Restatement
from salvo_core.manifest.rows import Row
from tests.contracts.manifest_runs import Run, check_counters, result, turn

pytestmark = pytest.mark.servers


@pytest.fixture
def repairs(manifest):
    return Repairs(manifest)


async def line_of(run, index):
    return await run.redis.hget(keys.manifest(run.id), index)


async def ended(run, *indices, status="passed"):
    for index in indices:
        await run.commit(await run.claimed(index), status)


def passed(run, index, attempt=1, **fields):
    return Row(index, "passed", attempt, run.trace_id(index), result=result(**fields))


async def restatement(run, index, after):
    line = await line_of(run, index) or ""
    return Restatement(index, line, Row.decode(index, line) if line else None, after)


async def test_a_row_is_put_in_the_place_of_another_and_the_counters_follow(run, repairs):
    await ended(run, 0, 1)
    change = await restatement(run, 0, passed(run, 0, attempt=3, score=0.9, input_tokens=1))
    for _ in range(2):  # sent twice is as good as once
        assert await repairs.restate(run.id, [change], run.cells) == 1
        await check_counters(run)
    assert (await run.row(0)).result.score == 0.9


async def test_a_row_that_has_changed_since_it_was_read_stays(run, repairs):
    await ended(run, 0)
    change = await restatement(run, 0, passed(run, 0, attempt=2))
    other = await restatement(run, 0, passed(run, 0, attempt=5))
    assert await repairs.restate(run.id, [other], run.cells) == 1
    assert await repairs.restate(run.id, [change], run.cells) == 0
    assert (await run.row(0)).attempt == 5


async def test_a_run_whose_ended_row_waits_again_is_not_over_any_more(run, repairs, manifest):
    await ended(run, 0, 1, 2, 3)
    await manifest.sealed(run.id, "PASS", 0)
    again = await restatement(run, 2, Row(2, "pending", 1, run.trace_id(2)))
    await repairs.restate(run.id, [again], run.cells)
    counts = await run.counts()
    assert (counts.state, counts.verdict, counts.finished_ms, counts.ended) == ("running", None, None, 3)
    assert await run.redis.pttl(keys.manifest(run.id)) == -1
    assert (await run.claimed(2)).attempt == 2
    assert isinstance(await run.claim(3), Refusal)
    await repairs.tidy(run.id, 3)


async def test_a_row_that_ends_by_correction_takes_lease_strikes_and_journal_with_it(run, repairs, manifest):
    await run.lose(0)
    claim = await run.claimed(0)
    await manifest.journal(claim, turn(0))
    await repairs.restate(run.id, [await restatement(run, 0, passed(run, 0))], run.cells)
    assert not await run.redis.exists(keys.leases(run.id), keys.strikes(run.id), keys.journal(run.id, 0))
    assert not (await run.commit(claim)).won


async def test_the_last_row_that_is_restored_finishes_the_run(run, repairs):
    await ended(run, 0, 1, 2)
    await repairs.restate(run.id, [await restatement(run, 3, passed(run, 3))], run.cells)
    assert await run.state() == "finished"


async def test_rows_of_a_run_without_a_header_are_restored_once_and_keep_workers_out(manifest, repairs):
    run = Run(manifest)
    rows = [Restatement(index, "", None, passed(run, index)) for index in (0, 2, 3)]
    await asyncio.gather(*(repairs.restate(run.id, rows, run.cells) for _ in range(3)))
    assert (await run.claim(1)) == Refusal("unknown")
    await run.open()
    await run.seed()
    assert await manifest.submitted(run.id) == "running"
    await check_counters(run)
    await ended(run, 1)
    assert await run.state() == "finished"
    await check_counters(run)


async def test_a_run_of_which_every_row_was_restored_is_finished_once_it_is_submitted(manifest, repairs):
    run = Run(manifest)
    rows = [Restatement(index, "", None, passed(run, index)) for index in range(run.total)]
    await repairs.restate(run.id, rows, run.cells)
    await run.open()
    await run.seed()
    assert await manifest.submitted(run.id) == "finished"
    await check_counters(run)


async def test_counters_are_put_right_only_while_nothing_happens(run, repairs):
    await ended(run, 0)
    right = await repairs.counters(run.id)
    await run.redis.hincrby(keys.counters(run.id), "output_tokens", 5)
    await run.redis.hset(keys.counters(run.id), "cell:0:skipped", 2)
    read = await repairs.counters(run.id)
    await ended(run, 1)
    assert not await repairs.recount(run.id, read, right)
    read = await repairs.counters(run.id)
    true = dict(read) | {"output_tokens": read["output_tokens"] - 5}
    del true["cell:0:skipped"]
    assert await repairs.recount(run.id, read, true)
    await check_counters(run)
    assert (await run.counts()).claims == 2


async def test_tidying_leaves_what_unfinished_trials_need(run, repairs, manifest):
    claim = await run.claimed(0)
    await manifest.journal(claim, turn(0))
    await run.lose(1)
    assert not await repairs.tidy(run.id, 0)
    assert not await repairs.tidy(run.id, 1)
    assert await run.redis.hgetall(keys.strikes(run.id)) == {"1": "1"}
    assert await manifest.journaled(run.id, 0) == (turn(0),)


# -- a Redis that forgot ---------------------------------------------------------------------------


async def test_a_trial_is_given_back_to_who_held_it_with_its_turns(run, repairs, manifest):
    claim = await run.claimed(0)
    turns = [turn(0), turn(1)]
    await run.redis.flushall()
    assert await repairs.reseat(claim, turns, lease_s=30) is None
    await run.ready()
    for _ in range(2):
        assert await repairs.reseat(claim, turns, lease_s=30) is True
    assert await manifest.journaled(run.id, 0) == tuple(turns)
    assert await manifest.journal(claim, turn(2)) == "running"
    assert isinstance(await run.claim(0, "w2"), Refusal)
    await check_counters(run)
    assert (await run.commit(claim)).won


async def test_a_trial_that_somebody_has_begun_since_is_not_given_back(run, repairs):
    claim = await run.claimed(0)
    await run.redis.flushall()
    await run.ready()
    await run.claimed(0, "w2")
    assert await repairs.reseat(claim, [turn(0)], lease_s=30) is False


async def test_a_trial_that_was_taken_back_for_silence_is_not_given_back(run, repairs):
    claim = await run.lose(0)
    assert await repairs.reseat(claim, [], lease_s=30) is False
    await ended(run, 0)
    assert await repairs.reseat(claim, [], lease_s=30) is False
