"""Looking at runs: the same answers live, sealed, and after Redis has forgotten."""

import pytest

from salvo_core.errors import NotFound, ObjectCorrupt
from salvo_core.identity import new_run_id
from salvo_core.manifest import keys as redis_keys
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import make_plan
from tests.integration.site import NOW, Site, loaded, order

pytestmark = pytest.mark.servers


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def sealed(site, **fields):
    plan = await site.submit(order(**fields))
    await site.work()
    return plan


async def named(site, run_id):
    """Make Redis and the store know a run under an id of the test's choosing."""
    plan = make_plan(order(1), run_id=run_id, now=NOW)
    await site.store.put_if_absent(keys.plan(run_id), plan.encode()[0])
    await site.manifest.open(run_id, total=1, cells=1, attempts_max=3, concurrency_max=None, name="n")
    return run_id


ONE = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
TWO = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c222"
OTHER = "0199d000-0000-7c3a-9d52-0a4be1f0c333"


HOSTILE = (
    "", "../../x", "/etc/passwd", f"../{ONE}", f"{ONE}/../..", f"{ONE}\0", "..%2f..", "*", "0199*",
    "٠١٩٩", "\u202e0199", "x" * 1_000_000, "latest/../..", "{0199}", "[a-f]{4}",
)  # fmt: skip


async def test_a_persons_word_that_is_no_id_leads_nowhere(site):
    await named(site, ONE)
    for word in HOSTILE:
        for resolve in (site.observer().resolve, site.observer().resolve_trial):
            with pytest.raises(NotFound) as refused:
                await resolve(word)
            assert len(str(refused.value)) < 400


async def test_what_somebody_else_put_among_the_run_ids_is_passed_over(site):
    await named(site, ONE)
    for key in (redis_keys.RUNS, redis_keys.OPEN):
        await site.manifest.redis.zadd(key, {word or "-": 2**53 for word in HOSTILE})
    assert [counts.run_id for counts in await site.observer().listing(100)] == [ONE]
    assert await site.manifest.open_runs() == [ONE]


# -- which run is meant ------------------------------------------------------------------------------


async def test_latest_is_the_run_that_was_made_last(site):
    first, second = await site.submit(order(1)), await site.submit(order(1))
    assert first.run_id < second.run_id
    await site.manifest.redis.zadd(redis_keys.RUNS, {first.run_id: 1, second.run_id: 2})
    assert await site.observer().resolve("latest") == second.run_id
    await site.manifest.redis.flushdb()
    assert await site.observer().resolve("latest") == second.run_id  # from the store


async def test_the_beginning_of_exactly_one_id_is_enough(site):
    for run_id in (ONE, TWO, OTHER):
        await named(site, run_id)
    observer = site.observer()
    assert await observer.resolve("0199d") == OTHER
    assert await observer.resolve(ONE[:-2]) == ONE
    assert await observer.resolve(f"  {TWO.upper()[:-1]} ") == TWO
    assert await observer.resolve(ONE) == ONE
    await site.manifest.redis.flushdb()
    assert await observer.resolve("0199d") == OTHER


async def test_the_oldest_run_is_found_by_its_beginning_too_and_never_mistaken_for_another(site):
    for number, run_id in enumerate((ONE, TWO)):
        await named(site, run_id)
        await site.manifest.redis.zadd(redis_keys.RUNS, {run_id: number})
    with pytest.raises(NotFound, match="2 run ids begin with"):
        await site.observer().resolve(ONE[:13])
    assert await site.observer().resolve(ONE[:-1]) == ONE


async def test_an_ambiguous_beginning_names_the_candidates(site):
    for run_id in (ONE, TWO, OTHER):
        await named(site, run_id)
    with pytest.raises(NotFound, match="3 run ids begin with '0199'") as refused:
        await site.observer().resolve("0199")
    assert all(run_id in refused.value.hint for run_id in (ONE, TWO, OTHER))


