"""Packed runs: what every reader sees is what it saw before, whenever the packer dies."""

from dataclasses import replace

import pytest

from salvo_core.audit import audit
from salvo_core.errors import NotFound, UsageError
from salvo_core.extend import extend
from salvo_core.manifest import keys as redis_keys
from salvo_core.pack import pack
from salvo_core.rebuild import rebuild
from salvo_core.repair import repair
from salvo_core.retry import retry
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.opening import open_store
from salvo_core.store.packed import PackedStore
from tests.integration.reevaluating import again, records
from tests.integration.site import Fuse, Killed, Site, loaded, order
from tests.integration.test_retry import broken_run

pytestmark = pytest.mark.servers

TRIALS = 3


@pytest.fixture
async def site(redis_url, tmp_path):
    made = Site(redis_url, PackedStore(FileStore(tmp_path / "store")))
    await made.manifest.redis.flushall()
    yield made
    await made.aclose()


def parts(site):
    return {"store": site.store, "manifest": site.manifest}


def doors(site):
    return parts(site) | {"dispatcher": site.outbox}


async def sealed(site, trials=TRIALS, **fields):
    """Return the plan of a run that went well, of two cells."""
    plan = await site.submit(order(trials, [loaded(), loaded("b.yaml", description="second")], **fields))
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    return plan


async def alone(site, plan):
    """Return the traces that lie by themselves."""
    return [key async for key in site.store.objects.list(keys.traces(plan.run_id, plan.home))]


async def packs(site, plan):
    return [key async for key in site.store.objects.list(keys.packs(plan.run_id, plan.home))]


def afresh(site):
    """Return the store as a process finds it that has read nothing yet."""
    return PackedStore(site.store.objects)


async def every_trace(site, plan):
    """Return what is stored under each trace's key, as listed and read by somebody new."""
    store = afresh(site)
    return {key: await store.get(key) async for key in store.list(keys.traces(plan.run_id, plan.home))}


async def test_a_packed_run_reads_as_before_and_packing_again_does_nothing(site):
    plan = await sealed(site)
    before = await every_trace(site, plan)
    assert len(before) == plan.total
    would = await pack(plan.run_id, **parts(site), dry_run=True)
    assert (would.packed, would.packs, len(await alone(site, plan))) == (plan.total, 0, plan.total)
    done = await pack(plan.run_id, **parts(site))
    assert (done.packed, done.packs, done.removed, done.left) == (plan.total, 1, plan.total, [])
    assert await alone(site, plan) == []
    assert await every_trace(site, plan) == before
    await site.check(plan)
    assert (await audit(plan.run_id, **parts(site))).clean
    for row in await site.rows(plan.run_id):
        assert (await site.observer().trace(row.trace_id)).trace_id == row.trace_id
    again_done = await pack(plan.run_id, **parts(site))
    assert (again_done.packed, again_done.removed, again_done.packs_before) == (0, 0, 1)
    assert len(await packs(site, plan)) == 1


async def test_a_run_in_a_bucket_is_packed_and_reads_as_before(redis_url, minio, bucket):
    site = Site(redis_url, open_store(f"s3://{bucket}/deep/prefix", endpoint_url=minio.endpoint_url))
    plan = await sealed(site)
    before = await every_trace(site, plan)
    await pack(plan.run_id, **parts(site))
    assert await alone(site, plan) == []
    assert await every_trace(site, plan) == before
    assert (await audit(plan.run_id, **parts(site))).clean
    await site.aclose()


async def test_a_run_that_is_not_sealed_is_not_packed(site):
    plan = await site.submit(order(2))
    with pytest.raises(UsageError, match="only a sealed run is packed"):
        await pack(plan.run_id, **parts(site))
    with pytest.raises(NotFound):
        await pack(keys_of_nobody(), **parts(site))


def keys_of_nobody():
    return "01970000-0000-7000-8000-000000000009"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_packer_that_dies_at_any_write_loses_nothing_and_the_next_one_goes_on(
    site, after, monkeypatch
):
    monkeypatch.setattr("salvo_core.pack.AT_ONCE", 1)  # one write after the other
    plan = await sealed(site)
    before = await every_trace(site, plan)
    step = 0
    while True:
        step += 1
        fuse = Fuse(step, after=after)
        dying = PackedStore(fuse.on(site.store.objects, "put", "put_if_absent", "delete"))
        try:
            await pack(plan.run_id, store=dying, manifest=site.manifest)
        except Killed:
            assert await every_trace(site, plan) == before
        else:
            break
    assert step > 3  # the pack, and objects that it has, more and more of them each time
    assert await alone(site, plan) == []
    assert await every_trace(site, plan) == before
    assert (await audit(plan.run_id, **parts(site))).clean


async def test_kept_objects_are_removed_by_the_next_packing_but_not_one_that_differs(site):
    plan = await sealed(site)
    done = await pack(plan.run_id, **parts(site), keep=True)
    assert (done.packed, done.removed, len(await alone(site, plan))) == (plan.total, 0, plan.total)
    odd = keys.trace(plan.run_id, plan.trace_id(2), 1)
    await site.store.objects.put(odd, b"somebody wrote this")
    done = await pack(plan.run_id, **parts(site))
    assert (done.packed, done.removed) == (0, plan.total - 1)
    assert [key for key, _ in done.left] == [odd] == await alone(site, plan)


