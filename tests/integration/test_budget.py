"""Runs that may not spend more than so much: reserved before, settled after, whoever dies between."""

from __future__ import annotations

import asyncio

import pytest

from salvo_core.errors import UsageError
from salvo_core.fleet import gate as gates
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.ledger import Ledger
from salvo_core.resume import resume
from salvo_core.sweep import Sweeper
from tests.integration.judging import VOTE_USD, YES, JudgeOfRecord, judge, judged
from tests.integration.site import SCENARIO, TURNS, loaded, order
from tests.integration.trials import site_on, trace_of

pytestmark = pytest.mark.servers

USAGE = {"input_tokens": 1000, "output_tokens": 500}
BILLED_USD = (1000 * 0.15 + 500 * 0.60) / 1e6
"""Of each exchange, at gpt-4o-mini's price."""


@pytest.fixture
async def site(redis_url, tmp_path):
    made = site_on("memory", redis_url, tmp_path)
    yield made
    await made.aclose()


def asked(**fields):
    """Return a scenario whose every exchange is billed USAGE, its output bounded by that."""
    script = SCENARIO["script"] | {"usage": USAGE}
    return loaded(**({"script": script, "extras": {"max_tokens": 500}} | fields))


async def spending(site, plan):
    return (await site.manifest.counts(plan.run_id)).budget


async def test_a_budget_that_suffices_changes_nothing_and_is_booked_to_the_cent(site):
    plan = await site.submit(order(4, [asked()], budget=Budget(usd_max=1.0)))
    await site.work()
    await site.check(plan)
    assert {row.status for row in await site.rows(plan.run_id)} == {"passed"}
    books = await spending(site, plan)
    assert books.spent_usd == pytest.approx(4 * TURNS * BILLED_USD, abs=1e-9)
    assert (books.spent_tokens, books.reserved_usd, books.reserved_tokens) == (4 * TURNS * 1500, 0.0, 0)
    assert not books.closed
    summary = await site.observer().summary(plan.run_id)
    assert summary.budget == books
    assert summary.verdict == "PASS"


@pytest.mark.parametrize("at_once", [1, 40])
async def test_a_budget_is_never_exceeded_and_what_was_not_run_is_skipped(site, at_once):
    budget = Budget(usd_max=20.5 * BILLED_USD)
    plan = await site.submit(order(40, [asked()], budget=budget))
    await site.work(at_once=at_once)
    await site.check(plan)
    sent = len(site.stage.asked)
    assert sent * BILLED_USD <= budget.usd_max
    books = await spending(site, plan)
    assert books.spent_usd == pytest.approx(sent * BILLED_USD, abs=1e-9)
    assert books.closed
    rows = await site.rows(plan.run_id)
    never = [row for row in rows if row.status == "skipped" and row.result is None]
    stopped = [row for row in rows if row.status == "skipped" and row.result is not None]
    assert {row.reason for row in never} <= {"budget"}
    assert never
    for row in stopped:
        trace = await site.trace_of(row, plan.run_id)
        assert (trace.outcome, trace.grade, trace.score) == ("budget", None, None)
        assert trace.error.kind == "budget"
        assert len(trace.messages) > 1, "what was said is kept"
    summary = await site.observer().summary(plan.run_id)
    assert summary.cells[0].unaffordable == len(never) + len(stopped) > 0
    assert (summary.verdict, summary.exit_code) == ("INCONCLUSIVE", 4)
    assert "the budget was used up" in summary.reason


async def test_tokens_are_a_budget_too(site):
    plan = await site.submit(order(10, [asked()], budget=Budget(tokens_max=20_000)))
    await site.work(at_once=5)
    await site.check(plan)
    assert 0 < len(site.stage.asked) * 1500 <= 20_000
    assert (await spending(site, plan)).spent_tokens == len(site.stage.asked) * 1500
    assert "skipped" in {row.status for row in await site.rows(plan.run_id)}


async def test_a_run_with_a_window_skips_what_it_never_released(site):
    plan = await site.submit(order(30, [asked()], budget=Budget(usd_max=4 * BILLED_USD), concurrency_max=2))
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_an_exchange_whose_worker_died_is_booked_at_its_worst_once(site):
    plan = await site.submit(order(1, [asked()], budget=Budget(usd_max=1.0)))
    site.stage.close(1)
    dying = asyncio.create_task(site.work_one(site.bench("w1")))
    await site.stage.reached(1)
    books = await spending(site, plan)
    worst_usd = books.reserved_usd
    assert worst_usd >= BILLED_USD
    sweeper = Sweeper(site.store, site.manifest, site.outbox, site.clock)
    await sweeper.sweep()
    assert await spending(site, plan) == books, "its worker is alive"
    # What is left of a worker that was killed: a lease that runs out. Its exchange may have been billed.
    await site.silence(plan.run_id)
    await sweeper.sweep()
    await asyncio.gather(*(Ledger(site.manifest).settle_lost(plan.run_id) for _ in range(3)))
    books = await spending(site, plan)
    assert (books.reserved_usd, books.reserved_tokens) == (0.0, 0)
    assert books.spent_usd == pytest.approx(BILLED_USD + worst_usd, abs=1e-9)
    site.stage.open(1)
    # It was no corpse: nobody else has begun, so it takes its lease back and goes on; the turn that was
    # booked at its worst comes back after all, is kept, and is not booked a second time.
    await dying
    await site.work(site.bench("w2"))
    await site.check(plan)
    books = await spending(site, plan)
    assert books.spent_usd == pytest.approx((TURNS - 1) * BILLED_USD + worst_usd, abs=1e-9)


