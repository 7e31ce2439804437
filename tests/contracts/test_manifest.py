"""The manifest's promises, from a run's first row to a trial's last, on real Redis 7 and Valkey."""

import asyncio
from collections import Counter

import pytest

from salvo_core.identity import new_run_id
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim, Committed, Refusal
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import Row
from salvo_core.trace.model import Vote
from tests.contracts.manifest_runs import Run, check_counters, turn

pytestmark = pytest.mark.servers


# -- submission --------------------------------------------------------------------------------------


async def test_a_run_is_opened_once_and_the_second_time_left_as_it_is(manifest):
    run = Run(manifest, total=4, window=2)
    assert await run.open()
    assert not await Run(manifest, run.id, total=9).open()
    counts = await run.counts()
    assert (counts.total, counts.concurrency_max, counts.state) == (4, 2, "submitting")
    assert (counts.name, counts.cells, counts.seeded, counts.released) == ("refund desk", 2, 0, 0)
    assert counts.now_ms >= counts.created_ms > 0
    assert await manifest.open_runs() == await manifest.recent(5) == [run.id]


async def test_a_run_whose_opener_died_before_listing_it_is_listed_by_the_next(manifest):
    run = Run(manifest)
    await run.open()
    await manifest.redis.delete(keys.OPEN, keys.RUNS)
    assert not await run.open()
    assert await manifest.open_runs() == await manifest.recent(5) == [run.id]


async def test_opening_a_paused_or_a_sealed_run_again_does_not_put_it_back_to_be_looked_after(manifest):
    paused, sealed = await Run(manifest, total=1).ready(), await Run(manifest, total=1).ready()
    await manifest.pause(paused.id)
    await sealed.commit(await sealed.claimed())
    await manifest.sealed(sealed.id, "PASS", 0)
    await paused.open()
    await sealed.open()
    assert await manifest.open_runs() == []


async def test_rows_are_seeded_once_however_often_they_are_sent(manifest):
    run = Run(manifest)
    await run.open()
    assert await run.seed(0, 3) == 3
    assert await run.seed(1, 4) == 1
    assert await run.seed(0, 2) == 0
    assert await run.rows() == [Row(index, "pending", 0, run.trace_id(index)) for index in range(4)]
    await check_counters(run)


async def test_rows_are_read_window_by_window_and_those_that_were_never_seeded_are_left_out(manifest):
    run = await Run(manifest, total=2 * ROWS_PER_CALL + 1).ready_in_windows()
    await run.commit(await run.claimed(3))
    gone = [0, 7, ROWS_PER_CALL, 2 * ROWS_PER_CALL]
    await run.redis.hdel(keys.manifest(run.id), *map(str, gone))
    lines = await manifest.lines(run.id)
    assert list(lines) == [row async for row in manifest.rows(run.id)]
    assert list(lines.indices) == [index for index in range(run.total) if index not in gone]
    assert [row.index for row in lines.of_status("passed")] == [3]
    assert list(await manifest.lines(run.id, 6, 9)) == [lines[5], lines[6]]
    assert list(await manifest.lines(run.id, 0, 1)) == []


async def test_seeding_again_leaves_a_row_that_has_moved_on(run):
    claim = await run.claimed(1)
    await run.seed()
    assert (await run.row(1)).status == "running"
    await run.commit(claim)
    await run.seed()
    assert (await run.row(1)).status == "passed"


async def test_a_run_is_submitting_until_every_row_is_there(manifest):
    run = Run(manifest)
    await run.open()
    await run.seed(0, 3)
    assert await manifest.submitted(run.id) == "submitting"
    await run.seed(3, 4)
    assert await manifest.submitted(run.id) == "running"
    assert await manifest.submitted(run.id) == "running"


async def test_each_row_is_released_to_one_caller_only(manifest):
    run = Run(manifest, total=100)
    await run.open()
    await run.seed()
    ranges = await asyncio.gather(*(manifest.release(run.id, 7) for _ in range(20)))
    released = sorted(index for one in ranges for index in one)
    assert released == list(range(100))


