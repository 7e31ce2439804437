"""What a person commanded of a run outlives the Redis that was told; trials that wait again keep to -j."""

import pytest

from salvo_core.audit import audit
from salvo_core.cancel import cancel
from salvo_core.errors import ProviderPermanent, StoreUnavailable
from salvo_core.extend import extend
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.counters import RunCounts
from salvo_core.pause import pause
from salvo_core.rebuild import rebuild
from salvo_core.resume import resume
from salvo_core.retry import retry
from salvo_core.run.control import Control, command, read_control
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_core.store import keys
from salvo_core.sweep import Sweeper
from tests.integration.site import TURNS, Fuse, Killed, order
from tests.integration.test_budget import BILLED_USD, asked, spending
from tests.integration.trials import site_on

pytestmark = pytest.mark.servers

TRIALS = 8


@pytest.fixture
async def site(redis_url, tmp_path):
    made = site_on("memory", redis_url, tmp_path)
    await made.manifest.redis.flushall()
    yield made
    await made.aclose()


def doors(site, **others):
    return {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox} | others


async def hold_up(site, plan, **others):
    parts = {"store": site.store, "manifest": site.manifest, "signer": UNSIGNED} | others
    return await pause(plan.run_id, **parts)


async def started(site, ended=3, **fields):
    """Return the plan of a run of which some trials have ended."""
    plan = await site.submit(order(TRIALS, **fields))
    for _ in range(ended):
        await site.work_one(site.bench())
    return plan


async def lose_everything(site):
    await site.manifest.redis.flushall()
    site.outbox.waiting.clear()


async def commanded(site, plan):
    return await read_control(plan.run_id, plan.home, site.store, UNSIGNED)


# -- a Redis that loses its memory -----------------------------------------------------------------


async def test_a_paused_run_that_redis_lost_is_rebuilt_paused_and_goes_on_when_resumed(site):
    plan = await started(site)
    assert (await hold_up(site, plan)).changed
    assert not (await hold_up(site, plan)).changed
    assert (await commanded(site, plan)).number == 1, "commanded twice, written once"
    await lose_everything(site)
    done = await rebuild(plan.run_id, **doors(site))
    assert (done.state, done.left, done.published) == ("paused", TRIALS - 3, 0)
    await site.work()
    assert site.outbox.waiting == []
    assert (await resume(plan.run_id, **doors(site))).state == "running"
    assert (await commanded(site, plan)).wish == "run"
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    assert len(site.stage.asked) == TRIALS * TURNS


async def test_a_resumed_run_that_redis_lost_is_not_paused_again(site):
    plan = await started(site)
    await hold_up(site, plan)
    await resume(plan.run_id, **doors(site))
    await lose_everything(site)
    assert (await rebuild(plan.run_id, **doors(site))).state == "running"


async def test_resuming_a_paused_run_that_redis_lost_lets_it_go_on(site):
    plan = await started(site)
    await hold_up(site, plan)
    await lose_everything(site)
    assert (await resume(plan.run_id, **doors(site))).state == "running"
    await site.work()
    await site.check(plan)


async def test_a_cancelled_run_that_redis_lost_is_ended_and_not_run(site):
    plan = await started(site)
    fuse = Fuse(1, after=True)  # dies when Redis is told, before the rows are ended
    with pytest.raises(Killed):
        await cancel(plan.run_id, **doors(site, manifest=fuse.on(site.manifest, "cancel")))
    await lose_everything(site)
    spoken = len(site.stage.asked)
    await rebuild(plan.run_id, **doors(site))
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    statuses = [row.status for row in await site.rows(plan.run_id)]
    assert sorted(statuses) == ["cancelled"] * (TRIALS - 3) + ["passed"] * 3
    assert len(site.stage.asked) == spoken
    assert (await audit(plan.run_id, store=site.store, manifest=site.manifest)).clean


