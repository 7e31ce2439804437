"""Auditing: each kind of damage is named, what can be mended is, and nothing else is touched."""

import asyncio
import random

import pytest

from salvo_core.audit import audit
from salvo_core.errors import NotFound, RunLost
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.rows import Row
from salvo_core.record import SCHEMA
from salvo_core.repair import repair
from salvo_core.run.discrepancies import REMEDIES
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.memory import MemoryStore
from salvo_core.trace import codec
from salvo_core.trace.model import Turn
from tests.integration.site import Fuse, Killed, Site, loaded, order

pytestmark = pytest.mark.servers

TRIALS = 4


@pytest.fixture
async def site(redis_url, tmp_path):
    made = Site(redis_url, FileStore(tmp_path / "store"))
    yield made
    await made.aclose()


async def sealed(site, trials=TRIALS, **fields):
    """Return the plan of a run that went well, of two cells."""
    plan = await site.submit(order(trials, [loaded(), loaded("b.yaml", description="second")], **fields))
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    return plan


async def audited(site, plan):
    return await audit(plan.run_id, store=site.store, manifest=site.manifest)


async def repaired(site, plan, **how):
    parts = {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}
    return await repair(await audited(site, plan), **parts, **how)


def kinds(found):
    return sorted({(one.kind, one.index) for one in found.discrepancies}, key=str)