async def test_only_rows_that_exist_are_released(manifest):
    run = Run(manifest)
    await run.open()
    assert await manifest.release(run.id, 10) == range(0)
    await run.seed(0, 3)
    assert await manifest.release(run.id, 10) == range(3)
    assert await manifest.release(run.id, 10) == range(3, 3)


async def test_a_window_lets_as_many_trials_out_as_have_ended(manifest):
    run = Run(manifest, total=6, window=2)
    await run.open()
    await run.seed()
    assert await manifest.release(run.id, 100) == range(2)
    await manifest.submitted(run.id)
    assert len(await manifest.release(run.id, 100)) == 0
    one, two = await run.claimed(0), await run.claimed(1)
    assert (await run.commit(one)).release == range(2, 3)
    assert (await run.commit(two)).release == range(3, 4)
    assert (await run.commit(await run.claimed(2))).release == range(4, 5)
    assert (await run.commit(await run.claimed(4))).release == range(5, 6)
    assert (await run.commit(await run.claimed(3))).release == range(6, 6)
    last = await run.commit(await run.claimed(5))
    assert last == Committed(won=True, run_finished=True, release=range(6, 6))


async def test_a_trial_that_is_given_back_keeps_its_place_in_the_window(manifest):
    run = await Run(manifest, total=6, window=2).ready()
    await manifest.give_back(await run.claimed(0))
    await run.lose(1)
    assert len(await manifest.release(run.id, 100)) == 0


async def test_nothing_is_released_of_a_paused_or_cancelled_run(manifest):
    run = await Run(manifest, total=6, window=2).ready()
    one, two = await run.claimed(0), await run.claimed(1)
    await manifest.pause(run.id)
    assert len((await run.commit(one)).release) == len(await manifest.release(run.id, 9)) == 0
    await manifest.unpause(run.id)
    assert await manifest.release(run.id, 9) == range(2, 3)
    await manifest.cancel(run.id)
    assert len((await run.commit(two)).release) == len(await manifest.release(run.id, 9)) == 0


async def test_one_key_reserves_one_run_id_however_many_ask_at_once(manifest):
    ids = [new_run_id() for _ in range(30)]
    got = await asyncio.gather(*(manifest.reserve("nightly-42", run_id) for run_id in ids))
    assert len(set(got)) == 1
    assert got[0] in ids
    assert await manifest.reserve("nightly-43", ids[0]) == ids[0]
    assert 0 < await manifest.redis.ttl(keys.submission("nightly-42")) <= 30 * 24 * 3600


# -- claims ------------------------------------------------------------------------------------------


async def test_a_pending_trial_is_claimed_and_its_row_says_by_whom(run):
    claim = await run.claimed(2, "host-1")
    assert claim == Claim(run.id, 2, run.trace_id(2), "host-1", 1, "run")
    assert await run.row(2) == Row(2, "running", 1, run.trace_id(2), worker="host-1")
    counts = await run.counts()
    assert counts.claims == 1
    assert counts.created_ms <= counts.started_ms <= counts.now_ms


async def test_what_cannot_be_claimed_says_why_and_changes_nothing(run):
    _, done = await run.claimed(0), await run.claimed(1)
    await run.commit(done)
    before = await run.rows()
    assert await run.claim(0, "w2") == Refusal("held")
    assert await run.claim(1) == Refusal("done")
    assert await run.claim(7) == Refusal("unknown")  # no such row
    assert await run.manifest.claim(run.id, 2, run.trace_id(3), "w", lease_s=9) == Refusal("unknown")
    assert await run.manifest.claim(new_run_id(), 2, run.trace_id(2), "w", lease_s=9) == Refusal("unknown")
    assert await run.rows() == before


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_a_worker_whose_claim_was_granted_without_its_knowing_asks_again_and_holds_the_trial(
    run, state
):
    unheard = await run.claimed(0)
    if state == "paused":
        assert await run.manifest.pause(run.id)
    claim = await run.claimed(0)
    assert (claim.attempt, claim.worker) == (2, unheard.worker)
    assert not (await run.commit(unheard)).won
    assert (await run.commit(claim)).won
    assert await run.redis.hgetall(keys.strikes(run.id)) == {}
    await check_counters(run)


