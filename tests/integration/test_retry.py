"""Trials that are tried again: what is kept of the past, what is paid for again, what is refused."""

import pytest

from salvo_core.audit import audit
from salvo_core.cancel import cancel
from salvo_core.errors import ProviderPermanent, UsageError
from salvo_core.manifest import keys as redis_keys
from salvo_core.rebuild import rebuild
from salvo_core.retry import retry
from salvo_core.store import keys
from salvo_core.sweep import Sweeper
from salvo_core.trace.recording import Recording
from tests.integration.site import TURNS, order
from tests.integration.trials import STORES, site_on
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    site = site_on(request.param, redis_url, tmp_path)
    await site.manifest.redis.flushall()
    yield site
    await site.aclose()


def doors(site):
    return {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}


METADATA_ONLY = Recording(mode="metadata_only")


async def broken_run(site, trials=4, broken=(1,), turn=1, kept_back=(), **fields):
    """Return a run of which these trials ended as infra_error in that turn; sealed if none is kept back."""
    plan = await site.submit(order(trials, **fields))
    later = [message for message in site.outbox.waiting if message.index in kept_back]
    site.outbox.waiting[:] = [message for message in site.outbox.waiting if message not in later]
    ids = {plan.trace_id(index) for index in broken}
    enter = site.stage.enter

    async def failing(trace_id, number):
        await enter(trace_id, number)
        if trace_id in ids and number == turn:
            raise ProviderPermanent("the provider is confused")

    site.stage.enter = failing
    await site.work(site.bench("w1"))
    site.stage.enter = enter
    site.outbox.waiting += later
    assert await site.state(plan.run_id) == ("running" if later else "sealed")
    return plan


async def test_a_trial_that_is_retried_goes_on_where_it_failed_and_keeps_its_past(site):
    plan = await broken_run(site)
    before = len(site.stage.asked)
    first = (await site.rows(plan.run_id))[1]
    assert (first.status, first.result.turns) == ("infra_error", 1)
    original = await site.store.get(keys.trace(plan.run_id, first.trace_id, 1))
    foretold = await retry(plan.run_id, dry_run=True, **doors(site))
    assert (foretold.trials, foretold.continued, foretold.state) == (1, 1, "sealed")
    done = await retry(plan.run_id, **doors(site))
    assert (done.trials, done.continued, done.state) == (1, 1, "running")
    assert (await retry(plan.run_id, **doors(site))).trials == 0, "it waits already"
    assert (await site.manifest.counts(plan.run_id)).verdict is None
    await site.work(site.bench("w2"))
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    row = (await site.rows(plan.run_id))[1]
    trace = await site.trace_of(row, plan.run_id)
    assert (row.status, row.attempt, row.result.retried) == ("passed", 2, 1)
    assert len(site.stage.asked) == before + TURNS - 1
    assert [(one.attempt, one.how, one.error, one.turns) for one in trace.earlier] == [
        (1, "retried", "permanent", 1)
    ]
    assert await site.store.get(keys.trace(plan.run_id, first.trace_id, 1)) == original
    found = await audit(plan.run_id, store=site.store, manifest=site.manifest)
    assert found.clean, found.discrepancies
    assert found.losing == [], "the original is no refuse"


async def test_trials_that_are_retried_are_sent_as_the_queue_has_room_for_them(site, monkeypatch):
    plan = await broken_run(site, trials=12, broken=range(10))
    site.outbox.queued_max = 6
    monkeypatch.setattr("salvo_core.submit.LET_IN_ALWAYS", 4)
    site.outbox.sent.clear()
    assert (await retry(plan.run_id, **doors(site))).trials == 10
    assert [message.index for message in site.outbox.waiting] == list(range(6))
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.waiting, counts.again) == (6, 4)
    sweeping = Sweeper(site.store, site.manifest, site.outbox, StepClock())
    await sweeping.sweep()
    assert len(site.outbox.waiting) == 6
    for _ in range(2):
        await site.work_one(site.bench("w2"))
    await sweeping.sweep()
    assert [message.index for message in site.outbox.waiting] == list(range(2, 8))
    await site.work(site.bench("w2"))
    await sweeping.sweep()
    await site.work(site.bench("w2"))
    assert [message.index for message in site.outbox.sent] == list(range(10)), "each once"
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_messages_that_were_lost_are_sent_again_as_the_queue_has_room_for_them(site, monkeypatch):
    plan = await site.submit(order(12))
    site.outbox.waiting.clear()
    site.outbox.sent.clear()
    site.outbox.queued_max = 6
    monkeypatch.setattr("salvo_core.resume.LET_IN_ALWAYS", 4)
    clock = StepClock()
    sweeping = Sweeper(site.store, site.manifest, site.outbox, clock, still_s=5.0)
    for beginning in (range(6), range(6, 12)):
        await sweeping.sweep()  # notes where it stands
        await clock.sleep(6)
        await sweeping.sweep()
        assert [message.index for message in site.outbox.waiting] == list(beginning)
        await site.work(site.bench())
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_a_retried_trial_counts_once_when_its_run_is_rebuilt(site):
    plan = await broken_run(site)
    await retry(plan.run_id, **doors(site))
    await site.work(site.bench("w2"))
    rows = await site.rows(plan.run_id)
    await site.store.delete(keys.summary(plan.run_id))
    await site.manifest.redis.flushall()
    await rebuild(plan.run_id, **doors(site))
    assert await site.rows(plan.run_id) == rows