@pytest.mark.parametrize("what", ["pause", "cancel"])
async def test_a_command_whose_caller_died_before_redis_heard_changes_nothing_that_runs_and_can_be_repeated(
    site, what
):
    plan = await started(site)
    manifest = Fuse(1).on(site.manifest, what)
    given = (
        hold_up(site, plan, manifest=manifest)
        if what == "pause"
        else cancel(plan.run_id, **doors(site, manifest=manifest))
    )
    with pytest.raises(Killed):
        await given
    assert await site.state(plan.run_id) == "running"
    assert (await commanded(site, plan)).wish == what
    if what == "pause":
        assert (await hold_up(site, plan)).state == "paused"
    else:
        assert (await cancel(plan.run_id, **doors(site))).state == "sealed"
    assert (await commanded(site, plan)).number == 1


@pytest.mark.parametrize("what", ["retry", "extend"])
async def test_a_cancelled_run_that_was_opened_again_is_not_cancelled_by_a_rebuild(site, what):
    plan = await started(site)
    await cancel(plan.run_id, **doors(site))
    named = plan.trace_id(TRIALS - 1)
    if what == "retry":
        await retry(plan.run_id, trace_ids=[named], **doors(site))
    else:
        await extend(plan.run_id, by=1, clock=site.clock, **doors(site))
    assert (await commanded(site, plan)).wish == "run"
    # Of what had been cancelled no trace says so: what a rebuild does not find, it runs.
    await lose_everything(site)
    assert (await rebuild(plan.run_id, **doors(site))).state in ("running", "sealed")


async def test_a_raised_budget_stays_raised_and_what_was_spent_stays_spent(site):
    plan = await started(site, ended=2, scenarios=[asked()], budget=Budget(usd_max=2 * TURNS * BILLED_USD))
    higher = Budget(usd_max=5.5 * TURNS * BILLED_USD)
    await resume(plan.run_id, **doors(site), budget=higher)
    await lose_everything(site)
    await rebuild(plan.run_id, **doors(site))
    books = await spending(site, plan)
    assert (books.usd_max, books.spent_usd) == pytest.approx(
        (higher.usd_max, len(site.stage.asked) * BILLED_USD)
    )
    await site.work()
    await site.check(plan)
    assert len(site.stage.asked) * BILLED_USD <= higher.usd_max, "what the lost Redis had booked counts"
    assert len(site.stage.asked) > 2 * TURNS
    assert (await commanded(site, plan)).usd_max == higher.usd_max
    await resume(plan.run_id, **doors(site), budget=Budget(usd_max=1.0))
    await site.work()
    await site.check(plan)


async def test_a_store_that_is_away_keeps_nobody_from_pausing_and_lets_nobody_raise_a_budget(site):
    plan = await started(site, budget=Budget(tokens_max=10**6))
    away = Fuse(1, error=StoreUnavailable("the store is away")).on(site.store, "put_if_absent")
    assert (await hold_up(site, plan, store=away)).state == "paused"
    assert (await commanded(site, plan)).number == 0
    away = Fuse(1, error=StoreUnavailable("the store is away")).on(site.store, "put_if_absent")
    with pytest.raises(StoreUnavailable):
        await resume(plan.run_id, **doors(site, store=away), budget=Budget(tokens_max=10**7))
    assert (await spending(site, plan)).tokens_max == 10**6


async def test_what_nobody_of_the_site_commanded_and_what_is_damaged_is_passed_over(site):
    plan = await started(site)
    ours = Signer(("k" * 32,))
    forged = Control(run_id=plan.run_id, number=1, wish="cancel")
    await site.store.put_if_absent(keys.control(plan.run_id, 1), forged.encode())
    await site.store.put_if_absent(keys.control(plan.run_id, 2), b"{}")
    assert (await read_control(plan.run_id, plan.home, site.store, ours)).wish == "run"
    given = await command(plan.run_id, plan.home, site.store, ours, wish="pause", usd_max=2.0)
    assert given.number == 3
    lower = await command(plan.run_id, plan.home, site.store, ours, usd_max=1.0)
    assert (lower.number, lower.usd_max) == (3, 2.0), "limits are only ever raised"
    assert await read_control(plan.run_id, plan.home, site.store, ours) == given
    moved = given.model_copy(update={"usd_max": 9.0})
    assert not moved.is_of(ours)


# -- trials that wait again ------------------------------------------------------------------------


