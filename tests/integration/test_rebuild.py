"""Rebuilding a run that Redis lost: what is stored is kept, what is missing is run, whoever dies."""

import asyncio
from datetime import UTC, datetime

import pytest

from salvo_core.attempt import attempt
from salvo_core.audit import audit
from salvo_core.clock import SystemClock
from salvo_core.errors import StoreUnavailable
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.leases import LeaseKeeper
from salvo_core.rebuild import LOOK_AGAIN_S, LOOK_EVERY_S, Rebuilder, rebuild
from salvo_core.record import SCHEMA
from salvo_core.reevaluate import Wish, prepare, reevaluate
from salvo_core.repair import repair
from salvo_core.restore import survey
from salvo_core.resume import resume
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.sweep import Sweeper
from salvo_core.trace import codec
from tests.integration.site import TURNS, Fuse, Killed, Site, loaded, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

TRIALS = 8


@pytest.fixture
async def site(redis_url, tmp_path):
    made = Site(redis_url, FileStore(tmp_path / "store"))
    yield made
    await made.aclose()


async def halfway(site, ended=3, **fields):
    """Return the plan of a run of which some trials have ended when Redis loses everything."""
    plan = await site.submit(order(TRIALS, **fields))
    for _ in range(ended):
        await site.work_one(site.bench())
    await lose_everything(site)
    return plan


async def lose_everything(site):
    await site.manifest.redis.flushall()
    site.outbox.waiting.clear()
    site.outbox.sent.clear()


def parts(site, **other):
    return {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox} | other


async def completed(site, plan):
    """Work until the run is sealed; assert that it is whole and that no turn was asked for twice."""
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    await site.check(plan)
    assert (await audit(plan.run_id, store=site.store, manifest=site.manifest)).clean
    assert len(site.stage.asked) == len(set(site.stage.asked)) == plan.total * TURNS


async def test_what_is_stored_is_restored_and_only_the_rest_is_sent(site):
    plan = await halfway(site)
    asked = len(site.stage.asked)
    found = await survey(plan, store=site.store, manifest=site.manifest)
    assert (found.rows, found.missing) == (3, 5)
    assert await site.manifest.recent(1) == []
    done = await rebuild(plan.run_id, **parts(site))
    assert (done.published, done.state, done.left) == (5, "running", 5)
    assert [message.index for message in site.outbox.waiting] == [3, 4, 5, 6, 7]
    assert len(site.stage.asked) == asked
    counts = await site.manifest.counts(plan.run_id)
    assert counts.created_ms == round(plan.created_at.timestamp() * 1000)
    assert counts.started_ms is not None
    await completed(site, plan)


async def test_resuming_a_run_that_redis_lost_runs_nothing_that_is_stored(site):
    plan = await halfway(site)
    resumed = await resume(plan.run_id, **parts(site))
    assert (resumed.left, resumed.state) == (5, "running")
    await completed(site, plan)


async def test_a_run_of_which_everything_is_stored_is_sealed_at_once(site):
    plan = await halfway(site, ended=0)
    await rebuild(plan.run_id, **parts(site))
    no_seal = Fuse(1).on(site.store, "put")
    while len(site.outbox.waiting) > 1:
        await site.work_one(site.bench())
    with pytest.raises(Killed):
        await site.work_one(site.bench(store=no_seal))
    await lose_everything(site)
    done = await rebuild(plan.run_id, **parts(site))
    assert (done.published, done.state, done.left) == (0, "sealed", 0)
    await completed(site, plan)


async def test_a_sealed_run_is_not_opened_again(site):
    plan = await site.submit(order(2))
    await site.work()
    await lose_everything(site)
    done = await rebuild(plan.run_id, **parts(site))
    assert (done.restored, done.state, done.published) == (None, "sealed", 0)
    assert await site.manifest.open_runs() == []


async def test_no_more_trials_are_sent_than_may_run_at_once(site):
    plan = await site.submit(order(TRIALS, concurrency_max=2))
    for index in (1, 0, 2):  # the second ended first
        waiting = next(message for message in site.outbox.waiting if message.index == index)
        site.outbox.waiting.remove(waiting)
        await attempt(waiting, site.bench())
    await lose_everything(site)
    await rebuild(plan.run_id, **parts(site))
    assert [message.index for message in site.outbox.waiting] == [3, 4]
    await completed(site, plan)