async def test_an_exchange_that_ran_out_of_time_is_booked_at_its_worst(site):
    plan = await site.submit(order(1, [asked(timeout_s=0.2)], budget=Budget(usd_max=1.0)))
    site.stage.close(1)
    await site.work()
    await site.check(plan)
    books = await spending(site, plan)
    assert books.reserved_usd == 0
    assert books.spent_usd > 2 * BILLED_USD


async def test_time_before_the_gate_is_not_the_agents(site, monkeypatch):
    monkeypatch.setattr(gates, "_ASK_AGAIN_S", (0.01, 0.02))
    plan = await site.submit(order(1, [asked(timeout_s=0.5)], budget=Budget(usd_max=1.0)))
    budget, _ = redis_keys.budget(plan.run_id)
    await site.manifest.redis.hset(budget, "reserved_nano_usd", 10**9)  # somebody else's, all of it
    working = asyncio.create_task(site.work())
    await asyncio.sleep(0.8)
    assert not working.done()
    assert site.stage.asked == []
    await site.manifest.redis.hset(budget, "reserved_nano_usd", 0)
    await working
    assert [row.status for row in await site.rows(plan.run_id)] == ["passed"]
    trace = await trace_of(site, plan)
    assert (trace.outcome, trace.duration_s > 0.7) == ("completed", True)


async def test_judges_spend_of_the_same_budget_and_are_told_apart(site):
    site.judge = JudgeOfRecord(YES)
    fields = {"script": SCENARIO["script"] | {"usage": USAGE}, "extras": {"max_tokens": 500}}
    scenario = judged(judge(k=3, judge_model="gpt-4o-mini"), **fields)
    plan = await site.submit(order(1, [scenario], budget=Budget(usd_max=1.0)))
    await site.work()
    books = await spending(site, plan)
    assert books.agent_usd == pytest.approx(TURNS * BILLED_USD, abs=1e-9)
    assert books.judge_usd == pytest.approx(3 * VOTE_USD, abs=1e-9)
    # The next run's budget reaches for the conversation, and for no vote.
    plan = await site.submit(order(1, [scenario], budget=Budget(usd_max=TURNS * BILLED_USD + 0.0003)))
    asked = len(site.judge.asked)
    await site.work()
    await site.check(plan)
    assert len(site.judge.asked) == asked
    trace = await trace_of(site, plan)
    assert (trace.status, trace.outcome, trace.error.kind) == ("skipped", "completed", "budget")
    assert trace.final_content == "Your refund is on its way."
    summary = await site.observer().summary(plan.run_id)
    assert summary.cells[0].unaffordable == 1
    assert summary.verdict == "INCONCLUSIVE"


async def test_a_model_without_a_price_is_refused_unless_that_is_allowed(site):
    scenario = asked(model="our-own-7b")
    plan = await site.submit(order(2, [scenario], budget=Budget(usd_max=1.0)))
    await site.work()
    assert site.stage.asked == []
    trace = await trace_of(site, plan)
    assert (trace.status, trace.error.kind) == ("infra_error", "scenario")
    assert "--allow-unpriced" in trace.error.hint
    for budget in (Budget(usd_max=1.0, allow_unpriced=True), Budget(tokens_max=100_000)):
        plan = await site.submit(order(2, [scenario], budget=budget))
        await site.work()
        assert {row.status for row in await site.rows(plan.run_id)} == {"passed"}
        books = await spending(site, plan)
        assert (books.reserved_tokens, books.spent_tokens, books.spent_usd) == (0, 2 * TURNS * 1500, 0)


async def test_a_budget_is_raised_and_what_was_skipped_runs(site):
    plan = await site.submit(order(20, [asked()], budget=Budget(usd_max=7 * BILLED_USD)))
    await site.work(at_once=1)
    assert await site.state(plan.run_id) == "sealed"
    before = await site.rows(plan.run_id)
    doors = {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}
    with pytest.raises(UsageError, match="used up"):
        await resume(plan.run_id, **doors, budget=Budget(usd_max=5 * BILLED_USD))
    assert await site.state(plan.run_id) == "sealed"
    for _ in range(2):
        await resume(plan.run_id, **doors, budget=Budget(usd_max=1.0))
    await site.work()
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    after = await site.rows(plan.run_id)
    for old, new in zip(before, after, strict=True):
        if old.result is not None:
            assert new == old, "what ended, ended"
        else:
            assert new.status == "passed"
    books = await spending(site, plan)
    assert books.spent_usd == pytest.approx(len(site.stage.asked) * BILLED_USD, abs=1e-9)
    summary = await site.observer().summary(plan.run_id)
    assert summary.counts["passed"] == sum(row.status == "passed" for row in after)


async def test_a_run_without_a_budget_has_none_to_raise(site):
    plan = await site.submit(order(1, [asked()]))
    with pytest.raises(UsageError, match="without such a budget"):
        await resume(
            plan.run_id,
            store=site.store,
            manifest=site.manifest,
            dispatcher=site.outbox,
            budget=Budget(usd_max=1.0),
        )
    await site.work()
    assert await spending(site, plan) is None