async def broken(site, trials, **fields):
    """Return a sealed run whose every trial ended as infra_error in its second turn."""
    plan = await site.submit(order(trials, **fields))
    enter = site.stage.enter

    async def failing(trace_id, number):
        await enter(trace_id, number)
        if number == 1:
            raise ProviderPermanent("the provider is confused")

    site.stage.enter = failing
    await site.work()
    site.stage.enter = enter
    assert await site.state(plan.run_id) == "sealed"
    return plan


async def one_by_one(site, plan, most):
    """Do what waits, and assert at each step that no more was queued or running than may be."""
    while site.outbox.waiting:
        assert len(site.outbox.waiting) <= most
        counts: RunCounts = await site.manifest.counts(plan.run_id)
        assert counts.waiting == len(site.outbox.waiting)
        await site.work_one(site.bench())


async def test_trials_that_are_retried_keep_to_the_runs_bound(site):
    plan = await broken(site, 7, concurrency_max=2)
    assert (await retry(plan.run_id, **doors(site))).trials == 7
    assert len(site.outbox.waiting) == 2
    old = plan.message(6)  # a message of its first life comes late: it waits for its place all the same
    site.outbox.waiting.insert(0, old)
    await site.work_one(site.bench())
    await one_by_one(site, plan, 2)
    await site.check(plan)
    assert {row.status for row in await site.rows(plan.run_id)} == {"passed"}
    assert await site.state(plan.run_id) == "sealed"
    assert (await site.manifest.counts(plan.run_id)).again == 0
    assert (await audit(plan.run_id, store=site.store, manifest=site.manifest)).clean


async def test_retried_trials_whose_sender_died_are_sent_by_a_sweep_within_the_bound(site):
    plan = await broken(site, 5, concurrency_max=2)
    with pytest.raises(Killed):
        await retry(plan.run_id, **doors(site, manifest=Fuse(1).on(site.manifest, "release")))
    assert site.outbox.waiting == []
    sweeper = Sweeper(site.store, site.manifest, site.outbox, site.clock, still_s=0.0)
    for _ in range(2):
        await sweeper.sweep()
    assert len(site.outbox.waiting) == 2
    await one_by_one(site, plan, 2)
    await site.check(plan)


async def test_a_higher_budget_lets_no_more_trials_run_at_once_than_the_bound(site):
    budget = Budget(usd_max=2.5 * TURNS * BILLED_USD)
    plan = await site.submit(order(9, [asked()], budget=budget, concurrency_max=2))
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    await resume(plan.run_id, **doors(site), budget=Budget(usd_max=1.0))
    assert len(site.outbox.waiting) == 2
    await one_by_one(site, plan, 2)
    await site.check(plan)
    statuses = [row.status for row in await site.rows(plan.run_id)]
    assert statuses.count("passed") >= 8


async def test_what_is_added_to_or_retried_of_a_cancelled_run_keeps_to_its_bound(site):
    plan = await site.submit(order(20, concurrency_max=2))
    await site.work_one(site.bench())
    await cancel(plan.run_id, **doors(site))
    site.outbox.waiting.clear()
    named = [plan.trace_id(index) for index in range(12, 18)]
    assert (await retry(plan.run_id, trace_ids=named, **doors(site))).trials == 6
    await one_by_one(site, plan, 2)
    await extend(plan.run_id, by=6, clock=site.clock, **doors(site))
    await one_by_one(site, plan, 2)
    statuses = [row.status for row in await site.rows(plan.run_id)]
    assert statuses.count("passed") == 1 + 6 + 6
    assert await site.state(plan.run_id) == "sealed"


async def test_a_paused_run_holds_retried_trials_until_it_is_resumed(site):
    plan = await broken(site, 4, concurrency_max=2)
    await retry(plan.run_id, trace_ids=[plan.trace_id(0)], **doors(site))
    await hold_up(site, plan)
    await retry(plan.run_id, **doors(site))
    await site.work()
    assert site.outbox.waiting == []
    await resume(plan.run_id, **doors(site))
    assert 0 < len(site.outbox.waiting) <= 2
    await site.work()
    await site.check(plan)
