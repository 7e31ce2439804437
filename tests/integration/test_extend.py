"""Runs that are given more trials: numbered on, ordered once, whoever dies in between."""

from dataclasses import replace

import pytest

from salvo_core.audit import audit
from salvo_core.cancel import cancel
from salvo_core.errors import UsageError
from salvo_core.extend import extend
from salvo_core.rebuild import rebuild
from salvo_core.resume import resume
from salvo_core.run.extension import Extension
from salvo_core.run.signature import Signer
from salvo_core.seal import seal
from salvo_core.store import keys
from salvo_core.submit import read_plan
from tests.integration.site import Fuse, Killed, order
from tests.integration.trials import STORES, check_paid_once, site_on
from tests.unit.run.builders import plan as plan_of_three

pytestmark = pytest.mark.servers


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    site = site_on(request.param, redis_url, tmp_path)
    await site.manifest.redis.flushall()
    yield site
    await site.aclose()


def doors(site, **others):
    return {
        "store": site.store, "manifest": site.manifest, "dispatcher": site.outbox, "clock": site.clock,
    } | others  # fmt: skip


async def done_run(site, bench, trials=3, **fields):
    plan = await site.submit(order(trials, **fields))
    await site.work(bench)
    assert await site.state(plan.run_id) == "sealed"
    return plan


async def check(site, run_id, trials):
    """Assert that the run is whole with so many trials of its cell, by all who look at it."""
    plan = await read_plan(run_id, site.store)
    assert plan.trials == trials
    await site.check(plan)
    assert await site.state(run_id) == "sealed"
    assert [row.status for row in await site.rows(run_id)] == ["passed"] * trials
    summary = await seal(run_id, store=site.store, manifest=site.manifest)
    assert (summary.total, summary.counts["passed"]) == (trials, trials)
    found = await audit(run_id, store=site.store, manifest=site.manifest)
    assert found.clean, found.discrepancies
    await check_paid_once(site, plan)


async def test_a_finished_run_is_given_more_trials_and_sealed_anew(site):
    bench = site.bench("w1")  # who has read the plan already
    plan = await done_run(site, bench)
    before = await site.rows(plan.run_id)
    foretold = await extend(plan.run_id, by=2, dry_run=True, **doors(site))
    assert (foretold.added, foretold.trials, foretold.state) == (2, 5, "sealed")
    done = await extend(plan.run_id, by=2, **doors(site))
    assert (done.added, done.trials, done.state) == (2, 5, "running")
    await site.work(bench)
    await check(site, plan.run_id, 5)
    assert (await site.rows(plan.run_id))[:3] == before
    assert (await extend(plan.run_id, to=5, **doors(site))).added == 0
    assert (await extend(plan.run_id, to=2, **doors(site))).added == 0


async def test_asked_for_more_twice_with_one_key_is_asked_once(site):
    plan = await done_run(site, site.bench("w1"))
    for _ in range(2):
        await extend(plan.run_id, by=2, idempotency_key="more", **doors(site))
    await site.work(site.bench("w1"))
    assert (await extend(plan.run_id, by=2, idempotency_key="more", **doors(site))).added == 0
    await check(site, plan.run_id, 5)


@pytest.mark.parametrize("dies_at", ["put_if_absent", "extend", "seed", "publish"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_extension_whose_submitter_died_is_taken_up_and_nothing_is_ordered_twice(
    site, dies_at, after
):
    plan = await done_run(site, site.bench("w1"))
    fuse = Fuse(1, after=after)
    mortal = doors(
        site,
        store=fuse.on(site.store, dies_at),
        manifest=fuse.on(site.manifest, dies_at),
        dispatcher=fuse.on(site.outbox, dies_at),
    )
    with pytest.raises(Killed):
        await extend(plan.run_id, by=2, **mortal)
    if dies_at == "put_if_absent" or (dies_at, after) == ("extend", False):
        await extend(plan.run_id, by=2, **doors(site))  # the header did not know of it: asked again
    else:  # as a sweep does
        await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work(site.bench("w1"))
    await check(site, plan.run_id, 5)


async def test_a_running_run_can_be_extended_and_an_extended_one_rebuilt(site):
    plan = await site.submit(order(3))
    await extend(plan.run_id, to=4, **doors(site))
    await extend(plan.run_id, by=1, **doors(site))
    await site.work(site.bench("w1"))
    await check(site, plan.run_id, 5)
    rows = await site.rows(plan.run_id)
    await site.store.delete(keys.summary(plan.run_id))
    await site.manifest.redis.flushall()
    await rebuild(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert await site.rows(plan.run_id) == rows


async def test_a_run_that_redis_has_forgotten_can_be_extended(site):
    plan = await done_run(site, site.bench("w1"))
    await site.manifest.redis.flushall()
    assert (await extend(plan.run_id, by=2, dry_run=True, **doors(site))).added == 2
    await extend(plan.run_id, by=2, **doors(site))
    await site.work(site.bench("w2"))
    await check(site, plan.run_id, 5)


async def test_what_cannot_be_extended_is_refused(site):
    early = await site.submit(order(3, early_stop=True))
    with pytest.raises(UsageError, match="stops cells early"):
        await extend(early.run_id, by=1, **doors(site))
    plan = await site.submit(order(3))
    with pytest.raises(UsageError, match="are too many"):
        await extend(plan.run_id, to=1_000_001, **doors(site))
    site.outbox.waiting.clear()
    bench = site.bench("w1")
    claim = await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), "w", lease_s=30)
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    with pytest.raises(UsageError, match="is being cancelled"):
        await extend(plan.run_id, by=1, **doors(site))
    manifest = _Late(site.manifest)  # it was running when it was looked at
    with pytest.raises(UsageError, match="is being cancelled"):
        await extend(plan.run_id, by=1, **doors(site, manifest=manifest))
    assert (await read_plan(plan.run_id, site.store)).trials == 3, "the order is taken back"
    await site.manifest.give_back(claim)
    site.outbox.waiting.append(plan.message(0))
    await site.work(bench)
    assert await site.state(plan.run_id) == "sealed"


class _Late:
    """A manifest whose counts are of a moment ago."""

    def __init__(self, manifest):
        self._manifest = manifest

    def __getattr__(self, name):
        return getattr(self._manifest, name)

    async def counts(self, run_id):
        return replace(await self._manifest.counts(run_id), state="running")


def test_an_extension_that_nobody_of_the_site_signed_orders_nothing():
    ours, theirs = Signer(("k" * 32,)), Signer(("t" * 32,))
    plan = plan_of_three()
    one = Extension(run_id=plan.run_id, number=1, trials=9, created_at=plan.created_at)
    for signer in (Signer(), theirs):
        with pytest.raises(UsageError, match="not an order of this site"):
            Extension.decode(one.signed(signer).encode(), "key", ours)
    assert Extension.decode(one.signed(ours).encode(), "key", ours).trials == 9
    moved = one.signed(ours).model_copy(update={"trials": 99})
    with pytest.raises(UsageError, match="bad signature"):
        Extension.decode(moved.encode(), "key", ours)
