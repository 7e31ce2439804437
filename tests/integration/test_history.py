"""Looking back: which runs are found, what summaries tell of them, what is left out and said so."""

import pytest

from salvo_core.history import Wanted, chosen, find_runs, last_runs
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.integration.site import Site, loaded, order

pytestmark = pytest.mark.servers


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def sealed(site, trials=1, name="alpha", model=None, **fields):
    scenarios = [loaded(f"{name}.yaml", description=name)]
    plan = await site.submit(order(trials, scenarios, models=(model,) if model else (), **fields))
    await site.work()
    return plan.run_id


def ids(found):
    return [run.summary.run_id for run in found.runs]


async def test_t68_the_last_runs_come_oldest_first_and_no_more_than_asked_for(site):
    made = [await sealed(site) for _ in range(5)]
    assert ids(await last_runs(site.observer(), 2)) == made[-2:]
    assert ids(await last_runs(site.observer(), 0)) == made
    await site.manifest.redis.flushall()
    assert ids(await last_runs(site.observer(), 10)) == made  # the store is enough


async def test_t68_a_scenario_is_looked_for_beyond_the_newest_runs(site):
    alpha = await sealed(site, name="alpha")
    for _ in range(3):
        await sealed(site, name="beta")
    assert ids(await last_runs(site.observer(), 2, scenario="alpha")) == [alpha]
    assert ids(await last_runs(site.observer(), 2, scenario="gamma")) == []


async def test_a_look_back_at_one_schedule_sees_the_runs_it_ordered(site):
    mine = await sealed(site, labels={"schedule": "nightly"})
    for labels in ({}, {"schedule": "weekly"}):
        await sealed(site, labels=labels)
    assert ids(await last_runs(site.observer(), 1, labels={"schedule": "nightly"})) == [mine]
    assert ids(await last_runs(site.observer(), 9, labels={"schedule": "other"})) == []


async def test_t68_a_damaged_summary_is_left_out_and_named(site):
    whole, damaged, newer = [await sealed(site) for _ in range(3)]
    await site.store.put(keys.summary(damaged), b"{half a file")
    past = await last_runs(site.observer(), 10)
    assert ids(past) == [whole, newer]
    assert [one.run_id for one in past.damaged] == [damaged]
    assert damaged in past.damaged[0].message


async def test_a_summary_of_a_newer_salvo_is_left_out_and_named(site):
    from salvo_core.run.summary import SCHEMA
    from salvo_core.trace import codec

    newer = await sealed(site)
    await site.store.put(keys.summary(newer), codec.encode(SCHEMA, {"new": 1}, compress=False)[0])
    past = await last_runs(site.observer(), 10)
    assert [one.run_id for one in past.damaged] == [newer]


async def test_a_run_that_is_not_sealed_is_counted_and_no_trace_is_read(site):
    await sealed(site, trials=2)
    await site.submit(order(2))
    for key in [key async for key in site.store.list(keys.RUNS) if "/traces/" in key or "manifest" in key]:
        await site.store.delete(key)
    past = await last_runs(site.observer(), 10)
    assert (len(past.runs), past.unsealed) == (1, 1)


async def test_runs_are_found_by_scenario_model_label_and_verdict(site):
    plain = await sealed(site)
    other = await sealed(site, name="beta", model="gpt-4o", labels={"commit": "3f2a", "team": "x"})
    failing = (
        await site.submit(order(1, [loaded(assertions=[{"type": "output_contains", "value": "zebra"}])]))
    ).run_id
    await site.work()
    await site.submit(order(1))  # goes on

    async def found(**wanted):
        return [run.run_id for run in (await find_runs(site.observer(), 10, Wanted(**wanted))).runs]

    assert await found(scenario="beta") == [other]
    assert await found(models=("gpt-4o",)) == [other]
    assert await found(labels={"commit": "3f2a"}) == [other]
    assert await found(labels={"commit": "3f2a", "team": "y"}) == []
    assert await found(verdicts=frozenset({"FAIL"})) == [failing]
    assert await found(verdicts=frozenset({"PASS"})) == [other, plain]
    assert await found(verdicts=frozenset({"PASS"}), scenario="alpha") == [plain]
    assert len(await found()) == 4
    assert len((await find_runs(site.observer(), 1, Wanted(verdicts=frozenset({"PASS"})))).runs) == 1


async def test_a_run_whose_plan_is_damaged_is_named_when_it_cannot_be_told(site):
    run_id = await sealed(site)
    await site.store.put(keys.plan(run_id), b"{")
    assert (await find_runs(site.observer(), 5, Wanted(scenario="alpha"))).unreadable == (run_id,)
    assert len((await find_runs(site.observer(), 5, Wanted())).runs) == 1


BROKEN = {"turns": [{"error": {"kind": "authentication"}}]}


async def test_a_sealed_summary_quotes_what_an_infrastructure_error_said(site):
    run_id = (await site.submit(order(2, [loaded(script=BROKEN)]))).run_id
    await site.work()
    summary = await site.observer().summary(run_id)
    (errors,) = summary.cells[0].infra_errors
    assert errors.count == 2
    assert "key is not accepted" in errors.message
    assert chosen(summary.cells) == [0]


async def test_a_run_is_sealed_the_same_twice_and_also_when_its_sample_is_gone(site):
    from salvo_core.seal import seal

    run_id = (await site.submit(order(2, [loaded(script=BROKEN)]))).run_id
    await site.work()
    stored = await site.store.get(keys.summary(run_id))
    await seal(run_id, store=site.store, manifest=site.manifest)
    assert await site.store.get(keys.summary(run_id)) == stored
    for key in [key async for key in site.store.list(keys.traces(run_id))]:
        await site.store.delete(key)
    again = await seal(run_id, store=site.store, manifest=site.manifest)
    assert again.cells[0].infra_errors[0].message == ""
