"""The keeper of leases: what it marks as lost or cancelled, and when."""

import asyncio
from dataclasses import replace

import pytest

from salvo_core.errors import LeaseLost, RedisUnavailable
from salvo_core.manifest.claims import Claim, Refusal, Renewal
from salvo_core.manifest.leases import AGAIN_AFTER_S, RENEWALS_PER_LEASE, LeaseKeeper
from salvo_core.manifest.patience import PATIENCE_S, WAIT_MAX_S
from salvo_core.trace.model import Turn
from tests.unit.trial.builders import TRACE_ID, StepClock

ONE, TWO = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111", "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c222"


class Answers:
    """Stands where the manifest stands and answers as it is told; the real one has tests of its own."""

    def __init__(self):
        self.down = False
        self.lost = set()
        self.states = {}
        self.asked = []
        self.journal_says = "running"

    async def renew(self, worker, claims, *, lease_s):
        claims = list(claims)
        self.asked.append((worker, [(claim.run_id, claim.index) for claim in claims], lease_s))
        if self.down:
            raise RedisUnavailable("Redis is down")
        return {
            run_id: Renewal(
                self.states.get(run_id, "running"), frozenset(i for r, i in self.lost if r == run_id)
            )
            for run_id in {claim.run_id for claim in claims}
        }

    async def journal(self, claim, turn):
        return self.journal_says


def claim(index=0, run_id=ONE, purpose="run"):
    return Claim(run_id, index, TRACE_ID, "w", 1, purpose)


@pytest.fixture
def manifest():
    return Answers()


@pytest.fixture
def clock():
    return StepClock()


@pytest.fixture
def keeper(manifest, clock):
    return LeaseKeeper(manifest, "w", lease_s=30.0, clock=clock)


async def test_a_trial_that_is_held_may_go_on(keeper, manifest):
    held = keeper.hold(claim())
    await keeper.renew()
    assert held.interruption() is None
    assert manifest.asked == [("w", [(ONE, 0)], 30.0)]
    assert keeper.holds(ONE, 0)
    assert not keeper.holds(TWO, 0)
    assert len(keeper) == 1


async def test_what_redis_gave_to_another_is_lost_and_the_rest_goes_on(keeper, manifest):
    mine, theirs, other = keeper.hold(claim(0)), keeper.hold(claim(1)), keeper.hold(claim(1, TWO))
    manifest.lost = {(ONE, 1)}
    await keeper.renew()
    assert [held.interruption() for held in (mine, theirs, other)] == [None, "lost", None]


async def test_a_run_that_is_cancelled_cancels_its_own_trials_only(keeper, manifest):
    one, two = keeper.hold(claim(0, ONE)), keeper.hold(claim(0, TWO))
    manifest.states = {ONE: "cancelling"}
    await keeper.renew()
    assert [one.interruption(), two.interruption()] == ["cancelled", None]


async def test_a_paused_run_lets_its_trials_end(keeper, manifest):
    held = keeper.hold(claim())
    manifest.states = {ONE: "paused"}
    await keeper.renew()
    assert held.interruption() is None


async def test_a_run_that_redis_forgot_loses_its_trials(keeper, manifest):
    held = keeper.hold(claim())
    manifest.states, manifest.lost = {ONE: "unknown"}, {(ONE, 0)}
    await keeper.renew()
    assert held.interruption() == "lost"


async def test_silence_shorter_than_a_lease_is_borne(keeper, manifest, clock):
    held = keeper.hold(claim())
    manifest.down = True
    clock.time_s += 29.9
    await keeper.renew()
    assert held.interruption() is None


async def test_however_long_redis_is_silent_only_redis_says_what_is_lost(keeper, manifest, clock):
    held = [keeper.hold(claim(index)) for index in range(3)]
    manifest.down = True
    for _ in range(30):
        clock.time_s += 10
        assert not await keeper.renew()
    assert [each.interruption() for each in held] == [None] * 3
    manifest.down, manifest.lost = False, {(ONE, 1)}
    assert await keeper.renew()
    assert [each.interruption() for each in held] == [None, "lost", None]
    await keeper.renew()
    assert manifest.asked[-1][1] == [(ONE, 0), (ONE, 2)]  # of what is lost it speaks once


async def test_one_answer_ends_the_silence(keeper, manifest, clock):
    held = keeper.hold(claim())
    for down in (True, False, True):
        manifest.down = down
        clock.time_s += 20
        await keeper.renew()
    assert held.interruption() is None


async def test_a_keeper_that_held_nothing_for_long_does_not_lose_its_next_trial_at_once(
    keeper, manifest, clock
):
    clock.time_s += 1000
    held = keeper.hold(claim())
    manifest.down = True
    clock.time_s += 10
    await keeper.renew()
    assert held.interruption() is None


async def test_what_was_let_go_is_not_renewed(keeper, manifest):
    held = keeper.hold(claim(0))
    keeper.hold(claim(1))
    keeper.let_go(held)
    keeper.let_go(held)
    await keeper.renew()
    assert manifest.asked == [("w", [(ONE, 1)], 30.0)]


async def test_letting_an_old_claim_go_keeps_a_newer_one_of_the_same_trial(keeper):
    old = keeper.hold(claim())
    keeper.hold(claim())
    keeper.let_go(old)
    assert keeper.holds(ONE, 0)


async def test_leaving_interrupts_every_trial_unless_something_worse_has_happened(keeper):
    one, lost, cancelled = keeper.hold(claim(0)), keeper.hold(claim(1)), keeper.hold(claim(2))
    lost.lost = cancelled.cancelled = True
    keeper.leaving = True
    assert [held.interruption() for held in (one, lost, cancelled)] == ["leaving", "lost", "cancelled"]


