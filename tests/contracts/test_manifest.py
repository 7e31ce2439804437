"""The manifest's promises, transition by transition, on real Redis 7 and Valkey."""

import asyncio
from collections import Counter

import pytest

from salvo_core.errors import NotFound
from salvo_core.identity import new_run_id
from salvo_core.manifest import keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Claim, Committed, Manifest, Refusal
from salvo_core.manifest.rows import Row
from tests.contracts.manifest_runs import Run, check_counters, result, turn

pytestmark = pytest.mark.servers


@pytest.fixture
async def manifest(redis_flavour):
    made = Manifest(connect(redis_flavour), redis_flavour)
    yield made
    await made.aclose()


@pytest.fixture
async def run(manifest):
    """A run of four trials in two cells, seeded and released; checked again when its test is over."""
    made = await Run(manifest).ready()
    yield made
    await check_counters(made)


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
    held, done = await run.claimed(0), await run.claimed(1)
    await run.commit(done)
    before = await run.rows()
    assert await run.claim(0, "w2") == Refusal("held")
    assert await run.claim(0, held.worker) == Refusal("held")
    assert await run.claim(1) == Refusal("done")
    assert await run.claim(7) == Refusal("unknown")  # no such row
    assert await run.manifest.claim(run.id, 2, run.trace_id(3), "w", lease_s=9) == Refusal("unknown")
    assert await run.manifest.claim(new_run_id(), 2, run.trace_id(2), "w", lease_s=9) == Refusal("unknown")
    assert await run.rows() == before


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
    assert not (await run.commit(claim)).won
    assert not (await run.commit(claim, "failed")).won
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
    assert (await run.manifest.renew("w1", [stale], lease_s=30))[run.id].lost == {0}
    assert await run.rows() == before
    assert await run.redis.hgetall(keys.counters(run.id)) == counters


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


# -- giving back, leases, strikes -------------------------------------------------------------------


async def test_a_trial_that_is_given_back_can_be_claimed_at_once_and_counts_no_strike(run):
    for attempt in range(1, 6):
        claim = await run.claimed(worker=f"w{attempt}")
        assert (claim.attempt, claim.purpose) == (attempt, "run")
        assert await run.manifest.give_back(claim)
        assert not await run.manifest.give_back(claim)
    assert await run.row() == Row(0, "pending", 5, run.trace_id(0))


async def test_renewing_prolongs_what_is_held_and_says_what_is_not(run):
    mine = [await run.claimed(0), await run.claimed(1)]
    lost = await run.lose(2)
    theirs = await run.claimed(3, "w2")
    stolen = Claim(run.id, 3, run.trace_id(3), "w1", theirs.attempt, "run")
    await run.silence(0, 1)
    renewals = await run.manifest.renew("w1", [*mine, lost, stolen], lease_s=30)
    assert renewals[run.id].state == "running"
    assert renewals[run.id].lost == {2, 3}
    assert await run.manifest.expire(run.id) == []


async def test_renewing_many_runs_takes_one_call_and_each_tells_its_own_state(manifest):
    runs = [await Run(manifest).ready() for _ in range(3)]
    claims = [await run.claimed() for run in runs]
    await manifest.cancel(runs[1].id)
    gone = Claim(new_run_id(), 0, runs[0].trace_id(0), "w1", 1, "run")
    renewals = await manifest.renew("w1", [*claims, gone], lease_s=30)
    assert [renewals[run.id].state for run in runs] == ["running", "cancelling", "running"]
    assert renewals[gone.run_id].state == "unknown"
    assert renewals[gone.run_id].lost == {0}
    assert await manifest.renew("w1", [], lease_s=30) == {}


async def test_a_silent_workers_trials_are_pending_again_and_each_has_a_strike(run):
    for index in range(3):
        await run.claimed(index)
    await run.silence(0, 2)
    assert sorted(await run.manifest.expire(run.id)) == [0, 2]
    assert await run.manifest.expire(run.id) == []
    assert [row.status for row in await run.rows()] == ["pending", "running", "pending", "pending"]
    assert (await run.counts()).expired == 2
    assert await run.redis.hgetall(keys.strikes(run.id)) == {"0": "1", "2": "1"}


