"""The predecessor's manifest calls, under their names, on real Redis 7 and Valkey."""

import asyncio

import pytest

from salvo_core.errors import NotFound, UsageError
from salvo_core.identity import is_uuid7, new_run_id
from salvo_core.manifest import keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.traces import TraceManifest
from tests.contracts.manifest_runs import Run, check_counters, result

pytestmark = pytest.mark.servers


@pytest.fixture
async def manifest(redis_flavour):
    made = Manifest(connect(redis_flavour), redis_flavour)
    yield made
    await made.aclose()


@pytest.fixture
async def run(manifest):
    made = await Run(manifest).ready()
    yield made
    await check_counters(made)


@pytest.fixture
def traces(manifest):
    return TraceManifest(manifest, read)


async def read(trace_id):
    return f"the trace {trace_id}"


async def test_a_run_is_loaded_with_every_trial_before_any_has_begun(traces, run):
    loaded = await traces.load_trace_manifest()
    assert loaded["schema_version"] == 1
    entry = loaded["runs"][run.id]
    assert (entry["scenario_name"], entry["recorded"]) == ("refund desk", False)
    assert entry["created_at"].endswith("+00:00")
    assert [one["trial_index"] for one in entry["trace_ids"]] == [0, 1, 2, 3]
    assert {one["status"] for one in entry["trace_ids"]} == {"pending"}
    assert all(is_uuid7(one["trace_id"]) for one in entry["trace_ids"])


async def test_the_newest_runs_are_loaded_and_the_oldest_of_them_comes_first(traces, manifest):
    runs = [await Run(manifest).ready() for _ in range(3)]
    for number, one in enumerate(runs):
        await manifest.redis.zadd(keys.RUNS, {one.id: number})
    assert list((await traces.load_trace_manifest(2))["runs"]) == [runs[1].id, runs[2].id]


async def test_an_update_ends_a_trial_once_and_the_first_one_stands(traces, run):
    assert await traces.update_trace_manifest(run.id, run.trace_id(0), 0, "passed")
    assert not await traces.update_trace_manifest(run.id, run.trace_id(0), 0, "failed")
    rows = await run.rows()
    assert (rows[0].status, rows[0].result.score, rows[0].recorded) == ("passed", 1.0, False)


async def test_only_an_infrastructure_error_has_an_error_and_free_text_is_not_kept(traces, run):
    for index, error in enumerate(("authentication", "the key sk-secret is wrong")):
        await traces.update_trace_manifest(run.id, run.trace_id(index), index, "infra_error", error)
    entries = (await traces.load_trace_manifest())["runs"][run.id]["trace_ids"]
    assert [one.get("error") for one in entries] == ["authentication", "unknown", None, None]


async def test_a_trial_that_a_worker_is_at_is_left_to_it(traces, run):
    held = await run.claimed(1)
    assert not await traces.update_trace_manifest(run.id, run.trace_id(1), 1, "failed")
    assert (await run.commit(held)).won


async def test_an_update_with_a_result_counts_it_and_the_last_one_finishes_the_run(traces, run):
    for index in range(4):
        given = result(0.75, cost_usd=0.5)
        assert await traces.update_trace_manifest(run.id, run.trace_id(index), index, "passed", result=given)
    counts = await run.counts()
    assert (counts.state, counts.cost_usd) == ("finished", 2.0)
    assert {cell: one.score_sum for cell, one in counts.per_cell.items()} == {0: 1.5, 1: 1.5}


@pytest.mark.parametrize("status", ["running", "cancelled", "nonsense"])
async def test_a_status_that_no_trial_of_the_predecessor_ended_in_is_refused(traces, run, status):
    with pytest.raises(UsageError, match="is no status that a trial ends in"):
        await traces.update_trace_manifest(run.id, run.trace_id(0), 0, status)


async def test_a_graded_result_needs_its_score(traces, run):
    with pytest.raises(UsageError, match="needs its score"):
        await traces.update_trace_manifest(run.id, run.trace_id(0), 0, "passed", result=result(None))


async def test_a_run_or_a_trial_that_is_not_there_is_not_found_and_never_made(traces, run):
    unknown = new_run_id()
    with pytest.raises(NotFound):
        await traces.update_trace_manifest(unknown, run.trace_id(0), 0, "passed")
    with pytest.raises(NotFound, match="has no trial 0"):
        await traces.update_trace_manifest(run.id, run.trace_id(1), 0, "passed")
    assert await traces.get_trace_ids_for_run(unknown) == []
    assert list((await traces.load_trace_manifest())["runs"]) == [run.id]


async def test_t72_concurrent_updates_are_all_kept(traces, manifest):
    run = await Run(manifest, total=180).ready()
    done = await asyncio.gather(
        *(traces.update_trace_manifest(run.id, run.trace_id(index), index, "passed") for index in range(180))
    )
    assert all(done)
    assert (await run.counts()).statuses["passed"] == 180
    await check_counters(run)


async def test_the_trace_ids_of_a_run_are_in_index_order(traces, run):
    assert await traces.get_trace_ids_for_run(run.id) == [run.trace_id(index) for index in range(4)]


async def test_marking_a_run_recorded_shows_and_an_unknown_run_is_not_marked(traces, run, manifest):
    assert await traces.mark_run_recorded(run.id)
    assert (await traces.load_trace_manifest())["runs"][run.id]["recorded"]
    assert not await traces.mark_run_recorded(new_run_id())
    assert await manifest.redis.zcard(keys.RECORDED) == 1


async def test_the_latest_recorded_trace_is_the_last_stored_one_of_the_run_marked_last(traces, run, manifest):
    assert await traces.load_latest_recorded_trace() is None
    newer = await Run(manifest).ready()
    await newer.commit(await newer.claimed(0))
    for index in (0, 2):
        await run.commit(await run.claimed(index))
    await traces.update_trace_manifest(run.id, run.trace_id(3), 3, "failed")  # names no stored trace
    await traces.mark_run_recorded(run.id)
    assert await traces.load_latest_recorded_trace() == await read(run.trace_id(2))


async def test_a_marked_run_without_a_trace_or_forgotten_by_redis_has_no_latest_trace(traces, run, manifest):
    await traces.mark_run_recorded(run.id)
    assert await traces.load_latest_recorded_trace() is None
    gone = await Run(manifest, total=1).ready()
    await gone.commit(await gone.claimed(0))
    await traces.mark_run_recorded(gone.id)
    await manifest.redis.delete(keys.header(gone.id))
    assert await traces.load_latest_recorded_trace() is None