async def test_the_lowest_whole_attempt_wins_and_damaged_ones_are_told(site):
    plan = await halfway(site)
    first, second = (keys.trace(plan.run_id, plan.trace_id(index), 1) for index in (0, 1))
    body = codec.decode(SCHEMA, await site.store.get(first), where="x") | {"attempt": 2, "duration_s": 9.0}
    third = keys.trace(plan.run_id, plan.trace_id(0), 2)
    await site.store.put(third, codec.encode(SCHEMA, body, compress=True)[0])
    await site.store.put(second, b"damaged")
    done = await rebuild(plan.run_id, **parts(site))
    assert (done.restored.rows, done.restored.missing, len(done.restored.damaged)) == (2, 6, 1)
    assert second in done.restored.damaged[0]
    rows = await site.rows(plan.run_id)
    assert (rows[0].attempt, rows[1].status) == (1, "pending")


async def test_a_header_alone_that_is_lost_is_made_again_beside_what_is_there(site):
    plan = await site.submit(order(TRIALS))
    for _ in range(3):
        await site.work_one(site.bench())
    rows = await site.rows(plan.run_id)
    claim = await site.manifest.claim(plan.run_id, 3, plan.trace_id(3), "dead", lease_s=30)
    assert claim.attempt == 1
    await site.manifest.redis.delete(redis_keys.header(plan.run_id))
    await rebuild(plan.run_id, **parts(site))
    assert (await site.rows(plan.run_id))[:3] == rows[:3]
    assert (await site.rows(plan.run_id))[3].status == "running"
    await site.silence(plan.run_id)
    await site.outbox.publish(plan.message(index) for index in await site.manifest.expire(plan.run_id))
    await completed(site, plan)


async def test_journals_that_are_still_there_are_gone_on_from(site):
    plan = await site.submit(order(2))
    fuse = Fuse(3, after=True)  # claim, first turn, second turn
    with pytest.raises(Killed):
        await site.work_one(site.bench(manifest=fuse.on(site.manifest, "claim", "journal")))
    lost = [
        redis_keys.header(plan.run_id),
        redis_keys.manifest(plan.run_id),
        redis_keys.counters(plan.run_id),
    ]
    await site.manifest.redis.delete(*lost, redis_keys.leases(plan.run_id))
    done = await rebuild(plan.run_id, **parts(site))
    assert done.restored.journaled <= 1
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 7))
async def test_a_rebuild_that_dies_at_any_write_is_finished_by_the_next(site, step, after):
    plan = await halfway(site, scenarios=[loaded(), loaded("b.yaml", description="second")])
    fuse = Fuse(step, after=after)
    fused = {
        "manifest": fuse.on(site.manifest, "open", "seed", "submitted", "release"),
        "dispatcher": fuse.on(site.outbox, "publish"),
    }
    with pytest.raises(Killed):
        await rebuild(plan.run_id, **parts(site, **fused))
    site.outbox.waiting.clear()
    await rebuild(plan.run_id, **parts(site))
    await resume(plan.run_id, **parts(site))
    await completed(site, plan)


class DyingReader:
    """A store whose reader dies once it has read so many traces."""

    def __init__(self, store, traces):
        self._store = store
        self._left = traces

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get(self, key):
        if keys.parse_trace(key):
            if not self._left:
                raise Killed
            self._left -= 1
        return await self._store.get(key)


async def test_a_rebuild_that_dies_between_two_rows_leaves_a_run_that_no_worker_is_given(site, monkeypatch):
    monkeypatch.setattr("salvo_core.restore.READ_AT_ONCE", 1)
    plan = await halfway(site)
    with pytest.raises(Killed):
        await rebuild(plan.run_id, **parts(site, store=DyingReader(site.store, traces=2)))
    redis = site.manifest.redis
    assert await redis.hlen(redis_keys.manifest(plan.run_id)) == 2
    await attempt(plan.message(0), site.bench())
    await attempt(plan.message(7), site.bench())
    await rebuild(plan.run_id, **parts(site))
    await completed(site, plan)