async def test_expiry_takes_no_more_at_once_than_it_is_told(run):
    for index in range(4):
        await run.claimed(index)
    await run.silence(0, 1, 2, 3)
    assert len(await run.manifest.expire(run.id, 3)) == 3
    assert len(await run.manifest.expire(run.id, 3)) == 1


async def test_a_trial_that_lost_too_many_workers_is_claimed_only_to_be_closed(run):
    await run.lose(0)
    await run.manifest.give_back(await run.claimed(0))  # no strike
    await run.lose(0)
    claim = await run.claimed(0)
    assert (claim.attempt, claim.purpose) == (4, "close_lost")
    assert (await run.commit(claim, "infra_error", score=None)).won
    assert await run.redis.hgetall(keys.strikes(run.id)) == {}


# -- cancelling, pausing, sealing --------------------------------------------------------------------


async def test_cancelling_ends_what_never_began_and_leaves_the_rest_to_a_worker(run):
    running, given_back = await run.claimed(0), await run.claimed(1)
    await run.manifest.give_back(given_back)
    assert await run.manifest.cancel(run.id) == (True, "cancelling")
    assert await run.manifest.cancel(run.id) == (False, "cancelling")
    assert await run.manifest.cancel_rows(run.id, 0, 4) == (2, False)
    assert await run.manifest.cancel_rows(run.id, 0, 4) == (0, False)
    assert [row.status for row in await run.rows()] == ["running", "pending", "cancelled", "cancelled"]
    closing = await run.claimed(1)
    assert (closing.purpose, closing.attempt) == ("close_cancelled", 2)
    assert not (await run.commit(closing, "cancelled")).run_finished
    assert (await run.commit(running)).run_finished
    assert await run.state() == "finished"


async def test_a_message_of_a_cancelled_run_ends_its_row_by_itself(run):
    await run.manifest.cancel(run.id)
    refusals = [await run.claim(index) for index in range(4)]
    assert refusals == [Refusal("cancelled")] * 3 + [Refusal("cancelled", run_finished=True)]
    assert await run.state() == "finished"
    assert (await run.row(3)).attempt == 0


async def test_cancelling_rows_can_finish_the_run(run):
    await run.manifest.cancel(run.id)
    assert await run.manifest.cancel_rows(run.id, 0, 3) == (3, False)
    assert await run.manifest.cancel_rows(run.id, 3, 4) == (1, True)
    assert await run.state() == "finished"


async def test_rows_of_a_run_that_is_not_cancelled_are_not_cancelled(run):
    assert await run.manifest.cancel_rows(run.id, 0, 4) == (0, False)


async def test_a_run_that_is_over_or_unknown_cannot_be_cancelled_or_paused(run):
    for index in range(4):
        await run.commit(await run.claimed(index))
    assert await run.manifest.cancel(run.id) == (False, "finished")
    assert not await run.manifest.pause(run.id)
    assert await run.manifest.cancel(new_run_id()) == (False, "unknown")
    assert not await run.manifest.pause(new_run_id())


async def test_a_paused_run_begins_no_trial_lets_its_own_end_and_goes_on_where_it_stood(run):
    held = await run.claimed(0)
    assert await run.manifest.pause(run.id)
    assert not await run.manifest.pause(run.id)
    assert await run.claim(1) == Refusal("paused")
    assert await run.manifest.open_runs() == []
    assert (await run.commit(held)).won
    assert await run.manifest.unpause(run.id)
    assert not await run.manifest.unpause(run.id)
    assert await run.state() == "running"
    assert await run.manifest.open_runs() == [run.id]
    assert isinstance(await run.claim(1), Claim)