async def test_what_is_damaged_or_not_ours_is_left_where_it_is(site):
    plan = await sealed(site)
    damaged = keys.trace(plan.run_id, plan.trace_id(1), 1)
    whole = await site.store.get(damaged)
    await site.store.objects.put(damaged, whole[:-3] + b"???")
    strange = f"{keys.traces(plan.run_id)}notes.txt"
    await site.store.objects.put(strange, b"x")
    done = await pack(plan.run_id, **parts(site))
    assert sorted(key for key, _ in done.left) == sorted([damaged, strange])
    assert (done.packed, done.removed) == (plan.total - 1, plan.total - 1)
    found = await audit(plan.run_id, **parts(site))
    assert sorted(one.kind for one in found.discrepancies) == ["object_damaged", "object_foreign"]


async def test_what_is_retried_after_packing_lies_beside_the_pack_until_it_is_packed_too(site):
    plan = await broken_run(site, 5, broken=(1, 3))
    await pack(plan.run_id, **parts(site))
    done = await retry(plan.run_id, **doors(site))
    assert (done.trials, done.continued) == (2, 2)
    await site.work()
    await site.check(plan)
    assert len(await alone(site, plan)) == 2
    assert (await audit(plan.run_id, **parts(site))).clean
    done = await pack(plan.run_id, **parts(site))
    assert (done.packed, done.packs, done.packs_before) == (2, 1, 1)
    await site.check(plan)
    assert len(await every_trace(site, plan)) == 7  # what they had ended as is kept
    assert (await audit(plan.run_id, **parts(site))).clean


async def test_a_packed_run_is_extended(site):
    plan = await sealed(site)
    await pack(plan.run_id, **parts(site))
    await extend(plan.run_id, by=2, clock=site.clock, **doors(site))
    await site.work()
    longer = await site.observer().plan(plan.run_id)
    assert longer.total == plan.total + 4
    await site.check(longer)
    done = await pack(plan.run_id, **parts(site))
    assert (done.packed, done.packs_before) == (4, 1)
    assert (await audit(plan.run_id, **parts(site))).clean


async def test_a_packed_run_is_judged_again_and_the_reevaluation_is_packed_too(site):
    plan = await sealed(site)
    await pack(plan.run_id, **parts(site))
    reeval, _ = await again(site, plan.run_id)
    before = [one.after for one in await records(site, reeval)]
    assert len(before) == plan.total
    done = await pack(reeval.run_id, **parts(site))
    assert (done.packed, done.removed) == (plan.total, plan.total)
    site.store = afresh(site)
    assert [one.after for one in await records(site, reeval)] == before
    assert (await audit(reeval.run_id, **parts(site))).clean


async def test_a_packed_run_that_was_not_over_is_rebuilt_from_its_packs(site):
    plan = await sealed(site)
    await pack(plan.run_id, **parts(site))
    await site.manifest.redis.flushall()
    # Its seal is gone as well, as if it had been retried when Redis was lost.
    await site.store.delete(keys.summary(plan.run_id))
    await site.store.delete(keys.manifest(plan.run_id))
    asked = len(site.stage.asked)
    done = await rebuild(plan.run_id, **doors(site))
    assert (done.restored.rows, done.restored.missing) == (plan.total, 0)
    await site.check(plan)
    assert len(site.stage.asked) == asked


async def test_a_packed_run_that_redis_forgot_is_audited_and_told(site):
    plan = await sealed(site)
    summary = await site.observer().summary(plan.run_id)
    await site.manifest.redis.flushall()
    await pack(plan.run_id, **parts(site))
    assert (await audit(plan.run_id, **parts(site))).clean
    assert await site.observer().summary(plan.run_id) == summary
    assert (await site.observer().trace(plan.trace_id(1))).index == 1


async def test_an_attempt_that_lost_its_trial_is_pruned_out_of_its_pack(site):
    plan = await sealed(site)
    first = keys.trace(plan.run_id, plan.trace_id(0), 1)
    row = (await site.rows(plan.run_id))[0]
    # As if attempt 1 had been stored and not committed, and attempt 2 had won.
    stored = await site.store.get(first)
    second = await _as_attempt(site, plan, row, stored, 2)
    await pack(plan.run_id, **parts(site))
    found = await audit(plan.run_id, **parts(site))
    assert found.losing == [first]
    done = await repair(found, **doors(site), prune=True)
    assert done.pruned == 1
    assert sorted(await every_trace(site, plan)) == sorted(
        [second, *(keys.trace(plan.run_id, plan.trace_id(index), 1) for index in range(1, plan.total))]
    )
    site.store = afresh(site)
    found = await audit(plan.run_id, **parts(site))
    assert found.clean
    assert found.losing == []


async def _as_attempt(site, plan, row, stored, attempt):
    """Store a trial's trace once more as another attempt's, and let its row name that one."""
    from salvo_core.record import SCHEMA
    from salvo_core.seal import seal
    from salvo_core.trace import codec
    from salvo_core.trace.stored import read_trace

    trace = read_trace(stored, "trace").model_copy(update={"attempt": attempt})
    body, digest = codec.encode(SCHEMA, trace.model_dump(mode="json"), compress=True)
    key = keys.trace(plan.run_id, row.trace_id, attempt)
    await site.store.objects.put(key, body)
    changed = replace(row, attempt=attempt, result=row.result._replace(digest=digest))
    await site.manifest.redis.hset(redis_keys.manifest(plan.run_id), str(row.index), changed.encode())
    await seal(plan.run_id, store=site.store, manifest=site.manifest)
    return key