async def test_rebuilds_and_resumes_at_once_come_to_one_run(site):
    plan = await halfway(site)
    doors = [rebuild, resume, rebuild, resume]
    await asyncio.gather(*(door(plan.run_id, **parts(site)) for door in doors))
    await completed(site, plan)


# -- by itself -------------------------------------------------------------------------------------


class MovedClock(SystemClock):
    """The real one, which a test may put forward."""

    time_s = 0.0

    def monotonic_s(self):
        return super().monotonic_s() + self.time_s


def rebuilder(site, clock=None):
    return Rebuilder(**parts(site), clock=clock or SystemClock(), worker="w1", lease_s=30.0, settle_s=0.0)


class CountingStore:
    """A store that counts its reads."""

    def __init__(self, store):
        self._store = store
        self.reads = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get(self, key):
        self.reads += 1
        return await self._store.get(key)


async def test_a_message_of_a_lost_run_brings_it_back(site):
    plan = await halfway(site)
    bench = site.bench(rebuilder=rebuilder(site))
    await attempt(plan.message(0), bench)
    await completed(site, plan)


async def test_a_sweep_rebuilds_an_open_run_whose_header_is_gone(site):
    plan = await site.submit(order(TRIALS))
    for _ in range(3):
        await site.work_one(site.bench())
    await site.manifest.redis.delete(redis_keys.header(plan.run_id))
    sweeper = Sweeper(**parts(site), clock=StepClock(), rebuilder=rebuilder(site))
    assert await sweeper.sweep() == 1
    await completed(site, plan)


async def test_a_run_that_was_open_and_is_gone_is_brought_back_and_one_that_was_sealed_is_not(site):
    clock = MovedClock()
    watching = rebuilder(site, clock)
    gone, over = await site.submit(order(TRIALS)), await site.submit(order(1))
    await watching.watch(await site.manifest.open_runs())
    over_message = next(message for message in site.outbox.waiting if message.run_id == over.run_id)
    await attempt(over_message, site.bench())
    await lose_everything(site)
    for _ in range(3):  # one look at a time
        await watching.watch(await site.manifest.open_runs())
        clock.time_s += LOOK_EVERY_S
    assert await site.manifest.open_runs() == [gone.run_id]


async def test_what_is_nobodys_is_looked_for_once_in_a_while(site):
    plan = await site.submit(order(2))
    await site.work()
    await lose_everything(site)
    clock, store = StepClock(), CountingStore(site.store)
    asking = Rebuilder(
        store=store, manifest=site.manifest, dispatcher=site.outbox, clock=clock, worker="w", lease_s=30.0,
        settle_s=0.0,
    )  # fmt: skip
    clock.time_s += LOOK_EVERY_S
    assert [await asking.consider(plan.run_id) for _ in range(3)] == ["over"] * 3
    looked = store.reads
    assert [await asking.consider(plan.run_id) for _ in range(3)] == ["over"] * 3
    assert store.reads == looked
    unknown = plan.model_copy(update={"run_id": "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"}).run_id
    assert await asking.consider(unknown) == "later"  # too soon after the last look
    clock.time_s += LOOK_AGAIN_S
    assert await asking.consider(unknown) == "over"


async def test_one_worker_rebuilds_and_the_others_wait(site):
    plan = await halfway(site)
    await site.manifest.redis.set(redis_keys.rebuilding(plan.run_id), "w9", px=60_000)
    clock = MovedClock()
    waiting = rebuilder(site, clock)
    assert await waiting.consider(plan.run_id) == "later"
    assert await site.manifest.recent(1) == []
    await site.manifest.redis.delete(redis_keys.rebuilding(plan.run_id))  # it died
    clock.time_s += LOOK_EVERY_S
    assert await waiting.consider(plan.run_id) == "known"
    assert not await site.manifest.redis.exists(redis_keys.rebuilding(plan.run_id))


