"""Budgets of runs that are retried, extended, cancelled; of re-evaluations; of agents that spend unseen."""

import asyncio

import pytest

from salvo_core.adapters.bounds import Declared
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.cancel import cancel
from salvo_core.errors import ProviderPermanent
from salvo_core.extend import extend
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.leases import LeaseKeeper
from salvo_core.manifest.ledger import Ledger
from salvo_core.rebuild import Rebuilder
from salvo_core.resume import resume
from salvo_core.retry import retry
from salvo_core.trace.recording import Recording
from tests.integration.judging import NO, VOTE_USD, YES, JudgeOfRecord, judge, judged
from tests.integration.reevaluating import again, ordered, ran
from tests.integration.site import DEADLINE_S, TURNS, order
from tests.integration.test_budget import BILLED_USD, asked, spending
from tests.integration.trials import site_on, trace_of

pytestmark = pytest.mark.servers

TRIAL_USD = TURNS * BILLED_USD


@pytest.fixture
async def site(redis_url, tmp_path):
    made = site_on("memory", redis_url, tmp_path)
    yield made
    await made.aclose()


def doors(site):
    return {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}


async def confused(site, turn=1, **fields):
    """Return a sealed run of one trial that ended as infra_error in that turn."""
    plan = await site.submit(order(**({"trials": 1, "scenarios": [asked()]} | fields)))
    enter = site.stage.enter

    async def failing(trace_id, number):
        await enter(trace_id, number)
        if number == turn:
            raise ProviderPermanent("the provider is confused", status_code=400)

    site.stage.enter = failing
    await site.work()
    site.stage.enter = enter
    return plan


async def test_a_retried_trial_spends_of_the_budget_that_its_run_has_left(site):
    plan = await confused(site, budget=Budget(usd_max=1.0))
    assert (await spending(site, plan)).spent_usd == pytest.approx(BILLED_USD, abs=1e-9)
    await retry(plan.run_id, **doors(site))
    books, _ = redis_keys.budget(plan.run_id)
    assert await site.manifest.redis.ttl(books) == -1, "the books of a run that goes on do not expire"
    await site.work()
    await site.check(plan)
    assert [row.status for row in await site.rows(plan.run_id)] == ["passed"]
    assert (await spending(site, plan)).spent_usd == pytest.approx(TRIAL_USD, abs=1e-9)


@pytest.mark.parametrize(
    "recording", [Recording(), Recording(mode="metadata_only")], ids=["full", "metadata"]
)
async def test_a_retried_trial_that_the_budget_does_not_reach_for_tells_what_it_had_cost(site, recording):
    plan = await site.submit(
        order(2, [asked()], budget=Budget(usd_max=1.9 * BILLED_USD), recording=recording)
    )
    first, later = site.outbox.waiting
    site.outbox.waiting[:] = [first]
    enter = site.stage.enter

    async def failing(trace_id, number):
        await enter(trace_id, number)
        if number == 1:
            raise ProviderPermanent("the provider is confused", status_code=400)

    site.stage.enter = failing
    # Its second exchange fits only because the first was booked at what it was billed.
    budget, _ = redis_keys.budget(plan.run_id)
    await site.manifest.redis.hset(budget, "nano_usd_max", 10**9)
    await site.work()
    site.stage.enter = enter
    await site.manifest.redis.hset(budget, "nano_usd_max", round(BILLED_USD * 1e9) + 1)
    before = (await site.manifest.counts(plan.run_id)).cost_usd
    assert before == pytest.approx(BILLED_USD)
    assert (await retry(plan.run_id, **doors(site))).trials == 1
    site.outbox.waiting.append(later)
    await site.work()
    await site.check(plan)
    counts = await site.manifest.counts(plan.run_id)
    assert counts.statuses["skipped"] == 2
    assert counts.cost_usd == pytest.approx(before), "what was paid is told, whatever became of the trial"
    assert len(site.stage.asked) == 2


async def test_an_extended_run_spends_of_the_same_budget(site):
    budget = Budget(usd_max=3.5 * TRIAL_USD)
    plan = await site.submit(order(2, [asked()], budget=budget))
    await site.work()
    await extend(plan.run_id, by=6, clock=site.clock, **doors(site))
    await site.work()
    assert await site.state(plan.run_id) == "sealed"
    books = await spending(site, plan)
    assert books.spent_usd == pytest.approx(len(site.stage.asked) * BILLED_USD, abs=1e-9)
    assert 2 * TRIAL_USD < books.spent_usd <= budget.usd_max
    assert books.closed
    statuses = [row.status for row in await site.rows(plan.run_id)]
    assert len(statuses) == 8
    assert "skipped" in statuses[2:]
    await resume(plan.run_id, budget=Budget(usd_max=1.0), **doors(site))
    await site.work()
    assert {row.status for row in await site.rows(plan.run_id) if row.result is None} == set()


