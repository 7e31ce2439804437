"""Attempts at what cannot be carried out, evaluated or told: each ends in a row that says why."""

import asyncio

import pytest

from salvo_core.adapters.protocol import TurnReply
from salvo_core.attempt import attempt
from salvo_core.cancel import cancel
from salvo_core.errors import ObjectMissing
from salvo_core.manifest import keys as redis_keys
from salvo_core.run.plan import TrialMessage
from salvo_core.store import keys
from salvo_core.trace.model import ToolCall
from salvo_core.trace.redaction import MARKER
from tests.integration.site import TURNS, Fuse, loaded, order
from tests.integration.trials import STORES, check_paid_once, died, one_trial, row_of, site_on, trace_of

pytestmark = pytest.mark.servers


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    made = site_on(request.param, redis_url, tmp_path)
    yield made
    await made.aclose()


# -- the order is gone, or cannot be carried out -----------------------------------------------------


async def check_infra_error(site, plan, kind, words):
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.outcome, row.result.error) == ("infra_error", "infra_error", kind)
    assert words in trace.error.message
    assert (trace.grade, trace.score, trace.findings) == (None, None, ())
    assert site.stage.asked == []
    return trace


async def test_a_trial_without_a_plan_ends_with_the_reason_and_a_trace(site):
    plan, message = await one_trial(site)
    await site.store.delete(keys.plan(plan.run_id))
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "store", "plan.json")
    assert trace.trace_id == message.trace_id


async def test_a_plan_of_another_shape_ends_the_trial_with_the_reason(site):
    from salvo_core.run.plan import SCHEMA
    from salvo_core.trace import codec

    plan, message = await one_trial(site)
    document = plan.model_dump(mode="json") | {"from_the_future": True}
    await site.store.put(keys.plan(plan.run_id), codec.encode(SCHEMA, document, compress=False)[0])
    await attempt(message, site.bench())
    await check_infra_error(site, plan, "store", "holds a plan that this Salvo cannot read")


@pytest.mark.parametrize(
    ("damage", "words"), [(None, "nothing is stored"), (b'{"schema":"salvo.sc', "is not a salvo.scenario/1")]
)
async def test_a_trial_whose_scenario_is_gone_or_damaged_ends_with_the_reason_and_the_run_is_sealed(
    site, damage, words
):
    plan, message = await one_trial(site)
    key = keys.scenario(plan.cells[0].scenario_digest)
    if damage is None:
        await site.store.delete(key)
    else:
        await site.store.put(key, damage)
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "store", words if damage else key)
    assert (trace.scenario.name, trace.model) == ("refund desk", "gpt-4o-mini")
    assert await site.state(plan.run_id) == "sealed"
    assert (await site.observer().summary(plan.run_id)).verdict == "INFRA_ERROR"


@pytest.mark.parametrize(
    ("adapter", "words"),
    [("opanai", "there is no adapter 'opanai'"), ("my_pkg.agent.Agent", "does not allow the adapter class")],
)
async def test_an_adapter_that_this_worker_does_not_have_ends_the_trial_with_the_reason(site, adapter, words):
    plan, message = await one_trial(site, scenarios=[loaded(adapter=adapter)])
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "adapter", words)
    assert trace.error.hint
    assert trace.cost_usd == 0.0  # nothing was asked for, so nothing was spent


async def test_what_was_paid_before_an_adapter_went_missing_is_still_in_the_record(site):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(2).on(site.manifest, "journal")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    bench = site.bench("w2")
    bench.orders._scenarios._tasks.clear()
    await site.store.delete(keys.scenario(plan.cells[0].scenario_digest))
    await attempt(message, bench)
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert row.result.error == "store"
    assert [turn.index for turn in trace.turns] == [0]
    assert (row.result.turns, row.result.input_tokens, trace.usage.total_tokens) == (1, 100, 150)


async def test_a_message_that_the_plan_would_not_send_is_not_believed(site):
    plan = await site.submit(order(2, [loaded(), loaded("b.yaml", description="second")]))
    lie = plan.message(1).model_copy(update={"cell": 0})
    await attempt(TrialMessage.model_validate(lie.model_dump()), site.bench())
    row = await row_of(site, plan, 1)
    assert row.status == "infra_error"
    assert site.stage.asked == []
    assert (await site.manifest.counts(plan.run_id)).per_cell.keys() == {1}  # its own cell, not the lie's


# -- mistakes of assertions and faults of ours -------------------------------------------------------


async def test_an_assertion_that_cannot_be_evaluated_is_a_finding_and_costs_neither_trace_nor_money(site):
    broken = {"type": "jmespath", "expression": "length(metadata.turn_count)", "operator": "gt", "value": 1}
    plan, message = await one_trial(site, scenarios=[loaded(assertions=[broken])])
    await attempt(message, site.bench())
    trace = await trace_of(site, plan)
    assert (trace.status, trace.outcome, trace.error) == ("failed", "completed", None)
    assert len(trace.turns) == TURNS
    (finding,) = trace.findings
    assert not finding.passed
    assert finding.error or finding.details