@pytest.mark.parametrize(
    "word", ["", "lates", "019", "../../etc", "0199zz", "*", "\x1b[31mred", "0199" * 100]
)
async def test_a_word_that_means_no_run_is_not_found_and_says_what_to_give(site, word):
    await named(site, ONE)
    with pytest.raises(NotFound) as refused:
        await site.observer().resolve(word)
    assert "salvo list" in refused.value.hint
    assert len(str(refused.value)) < 600


async def test_without_any_run_latest_says_how_to_make_one(site):
    with pytest.raises(NotFound, match="no run yet") as refused:
        await site.observer().resolve("latest")
    assert "salvo run" in refused.value.hint


# -- what is known of it -----------------------------------------------------------------------------


async def test_a_live_run_is_told_from_redis_with_what_it_comes_to_so_far(site):
    plan = await site.submit(order(4, [loaded(), loaded("b.yaml", description="second")]))
    for _ in range(3):
        await site.work_one(site.bench())
    observer = site.observer()
    status, summary = await observer.status(plan.run_id), await observer.summary(plan.run_id)
    assert (status.state, status.ended, status.statuses["passed"]) == ("running", 3, 3)
    assert (summary.state, summary.counts["passed"], summary.counts["pending"]) == ("running", 3, 5)
    assert [row.status async for row in observer.rows(plan.run_id)] == ["passed"] * 3 + ["pending"] * 5


async def test_after_redis_forgot_a_run_everything_is_answered_from_the_store(site):
    plan = await sealed(site, trials=3)
    observer = site.observer()
    rows = [row async for row in observer.rows(plan.run_id)]
    live = await observer.status(plan.run_id)
    summary = await observer.summary(plan.run_id)
    traces = [await observer.trace(row.trace_id) for row in rows]
    await site.manifest.redis.flushall()
    later = site.observer()
    assert [row async for row in later.rows(plan.run_id)] == rows
    assert await later.summary(plan.run_id) == summary
    assert [await later.trace(row.trace_id) for row in rows] == traces
    assert await later.plan(plan.run_id) == plan
    status = await later.status(plan.run_id)
    assert (status.state, status.verdict, status.exit_code) == ("sealed", "PASS", 0)
    for name in ("total", "cells", "ended", "name", "input_tokens", "output_tokens", "retries", "statuses",
                 "cost_usd", "cost_unknown", "started_ms", "finished_ms"):  # fmt: skip
        assert getattr(status, name) == getattr(live, name), name
    assert [one.run_id for one in await later.listing(10)] == [plan.run_id]


async def test_runs_are_listed_newest_first_and_one_whose_objects_are_gone_is_left_out(site):
    plans = [await sealed(site, trials=1) for _ in range(3)]
    for number, plan in enumerate(plans):
        await site.manifest.redis.zadd(redis_keys.RUNS, {plan.run_id: number})
    observer = site.observer()
    assert [one.run_id for one in await observer.listing(2)] == [plans[2].run_id, plans[1].run_id]
    await site.manifest.redis.delete(redis_keys.header(plans[1].run_id))
    await site.store.delete(keys.summary(plans[1].run_id))
    assert [one.run_id for one in await observer.listing(10)] == [plans[2].run_id, plans[0].run_id]


async def test_many_runs_are_listed_over_few_connections(site):
    from salvo_core.manifest.connection import connect
    from salvo_core.manifest.live import Manifest
    from salvo_core.observe import Observer

    for _ in range(40):
        await named(site, new_run_id())
    narrow = Manifest(connect(site.manifest.address, connections_max=3), "redis")
    assert len(await Observer(site.store, narrow).listing(100)) == 40
    await narrow.aclose()


@pytest.mark.parametrize("ask", ["status", "summary", "plan"])
async def test_a_run_that_nobody_knows_is_not_found_and_says_where_was_looked(site, ask):
    with pytest.raises(NotFound, match="there is no run") as refused:
        await getattr(site.observer(), ask)(ONE)
    assert "memory://" in str(refused.value)
    with pytest.raises(NotFound):
        [row async for row in site.observer().rows(ONE)]


# -- one trial ---------------------------------------------------------------------------------------


async def test_a_trace_is_found_by_its_id_alone(site):
    plan = await sealed(site, trials=2)
    trace = await site.observer().trace(plan.trace_id(1))
    assert (trace.run_id, trace.index, trace.status) == (plan.run_id, 1, "passed")