async def test_what_a_run_cancelled_at_once_abandoned_is_booked_at_its_worst(site):
    plan = await site.submit(order(1, [asked()], budget=Budget(usd_max=1.0)))
    site.stage.close(1)
    keeper = LeaseKeeper(site.manifest, "w1", lease_s=30.0, clock=site.clock)
    working = asyncio.create_task(site.work_one(site.bench(leases=keeper)))
    await site.stage.reached(1)
    worst_usd = (await spending(site, plan)).reserved_usd
    await cancel(plan.run_id, at_once=True, **doors(site))
    await keeper.renew()  # hears of it
    async with asyncio.timeout(DEADLINE_S):
        await working
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    books = await spending(site, plan)
    assert (books.reserved_usd, books.reserved_tokens) == (0.0, 0)
    assert books.spent_usd == pytest.approx(BILLED_USD + worst_usd, abs=1e-9)
    assert (await trace_of(site, plan)).error.kind == "abandoned"


async def test_a_lease_that_ran_out_while_its_worker_waited_for_money_is_taken_back(site):
    plan = await site.submit(order(1, [asked()], budget=Budget(usd_max=1.0)))
    budget, _ = redis_keys.budget(plan.run_id)
    await site.manifest.redis.hset(budget, "reserved_nano_usd", 10**9)  # somebody else's, all of it
    working = asyncio.create_task(site.work_one(site.bench("w1")))
    async with asyncio.timeout(DEADLINE_S):
        while (await site.manifest.counts(plan.run_id)).statuses["running"] == 0:
            await asyncio.sleep(0.01)
    await site.silence(plan.run_id)
    assert await site.manifest.expire(plan.run_id) == [0]
    await site.manifest.redis.hset(budget, "reserved_nano_usd", 0)
    async with asyncio.timeout(DEADLINE_S):
        await working
    (row,) = await site.rows(plan.run_id)
    assert (row.status, row.attempt) == ("passed", 1), "nobody else had begun it"
    await site.check(plan)


@pytest.mark.parametrize("turn", range(TURNS))
async def test_a_trial_under_way_takes_its_bills_along_when_redis_forgets_them(site, turn):
    plan = await site.submit(order(2, [asked()], budget=Budget(usd_max=1.0)))
    leases = LeaseKeeper(site.manifest, "w1", lease_s=30.0, clock=site.clock)
    doors_of = (site.store, site.manifest, site.outbox, site.clock)
    mine = Rebuilder(*doors_of, "w1", lease_s=30.0, settle_s=0.1)
    leases.reseat = mine.reseat
    first, later = site.outbox.waiting
    site.outbox.waiting[:] = [first]
    site.stage.close(turn)
    working = asyncio.create_task(site.work_one(site.bench("w1", leases=leases, rebuilder=mine)))
    await site.stage.reached(turn)
    await site.manifest.redis.flushall()
    if turn == 1:  # noticed at a renewal: what is under way is set aside anew before its bill comes
        await leases.renew()
        async with asyncio.timeout(30):
            while not await site.manifest.redis.exists(redis_keys.budget(plan.run_id)[1]):
                await asyncio.sleep(0.01)
    site.stage.open(turn)
    async with asyncio.timeout(30):
        await working
    site.outbox.waiting[:] = [later]
    await site.work()
    await site.check(plan)
    books = await spending(site, plan)
    assert len(site.stage.asked) == 2 * TURNS
    assert books.spent_usd == pytest.approx(2 * TRIAL_USD, abs=1e-8)
    assert (books.reserved_usd, books.reserved_tokens) == (0.0, 0)


# -- re-evaluations --------------------------------------------------------------------------------


async def recorded(site, trials, **fields):
    site.judge = JudgeOfRecord(YES)
    scenario = judged(judge(k=2, judge_model="gpt-4o-mini"), **fields)
    plan = await ran(site, trials=trials, scenarios=[scenario])
    site.judge = JudgeOfRecord(NO)
    return plan


