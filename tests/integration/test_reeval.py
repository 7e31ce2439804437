"""Recorded runs judged again: as runs of their own kind, on real Redis, whatever dies on the way."""

from datetime import UTC, datetime

import pytest

from salvo_core.attempt import attempt
from salvo_core.errors import UsageError
from salvo_core.manifest.rows import TERMINAL
from salvo_core.record import SCHEMA as TRACE_SCHEMA
from salvo_core.reevaluate import NotComparable, NothingToJudge, Wish, prepare
from salvo_core.replay import NotReplayable, replay_run
from salvo_core.resume import resume
from salvo_core.run.orders import Orders
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.trace import codec
from tests.integration.reevaluating import again, ordered, ran, records
from tests.integration.site import SCENARIO, Fuse, Killed, Site, loaded, order

pytestmark = pytest.mark.servers

LOOKS = SCENARIO["assertions"][0]
GOOD = SCENARIO["assertions"][1]
BAD = {"type": "output_contains", "value": "sorry"}
BROKEN = {"turns": [{"error": {"kind": "permanent"}}]}


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def test_nothing_changes_when_nothing_changed_and_no_model_is_asked(site):
    plan = await ran(site, trials=5)
    before = await site.everything_stored()
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, compared.verdict_before, compared.verdict_after) == (0, "PASS", "PASS")
    assert site.stage.asked == []
    assert all(record.kept == (0, 1) for record in await records(site, reeval))
    rows = await site.rows(reeval.run_id)
    assert [(row.index, row.trace_id) for row in rows] == [(i, plan.trace_id(i)) for i in range(5)]
    after = await site.everything_stored()
    assert {key: after[key] for key in before} == before  # beside the run, never over it
    assert all(key.startswith(f"reevals/{reeval.run_id}/") for key in after.keys() - before.keys())


async def test_an_edited_assertion_flips_trials_and_the_comparison_says_why(site):
    plan = await ran(site, trials=4, scenarios=[loaded(), loaded("b.yaml", description="other")])
    edited = loaded(assertions=[LOOKS, GOOD, BAD | {"required": True}])
    reeval, compared = await again(site, plan.run_id, edited, loaded("b.yaml", description="other"))
    assert (compared.verdict_before, compared.verdict_after, compared.exit_code) == ("PASS", "HARD FAIL", 2)
    assert [(cell.flipped, cell.after.verdict) for cell in compared.cells] == [(4, "HARD FAIL"), (0, "PASS")]
    assert compared.changes == {"passed > hard_fail": 4}
    assert [flip.index for flip in compared.flips] == [0, 2, 4, 6]
    assert {(r.why, r.what) for flip in compared.flips for r in flip.reasons} == {
        ("newly_failing", "output_contains 'sorry'")
    }
    summary = await site.observer().summary(reeval.run_id)
    assert (summary.verdict, summary.exit_code) == ("HARD FAIL", 2)
    assert (await site.observer().summary(plan.run_id)).verdict == "PASS"


async def test_only_what_changed_is_checked_again(site):
    plan = await ran(site, trials=1)
    reeval, _ = await again(site, plan.run_id, loaded(assertions=[BAD, LOOKS | {"weight": 3}, GOOD]))
    (record,) = await records(site, reeval)
    assert record.kept == (1, 2)
    assert [(f.assertion, f.passed, f.weight) for f in record.after.findings] == [
        (0, False, 1.0),
        (1, True, 3.0),
        (2, True, 1.0),
    ]
    assert record.after.score == pytest.approx(4 / 5)
    assert record.before.score == 1.0
    row = (await site.rows(plan.run_id))[0]
    assert record.source.digest == row.result.digest
    assert record.source.key == keys.trace(plan.run_id, row.trace_id, row.attempt)


async def test_t67_the_threshold_in_force_is_the_recorded_one_unless_told_otherwise(site):
    plan = await ran(site, trials=2, threshold=0.0, scenarios=[loaded(assertions=[GOOD, BAD])])
    _, compared = await again(site, plan.run_id)
    assert (compared.verdict_after, compared.cells[0].after.threshold) == ("PASS", 0.0)
    _, compared = await again(site, plan.run_id, threshold=0.9)
    assert compared.verdict_after == "FAIL"
    assert [r.why for r in compared.flips[0].reasons] == ["threshold"]
    _, compared = await again(site, plan.run_id, loaded(assertions=[GOOD, BAD]))
    assert (compared.verdict_after, compared.cells[0].after.threshold) == ("FAIL", 0.8)