async def test_a_claim_to_close_a_cancelled_trial_is_cancelled_from_the_start(keeper):
    assert keeper.hold(claim(purpose="close_cancelled")).interruption() == "cancelled"
    assert keeper.hold(claim(1, purpose="close_lost")).interruption() is None


async def test_a_turn_that_is_fenced_loses_the_trial(keeper, manifest):
    held = keeper.hold(claim())
    await held.keep(Turn(index=0))
    manifest.journal_says = None
    with pytest.raises(LeaseLost):
        await held.keep(Turn(index=1))
    assert held.interruption() == "lost"


async def test_a_turn_that_was_fenced_only_because_the_lease_ran_out_unheard_is_kept_after_all(
    keeper, manifest
):
    held = keeper.hold(claim())
    answers = [None, "running"]

    async def journal(claim, turn):
        return answers.pop(0)

    manifest.journal = journal
    await held.keep(Turn(index=0))
    assert held.interruption() is None
    assert len(manifest.asked) == 1  # the renewal that took the lease back


async def test_a_turn_waits_for_a_redis_that_is_away_and_is_kept_once_it_is_back(keeper, manifest, clock):
    held = keeper.hold(claim())
    told = []

    async def journal(claim, turn):
        told.append(turn.index)
        if clock.time_s < 60:
            raise RedisUnavailable("gone")
        return "running"

    manifest.journal = journal
    await held.keep(Turn(index=0))
    assert 60 <= clock.time_s < 63
    assert max(clock.slept) == WAIT_MAX_S
    assert set(told) == {0}


async def test_patience_ends_and_then_says_what_was_wrong(keeper, manifest, clock):
    held = keeper.hold(claim())

    async def journal(claim, turn):
        raise RedisUnavailable("gone for good")

    manifest.journal = journal
    with pytest.raises(RedisUnavailable, match="gone for good"):
        await held.keep(Turn(index=0))
    assert PATIENCE_S <= clock.time_s < PATIENCE_S + WAIT_MAX_S


async def test_a_claim_is_asked_for_until_it_is_answered_unless_the_worker_leaves(keeper, manifest, clock):
    answers = [RedisUnavailable("gone"), RedisUnavailable("gone"), claim()]

    async def ask(run_id, index, trace_id, worker, *, lease_s):
        # Another message of it changes nothing meanwhile: Redis would take it for the same question.
        assert await keeper.claim(run_id, index, trace_id) == Refusal("held")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    manifest.claim = ask
    held = await keeper.claim(ONE, 0, TRACE_ID)
    assert held.claim == claim()
    keeper.let_go(held)
    answers, keeper.leaving = [RedisUnavailable("gone")], True
    with pytest.raises(RedisUnavailable):
        await keeper.claim(ONE, 0, TRACE_ID)


async def test_a_run_that_was_cancelled_meanwhile_is_heard_of_with_the_turn_that_was_kept(keeper, manifest):
    held = keeper.hold(claim())
    manifest.journal_says = "cancelling"
    await held.keep(Turn(index=0))
    assert held.interruption() == "cancelled"


async def test_a_keeper_that_runs_renews_three_times_a_lease_and_survives_redis(keeper, manifest, clock):
    keeper.hold(claim())
    manifest.down = True
    running = asyncio.create_task(keeper.run())
    while len(manifest.asked) < 7:
        await asyncio.sleep(0)
    assert not running.done()
    assert clock.slept[0] == 30.0 / RENEWALS_PER_LEASE
    assert set(clock.slept[1:]) == {AGAIN_AFTER_S}  # once it is back, others wait for our word
    manifest.down, before = False, len(clock.slept)
    while len(clock.slept) < before + 3:
        await asyncio.sleep(0)
    assert clock.slept[-1] == 30.0 / RENEWALS_PER_LEASE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_run_cancelled_at_once_ends_the_exchange_under_way_and_those_to_come(keeper, manifest):
    held = keeper.hold(claim())
    manifest.states[ONE] = "cancelling_at_once"

    async def exchange(meanwhile=None):
        async with asyncio.timeout(None) as limit:
            with held.exchange(limit):
                if meanwhile:
                    await meanwhile()
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await exchange(keeper.renew)
    assert (held.interruption(), held.abandoned) == ("cancelled", True)
    with pytest.raises(TimeoutError):
        await exchange()


async def test_a_suspect_waits_until_the_one_before_it_gets_on(keeper, manifest):
    first = keeper.hold(replace(claim(), strikes=1))
    answers = [Refusal("suspect"), replace(claim(1), strikes=1)]

    async def answer(*_, **__):
        return answers.pop(0)

    manifest.claim = answer
    waiting = asyncio.create_task(keeper.claim(ONE, 1, TRACE_ID))
    while len(answers) > 1:
        await asyncio.sleep(0)
    await first.keep(Turn(index=0))
    held = await waiting
    assert (held.claim.index, held.suspect, first.suspect) == (1, True, False)


async def test_a_suspect_is_not_held_beside_one_of_another_run(keeper, manifest):
    first, given_back = keeper.hold(replace(claim(run_id=TWO), strikes=1)), []

    async def answer(*_, **__):
        return replace(claim(), strikes=1)

    async def give_back(claim):
        given_back.append(claim.index)
        keeper.let_go(first)

    manifest.claim, manifest.give_back = answer, give_back
    held = await keeper.claim(ONE, 0, TRACE_ID)
    assert (held.claim.run_id, given_back) == (ONE, [0])


async def test_a_suspect_does_not_wait_in_a_worker_that_leaves(keeper, manifest):
    async def answer(*_, **__):
        return Refusal("suspect")

    manifest.claim = answer
    keeper.leaving = True
    assert await keeper.claim(ONE, 0, TRACE_ID) == Refusal("suspect")