async def test_judges_of_a_re_evaluation_spend_no_more_than_its_budget(site):
    plan = await recorded(site, 6)
    budget = Budget(usd_max=0.0049)
    reeval, compared = await again(site, plan.run_id, fresh_votes=True, budget=budget)
    books = await spending(site, reeval)
    assert books.judge_usd == pytest.approx(len(site.judge.asked) * VOTE_USD, abs=1e-9)
    assert 0 < books.judge_usd <= budget.usd_max
    assert (books.agent_usd, books.reserved_usd, books.closed) == (0.0, 0.0, True)
    rows = await site.rows(reeval.run_id)
    judged_again = [row for row in rows if row.status != "skipped"]
    assert 0 < len(judged_again) < len(rows)
    summary = await site.observer().summary(reeval.run_id)
    assert summary.cells[0].unaffordable == len(rows) - len(judged_again)
    assert "the budget was used up" in summary.reason
    assert compared is not None
    counts = await site.manifest.counts(reeval.run_id)
    assert counts.reeval
    # A higher budget lets those be judged whose judges had said nothing.
    await resume(reeval.run_id, budget=Budget(usd_max=1.0), **doors(site))
    await site.work()
    rows = await site.rows(reeval.run_id)
    assert not [row for row in rows if row.result is None]
    assert await site.state(reeval.run_id) == "sealed"


async def test_votes_that_are_known_cost_a_re_evaluation_nothing(site):
    plan = await recorded(site, 2)
    reeval, compared = await again(site, plan.run_id, budget=Budget(usd_max=0.0))
    assert (site.judge.asked, compared.flipped) == ([], 0)
    assert (await spending(site, reeval)).spent_usd == 0.0


async def test_what_the_recorded_conversations_took_is_not_the_re_evaluations_to_pay(site):
    plan = await recorded(site, 3, script=asked().scenario.script.model_dump(exclude_none=True))
    counts = await site.manifest.counts(plan.run_id)
    assert counts.cost_usd > 0.0005
    budget = Budget(usd_max=3 * 2 * VOTE_USD + 0.001, tokens_max=60_000)
    reeval = await ordered(site, plan.run_id, fresh_votes=True, budget=budget)
    await site.work(at_once=1)
    assert (await spending(site, reeval)).judge_tokens == len(site.judge.asked) * 1500
    assert {row.status for row in await site.rows(reeval.run_id)} <= {"passed", "failed", "skipped"}
    assert len(site.judge.asked) >= 4


# -- agents that may spend behind our back ------------------------------------------------------------


@pytest.fixture
def unseen(monkeypatch):
    """Let the scripted agent be one that may spend unseen; what its owner declares is set on the list."""
    said = [Declared()]
    monkeypatch.setattr(AdapterRegistry, "declared", lambda self, name: said[0])
    return said


async def test_an_agent_of_which_nobody_says_what_it_takes_is_refused_under_a_budget(site, unseen):
    for budget in (Budget(usd_max=1.0), Budget(tokens_max=10**6)):
        plan = await site.submit(order(1, [asked()], budget=budget))
        await site.work()
        trace = await trace_of(site, plan)
        assert (site.stage.asked, trace.status, trace.error.kind) == ([], "infra_error", "scenario")
        assert "turn_cost_usd_max" in trace.error.hint
    plan = await site.submit(order(1, [asked()], budget=Budget(usd_max=1.0, allow_unpriced=True)))
    await site.work()
    assert [row.status for row in await site.rows(plan.run_id)] == ["passed"]


async def test_what_is_declared_is_set_aside_and_booked_where_the_agent_does_not_say_more(site, unseen):
    unseen[0] = Declared(cost_usd_max=0.25)
    plan = await site.submit(
        order(
            3,
            [asked(model="our-own-7b", script={"turns": [{"text": "your refund"}]})],
            budget=Budget(usd_max=0.6),
        )
    )
    await site.work()
    await site.check(plan)
    books = await spending(site, plan)
    assert (len(site.stage.asked), books.spent_usd) == (2, pytest.approx(0.5))
    # So is one that tells no tokens, whatever a price list says.
    silent = {"turns": [{"text": "your refund"}], "usage": {"input_tokens": 0, "output_tokens": 0}}
    plan = await site.submit(order(1, [asked(script=silent)], budget=Budget(usd_max=1.0)))
    await site.work()
    assert (await spending(site, plan)).spent_usd == pytest.approx(0.25)
    # One that tells its tokens, of a model with a price, is booked at that.
    plan = await site.submit(order(1, [asked()], budget=Budget(usd_max=1.0)))
    await site.work()
    assert (await spending(site, plan)).spent_usd == pytest.approx(TRIAL_USD, abs=1e-9)


async def test_books_that_a_rebuild_begins_are_those_of_trials_that_ended(site):
    plan = await site.submit(order(2, [asked()], budget=Budget(usd_max=1.0)))
    await site.work_one(site.bench())
    books, reserved = redis_keys.budget(plan.run_id)
    await site.manifest.redis.delete(books, reserved)
    for _ in range(2):
        await Ledger(site.manifest).open(plan.run_id, plan.budget)
    assert (await spending(site, plan)).spent_usd == pytest.approx(TRIAL_USD, abs=1e-9)