@pytest.mark.parametrize("turn", range(TURNS))
async def test_a_trial_under_way_is_given_back_to_its_worker_at_any_turn(site, turn):
    plan = await site.submit(order(2))
    leases = LeaseKeeper(site.manifest, "w1", lease_s=30.0, clock=site.clock)
    mine = rebuilder(site)
    leases.reseat = mine.reseat
    bench = site.bench("w1", leases=leases, rebuilder=mine)
    site.stage.close(turn)
    message = site.outbox.waiting[0]
    trying = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(turn)
    await lose_everything(site)
    if turn == 1:  # noticed at a renewal, and not at the next turn
        await leases.renew()
    site.stage.open(turn)
    await asyncio.wait_for(trying, 30)
    assert (await site.rows(plan.run_id))[0].status == "passed"
    await completed(site, plan)


async def test_a_finished_conversation_is_committed_though_redis_forgot_its_trial(site):
    plan = await site.submit(order(2))
    leases = LeaseKeeper(site.manifest, "w1", lease_s=30.0, clock=site.clock)
    mine = rebuilder(site)
    leases.reseat = mine.reseat

    class Forgetful:
        """A store whose site loses its Redis just before the trace is stored, and rebuilds it first."""

        def __getattr__(self, name):
            return getattr(site.store, name)

        async def put_if_absent(self, key, body):
            await lose_everything(site)
            await rebuild(plan.run_id, **parts(site))
            return await site.store.put_if_absent(key, body)

    await attempt(plan.message(0), site.bench("w1", leases=leases, store=Forgetful()))
    assert (await site.rows(plan.run_id))[0].status == "passed"
    await completed(site, plan)


async def test_trials_that_a_decided_cell_skipped_are_skipped_again_and_not_run(site):
    silent = loaded(script={"turns": [{"text": "No."}]})
    plan = await site.submit(order(10, [silent], early_stop=True, concurrency_max=1))
    no_seal = Fuse(1, error=StoreUnavailable("down")).on(site.store, "put")
    await site.work(site.bench(store=no_seal), at_once=1)
    assert await site.state(plan.run_id) == "finished"
    rows, asked = await site.rows(plan.run_id), list(site.stage.asked)
    assert {row.status for row in rows} == {"failed", "skipped"}
    await lose_everything(site)
    done = await rebuild(plan.run_id, **parts(site))
    assert (done.published, done.left, done.state) == (0, 0, "sealed")
    assert await site.rows(plan.run_id) == rows
    assert site.stage.asked == asked
    assert (await audit(plan.run_id, store=site.store, manifest=site.manifest)).clean


# -- re-evaluations --------------------------------------------------------------------------------


async def test_a_re_evaluation_that_redis_lost_is_rebuilt_and_its_audit_is_clean(site):
    plan = await site.submit(order(4))
    await site.work()
    prepared = await prepare(Wish(plan.run_id), site.observer(), now=datetime.now(UTC))
    again = await reevaluate(prepared, **parts(site))
    for _ in range(2):
        await site.work_one(site.bench())
    before = await site.rows(again.run_id)
    await lose_everything(site)
    done = await rebuild(again.run_id, **parts(site))
    assert (done.restored.rows, done.left) == (2, 2)
    assert (await site.rows(again.run_id))[:2] == before[:2]
    await site.work()
    assert await site.state(again.run_id) == "sealed"
    for _ in range(2):
        found = await audit(again.run_id, store=site.store, manifest=site.manifest)
        assert (found.clean, found.checked) == (True, 4)
        await site.manifest.redis.flushall()


async def test_a_damaged_record_of_a_re_evaluation_is_named_and_made_again(site):
    plan = await site.submit(order(2))
    await site.work()
    prepared = await prepare(Wish(plan.run_id), site.observer(), now=datetime.now(UTC))
    again = await reevaluate(prepared, **parts(site))
    await site.work()
    key = keys.trace(again.run_id, again.trace_id(1), 1, again.home)
    await site.store.put(key, b"damaged")
    found = await audit(again.run_id, store=site.store, manifest=site.manifest)
    assert [(one.kind, one.index, one.remedy) for one in found.discrepancies] == [
        ("object_damaged", 1, "rerun")
    ]
    await repair(found, **parts(site), rerun=True)
    await site.work()
    found = await audit(again.run_id, store=site.store, manifest=site.manifest)
    assert (found.clean, found.state) == (True, "sealed")
