"""The first Salvo's runs in a real Redis and a store: found, complete, once, and only when whole."""

import pytest

from salvo_core.carry_over import Porter
from salvo_core.errors import NotFound
from salvo_core.history import last_runs
from salvo_core.manifest.traces import TraceManifest
from salvo_core.predecessor.collection import Collection
from salvo_core.predecessor.folder import Folder
from salvo_core.replay import find, latest_recorded, replay_run, replay_trial
from salvo_core.resume import resume
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import is_forgotten
from salvo_core.trace.redaction import Redactor
from tests.integration.site import Fuse, Killed, Site, order
from tests.past import SECRET, Past, assertion, judged, snapshot, trial

pytestmark = pytest.mark.servers

PUTS = ("put", "put_if_absent")


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


@pytest.fixture
def past(tmp_path):
    return Past(tmp_path)


def manifest_of(site):
    return TraceManifest(site.manifest, site.observer().trace, site.observer().last_recorded)


async def carried(site, past, *, store=None, run_ids=None, write=True, patterns=()):
    """Carry a folder over; return what became of each run, and the collection."""
    collection = Collection(Folder(past.folder))
    found = collection.open()
    porter = Porter(store or site.store, manifest_of(site) if write else None, Redactor((), patterns))
    return [one async for one in porter.carry(collection, run_ids or found)], collection


async def test_t58_a_recorded_run_is_listed_reported_replayed_and_its_trials_are_found(site, past):
    run_id = past.run(1, [trial(1), trial(2, "failed"), trial(3, "infra_error")])
    ((run,), _) = await carried(site, past)
    assert (run.run_id, run.state, run.verdict, run.trials, run.traces) == (
        run_id,
        "carried",
        "INFRA_ERROR",
        3,
        3,
    )
    observer = site.observer()
    assert [counts.run_id for counts in await observer.listing(10)] == [run_id]
    assert (await observer.status(run_id)).state == "sealed"
    rows = [row async for row in observer.rows(run_id)]
    assert [row.status for row in rows] == ["passed", "failed", "infra_error"]
    for row in rows:
        assert await observer.place_of(row.trace_id) == (run_id, row.index)
        assert await find(row.trace_id, observer) == ("trial", row.trace_id)
        assert await observer.resolve_trial(row.trace_id[:-1]) == row.trace_id
        assert (await replay_trial(row.trace_id, observer)).status == row.status
    assert await latest_recorded(observer) == rows[2].trace_id
    latest = await manifest_of(site).load_latest_recorded_trace()
    assert latest is not None
    assert (latest.trace_id, latest.error.kind) == (rows[2].trace_id, "authentication")


@pytest.mark.parametrize("recorded", ["full", "metadata_only", None])
async def test_a_replayed_run_folds_to_the_summary_that_was_stored(site, past, recorded):
    scenario = snapshot(description="odd", assertions=[{"type": "judge"}])  # no scenario of ours
    past.run(1, recorded=recorded)
    past.run(
        2,
        [trial(1, eval_results=[judged(0.2)]), trial(2, "infra_error")],
        recorded=recorded,
        scenario=scenario,
    )
    past.run(
        3,
        [trial(1, "hard_fail"), trial(2, trace_id=None)],
        recorded=recorded,
        n_requested=5,
        early_stopped=True,
    )
    criteria = [{"name": "polite", "description": "Is it?", "weight": 1}]
    judge = snapshot(assertions=[assertion("judge", criteria=criteria)])
    past.run(4, [trial(1, eval_results=[judged(0.9, 0.7)])], recorded=recorded, scenario=judge)
    runs, collection = await carried(site, past)
    assert [run.state for run in runs] == ["carried"] * 4
    assert len(collection.skipped) == 0
    for run in runs:
        summary = await site.observer().summary(run.run_id)
        replayed = await replay_run(run.run_id, site.observer())
        assert (replayed.summary, replayed.skipped) == (summary, ())
        assert summary.labels == {"imported": "salvo-ai 0.1"}


