"""The manifest's promises about what goes wrong, what is stopped and what is read, on both servers."""

from dataclasses import replace

import pytest

from salvo_core.errors import NotFound
from salvo_core.identity import new_run_id
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim, Refusal
from salvo_core.manifest.pulse import mercy, pulse
from salvo_core.manifest.rows import Row
from tests.contracts.manifest_runs import Run, check_counters, result, turn

pytestmark = pytest.mark.servers


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
    await run.claimed(2, "w2")
    theirs = await run.claimed(3, "w2")
    stolen = Claim(run.id, 3, run.trace_id(3), "w1", theirs.attempt, "run")
    await run.silence(0, 1)
    renewals = await run.manifest.renew("w1", [*mine, lost, stolen], lease_s=30)
    assert renewals[run.id].state == "running"
    assert renewals[run.id].lost == {2, 3}
    assert await run.manifest.expire(run.id) == []


async def test_a_lease_that_ran_out_unheard_is_taken_back_while_nobody_else_has_begun(run):
    claim = await run.lose(0)
    assert (await run.row()).status == "pending"
    assert (await run.manifest.renew("w1", [claim], lease_s=30))[run.id].lost == frozenset()
    assert await run.row() == Row(0, "running", 1, run.trace_id(0), "w1")
    assert await run.redis.hgetall(keys.strikes(run.id)) == {}
    assert (await run.counts()).expired == 0
    await check_counters(run)
    assert await run.claim(0, "w2") == Refusal("held")  # the message that the sweep sent
    assert (await run.commit(claim)).won


@pytest.mark.parametrize("stranger", ["w2 of that attempt", "w1 of another", "w1 who gave it back"])
async def test_a_lease_is_taken_back_only_by_the_attempt_that_had_it(run, stranger):
    claim = await run.lose(0)
    match stranger:
        case "w2 of that attempt":
            claim = replace(claim, worker="w2")
        case "w1 of another":
            claim = replace(claim, attempt=2)
        case _:
            claim = await run.claimed(0)
            await run.manifest.give_back(claim)
    before = await run.rows()
    assert (await run.manifest.renew(claim.worker, [claim], lease_s=30))[run.id].lost == {0}
    assert await run.rows() == before


async def test_a_worker_that_speaks_again_too_late_has_not_crashed_and_its_strike_is_taken_back(run):
    late = await run.lose(0)
    await run.claimed(0, "w2")
    assert await run.redis.hgetall(keys.strikes(run.id)) == {"0": "1"}
    assert (await run.manifest.renew("w1", [late], lease_s=30))[run.id].lost == {0}
    assert await run.redis.hgetall(keys.strikes(run.id)) == {}
    assert (await run.row()).worker == "w2"


async def test_a_trial_that_stalls_every_worker_is_excused_a_bounded_number_of_times(run):
    purposes = []
    for _ in range(3 * run.attempts_max):
        late = await run.lose(0)
        purposes.append(late.purpose)
        other = await run.claimed(0, "w2")
        await run.manifest.renew("w1", [late], lease_s=30)
        await run.manifest.give_back(other)
    assert purposes[: run.attempts_max] == ["run"] * run.attempts_max  # it was excused
    assert purposes[-1].startswith("close")  # and is not any more


async def test_a_call_to_take_leases_back_that_a_stalled_server_hears_late_takes_nothing(run):
    await run.claimed(0)
    await run.silence(0)
    now_ms = (await run.counts()).now_ms
    assert await run.manifest.expire(run.id, looked_ms=now_ms - 6000) == []
    assert await run.manifest.expire(run.id, looked_ms=now_ms) == [0]


async def test_after_a_silence_of_all_workers_leases_are_left_alone_for_a_while(manifest):
    await manifest.redis.delete(keys.PULSE)
    assert (
        await pulse(manifest, silence_s=15, mercy_s=30) == 0
    )  # the first of all: nobody can have been cut off
    assert await pulse(manifest, silence_s=15, mercy_s=30) == 0
    heard_ms = int(await manifest.redis.hget(keys.PULSE, "heard_ms"))
    await manifest.redis.hset(keys.PULSE, "heard_ms", heard_ms - 14_000)
    assert await pulse(manifest, silence_s=15, mercy_s=30) == 0
    await manifest.redis.hset(keys.PULSE, "heard_ms", heard_ms - 60_000)
    assert 29 < await pulse(manifest, silence_s=15, mercy_s=30) <= 30
    assert 29 < await pulse(manifest, silence_s=15, mercy_s=30) <= 30  # and for all workers, until it is over
    await manifest.redis.hset(keys.PULSE, "mercy_until_ms", heard_ms)
    assert await pulse(manifest, silence_s=15, mercy_s=30) == 0


async def test_who_is_no_worker_is_told_of_the_silence_and_does_not_end_it(manifest):
    await manifest.redis.delete(keys.PULSE)
    assert await mercy(manifest, silence_s=15, mercy_s=30) == 0
    assert not await manifest.redis.exists(keys.PULSE)
    await pulse(manifest, silence_s=15, mercy_s=30)
    assert await mercy(manifest, silence_s=15, mercy_s=30) == 0
    heard_ms = int(await manifest.redis.hget(keys.PULSE, "heard_ms")) - 60_000
    await manifest.redis.hset(keys.PULSE, "heard_ms", heard_ms)
    for _ in range(2):
        assert await mercy(manifest, silence_s=15, mercy_s=30) == 30
    assert await manifest.redis.hgetall(keys.PULSE) == {"heard_ms": str(heard_ms)}
    assert 25 < await pulse(manifest, silence_s=15, mercy_s=30) <= 30
    assert 0 < await mercy(manifest, silence_s=15, mercy_s=30) <= 30


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
    assert [(one.attempt, one.worker, one.how) for one in claim.past] == [
        (1, "w1", "lost"),
        (3, "w1", "lost"),
    ]
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