async def test_infrastructure_stays_what_it_was_and_one_such_trial_alone_is_refused(site):
    plan = await ran(
        site, trials=2, scenarios=[loaded(), loaded("b.yaml", description="b", script=BROKEN, assertions=[])]
    )
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, compared.verdict_after) == (0, "INFRA_ERROR")
    rows = await site.rows(reeval.run_id)
    assert [row.status for row in rows] == ["passed", "infra_error"] * 2
    assert rows[1].result.error == "permanent"
    with pytest.raises(NothingToJudge) as refused:
        await ordered(site, plan.trace_id(1))
    assert refused.value.exit_code == 3


async def test_a_cancelled_runs_unbegun_trials_stay_so(site):
    from salvo_core.cancel import cancel

    plan = await site.submit(order(3))
    await site.work_one(site.bench())
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    reeval, compared = await again(site, plan.run_id)
    rows = await site.rows(reeval.run_id)
    assert [row.status for row in rows] == ["passed", "cancelled", "cancelled"]
    assert rows[1].result is None
    assert compared.flipped == 0
    assert await site.state(reeval.run_id) == "sealed"


async def test_one_trial_is_judged_alone(site):
    plan = await ran(site, trials=3, scenarios=[loaded(), loaded("b.yaml", description="other")])
    reeval, compared = await again(
        site, plan.trace_id(3), loaded("b.yaml", description="other", assertions=[BAD])
    )
    assert (reeval.total, compared.index, compared.flipped) == (1, 3, 1)
    (flip,) = compared.flips
    assert (flip.index, flip.trial, flip.trace_id) == (3, 1, plan.trace_id(3))
    assert [r.why for r in flip.reasons] == ["newly_failing"]