async def test_nobody_can_run_a_carried_run_on(site, past):
    run_id = past.run(1, [trial(1)], n_requested=3)  # two trials that were never written
    await carried(site, past)
    done = await resume(run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (done.state, done.published, site.outbox.sent) == ("sealed", 0, [])


async def test_history_has_carried_runs_and_ours_side_by_side(site, past):
    old = [past.run(number) for number in (1, 2)]
    ours = await site.submit(order(1))
    await site.work()
    await carried(site, past)
    told = await last_runs(site.observer(), 10)
    assert [run.summary.run_id for run in told.runs] == [*old, ours.run_id]
    assert [counts.run_id for counts in await site.observer().listing(10)] == [ours.run_id, *reversed(old)]
    assert await site.observer().resolve("latest") == ours.run_id


async def test_carried_again_nothing_changes_and_a_redis_that_forgot_hears_of_it_again(site, past):
    past.run(1)
    await carried(site, past)
    before = await site.everything_stored()
    await site.manifest.redis.flushall()
    ((run,), _) = await carried(site, past, patterns=["refund"])  # another redaction changes nothing either
    assert run.state == "present"
    assert await site.everything_stored() == before
    assert await site.manifest.recent(5) == [run.run_id]


async def test_looked_at_only_nothing_is_written(site, past):
    past.run(1)
    ((run,), _) = await carried(site, past, write=False)
    assert run.state == "readable"
    assert await site.everything_stored() == {}
    assert await site.manifest.recent(5) == []


async def test_killed_at_any_write_the_run_is_not_there_and_carrying_it_again_completes_it(site, past):
    run_id = past.run(1, [trial(1), trial(2, "infra_error")])
    whole = Site.__new__(Site)
    whole.store = MemoryStore()
    fuse = Fuse()
    await carried(site, past, store=fuse.on(whole.store, *PUTS))
    wanted, steps = await whole.everything_stored(), len(fuse.writes)
    assert steps == 8  # two aliases, the scenario, two traces, the rows, the summary, the plan
    first = trial_ids(past)[0]
    for step in range(1, steps + 1):
        for after in (False, True):
            if (step, after) == (steps, True):
                continue  # then the plan is there: whole but for Redis
            site.store = MemoryStore()
            await site.manifest.redis.flushall()
            with pytest.raises(Killed):
                await carried(
                    site, past, store=Fuse(step, after=after).on(site.store, *PUTS), patterns=["on its way"]
                )
            observer = site.observer()
            assert await observer.place_of(first) is None
            with pytest.raises(NotFound):
                await observer.resolve_trial(first[:-1])
            with pytest.raises(NotFound):
                await observer.plan(run_id)
            assert (
                not await is_forgotten(run_id, store=site.store, manifest=site.manifest) or step >= steps - 1
            )
            ((run,), _) = await carried(site, past)
            assert run.state == "carried"
            assert await site.everything_stored() == wanted
            assert await site.observer().place_of(first) == (run_id, 0)


async def test_killed_before_redis_heard_of_it_the_next_time_tells_it(site, past):
    run_id = past.run(1)
    collection = Collection(Folder(past.folder))
    porter = Porter(site.store, Fuse(1).on(manifest_of(site), "note_past_run"), Redactor())
    with pytest.raises(Killed):
        await anext(porter.carry(collection, collection.open()))
    assert await site.manifest.recent(5) == []
    ((run,), _) = await carried(site, past)
    assert (run.state, await site.manifest.recent(5)) == ("present", [run_id])


async def test_an_unfinished_import_does_not_hide_the_trials_of_other_runs(site, past):
    ours = await site.submit(order(1))
    await site.work()
    # Half an import in a folder that begins as ours does: it has the same time stamp.
    twin = ours.run_id[:-4] + ("0000" if ours.run_id[-4:] != "0000" else "1111")
    await site.store.put(keys.summary(twin), b"half")
    assert await site.observer().place_of(ours.trace_id(0)) == (ours.run_id, 0)
    assert await site.observer().resolve_trial(ours.trace_id(0)[:-1]) == ours.trace_id(0)


async def test_a_run_of_ours_under_the_same_id_is_left_alone(site, past):
    run_id = past.run(1)
    await site.store.put(keys.plan(run_id), b"something else")
    ((run,), _) = await carried(site, past)
    assert run.state == "clash"
    assert list(await site.everything_stored()) == [keys.plan(run_id)]
    assert await site.manifest.recent(5) == []


async def test_a_trace_id_in_two_runs_leads_to_the_first_and_the_second_says_so(site, past):
    shared = trial(1)["trace_id"]
    first = past.run(1, [trial(1) | {"trace_id": past_shared(shared)}])
    past.run(2, [trial(1) | {"trace_id": past_shared(shared)}])
    runs, _ = await carried(site, past)
    assert "1 of its trace ids are those of another run's trials" in runs[1].notes[0]
    assert await site.observer().place_of(past_shared(shared)) == (first, 0)


async def test_beginnings_of_carried_trace_ids_are_resolved_or_said_to_be_several(site, past):
    past.run(1, [trial(number) for number in range(1, 9)])
    await carried(site, past)
    with pytest.raises(NotFound, match="5 or more trace ids begin with") as several:
        await site.observer().resolve_trial(trial_ids(past)[0][:20])
    assert trial_ids(past)[0] in several.value.hint


async def test_no_secret_of_the_past_is_in_what_is_stored_and_the_past_is_not_touched(site, past):
    past.run(1, [trial(1), trial(2, "infra_error")], scenario=snapshot(system_prompt=f"The key is {SECRET}."))
    past.run(2, recorded="metadata_only", scenario=snapshot(prompt=f"Use {SECRET}."))
    past.run(3, recorded=None)
    before = past.everything()
    runs, _ = await carried(site, past, patterns=["A-[0-9]+"])
    assert [run.state for run in runs] == ["carried"] * 3
    assert past.everything() == before
    import zstandard

    for key in await site.everything_stored():
        body = await site.store.get(key)
        body = zstandard.decompress(body) if key.endswith(".zst") else body
        assert SECRET.encode() not in body, key
        assert b"A-1001" not in body, key


async def test_what_differs_from_the_predecessors_verdict_is_said(site, past):
    thirds = [trial(number, score=0.7) for number in (1, 2, 3)]
    past.run(1, thirds, threshold=0.7, verdict="PARTIAL", score_p95=0.9)
    ((run,), _) = await carried(site, past)
    assert (run.verdict, run.verdict_before, run.spread_differs) == ("PASS", "PARTIAL", True)
    assert "PASS here and PARTIAL there: average score 0.70 reaches the threshold 0.70" in run.notes[0]


def trial_ids(past):
    import json

    (file,) = (past.folder / "runs").glob("*-*.json")
    return [one["trace_id"] for one in json.loads(file.read_text())["trials"]]


def past_shared(trace_id):
    return trace_id[:-1] + ("0" if trace_id[-1] != "0" else "1")