async def test_a_run_paused_while_it_is_submitted_goes_on_being_submitted(manifest):
    run = Run(manifest)
    await run.open()
    await run.seed(0, 2)
    await manifest.pause(run.id)
    await manifest.submitted(run.id)
    assert await run.state() == "paused"
    await manifest.unpause(run.id)
    assert await run.state() == "submitting"


async def test_a_paused_run_whose_last_trial_ends_is_finished(manifest):
    run = await Run(manifest, total=1).ready()
    claim = await run.claimed()
    await manifest.pause(run.id)
    assert (await run.commit(claim)).run_finished
    assert await run.state() == "finished"


async def test_only_a_finished_run_is_sealed_and_then_its_keys_expire(manifest):
    run = await Run(manifest, total=2).ready()
    assert not await manifest.sealed(run.id, "PASS", 0)
    await run.lose(0)
    for index in range(2):
        await run.commit(await run.claimed(index))
    assert await manifest.sealed(run.id, "PARTIAL", 1)
    assert await manifest.sealed(run.id, "PARTIAL", 1)
    counts = await run.counts()
    assert (counts.state, counts.verdict, counts.exit_code) == ("sealed", "PARTIAL", 1)
    assert await manifest.open_runs() == []
    assert await manifest.recent(9) == [run.id]
    for key in await manifest.redis.keys(f"salvo:*{run.id}*"):
        assert 0 < await manifest.redis.pttl(key) <= 7 * 24 * 3600 * 1000
    assert not await manifest.sealed(new_run_id(), "PASS", 0)


async def test_a_run_taken_off_the_list_is_not_looked_after(run):
    await run.manifest.closed(run.id)
    assert await run.manifest.open_runs() == []


# -- reading -----------------------------------------------------------------------------------------


async def test_a_run_that_redis_does_not_know_is_not_found(manifest):
    with pytest.raises(NotFound, match="knows no run"):
        await manifest.counts(new_run_id())
    assert [row async for row in manifest.rows(new_run_id())] == []


async def test_rows_come_in_order_whole_or_in_part(manifest):
    run = await Run(manifest, total=2500).ready_in_windows()
    assert [row.index async for row in manifest.rows(run.id)] == list(range(2500))
    assert [row.index async for row in manifest.rows(run.id, 998, 1003)] == [998, 999, 1000, 1001, 1002]


async def test_the_newest_runs_come_first_and_the_open_ones_oldest_first(manifest):
    runs = []
    for number in range(5):
        run = Run(manifest)
        await run.open()
        await manifest.redis.zadd(keys.RUNS, {run.id: number})
        await manifest.redis.zadd(keys.OPEN, {run.id: number})
        runs.append(run.id)
    assert await manifest.recent(3) == runs[:1:-1]
    assert await manifest.recent(100) == runs[::-1]
    assert await manifest.open_runs() == runs


async def test_only_the_newest_runs_are_listed(manifest, monkeypatch):
    monkeypatch.setattr(keys, "RUNS_KEPT", 3)
    for number in range(5):
        run = Run(manifest)
        await manifest.redis.zadd(keys.RUNS, {run.id: number})
    last = Run(manifest)
    await last.open()
    recent = await manifest.recent(100)
    assert len(recent) == 3
    assert recent[0] == last.id


async def test_two_runs_never_touch_each_other(manifest):
    one, other = await Run(manifest).ready(), await Run(manifest).ready()
    claim = await one.claimed()
    await one.manifest.journal(claim, turn(0))
    await one.commit(claim)
    await manifest.cancel(one.id)
    await manifest.cancel_rows(one.id, 0, 4)
    assert {row.status for row in await other.rows()} == {"pending"}
    assert await other.state() == "running"
    await check_counters(one)
    await check_counters(other)


async def test_whatever_a_result_says_does_not_disturb_its_row(run):
    said = {"outcome": "a b  c", "error": 'x\ny "z" é', "worker": "w w", "failed": ((0, 0.5), (3, 0.0))}
    claim = await run.claimed()
    await run.commit(claim, "failed", **said)
    assert (await run.row()).result == result(0.5, **said)
