"""Judges inside a trial: votes are kept one by one, counted once, and never held against the agent."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from salvo_core.attempt import attempt
from salvo_core.errors import ProviderAuthentication
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.rows import Row
from salvo_core.replay import replay_run
from tests.integration.judging import MUTE, NO, VOTE_USD, YES, JudgeOfRecord, judge, judged
from tests.integration.site import TURNS, Fuse, loaded, order
from tests.integration.trials import STORES, check_paid_once, died, row_of, site_on, trace_of

pytestmark = pytest.mark.servers

AT_ONCE = 8
"""Votes of a trial that are asked for at once."""

DOWN = ProviderAuthentication("the key is not accepted")


@pytest.fixture(params=STORES)
async def site(request, redis_url, tmp_path):
    made = site_on(request.param, redis_url, tmp_path)
    yield made
    await made.aclose()


async def judged_trial(site, votes, *assertions, **fields):
    """Order one trial before a judge who gives these votes; return its plan and message."""
    site.judge = JudgeOfRecord(*votes)
    plan = await site.submit(order(1, [judged(*assertions)], **fields))
    site.outbox.waiting.clear()
    return plan, plan.message(0)


async def ended(site, plan, message, bench=None):
    """Attempt the trial; return its row and trace, having checked that all is in order."""
    await attempt(message, bench or site.bench())
    await site.check(plan)
    return await row_of(site, plan), await trace_of(site, plan)


@asynccontextmanager
async def first_votes_held(site, message, bench):
    """Attempt the trial; as many votes as are asked for at once are under way meanwhile, and no other."""
    numbers = range(AT_ONCE)
    for number in numbers:
        site.judge.stage.close(number)
    running = asyncio.create_task(attempt(message, bench))
    for number in numbers:
        await site.judge.stage.reached(number)
    yield
    for number in numbers:
        site.judge.stage.open(number)
    await running


# -- what votes come to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "k", "status", "heard", "in_favour"),
    [
        ([YES, YES, NO], 3, "passed", 3, 2),
        ([YES, NO, NO], 3, "hard_fail", 3, 1),
        ([YES, NO], 2, "hard_fail", 2, 1),
        ([YES, MUTE, MUTE], 3, "infra_error", 1, 1),
        ([MUTE], 3, "infra_error", 0, 0),
        ([YES, YES, MUTE], 3, "passed", 2, 2),
    ],
    ids=["most", "few", "tie", "no quorum", "nothing", "quorum"],
)
async def test_t49_votes_decide_by_strict_majority_and_too_few_of_them_decide_nothing(
    site, votes, k, status, heard, in_favour
):
    plan, message = await judged_trial(site, votes, judge(k=k, required=True))
    row, trace = await ended(site, plan, message)
    assert (row.status, trace.outcome) == (status, "completed")
    assert row.result.judged == ((1, k, heard, in_favour),)
    assert [vote.heard for vote in trace.judgements[0].votes].count(True) == heard
    assert sorted(site.judge.asked) == list(range(k))


async def test_t49_an_optional_judge_whose_votes_cannot_be_read_leaves_the_score(site):
    plan, message = await judged_trial(site, [YES, MUTE, MUTE], judge(k=3, weight=9))
    row, trace = await ended(site, plan, message)
    assert (row.status, row.result.score, row.result.error) == ("passed", 1.0, "")
    assert row.result.failed == ()
    finding = trace.findings[1]
    assert (finding.infra, finding.passed) == (True, False)
    assert "1 of 3 votes could be read" in finding.error
    (summary,) = (await site.observer().summary(plan.run_id)).cells[0].judges
    assert (summary.trials, summary.votes, summary.votes_heard) == (1, 3, 1)
    assert (summary.unheard, summary.graded_without) == (1, 1)


async def test_a_judge_that_is_all_there_is_to_score_by_leaves_the_trial_without_a_grade_when_unheard(site):
    site.judge = JudgeOfRecord(MUTE)
    plan = await site.submit(order(1, [loaded(assertions=[judge(k=1)])]))
    await site.work()
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, trace.grade) == ("infra_error", "judge", None)
    assert "all that carries weight" in trace.error.message


async def test_t50_perfect_medians_without_a_majority_do_not_pass_and_are_hard_only_if_required(site):
    votes = [{"a": 1.0, "b": 0.5}, {"a": 0.5, "b": 1.0}, {"a": 1.0, "b": 1.0}]
    for required, status in ((False, "passed"), (True, "hard_fail")):
        plan, message = await judged_trial(site, votes, judge("a", "b", required=required))
        row, trace = await ended(site, plan, message)
        assert (row.status, row.result.score) == (status, 1.0)
        assert (trace.findings[1].score, trace.findings[1].passed) == (1.0, False)
        assert row.result.failed == ((1, 1.0),)


async def test_t55_what_judges_cost_is_counted_apart(site):
    plan, message = await judged_trial(site, [YES, MUTE, YES], judge())
    row, trace = await ended(site, plan, message)
    assert row.result.judge_cost_usd == trace.judge_cost_usd == pytest.approx(3 * VOTE_USD)
    assert row.result.cost_usd == trace.cost_usd
    assert trace.usage.total_tokens == TURNS * 150
    assert trace.judge_usage.total_tokens == 3 * 1500
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.judge_cost_usd, counts.judge_cost_unknown) == (pytest.approx(0.00135), 0)
    assert counts.cost_usd == pytest.approx(row.result.cost_usd)
    summary = await site.observer().summary(plan.run_id)
    assert summary.judge_cost.total_usd == pytest.approx(0.00135)
    assert (summary.judge_cost.known, summary.judge_cost.unknown) == (1, 0)
    assert summary.cost.total_usd == pytest.approx(row.result.cost_usd)
    assert (summary.input_tokens, summary.output_tokens) == (TURNS * 100, TURNS * 50)


async def test_t55_a_vote_that_nobody_gave_costs_nothing_and_an_unpriced_model_an_unknown_sum(site):
    plan, message = await judged_trial(site, [YES, DOWN, YES], judge())
    row, _ = await ended(site, plan, message)
    assert row.result.judge_cost_usd == pytest.approx(2 * VOTE_USD)
    plan, message = await judged_trial(site, [YES], judge(judge_model="nobody-knows-1"))
    row, _ = await ended(site, plan, message)
    assert (row.status, row.result.judge_cost_usd) == ("passed", None)
    assert (await site.manifest.counts(plan.run_id)).judge_cost_unknown == 1
    summary = await site.observer().summary(plan.run_id)
    assert (summary.judge_cost.total_usd, summary.judge_cost.unknown) == (None, 1)


async def test_a_replayed_run_tells_of_its_judges_what_the_live_one_told(site):
    site.judge = JudgeOfRecord(YES, NO, YES)
    plan = await site.submit(
        order(3, [judged(judge()), judged(judge(k=2), judge("a", k=1), description="b")])
    )
    await site.work()
    summary = await site.observer().summary(plan.run_id)
    assert (await replay_run(plan.run_id, site.observer())).summary == summary
    assert [len(cell.judges) for cell in summary.cells] == [1, 2]
    assert summary.cells[0].judges[0].unanimous == 0.0
    first = summary.cells[0].judges[0]
    assert (first.label, first.model, first.k) == ("judge kind", "gpt-4o-mini", 3)


async def test_what_a_judge_repeats_of_a_secret_is_struck_out_of_what_is_stored(site):
    secret = "the-keys-own-words-4711"
    plan, message = await judged_trial(site, [f"It said {secret}", YES], judge(k=2), judge("a", k=1))
    bench = site.bench()
    bench.adapters.secrets = frozenset({secret})
    _, trace = await ended(site, plan, message, bench)
    assert secret not in trace.model_dump_json()
    assert "[REDACTED]" in trace.judgements[0].votes[0].raw
    assert "[REDACTED]" in trace.findings[1].error


async def test_a_group_that_hangs_on_an_unheard_judge_counts_neither_way_and_one_that_does_not_counts(site):
    says = {"type": "output_contains", "value": "refund"}
    for votes, other, status, infra in (
        ([MUTE], "refund", "passed", False),
        ([MUTE], "nonesuch", "infra_error", True),
        ([YES], "nonesuch", "passed", False),
    ):
        group = {"type": "any_of", "assertions": [judge(k=1), says | {"value": other}], "required": True}
        plan, message = await judged_trial(site, votes, group)
        row, trace = await ended(site, plan, message)
        assert (row.status, trace.findings[1].infra) == (status, infra)
        assert row.result.judged == ((1, 1, int(votes == [YES]), int(votes == [YES])),)
        (told,) = (await site.observer().summary(plan.run_id)).cells[0].judges
        assert (told.model, told.votes) == ("gpt-4o-mini", 1)


# -- a judge that cannot be asked --------------------------------------------------------------------


async def test_a_required_judge_that_is_down_is_infrastructure_and_the_conversation_is_kept(site):
    plan, message = await judged_trial(site, [DOWN], judge(required=True))
    row, trace = await ended(site, plan, message)
    assert (row.status, row.result.error, row.result.outcome) == ("infra_error", "judge", "completed")
    assert (trace.outcome, trace.grade, trace.score) == ("completed", None, None)
    assert (trace.error.kind, len(trace.turns), trace.final_content) == (
        "judge", TURNS, "Your refund is on its way.",
    )  # fmt: skip
    assert "judge kind" in trace.error.message
    assert "the key is not accepted" in trace.error.message
    assert [finding.passed for finding in trace.findings] == [True, False]
    assert {vote.error_kind for vote in trace.judgements[0].votes} == {"authentication"}
    summary = await site.observer().summary(plan.run_id)
    assert (summary.verdict, summary.exit_code) == ("INFRA_ERROR", 3)
    assert summary.cells[0].failures == ()
    assert [(errors.kind, errors.count) for errors in summary.cells[0].infra_errors] == [("judge", 1)]
    said = summary.cells[0].infra_errors[0].message
    assert "judge kind" in said
    assert said.endswith(
        " (the conversation and every vote are stored: `salvo reeval` asks again for what is missing)"
    )


async def test_a_fault_of_ours_while_judging_costs_no_conversation(site, monkeypatch):
    async def breaks(*args, **kwargs):
        raise RuntimeError("a fault")

    plan, message = await judged_trial(site, [YES], judge())
    monkeypatch.setattr("salvo_core.judge.hear", breaks)
    row, trace = await ended(site, plan, message)
    assert (row.status, row.result.error, row.result.outcome) == ("infra_error", "internal", "completed")
    assert len(trace.turns) == TURNS


async def test_a_trial_that_infrastructure_ended_is_not_judged(site):
    site.judge = JudgeOfRecord(YES)
    broken = judged(judge(), script={"turns": [{"error": {"kind": "authentication"}}]})
    plan = await site.submit(order(1, [broken]))
    await site.work()
    row = await row_of(site, plan)
    assert (row.status, row.result.judged, site.judge.asked) == ("infra_error", (), [])


# -- votes are kept one by one -----------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", ["vote 1", "vote 2", "vote 3", "put_if_absent", "commit"])
async def test_a_worker_that_dies_at_any_write_leaves_its_votes_to_the_next(site, step, after):
    plan, message = await judged_trial(site, [YES], judge())
    name, _, number = step.partition(" ")
    fuse = Fuse(int(number or 1), after=after)
    store, manifest = site.store, site.manifest
    if name == "put_if_absent":
        store = fuse.on(store, name)
    else:
        manifest = fuse.on(manifest, name)
    await died(message, site.bench("w1", store=store, manifest=manifest))
    ended_already = (name, after) == ("commit", True)
    first = list(site.judge.asked)
    await site.silence(plan.run_id)
    expired = await site.manifest.expire(plan.run_id)
    # Asked only now: what the dying one had sent with its last write arrives all the same, and is kept.
    kept = {number for _, number in await site.manifest.voted(plan.run_id, 0)}
    for index in expired:
        await attempt(plan.message(index), site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)
    again = site.judge.asked[len(first) :]
    assert sorted(again) == ([] if ended_already else sorted({0, 1, 2} - kept))
    trace = await trace_of(site, plan)
    if not ended_already:
        votes = trace.judgements[0].votes
        assert {vote.number for vote in votes if vote.worker == "w1"} == kept
        assert kept or not after
    assert (await row_of(site, plan)).result.judged == ((1, 3, 3, 3),)


async def test_a_worker_that_leaves_keeps_the_votes_under_way_and_hands_the_rest_on(site):
    plan, message = await judged_trial(site, [YES], judge(k=10))
    bench = site.bench("w1")
    async with first_votes_held(site, message, bench):
        bench.leases.leaving = True
    assert await row_of(site, plan) == Row(0, "pending", 1, message.trace_id)
    assert site.outbox.waiting == [message]
    kept = await site.manifest.voted(plan.run_id, 0)
    assert sorted(number for _, number in kept) == list(range(AT_ONCE))
    await site.work(site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)
    assert sorted(site.judge.asked) == list(range(10))


async def test_an_attempt_that_lost_its_trial_adds_no_vote(site):
    plan, message = await judged_trial(site, [YES], judge(k=1))
    site.judge.stage.close(0)
    running = asyncio.create_task(attempt(message, site.bench("w1")))
    await site.judge.stage.reached(0)
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await site.manifest.claim(plan.run_id, 0, message.trace_id, "w2", lease_s=30)
    site.judge.stage.open(0)
    await running
    assert await site.manifest.voted(plan.run_id, 0) == {}
    assert await row_of(site, plan) == Row(0, "running", 2, message.trace_id, worker="w2")


async def test_a_run_cancelled_before_its_judge_is_asked_keeps_the_conversation_and_asks_nobody(site):
    plan, message = await judged_trial(site, [YES], judge())
    site.stage.close(TURNS - 1)
    running = asyncio.create_task(attempt(message, site.bench()))
    await site.stage.reached(TURNS - 1)
    await site.manifest.cancel(plan.run_id)
    site.stage.open(TURNS - 1)
    await running
    await site.check(plan)
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.turns, site.judge.asked) == ("cancelled", TURNS, [])
    assert (trace.final_content, trace.findings) == ("Your refund is on its way.", ())


async def test_a_run_cancelled_between_votes_keeps_them_and_what_they_cost(site):
    plan, message = await judged_trial(site, [YES], judge(k=10))
    async with first_votes_held(site, message, site.bench()):
        await site.manifest.cancel(plan.run_id)
    await site.check(plan)
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    votes = trace.judgements[0].votes
    assert (row.status, row.result.judged) == ("cancelled", ())
    assert len(votes) == len(site.judge.asked) == AT_ONCE
    assert row.result.judge_cost_usd == pytest.approx(len(votes) * VOTE_USD)


async def test_a_trial_that_loses_workers_while_it_is_judged_ends_with_its_conversation_and_votes(site):
    plan, message = await judged_trial(site, [YES], judge(k=1))
    for number in range(1, plan.crashes_max + 1):
        await died(message, site.bench(f"w{number}", manifest=Fuse(1).on(site.manifest, "vote")))
        await site.silence(plan.run_id)
        await site.manifest.expire(plan.run_id)
    asked = len(site.judge.asked)
    await attempt(message, site.bench("last"))
    await site.check(plan)
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, trace.outcome) == ("infra_error", "worker_lost", "completed")
    assert len(trace.turns) == TURNS
    assert len(site.judge.asked) == asked
    await check_paid_once(site, plan)


async def test_a_vote_that_cannot_be_read_back_is_asked_for_again(site, caplog):
    plan, message = await judged_trial(site, [YES], judge())
    await died(message, site.bench("w1", manifest=Fuse(1).on(site.manifest, "commit")))
    key = redis_keys.votes(plan.run_id, 0)
    (spoilt, *_) = await site.manifest.redis.hkeys(key)
    await site.manifest.redis.hset(key, spoilt, '{"number": 0, "newer": true}')
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    row, _ = await ended(site, plan, message, site.bench("w2"))
    assert (row.status, len(site.judge.asked)) == ("passed", 4)
    assert "a vote cannot be read" in caplog.text