async def test_of_many_who_claim_at_once_exactly_one_gets_the_trial(run):
    claims = await asyncio.gather(*(run.claim(0, f"w{number}") for number in range(64)))
    assert Counter(type(claim) for claim in claims) == {Claim: 1, Refusal: 63}
    assert {claim.reason for claim in claims if isinstance(claim, Refusal)} == {"held"}


async def test_many_claims_at_once_over_few_connections_wait_for_one_another(redis_flavour):
    manifest = Manifest(connect(redis_flavour, connections_max=2), redis_flavour)
    run = await Run(manifest, total=64).ready()
    claims = await asyncio.gather(*(run.claim(index) for index in range(64)))
    assert all(isinstance(claim, Claim) for claim in claims)
    await manifest.aclose()


async def test_a_lease_is_as_long_as_it_was_asked_for_by_the_servers_own_clock(run):
    await run.claimed(0, lease_s=12.5)
    seconds, micros = await run.redis.time()
    ends_ms = await run.redis.zscore(keys.leases(run.id), "0")
    left_ms = ends_ms - (seconds * 1000 + micros / 1000)
    assert 0 < left_ms <= 12_500


# -- the journal -------------------------------------------------------------------------------------


async def test_turns_are_kept_in_order_and_come_back_as_they_went(run):
    claim = await run.claimed()
    turns = [turn(0, cost_usd=0.1), turn(1), turn(2)]
    assert [await run.manifest.journal(claim, one) for one in turns] == ["running"] * 3
    assert list(await run.manifest.journaled(run.id, 0)) == turns
    assert await run.manifest.journaled(run.id, 1) == ()


async def test_a_turn_that_is_sent_twice_is_kept_once(run):
    # As happens when a connection breaks after the server did it and before it could say so.
    claim = await run.claimed()
    for one in (turn(0), turn(0), turn(1), turn(1)):
        assert await run.manifest.journal(claim, one)
    assert [one.index for one in await run.manifest.journaled(run.id, 0)] == [0, 1]


async def test_a_turn_whose_forerunner_was_lost_does_not_take_its_place(run):
    claim = await run.claimed()
    await run.manifest.journal(claim, turn(0))
    await run.manifest.journal(claim, turn(1))
    await run.redis.rpop(keys.journal(run.id, 0))  # a crash of Redis that took the last second
    assert await run.manifest.journal(claim, turn(2))
    assert [one.index for one in await run.manifest.journaled(run.id, 0)] == [0]


async def test_the_next_attempt_goes_on_with_the_journal_of_the_last(run):
    first = await run.claimed()
    await run.manifest.journal(first, turn(0))
    await run.manifest.give_back(first)
    second = await run.claimed(worker="w2")
    assert await run.manifest.journal(second, turn(1))
    assert not await run.manifest.journal(first, turn(1, model="of the dead"))
    assert [one.model for one in await run.manifest.journaled(run.id, 0)] == ["", ""]


async def test_the_journal_is_gone_with_the_end_of_its_trial(run):
    claim = await run.claimed()
    await run.manifest.journal(claim, turn(0))
    await run.commit(claim)
    assert await run.manifest.journaled(run.id, 0) == ()
    assert not await run.manifest.journal(claim, turn(1))


async def test_votes_are_kept_for_the_attempt_that_holds_the_trial_once_each_and_gone_with_its_end(run):
    first = await run.claimed()
    assert await run.manifest.vote(first, "q1", Vote(number=0, raw="first")) == "running"
    assert await run.manifest.vote(first, "q1", Vote(number=0, raw="again")) == "running"
    await run.manifest.give_back(first)
    second = await run.claimed(worker="w2")
    assert await run.manifest.vote(first, "q1", Vote(number=1, raw="of the dead")) is None
    await run.manifest.vote(second, "q2", Vote(number=1, raw="other"))
    found = await run.manifest.voted(run.id, 0)
    assert {name: vote.raw for name, vote in found.items()} == {("q1", 0): "first", ("q2", 1): "other"}
    await run.commit(second)
    assert await run.manifest.voted(run.id, 0) == {}
    assert not await run.redis.exists(keys.votes(run.id, 0))
    assert await run.manifest.vote(second, "q1", Vote(number=2)) is None


