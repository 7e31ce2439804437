"""Trials whose workers vanished: who is suspected, who is tried alone, who is acquitted, who is blamed."""

import pytest

from salvo_core.manifest import keys
from salvo_core.manifest.claims import Refusal
from tests.contracts.manifest_runs import Run, turn

pytestmark = pytest.mark.servers


@pytest.fixture
async def run(manifest):
    return await Run(manifest, total=60, cells=1, attempts_max=3).ready()


async def strikes(run):
    found = await run.redis.hgetall(keys.strikes(run.id))
    return {int(index): int(number) for index, number in found.items()}


async def vanish(run, *indices):
    """Let the worker that holds these fall silent, and take them back."""
    await run.silence(*indices)
    assert set(await run.manifest.expire(run.id)) == set(indices)


async def test_a_worker_is_given_one_suspect_at_a_time_and_any_number_of_others(run):
    for index in range(3):
        await run.claimed(index)
    await vanish(run, 0, 1, 2)
    await run.claimed(0, "w2")
    assert await run.claim(1, "w2") == Refusal("suspect")
    await run.claimed(3, "w2")
    await run.claimed(1, "w3")


@pytest.mark.parametrize("how", ["turn", "commit", "give_back"])
async def test_a_suspect_that_gets_on_ends_or_is_given_back_makes_room_for_the_next(run, how):
    for index in range(2):
        await run.claimed(index)
    await vanish(run, 0, 1)
    claim = await run.claimed(0, "w2")
    match how:
        case "turn":
            await run.manifest.journal(claim, turn(0))
        case "commit":
            await run.commit(claim)
        case "give_back":
            await run.manifest.give_back(claim)
    await run.claimed(1, "w2")
    assert (await strikes(run)) == ({0: 1, 1: 1} if how == "give_back" else {1: 1})


async def test_a_turn_that_was_kept_before_acquits_nobody(run):
    claim = await run.claimed(0)
    await run.manifest.journal(claim, turn(0))
    await vanish(run, 0)
    again = await run.claimed(0, "w2")
    await run.manifest.journal(again, turn(0))  # the place is taken: nothing was kept
    assert await strikes(run) == {0: 1}


async def test_when_a_worker_vanishes_with_a_suspect_the_others_it_held_are_not_struck(run):
    for index in range(2):
        await run.claimed(index)
    await vanish(run, 0, 1)
    for index in (0, 10, 11, 12):
        await run.claimed(index, "w2")
    await vanish(run, 10)  # their leases need not end in the same moment
    await vanish(run, 0, 11)
    await vanish(run, 12)
    assert await strikes(run) == {0: 3, 1: 1}
    assert (await run.claimed(0, "w3")).purpose == "close_lost"
    assert (await run.claimed(1, "w3")).purpose == "run"


async def test_a_worker_that_was_only_asleep_may_hold_suspects_again(run):
    await run.claimed(0)
    await vanish(run, 0)
    await run.claimed(0, "w2")
    await vanish(run, 0)
    await run.claimed(5, "w2")
    await vanish(run, 5)
    assert await strikes(run) == {0: 3, 5: 1}
    await run.claimed(5, "w2")


async def test_of_many_suspects_some_are_tried_together_and_only_then_one_by_one(run):
    """Sixteen rounds go through any number of them: a dead worker's thousand trials do not queue up."""
    for index in range(48):
        await run.claimed(index)
    await vanish(run, *range(48))
    for index in range(3):
        await run.claimed(index, "w2")
    assert await run.claim(3, "w2") == Refusal("suspect")
    await vanish(run, 0, 1, 2)
    assert {index: number for index, number in (await strikes(run)).items() if number > 1} == {
        0: 2,
        1: 2,
        2: 2,
    }
    first = await run.claimed(0, "w3")
    assert await run.claim(1, "w3") == Refusal("suspect")
    assert await run.claim(3, "w3") == Refusal("suspect")
    await run.commit(first)
    await run.claimed(3, "w3")
    assert await run.claim(1, "w3") == Refusal("suspect"), "not beside one that is tried with others"
    await run.claimed(1, "w4")
    await vanish(run, 1)
    assert (await run.claimed(1, "w5")).purpose == "close_lost"


async def test_a_trial_that_even_ends_those_who_close_it_is_closed_without_its_journal(run):
    for worker in ("w1", "w2"):
        await run.claimed(0, worker)
        await vanish(run, 0)
    purposes = []
    for worker in ("w3", "w4", "w5"):
        purposes.append((await run.claimed(0, worker)).purpose)
        await vanish(run, 0)
    assert purposes == ["close_lost", "close_lost", "close_unread"]


async def test_nothing_of_it_is_left_when_the_run_is_sealed(run):
    await run.claimed(0)
    await vanish(run, 0)
    claim = await run.claimed(0, "w2")
    assert [(one.attempt, one.worker) for one in claim.past] == [(1, "w1")]
    for index in range(1, 60):
        await run.commit(await run.claimed(index))
    await run.commit(claim)
    assert await run.manifest.sealed(run.id, "PASS", 0)
    assert not await run.redis.exists(keys.suspects(run.id), keys.strikes(run.id))
