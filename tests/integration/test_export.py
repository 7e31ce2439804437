"""Tables of runs: what they say is what rows and traces say, in index order."""

import pytest

from salvo_core.errors import NotFound, UsageError
from salvo_core.export import export
from salvo_core.manifest import keys as redis_keys
from salvo_core.pack import pack
from salvo_core.run.columns import COLUMNS
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.packed import PackedStore
from tests.integration.reevaluating import again
from tests.integration.site import TURNS, Site, loaded, order

pytestmark = pytest.mark.servers

ANSWER = [{"type": "output_contains", "value": "refund"}, {"type": "output_contains", "value": "never said"}]


@pytest.fixture
async def site(redis_url, tmp_path):
    made = Site(redis_url, PackedStore(FileStore(tmp_path / "store")))
    await made.manifest.redis.flushall()
    yield made
    await made.aclose()


async def ran(site, trials=3):
    """Return the plan of a run of two cells, one of which fails an assertion each time."""
    plan = await site.submit(order(trials, [loaded(), loaded("b.yaml", description="b", assertions=ANSWER)]))
    await site.work()
    return plan


async def lines(site, run_id, what):
    table = await export(run_id, what, observer=site.observer())
    found = [line async for batch in table.batches() for line in batch]
    for line in found:
        assert list(line) == list(COLUMNS[what])
    return found, table


async def test_each_table_has_a_line_for_each_of_its_kind_in_order(site, monkeypatch):
    monkeypatch.setattr("salvo_core.export.ROWS_AT_ONCE", 4)
    monkeypatch.setattr("salvo_core.export.TRACES_AT_ONCE", 4)
    plan = await ran(site)
    trials, table = await lines(site, plan.run_id, "trials")
    assert (table.trials, table.left_out) == (6, [])
    assert [one["index"] for one in trials] == list(range(6))
    assert [(one["cell"], one["trial"], one["scenario"]) for one in trials[:3]] == [
        (0, 0, "refund desk"), (1, 0, "b"), (0, 1, "refund desk"),
    ]  # fmt: skip
    assert [one["failed"] for one in trials[:2]] == [
        [],
        [{"assertion": 1, "label": plan.cells[1].assertions[1], "score": 0.0}],
    ]
    turns, _ = await lines(site, plan.run_id, "turns")
    assert [(one["index"], one["turn"]) for one in turns] == [(i, t) for i in range(6) for t in range(TURNS)]
    assert turns[0]["tool_calls"][0]["name"] == "look_up"
    assert turns[2]["content"] == "Your refund is on its way."
    for trial in trials:
        own = [one for one in turns if one["index"] == trial["index"]]
        assert sum(one["input_tokens"] for one in own) == trial["input_tokens"]
    findings, _ = await lines(site, plan.run_id, "findings")
    assert [(one["index"], one["assertion"], one["passed"]) for one in findings[:4]] == [
        (0, 0, True), (0, 1, True), (1, 0, True), (1, 1, False),
    ]  # fmt: skip
    assert len(findings) == 12


async def test_a_packed_run_that_redis_forgot_has_the_same_tables(site):
    plan = await ran(site)
    before = [(await lines(site, plan.run_id, what))[0] for what in COLUMNS]
    await site.manifest.redis.flushall()
    await pack(plan.run_id, store=site.store, manifest=site.manifest)
    assert [(await lines(site, plan.run_id, what))[0] for what in COLUMNS] == before


async def test_a_trace_that_is_gone_is_told_of_and_the_rest_is_there(site):
    plan = await ran(site)
    await site.store.delete(keys.trace(plan.run_id, plan.trace_id(0), 1))
    await site.store.put(keys.trace(plan.run_id, plan.trace_id(1), 1), b"damaged")
    turns, table = await lines(site, plan.run_id, "turns")
    assert {one["index"] for one in turns} == {2, 3, 4, 5}
    assert sorted(trace_id for trace_id, _ in table.left_out) == [plan.trace_id(0), plan.trace_id(1)]
    assert len((await lines(site, plan.run_id, "trials"))[0]) == 6


async def test_a_run_that_goes_on_is_told_as_it_stands(site):
    plan = await site.submit(order(3))
    await site.work_one(site.bench())
    trials, _ = await lines(site, plan.run_id, "trials")
    assert [one["status"] for one in trials] == ["passed", "pending", "pending"]
    assert [one["score"] for one in trials] == [1.0, None, None]
    assert {one["index"] for one in (await lines(site, plan.run_id, "turns"))[0]} == {0}
    assert await site.manifest.redis.exists(redis_keys.header(plan.run_id))


async def test_a_reevaluation_has_findings_of_its_own_and_no_turns(site):
    plan = await ran(site)
    reeval, _ = await again(site, plan.run_id)
    findings, _ = await lines(site, reeval.run_id, "findings")
    assert {one["run_id"] for one in findings} == {reeval.run_id}
    assert len(findings) == 12
    with pytest.raises(UsageError, match="no turns") as refused:
        await export(reeval.run_id, "turns", observer=site.observer())
    assert plan.run_id in refused.value.hint


async def test_nobodys_run_has_no_table(site):
    with pytest.raises(NotFound):
        await export("01970000-0000-7000-8000-000000000009", "trials", observer=site.observer())