async def test_a_run_that_redis_has_forgotten_is_opened_again_from_its_archive(site):
    plan = await broken_run(site, broken=(0, 3))
    rows = await site.rows(plan.run_id)
    await site.manifest.redis.flushall()
    assert (await retry(plan.run_id, dry_run=True, **doors(site))).trials == 2
    assert not await site.manifest.redis.exists(redis_keys.header(plan.run_id))
    asked = len(site.stage.asked)
    assert (await retry(plan.run_id, **doors(site))).trials == 2
    await site.work(site.bench("w2"))
    await site.check(plan)
    again = await site.rows(plan.run_id)
    assert [again[1], again[2]] == [rows[1], rows[2]]
    assert [row.status for row in again] == ["passed"] * 4
    assert len(site.stage.asked) == asked + 2 * (TURNS - 1)


async def test_a_cancelled_trial_is_retried_if_it_is_named_and_never_otherwise(site):
    plan = await site.submit(order(2))
    await cancel(plan.run_id, **doors(site))
    assert (await retry(plan.run_id, **doors(site))).trials == 0
    named = [plan.trace_id(1)]
    assert (await retry(plan.run_id, trace_ids=named, errors_only=True, **doors(site))).trials == 0
    assert (await retry(plan.run_id, trace_ids=named, **doors(site))).trials == 1
    await site.work(site.bench("w1"))
    assert [row.status for row in await site.rows(plan.run_id)] == ["cancelled", "passed"]
    await site.check(plan)


async def test_trials_with_a_grade_and_runs_that_are_being_cancelled_are_not_retried(site):
    plan = await broken_run(site)
    with pytest.raises(UsageError, match="ended as passed"):
        await retry(plan.run_id, trace_ids=[plan.trace_id(0)], **doors(site))
    with pytest.raises(UsageError, match="is not one of run"):
        await retry(plan.run_id, trace_ids=[plan.run_id], **doors(site))
    await site.manifest.redis.hset(redis_keys.header(plan.run_id), "state", "cancelling")
    with pytest.raises(UsageError, match="is being cancelled"):
        await retry(plan.run_id, **doors(site))
    assert (await site.rows(plan.run_id))[1].status == "infra_error"


async def test_of_a_run_that_keeps_no_content_a_trial_begins_anew_and_costs_what_all_its_attempts_cost(site):
    plan = await broken_run(site, trials=2, broken=(0,), kept_back=(1,), recording=METADATA_ONLY)
    failed = (await site.rows(plan.run_id))[0]
    done = await retry(plan.run_id, **doors(site))
    assert (done.trials, done.continued) == (1, 0)
    await site.work(site.bench("w2"))
    row = (await site.rows(plan.run_id))[0]
    trace = await site.trace_of(row, plan.run_id)
    assert (row.status, len(trace.turns)) == ("passed", TURNS)
    (before,) = trace.earlier
    assert before.dropped_usage.input_tokens == failed.result.input_tokens > 0
    assert before.dropped_cost_usd == failed.result.cost_usd
    said = sum(turn.billed.input_tokens for turn in trace.turns)
    assert row.result.input_tokens == said + failed.result.input_tokens
    await site.check(plan)


async def test_once_such_a_run_is_over_its_scenarios_are_gone_and_that_is_said(site):
    plan = await broken_run(site, trials=2, broken=(0,), recording=METADATA_ONLY)
    with pytest.raises(UsageError, match="is not in the store any more") as refused:
        await retry(plan.run_id, **doors(site))
    assert "submit it anew" in refused.value.hint
    assert await site.state(plan.run_id) == "sealed"