async def test_of_too_many_votes_the_rest_is_left_to_be_asked_for_again(run, monkeypatch):
    monkeypatch.setattr("salvo_core.manifest.live.VOTES_READ_MAX", 5)
    claim = await run.claimed()
    for number in range(9):
        await run.manifest.vote(claim, "q", Vote(number=number))
    assert len(await run.manifest.voted(run.id, 0)) == 5


# -- the end of a trial ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["passed", "failed", "hard_fail", "infra_error", "cancelled"])
async def test_a_commit_ends_the_trial_with_its_result(run, status):
    claim = await run.claimed(1)
    committed = await run.commit(claim, status)
    assert committed.won
    row = await run.row(1)
    assert (row.status, row.attempt, row.result.digest) == (status, 1, "d" * 64)
    assert (await run.counts()).per_cell[1].statuses[status] == 1


async def test_a_commit_that_is_sent_twice_is_counted_once(run):
    claim = await run.claimed()
    assert (await run.commit(claim)).won
    assert (await run.commit(claim)).won  # its first answer may have been lost: it did win
    assert not (await run.commit(claim, "failed")).won
    assert not (await run.commit(claim, score=0.9)).won
    counts = await run.counts()
    assert (counts.ended, counts.input_tokens, counts.cost_usd) == (1, 100, 0.01)
    assert (await run.row()).status == "passed"


@pytest.mark.parametrize("again", ["claimed by another", "claimed by the same", "pending", "ended"])
async def test_an_attempt_that_lost_its_trial_is_not_heard_any_more(run, again):
    stale = await run.lose(0)
    if again != "pending":
        claim = await run.claimed(0, "w1" if again == "claimed by the same" else "w2")
        if again == "ended":
            await run.commit(claim, "failed")
    before, counters = await run.rows(), await run.redis.hgetall(keys.counters(run.id))
    assert not (await run.commit(stale)).won
    assert not await run.manifest.journal(stale, turn(0))
    assert not await run.manifest.give_back(stale)
    if again == "pending":  # nobody has begun it since: see what renewing does to that one
        return
    assert (await run.manifest.renew("w1", [stale], lease_s=30))[run.id].lost == {0}
    assert await run.rows() == before
    assert await run.redis.hgetall(keys.counters(run.id)) == counters


async def test_a_last_commit_whose_answer_was_lost_still_tells_its_sender_to_seal(manifest):
    run = await Run(manifest, total=1).ready()
    claim = await run.claimed()
    assert (await run.commit(claim)).run_finished
    assert (await run.commit(claim)).run_finished
    assert await manifest.sealed(run.id, "PASS", 0)
    assert not (await run.commit(claim)).run_finished


async def test_the_last_row_finishes_the_run_exactly_once_whoever_ends_it(manifest):
    run = await Run(manifest, total=40).ready()
    claims = [await run.claimed(index) for index in range(40)]
    ended = await asyncio.gather(*(run.commit(claim) for claim in claims))
    assert sum(one.run_finished for one in ended) == 1
    counts = await run.counts()
    assert counts.state == "finished"
    assert counts.started_ms <= counts.finished_ms <= counts.now_ms
    await check_counters(run)


async def test_costs_add_up_exactly_over_ten_thousand_commits(manifest):
    run = await Run(manifest, total=10_000, cells=1).ready_in_windows()
    costs = [0.000001, 0.1, 0.333333, None]
    for start in range(0, 10_000, 500):
        claims = await asyncio.gather(*(run.claimed(index) for index in range(start, start + 500)))
        await asyncio.gather(*(run.commit(one, cost_usd=costs[one.index % 4]) for one in claims))
    counts = await run.counts()
    assert counts.cost_usd == 1083.3350  # 2500 x (0.000001 + 0.1 + 0.333333)
    assert (counts.cost_unknown, counts.ended) == (2500, 10_000)
    assert counts.per_cell[0].score_sum == 10_000.0