async def test_a_forgotten_run_is_judged_from_the_store_alone(site):
    plan = await ran(site, trials=3)
    await site.manifest.redis.flushall()
    reeval, compared = await again(site, plan.run_id, loaded(assertions=[BAD]))
    assert compared.changes == {"passed > failed": 3}
    await site.manifest.redis.flushall()
    fresh = site.observer()
    assert (await fresh.summary(reeval.run_id)).verdict == "FAIL"
    assert await fresh.comparison(reeval.run_id) == compared
    assert [row.status async for row in fresh.rows(reeval.run_id)] == ["failed"] * 3
    assert await fresh.resolve(reeval.run_id[:18]) == reeval.run_id
    resumed = await resume(reeval.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert resumed.state == "sealed"


async def test_a_re_evaluation_is_looked_after_like_a_run_and_listed_apart(site):
    plan = await ran(site, trials=2)
    reeval = await ordered(site, plan.run_id)
    assert reeval.run_id in await site.manifest.open_runs()
    assert await site.manifest.recent(10) == [plan.run_id]
    assert await site.manifest.recent(10, reevals=True) == [reeval.run_id]
    assert await site.observer().resolve("latest") == plan.run_id
    assert [c.run_id for c in await site.observer().listing(5)] == [plan.run_id]
    assert [c.run_id for c in await site.observer().listing(5, reevals=True)] == [reeval.run_id]
    await site.work()
    assert await site.manifest.open_runs() == []
    with pytest.raises(NotReplayable, match="is a re-evaluation"):
        await replay_run(reeval.run_id, site.observer())
    with pytest.raises(UsageError, match="itself a re-evaluation"):
        await ordered(site, reeval.run_id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [1, 2])
async def test_a_worker_that_dies_at_any_write_leaves_a_re_evaluation_that_goes_on(site, step, after):
    plan = await ran(site, trials=2)
    reeval = await ordered(site, plan.run_id, loaded(assertions=[BAD]))
    fuse = Fuse(step, after=after)
    bench = site.bench(
        "doomed",
        store=fuse.on(site.store, "put_if_absent"),
        manifest=fuse.on(site.manifest, "commit"),
    )
    with pytest.raises(Killed):
        await site.work_one(bench)
    await site.silence(reeval.run_id)
    await resume(reeval.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work()
    rows = await site.rows(reeval.run_id)
    assert {row.status for row in rows} == {"failed"} <= TERMINAL
    assert (await site.observer().comparison(reeval.run_id)).flipped == 2
    for row in rows:
        await site.observer().rescored(reeval.run_id, row)


async def test_a_lost_trace_is_an_infrastructure_error_and_the_others_are_judged(site):
    plan = await ran(site, trials=3)
    row = (await site.rows(plan.run_id))[1]
    await site.store.delete(keys.trace(plan.run_id, row.trace_id, row.attempt))
    reeval, compared = await again(site, plan.run_id)
    assert compared.changes == {"passed > infra_error": 1}
    assert [(r.why, r.what) for r in compared.flips[0].reasons] == [("ungraded", "store")]
    summary = await site.observer().summary(reeval.run_id)
    assert (summary.verdict, summary.exit_code) == ("INFRA_ERROR", 3)
    assert "nothing is stored under" in summary.cells[0].infra_errors[0].message
    with pytest.raises(NotReplayable):
        await ordered(site, row.trace_id)


async def test_a_re_evaluation_can_be_cancelled(site):
    from salvo_core.cancel import cancel

    plan = await ran(site, trials=3)
    reeval = await ordered(site, plan.run_id)
    await site.work_one(site.bench())
    ended = await cancel(reeval.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert ended.state == "sealed"
    assert (await site.observer().comparison(reeval.run_id)).changes == {"passed > cancelled": 2}


async def test_a_run_under_way_is_not_judged_whole_but_its_ended_trials_are(site):
    plan = await site.submit(order(2))
    await site.work_one(site.bench())
    with pytest.raises(UsageError, match="1 of 2 trials have ended"):
        await ordered(site, plan.run_id)
    site.outbox.waiting.clear()
    _, compared = await again(site, plan.trace_id(0))
    assert compared.verdict_after == "PASS"


async def test_drift_is_named_and_refused_when_asked_to(site):
    plan = await ran(site, trials=1)
    asked_otherwise = loaded(prompt="Please refund order A-1001.", assertions=[LOOKS, BAD])
    observer = site.observer()
    found = await prepare(Wish(plan.run_id, [asked_otherwise]), observer, now=datetime.now(UTC))
    (change,) = found.changes
    assert change.drifted == ("prompt",)
    assert change.added == ("output_contains 'sorry'",)
    assert change.removed == ("output_contains 'refund'",)
    with pytest.raises(NotComparable, match="prompt") as refused:
        await prepare(Wish(plan.run_id, [asked_otherwise], strict=True), observer, now=datetime.now(UTC))
    assert refused.value.exit_code == 1
    judged_otherwise = loaded(assertions=[LOOKS, BAD])
    found = await prepare(Wish(plan.run_id, [judged_otherwise], strict=True), observer, now=datetime.now(UTC))
    assert found.changes[0].drifted == ()


async def test_scenarios_that_fit_no_cell_are_refused_by_name(site):
    plan = await ran(site, trials=1, scenarios=[loaded(), loaded("b.yaml", description="other")])
    with pytest.raises(UsageError, match=r"'other' \(b.yaml\)"):
        await ordered(site, plan.run_id, loaded())
    single = await ran(site, trials=1)
    _, compared = await again(site, single.run_id, loaded("elsewhere.yaml", description="renamed"))
    assert compared.verdict_after == "PASS"  # there is only one it can be


async def test_a_newer_recording_is_a_clear_refusal(site):
    plan = await ran(site, trials=1)
    row = (await site.rows(plan.run_id))[0]
    newer = codec.encode(TRACE_SCHEMA.replace("/1", "/2"), {}, compress=True)[0]
    await site.store.put(keys.trace(plan.run_id, row.trace_id, row.attempt), newer)
    with pytest.raises(NotReplayable, match="written by a newer Salvo"):
        await ordered(site, row.trace_id)


async def test_sealing_again_writes_the_same_bytes(site):
    from salvo_core.seal import seal

    plan = await ran(site, trials=3)
    reeval, _ = await again(site, plan.run_id, loaded(assertions=[BAD]))
    stored = await site.everything_stored()
    await seal(reeval.run_id, store=site.store, manifest=site.manifest)
    assert await site.everything_stored() == stored


async def test_a_message_that_its_plan_would_not_send_is_no_trial_of_it(site):
    plan = await ran(site, trials=1)
    reeval = await ordered(site, plan.run_id)
    (message,) = site.outbox.waiting
    site.outbox.waiting.clear()
    await attempt(message.model_copy(update={"index": 7}), site.bench())
    assert [row.status for row in await site.rows(reeval.run_id)] == ["pending"]


async def test_where_orders_are_signed_a_run_from_before_can_be_looked_at_and_a_forged_look_is_refused(site):
    plan = await ran(site, trials=2)  # ordered before there was a key
    signer = Signer(("a key of at least thirty-two characters",))
    site.outbox.signer = signer
    bench = site.bench(orders=Orders(site.store, signer))
    reeval = await ordered(site, plan.run_id, loaded(assertions=[BAD]))
    await site.work(bench)
    assert (await site.observer().comparison(reeval.run_id)).changes == {"passed > failed": 2}
    site.outbox.signer = Signer()
    forged = await ordered(site, plan.run_id)
    await site.work(bench)
    assert {row.status for row in await site.rows(forged.run_id)} == {"infra_error"}
