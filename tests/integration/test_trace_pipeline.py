"""The trace pipeline: one id from the order to the provider, and a trace for every trial once it ends."""

import json
import logging
import time

import pytest

from salvo_cli.render.console import Marks
from salvo_cli.render.report import report
from salvo_cli.reporting import infra_messages
from salvo_core.attempt import attempt
from salvo_core.errors import ObjectMissing
from salvo_core.identity import is_uuid7
from salvo_core.manifest.rows import Row
from salvo_core.observe import Observer
from salvo_core.run.summary import summarise
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import make_plan
from tests.integration.site import NOW, Fuse, Site, loaded, order
from tests.integration.trials import one_trial, row_of, trace_of
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import result

pytestmark = pytest.mark.servers

HEADER = "x-salvo-trace-id"
SAID = answer(
    {
        "choices": [{"message": {"content": "no"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    }
)


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


@pytest.fixture
async def provider():
    canned = CannedServer()
    await canned.start()
    canned.plays(SAID)
    yield canned
    await canned.stop()


def asking(provider, **profile):
    """A worker's adapters, whose openai profile asks the canned provider."""
    fields = {"adapter": "openai", "base_url": f"{provider.url}/v1", "key_env": "KEY", **profile}
    return registry(profiles={"openai": fields}, secrets={"KEY": "no-key-at-all"})


def talking(**fields):
    return loaded(
        adapter="openai", tools=[], assertions=[{"type": "output_contains", "value": "yes"}], **fields
    )


# -- one id, everywhere ------------------------------------------------------------------------------


async def test_the_same_uuid7_is_in_message_row_object_trace_log_header_and_report(site, provider, caplog):
    caplog.set_level(logging.INFO)
    plan = await site.submit(order(2, [talking()]))
    messages = list(site.outbox.waiting)
    await site.work(site.bench(adapters=asking(provider)), at_once=1)
    rows = await site.rows(plan.run_id)
    trace_ids = [row.trace_id for row in rows]
    assert all(map(is_uuid7, trace_ids))
    assert len({*trace_ids, plan.run_id}) == 3
    assert [message.trace_id for message in messages] == trace_ids
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == [
        f"{keys.traces(plan.run_id)}{trace_id}.a1.json.zst" for trace_id in trace_ids
    ]
    assert [(await site.trace_of(row, plan.run_id)).trace_id for row in rows] == trace_ids
    assert [seen.headers[HEADER] for seen in provider.seen] == trace_ids
    for trace_id in trace_ids:
        assert f"trial {trace_id} failed, attempt 1" in caplog.text
    summary = await site.observer().summary(plan.run_id)
    assert list(summary.cells[0].failures[0].trace_ids) == trace_ids
    assert f"salvo trace {trace_ids[0]}" in drawn(report(summary, width=80, signs=Marks()))


async def test_the_header_can_be_turned_off_and_nothing_else_changes(site, provider):
    plan, message = await one_trial(site, scenarios=[talking()])
    await attempt(message, site.bench(adapters=asking(provider, trace_header=False)))
    (seen,) = provider.seen
    assert HEADER not in seen.headers
    assert message.trace_id not in json.dumps([seen.path, seen.headers, seen.body])
    assert (await trace_of(site, plan)).trace_id == message.trace_id


async def _without_plan(site, plan):
    await site.store.delete(keys.plan(plan.run_id))


async def _without_scenario(site, plan):
    await site.store.delete(keys.scenario(plan.cells[0].scenario_digest))


async def _with_all(site, plan):
    pass


@pytest.mark.parametrize("damage", [_without_plan, _without_scenario, _with_all])
async def test_whatever_fails_the_id_that_the_trial_was_ordered_under_is_in_its_row_and_trace(site, damage):
    broken = loaded(adapter="nobody_has_this") if damage is _with_all else loaded()
    plan, message = await one_trial(site, scenarios=[broken])
    await damage(site, plan)
    await attempt(message, site.bench())
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert row.status == "infra_error"
    assert row.trace_id == trace.trace_id == message.trace_id == plan.trace_id(0)
    assert is_uuid7(message.trace_id)
    assert (trace.finish_reason, trace.outcome) == ("error", "infra_error")
    assert trace.error.error_class == ("UsageError" if damage is _with_all else ObjectMissing.__name__)
    assert trace.error.message
    # What the agent would have been asked is kept wherever it is known.
    assert [message.role for message in trace.messages] == (["user"] if damage is _with_all else [])


# -- a trace for every trial, as soon as it ends -----------------------------------------------------


async def test_each_trace_is_stored_and_named_before_the_next_trial_begins(site):
    plan = await site.submit(order(3, concurrency_max=1))
    bench = site.bench()
    for ended in range(1, 4):
        await site.work_one(bench)
        found = [key async for key in site.store.list(keys.traces(plan.run_id))]
        assert len(found) == ended
        assert [row.recorded for row in await site.rows(plan.run_id)] == [n < ended for n in range(3)]
        assert (await site.observer().trace(plan.trace_id(ended - 1))).trace_id == plan.trace_id(ended - 1)


async def test_a_row_is_never_written_before_the_trace_that_it_names(site):
    plan, message = await one_trial(site)
    fuse = Fuse()
    bench = site.bench(store=fuse.on(site.store, "put_if_absent"), manifest=fuse.on(site.manifest, "commit"))
    await attempt(message, bench)
    assert fuse.writes == ["put_if_absent", "commit"]
    assert (await row_of(site, plan)).recorded


async def test_a_provider_that_fails_half_way_leaves_what_was_said_and_its_error(site):
    turns = [
        {"tool_calls": [{"name": "look_up", "arguments": {"n": 1}}]},
        {"error": {"kind": "authentication", "message": "the key was withdrawn"}},
    ]
    plan, message = await one_trial(site, scenarios=[loaded(script={"turns": turns})])
    await attempt(message, site.bench())
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, row.recorded) == ("infra_error", "authentication", True)
    assert (trace.finish_reason, trace.outcome, trace.grade, trace.score) == (
        "error", "infra_error", None, None,
    )  # fmt: skip
    assert [said.role for said in trace.messages] == ["user", "assistant", "tool_result"]
    assert [turn.index for turn in trace.turns] == [0]
    assert (trace.error.error_class, trace.error.turn) == ("ProviderAuthentication", 1)
    assert "the key was withdrawn" in trace.error.message


# -- a report opens no trace ---------------------------------------------------------------------------


class Listening(MemoryStore):
    """A store that remembers what it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def get(self, key):
        self.asked.append(key)
        return await super().get(key)


async def test_a_report_of_a_hundred_thousand_trials_is_its_summary_and_less_than_a_second_of_work(site):
    store = Listening()
    many = [loaded(f"{n}.yaml", description=f"scenario {n}") for n in range(100)]
    plan = make_plan(order(1000, many), now=NOW)
    ended = {"passed": result(), "failed": result(0.5, failed=((0, 0.0),)), "infra_error": result(None)}
    statuses = ("passed", "passed", "failed", "infra_error", "passed", "failed", "passed")
    rows = [
        Row(index, statuses[index % 7], 1, plan.trace_id(index), result=ended[statuses[index % 7]])
        for index in range(plan.total)
    ]
    summary = summarise(plan, rows, {}, started_ms=1_000, finished_ms=900_000, state="sealed")
    await store.put(keys.plan(plan.run_id), plan.encode()[0])
    await store.put(keys.summary(plan.run_id), summary.encode()[0])
    began_s = time.process_time()
    found = await Observer(store, site.manifest).summary(plan.run_id)
    assert await infra_messages(None, found) == {}  # it quotes its errors itself
    text = drawn(report(found, width=160, signs=Marks()), 160)
    assert time.process_time() - began_s < 1.0
    assert store.asked == [keys.summary(plan.run_id)]
    assert "100 cells · 100,000 of 100,000 trials ended" in text
