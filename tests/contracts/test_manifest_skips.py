"""Skipping rows that a decided cell does not need: who is left alone, and who gets their place."""

import asyncio

import pytest

from salvo_core.manifest.claims import Refusal
from salvo_core.manifest.rows import Row
from tests.contracts.manifest_runs import Run, check_counters

pytestmark = pytest.mark.servers

CELL_0, CELL_1 = range(0, 10, 2), range(1, 10, 2)


@pytest.fixture
async def run(manifest):
    """A run of five trials in each of two cells, two trials at once."""
    made = await Run(manifest, total=10, window=2).ready()
    yield made
    await check_counters(made)


async def skip(run, indices):
    return await run.manifest.skip_rows(run.id, indices, "decided")


async def statuses(run):
    return [row.status for row in await run.rows()]


async def test_only_the_never_begun_rows_of_the_cell_are_skipped_and_say_why(run):
    await run.commit(await run.claimed(0))
    await run.lose(2)  # what it was paid for so far is in its journal
    await run.claimed(4)
    found = await skip(run, CELL_0)
    assert (found.ended, found.run_finished, found.seeded) == (2, False, 10)
    assert await statuses(run) == [
        "passed", "pending", "pending", "pending", "running", "pending", "skipped", "pending", "skipped",
        "pending",
    ]  # fmt: skip
    assert await run.row(6) == Row(6, "skipped", 0, run.trace_id(6), reason="decided")
    counts = await run.counts()
    assert (counts.statuses["skipped"], counts.per_cell[0].statuses["skipped"]) == (2, 2)


async def test_skipping_again_or_from_ten_places_at_once_ends_each_row_once(run):
    found = await asyncio.gather(*(skip(run, CELL_0) for _ in range(10)))
    assert sum(one.ended for one in found) == 5
    assert (await skip(run, CELL_0)).ended == 0


async def test_the_row_that_ends_the_run_is_told_to_one_caller_also_in_a_paused_run(run):
    await skip(run, CELL_0)
    claim = await run.claimed(1)
    await run.manifest.pause(run.id)
    assert not (await skip(run, CELL_1)).run_finished
    assert (await run.commit(claim)).run_finished
    assert await run.state() == "finished"
    other = await Run(run.manifest, total=2, cells=1).ready()
    await other.commit(await other.claimed(0))
    await other.manifest.pause(other.id)
    assert (await skip(other, range(2))).run_finished
    assert other.id in await other.manifest.open_runs()  # until it is sealed
    assert not (await skip(other, range(2))).run_finished


async def test_a_message_for_a_skipped_trial_is_refused(run):
    await skip(run, CELL_0)
    assert await run.claim(0) == Refusal("done")


async def test_a_skipped_trial_gives_its_place_in_the_window_to_one_that_is_wanted(run):
    assert (await run.counts()).released == 2  # 0 and 1
    assert list((await skip(run, CELL_0)).release) == [3]
    assert list((await run.commit(await run.claimed(1))).release) == [5]
    assert list((await run.commit(await run.claimed(3))).release) == [7]
    counts = await run.counts()
    assert (counts.waiting, counts.released, counts.skipped_ahead) == (2, 8, 1)


async def test_rows_skipped_ahead_of_the_window_do_not_widen_it(run):
    claim = await run.claimed(0)
    found = await skip(run, range(2, 10, 2))
    assert list(found.release) == []  # trials 0 and 1 are the two at once
    assert (await run.counts()).waiting == 1
    assert list((await run.commit(claim)).release) == [3]


async def test_a_window_is_filled_over_more_skipped_rows_than_one_reply_lists_on_lua_s_stack(manifest):
    cells = 9000
    run = Run(manifest, total=2 * cells, cells=cells, window=1)
    await run.open()
    for start in range(0, run.total, 1000):
        await run.seed(start, start + 1000)
    await manifest.submitted(run.id)
    await manifest.release(run.id, 1)
    await manifest.skip_rows(run.id, range(1, 2 * cells - 1), "decided")
    assert list((await run.commit(await run.claimed(0))).release) == []
    assert list(await manifest.release(run.id, 1)) == [2 * cells - 1]


async def test_rows_that_are_not_there_yet_are_told(manifest):
    run = Run(manifest, total=10)
    await run.open()
    await run.seed(0, 4)
    assert [(await skip(run, CELL_0)).ended, (await skip(run, CELL_0)).seeded] == [2, 4]
    assert list(await manifest.release(run.id, 100)) == [1, 3]
    await run.seed(4, 10)
    assert (await skip(run, CELL_0)).ended == 3
    await manifest.submitted(run.id)
    assert list(await manifest.release(run.id, 100)) == [5, 7, 9]
    await check_counters(run)


async def test_a_cancelled_run_is_left_to_its_cancellation(run):
    await run.manifest.cancel(run.id)
    assert await skip(run, CELL_0) == await skip(run, CELL_1)
    assert set(await statuses(run)) == {"pending"}


async def test_a_run_that_is_not_there_has_nothing_to_skip(manifest):
    found = await manifest.skip_rows(Run(manifest).id, range(4), "decided")
    assert (found.ended, found.seeded, list(found.release)) == (0, 0, [])


async def test_rows_are_read_by_their_indices(run):
    found = await run.manifest.rows_at(run.id, [8, 0, 99])
    assert [row.index if row else None for row in found] == [8, 0, None]