async def test_a_trial_is_found_by_the_beginning_of_its_id_past_what_its_run_shares(site):
    plan = await sealed(site, trials=3)
    observer = site.observer()
    first, second, _ = (plan.trace_id(index) for index in range(3))
    differ = next(place for place in range(36) if first[place] != second[place])
    assert await observer.resolve_trial(f" {second[: differ + 1].upper()} ") == second
    assert await observer.resolve_trial(second) == second
    for length in (4, 13, differ):
        with pytest.raises(NotFound, match="3 trace ids begin with") as refused:
            await observer.resolve_trial(second[:length])
        assert first in refused.value.hint


async def test_a_short_beginning_is_enough_where_there_is_one_trial_and_not_where_there_are_runs(site):
    plan = await sealed(site, trials=1)
    assert await site.observer().resolve_trial(plan.run_id[:8]) == plan.trace_id(0)
    for run_id in (ONE, TWO):
        await named(site, run_id)
    with pytest.raises(NotFound, match="the trials of several runs begin with") as refused:
        await site.observer().resolve_trial(ONE[:13])
    assert "give more of it" in refused.value.hint


@pytest.mark.parametrize("word", ["", "latest", "../x", "fff", "ffffffff", "f" * 36, "f" * 5000, "*"])
async def test_a_word_that_means_no_trial_is_not_found_and_says_where_ids_are(site, word):
    await sealed(site, trials=1)
    with pytest.raises(NotFound) as refused:
        await site.observer().resolve_trial(word)
    assert "salvo trials" in refused.value.hint
    assert len(str(refused.value)) < 200


async def test_a_trace_is_found_among_runs_of_the_same_millisecond(site):
    plans = []
    for run_id in (ONE, TWO):
        plan = make_plan(order(1), run_id=run_id, now=NOW)
        await site.store.put_if_absent(keys.scenario(plan.cells[0].scenario_digest), b"")
        await site.store.put_if_absent(keys.plan(run_id), plan.encode()[0])
        from salvo_core.submit import open_run, spread

        await open_run(plan, site.manifest)
        await spread(plan, manifest=site.manifest, dispatcher=site.outbox)
        plans.append(plan)
    await site.work()
    for plan in plans:
        assert (await site.observer().trace(plan.trace_id(0))).run_id == plan.run_id


async def test_a_trial_that_has_not_ended_says_so_and_what_to_wait_for(site):
    plan = await site.submit(order(2))
    with pytest.raises(NotFound, match="is pending: its trace is stored when it ends") as refused:
        await site.observer().trace(plan.trace_id(0))
    assert f"salvo wait {plan.run_id}" in refused.value.hint


async def test_a_trial_that_was_cancelled_before_it_began_has_no_trace(site):
    from salvo_core.cancel import cancel

    plan = await site.submit(order(2))
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    with pytest.raises(NotFound, match="was cancelled before it began"):
        await site.observer().trace(plan.trace_id(0))


@pytest.mark.parametrize("trace_id", ["", "latest", "../x", ONE.replace("-7c3a", "-4c3a"), "x" * 5000])
async def test_what_is_no_trace_id_is_refused_before_anything_is_read(site, trace_id):
    with pytest.raises(NotFound, match="is not a trace id"):
        await site.observer().trace(trace_id)


async def test_a_trace_id_of_no_run_is_not_found(site):
    await sealed(site, trials=1)
    for trace_id in (ONE, (await site.submit(order(1))).trace_id(5)):
        with pytest.raises(NotFound, match="no run has a trial"):
            await site.observer().trace(trace_id)


async def test_a_trace_that_is_not_the_one_its_row_names_is_corrupt(site):
    plan = await sealed(site, trials=2)
    row = (await site.rows(plan.run_id))[0]
    other = await site.store.get(keys.trace(plan.run_id, plan.trace_id(1), 1))
    await site.store.put(keys.trace(plan.run_id, row.trace_id, row.attempt), other)
    with pytest.raises(ObjectCorrupt, match="is not the object its manifest row names"):
        await site.observer().trace(row.trace_id)