class Damage:
    """One run, and everything that may happen to it behind everybody's back."""

    def __init__(self, site, plan):
        self.site = site
        self.plan = plan
        self.run = plan.run_id
        self.redis = site.manifest.redis
        self.store = site.store

    async def row(self, index):
        return Row.decode(index, await self.redis.hget(redis_keys.manifest(self.run), index))

    async def write_row(self, index, line):
        await self.redis.hset(redis_keys.manifest(self.run), index, line)

    async def key(self, index, attempt=1):
        return keys.trace(self.run, self.plan.trace_id(index), attempt)

    async def body(self, index):
        return codec.decode(SCHEMA, await self.store.get(await self.key(index)), where="x")

    async def put_trace(self, index, attempt=1, **fields):
        body = await self.body(index) | {"attempt": attempt} | fields
        await self.store.put(await self.key(index, attempt), codec.encode(SCHEMA, body, compress=True)[0])

    # -- rows

    async def row_gone(self):
        await self.redis.hdel(redis_keys.manifest(self.run), 1)
        await self.redis.hincrby(redis_keys.counters(self.run), "passed", -1)

    async def row_nonsense(self):
        await self.write_row(1, "what is this")

    async def row_of_another(self):
        await self.write_row(1, (await self.row(2)).encode())

    async def row_falsified(self):
        row = await self.row(1)
        await self.write_row(1, row.encode().replace("[1.0,", "[0.25,"))

    async def row_demoted(self):
        row = await self.row(1)
        await self.write_row(1, row.encode().replace("passed", "failed"))

    async def row_running_again(self):
        row = await self.row(1)
        await self.write_row(1, f"running 1 {row.trace_id} w9")

    # -- counters, header, belongings

    async def counter_wrong(self):
        await self.redis.hincrby(redis_keys.counters(self.run), "input_tokens", 7)

    async def counters_gone(self):
        await self.redis.delete(redis_keys.counters(self.run))

    async def header_wrong(self):
        await self.redis.hset(redis_keys.header(self.run), "attempts_max", 99)

    async def leftovers(self):
        await self.redis.zadd(redis_keys.leases(self.run), {"1": 1})
        await self.redis.hset(redis_keys.strikes(self.run), "1", 2)
        await self.redis.rpush(redis_keys.journal(self.run, 1), Turn(index=0).model_dump_json())

    # -- documents

    async def archive_gone(self):
        await self.store.delete(keys.manifest(self.run))

    async def archive_damaged(self):
        stored = await self.store.get(keys.manifest(self.run))
        await self.store.put(keys.manifest(self.run), stored[:-9])

    async def summary_gone(self):
        await self.store.delete(keys.summary(self.run))

    async def summary_falsified(self):
        summary = await self.site.observer().summary(self.run)
        await self.store.put(keys.summary(self.run), summary.model_copy(update={"total": 9}).encode()[0])

    # -- traces, where another attempt is whole

    async def trace_gone_and_another_there(self):
        await self.put_trace(1, attempt=3)
        await self.store.delete(await self.key(1))

    async def trace_cut_and_another_there(self):
        await self.put_trace(1, attempt=2)
        stored = await self.store.get(await self.key(1))
        await self.store.put(await self.key(1), stored[: len(stored) // 2])

    async def trace_of_another_trial_and_another_there(self):
        await self.put_trace(1, attempt=2)
        await self.store.put(await self.key(1), await self.store.get(await self.key(2)))

    async def trace_written_over(self):
        await self.put_trace(1, duration_s=123.0)

    # -- traces, where nothing whole is left

    async def trace_gone(self):
        await self.store.delete(await self.key(1))

    async def trace_damaged(self):
        await self.store.put(await self.key(1), b"\x28\xb5\x2f\xfd not a trace")


MENDED = {
    "row_gone": {("row_missing", 1), ("counters", None)},
    "row_nonsense": {("row_missing", 1)},
    "row_of_another": {("row_missing", 1)},
    "row_falsified": {("row_differs", 1)},
    "row_demoted": {("row_differs", 1)},
    "row_running_again": {("not_ended", 1)},
    "counter_wrong": {("counters", None)},
    "counters_gone": {("counters", None)},
    "header_wrong": {("header", None)},
    "leftovers": {("leftover", 1)},
    "archive_gone": {("archive", None)},
    "archive_damaged": {("archive", None)},
    "summary_gone": {("summary", None)},
    "summary_falsified": {("summary", None)},
    "trace_gone_and_another_there": {("object_missing", 1)},
    "trace_cut_and_another_there": {("object_damaged", 1)},
    "trace_of_another_trial_and_another_there": {("object_damaged", 1)},
    "trace_written_over": {("object_other", 1)},
}


async def test_a_run_that_went_well_is_clean_live_and_when_redis_has_forgotten_it(site):
    plan = await sealed(site)
    found = await audited(site, plan)
    assert (found.clean, found.checked, found.ended, found.live) == (True, plan.total, plan.total, True)
    await site.manifest.redis.flushall()
    found = await audited(site, plan)
    assert (found.clean, found.checked, found.ended, found.live) == (True, plan.total, plan.total, False)


@pytest.mark.parametrize("what", MENDED)
async def test_damage_is_named_and_a_repair_mends_it_without_running_anything(site, what):
    plan = await sealed(site)
    before, asked = await site.rows(plan.run_id), len(site.stage.asked)
    await getattr(Damage(site, plan), what)()
    found = await audited(site, plan)
    assert MENDED[what] <= set(kinds(found)), found.discrepancies
    assert all(one.remedy not in ("none", "rerun") for one in found.discrepancies)
    site.outbox.sent.clear()
    await repaired(site, plan)
    after = await audited(site, plan)
    assert after.clean, after.discrepancies
    assert await site.state(plan.run_id) == "sealed"
    assert site.outbox.sent == []
    assert len(site.stage.asked) == asked
    if not what.startswith("trace"):
        assert await site.rows(plan.run_id) == before
    await site.check(plan)


@pytest.mark.parametrize("what", ["trace_gone", "trace_damaged"])
async def test_a_trial_without_a_whole_trace_is_run_again_only_when_that_is_allowed(site, what):
    plan = await sealed(site)
    await getattr(Damage(site, plan), what)()
    await repaired(site, plan)
    found = await audited(site, plan)
    assert [(one.index, one.remedy) for one in found.discrepancies] == [(1, "rerun")]
    done = await repaired(site, plan, rerun=True)
    assert (done.sent, await site.state(plan.run_id)) == (1, "running")
    asked = len(site.stage.asked)
    await site.work()
    assert len(site.stage.asked) == asked + 3
    assert (await audited(site, plan)).clean
    assert (await site.rows(plan.run_id))[1].attempt == 2
    await site.check(plan)


async def test_a_forgotten_run_is_mended_in_the_store_and_comes_back_to_be_run_again(site):
    plan = await sealed(site)
    damage = Damage(site, plan)
    await damage.trace_cut_and_another_there()
    await site.store.delete(await damage.key(2))
    await site.manifest.redis.flushall()
    assert kinds(await audited(site, plan)) == [("object_damaged", 1), ("object_missing", 2)]
    await repaired(site, plan)
    found = await audited(site, plan)
    assert (kinds(found), found.live) == ([("object_missing", 2)], False)
    await repaired(site, plan, rerun=True)
    await site.work()
    found = await audited(site, plan)
    assert (found.clean, found.live, found.state) == (True, True, "sealed")
    assert [row.attempt for row in await site.rows(plan.run_id)][:4] == [1, 2, 2, 1]
    await site.check(plan)


async def test_a_damaged_archive_of_a_forgotten_run_is_made_again_from_its_traces(site):
    plan = await sealed(site)
    rows = await site.rows(plan.run_id)
    await Damage(site, plan).archive_damaged()
    await site.manifest.redis.flushall()
    assert ("archive", None) in kinds(await audited(site, plan))
    await repaired(site, plan)
    assert (await audited(site, plan)).clean
    assert [row async for row in site.observer().rows(plan.run_id)] == rows


async def test_traces_of_losing_attempts_are_no_fault_and_deleted_only_when_asked(site):
    plan = await sealed(site)
    damage = Damage(site, plan)
    await damage.put_trace(1, attempt=2)
    found = await audited(site, plan)
    assert (found.clean, found.losing) == (True, [await damage.key(1, 2)])
    await repaired(site, plan)
    assert (await audited(site, plan)).losing == found.losing
    assert (await repaired(site, plan, prune=True)).pruned == 1
    assert (await audited(site, plan)).losing == []
    await site.check(plan)


async def test_what_is_not_ours_is_named_and_never_touched(site):
    plan = await sealed(site)
    folder = keys.traces(plan.run_id)
    other = plan.model_copy(update={"run_id": "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"})
    foreign = [f"{folder}notes.txt", f"{folder}{other.trace_id(0)}.a1.json.zst", f"{folder}x/y.json.zst"]
    for key in foreign:
        await site.store.put(key, b"somebody's")
    found = await audited(site, plan)
    assert sorted(one.key for one in found.discrepancies) == sorted(foreign)
    await repaired(site, plan, prune=True, rerun=True)
    assert sorted(one.key for one in (await audited(site, plan)).discrepancies) == sorted(foreign)


async def test_a_grade_that_does_not_follow_from_its_findings_is_named_and_left(site):
    plan = await sealed(site)
    damage = Damage(site, plan)
    body = await damage.body(1)
    findings = [one | {"passed": False, "score": 0.0} for one in body["findings"]]
    await damage.put_trace(1, findings=findings)
    await repaired(site, plan)  # the row follows the trace that is there
    (one,) = (await audited(site, plan)).discrepancies
    assert (one.kind, one.index, one.remedy) == ("grade_differs", 1, "none")
    assert "come to" in one.what


async def test_a_run_under_way_is_clean_at_every_step_and_so_is_a_cancelled_one(site):
    plan = await site.submit(order(6, concurrency_max=2))
    assert (await audited(site, plan)).clean
    await site.work_one(site.bench())
    await site.manifest.claim(plan.run_id, 1, plan.trace_id(1), "w2", lease_s=30)
    found = await audited(site, plan)
    assert (found.clean, found.checked, found.state) == (True, 1, "running")
    await site.manifest.cancel(plan.run_id)
    assert (await audited(site, plan)).clean
    from salvo_core.cancel import cancel

    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await site.outbox.publish([plan.message(1)])
    await site.work()
    found = await audited(site, plan)
    assert (found.clean, found.state, found.unrecorded) == (True, "sealed", 0)


async def test_a_running_trial_that_nobody_would_take_back_gets_a_lease(site):
    plan = await site.submit(order(2))
    await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "w1", lease_s=30)
    await site.manifest.redis.delete(redis_keys.leases(plan.run_id))
    await site.manifest.redis.zrem(redis_keys.OPEN, plan.run_id)
    assert kinds(await audited(site, plan)) == [("no_lease", 0), ("unwatched", None)]
    await repaired(site, plan)
    assert (await audited(site, plan)).clean
    assert await site.manifest.open_runs() == [plan.run_id]
    await site.silence(plan.run_id)
    assert await site.manifest.expire(plan.run_id) == [0]


async def test_a_row_that_changes_between_audit_and_repair_is_left_alone(site):
    plan = await sealed(site)
    damage = Damage(site, plan)
    await damage.trace_gone_and_another_there()
    found = await audited(site, plan)
    line = (await damage.row(1)).encode().replace("[1.0,", "[0.5,")
    await damage.write_row(1, line)
    await repair(found, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (await damage.row(1)).encode() == line


async def test_two_repairs_at_once_and_one_after_another_come_to_the_same(site):
    plan = await sealed(site)
    damage = Damage(site, plan)
    for what in ("row_gone", "trace_cut_and_another_there", "counter_wrong", "leftovers", "summary_gone"):
        await getattr(damage, what)()
    found = await audited(site, plan)
    parts = {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}
    await asyncio.gather(*(repair(found, **parts) for _ in range(3)))
    assert (await audited(site, plan)).clean
    once = await site.everything_stored()
    await repair(found, **parts)
    assert (await audited(site, plan)).clean
    assert await site.everything_stored() == once


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_damaged_at_once_an_audit_after_the_repair_is_clean(site, seed):
    rng = random.Random(seed)
    plan = await sealed(site)
    damage = Damage(site, plan)
    # Of the rows and of the traces one each: they are all done to the same trial.
    rows = [name for name in MENDED if name.startswith("row")]
    traces = [name for name in MENDED if name.startswith("trace")]
    rest = [name for name in MENDED if name not in (*rows, *traces)]
    chosen = [rng.choice(traces), rng.choice(rows), *rng.sample(rest, 4)]
    for name in chosen:
        await getattr(damage, name)()
    assert not (await audited(site, plan)).clean
    for _ in range(2):  # counters that were wrong with rows that were nonsense may need a second look
        await repaired(site, plan)
    found = await audited(site, plan)
    assert found.clean, (chosen, found.discrepancies)
    await site.check(plan)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_repair_that_dies_at_any_write_to_the_store_is_finished_by_the_next(site, step, after):
    plan = await sealed(site)
    damage = Damage(site, plan)
    await damage.trace_cut_and_another_there()
    await damage.put_trace(2, attempt=2)
    await damage.summary_gone()
    found = await audited(site, plan)
    store = Fuse(step, after=after).on(site.store, "put", "delete")
    with pytest.raises(Killed):
        await repair(found, store=store, manifest=site.manifest, dispatcher=site.outbox, prune=True)
    await repaired(site, plan)
    assert (await audited(site, plan)).clean
    await site.check(plan)


async def test_a_run_that_nobody_knows_and_one_that_only_the_store_knows_are_told_apart(site):
    plan = await site.submit(order(2))
    await site.manifest.redis.flushall()
    with pytest.raises(RunLost) as told:
        await audited(site, plan)
    assert f"salvo rebuild {plan.run_id}" in told.value.hint
    for ask in (site.observer().status, site.observer().summary):
        with pytest.raises(RunLost, match="is not over"):
            await ask(plan.run_id)
    await site.store.delete(keys.plan(plan.run_id))
    with pytest.raises(NotFound) as told:
        await site.observer().status(plan.run_id)
    assert not isinstance(told.value, RunLost)


def test_every_remedy_has_its_words():
    assert all(text and text[0].islower() for text in REMEDIES.values())


async def test_the_memory_store_is_audited_too(redis_url):
    site = Site(redis_url, MemoryStore())
    plan = await sealed(site, trials=2)
    assert (await audited(site, plan)).clean
    await site.aclose()