async def test_a_fault_of_ours_while_talking_ends_the_trial_at_once_and_says_so(site, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("a bug of ours")

    monkeypatch.setattr("salvo_core.trial.conversation.MockTools", broken)
    plan, message = await one_trial(site)
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "internal", "a bug of ours")
    assert trace.error.error_class == "KeyError"
    assert "Traceback" in caplog.text  # in the worker's log, for us
    assert await site.state(plan.run_id) == "sealed"


async def test_a_conversation_that_cannot_be_written_down_still_ends_in_a_row_with_its_costs(
    site, monkeypatch
):
    def broken(*_, **__):
        raise RecursionError("too deep")

    monkeypatch.setattr("salvo_core.record.evaluate", broken)
    plan, message = await one_trial(site)
    await attempt(message, site.bench())
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, trace.messages, trace.turns) == ("infra_error", "internal", (), ())
    assert row.result.input_tokens == 300
    assert (trace.outcome, trace.grade) == ("infra_error", None)
    await site.check(plan)


async def test_arguments_nested_beyond_all_reason_are_the_agents_mistake(site):
    class Deep:
        """A team's own adapter, whose model answers such arguments once."""

        name = "deep"

        async def send_turn(self, messages, tools, config):
            nested = {}
            for _ in range(900):
                nested = {"d": nested}
            call = ToolCall(id="1", name="look_up", arguments=nested)
            return TurnReply(None, (call,)) if config.turn == 0 else TurnReply("No refund.")

        async def aclose(self):
            pass

    plan, message = await one_trial(site)
    bench = site.bench()
    bench.adapters.get = lambda name, script: Deep()
    await attempt(message, bench)
    trace = await trace_of(site, plan)
    assert (trace.status, trace.outcome, len(trace.turns)) == ("failed", "completed", 2)
    assert trace.tool_calls[0].malformed.startswith('{"d": {"d": ')
    assert trace.messages[2].tool_error


async def test_a_turn_of_a_newer_salvo_in_the_journal_is_asked_for_again(site, caplog):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(2, after=True).on(site.manifest, "journal")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await site.manifest.redis.lset(
        redis_keys.journal(plan.run_id, 0), 1, '{"index": 1, "from": "the future"}'
    )
    await attempt(message, site.bench("w2"))
    assert "turn 1 cannot be read" in caplog.text
    assert (await row_of(site, plan)).status == "passed"
    assert [turn for _, turn in site.stage.asked] == [0, 1, 1, 2]
    await site.check(plan)


# -- secrets, cancelling -----------------------------------------------------------------------------


async def test_assertions_see_what_was_said_and_what_is_stored_holds_no_secret(site):
    secret = "canary-8f1e2d3c4b5a"
    said = [{"text": f"ok token=999 and {secret}"}]
    checks = [
        {"type": "output_contains", "value": "token=999"},
        {"type": "output_contains", "value": secret[:-1]},
    ]
    plan, message = await one_trial(site, scenarios=[loaded(script={"turns": said}, assertions=checks)])
    bench = site.bench(redaction_patterns=("ok ?",))
    bench.adapters.secrets = frozenset({secret})
    await attempt(message, bench)
    trace = await trace_of(site, plan)
    assert trace.status == "passed"
    assert trace.final_content == f"{MARKER}{MARKER} and {MARKER}"
    assert "token=999" not in trace.model_dump_json(exclude={"findings": {"__all__": {"label"}}})
    assert secret not in trace.model_dump_json()


async def test_a_cancelled_run_keeps_what_was_paid_and_begins_nothing_more(site):
    plan = await site.submit(order(4))
    bench = site.bench("w1")
    site.stage.close(1)
    running = asyncio.create_task(attempt(site.outbox.waiting.pop(0), bench))
    await site.stage.reached(1)
    given_back = plan.message(1)
    await site.manifest.give_back(
        await site.manifest.claim(plan.run_id, 1, given_back.trace_id, "w0", lease_s=30)
    )
    cancelled = await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (cancelled.changed, cancelled.state, cancelled.ended) == (True, "cancelling", 2)
    await bench.leases.renew()
    site.stage.open(1)
    await running
    await site.work()
    rows = await site.rows(plan.run_id)
    assert [row.status for row in rows] == ["cancelled"] * 4
    assert [bool(row.result) for row in rows] == [True, True, False, False]
    assert rows[0].result.turns == 2
    assert len(site.stage.asked) == 2
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    again = await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (again.changed, again.state, again.ended) == (False, "sealed", 0)


async def test_a_conversation_that_was_over_before_it_was_cancelled_is_graded(site):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(1).on(site.manifest, "commit")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work(site.bench("w2"))
    assert (await row_of(site, plan)).status == "passed"
    await check_paid_once(site, plan)
    with pytest.raises(ObjectMissing):
        await site.store.get(keys.trace(plan.run_id, message.trace_id, 3))
