"""Judges heard again: the same question has the same votes, and nobody pays for one twice."""

import asyncio

import pytest

from salvo_core.attempt import attempt
from salvo_core.cancel import cancel
from salvo_core.errors import ProviderAuthentication
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.resume import resume
from salvo_core.store.memory import MemoryStore
from tests.integration.judging import MUTE, NO, VOTE_USD, YES, JudgeOfRecord, judge, judged
from tests.integration.reevaluating import again, ordered, ran, records
from tests.integration.site import SCENARIO, Fuse, Site, loaded
from tests.integration.trials import died

pytestmark = pytest.mark.servers

DOWN = ProviderAuthentication("the key is not accepted")
KIND = judge(required=True)


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def ran_before(site, votes, *assertions, trials=1, then=()):
    """Run trials before a judge who gives these votes; return the plan. The next judge gives others."""
    site.judge = JudgeOfRecord(*votes)
    plan = await ran(site, trials=trials, scenarios=[judged(*assertions)])
    site.judge = JudgeOfRecord(*(then or votes))
    return plan


async def test_the_same_question_has_the_same_votes_and_costs_nothing(site):
    plan = await ran_before(site, [YES, MUTE, YES], KIND, trials=2, then=[NO])
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, site.judge.asked) == (0, [])
    rows = await site.rows(reeval.run_id)
    assert [row.result.judge_cost_usd for row in rows] == [0.0, 0.0]
    assert rows[0].result.judged == ((1, 3, 2, 2),)
    (record, _) = await records(site, reeval)
    source = await site.observer().trace(plan.trace_id(0))
    assert record.judgements == source.judgements


async def test_fresh_votes_are_paid_for_again_and_may_flip_the_trial(site):
    plan = await ran_before(site, [YES], KIND, then=[NO])
    reeval, compared = await again(site, plan.run_id, fresh_votes=True)
    assert site.judge.asked == [0, 1, 2]
    assert compared.changes == {"passed > hard_fail": 1}
    assert [(r.why, r.what) for r in compared.flips[0].reasons] == [
        ("newly_failing", "judge kind"),
        ("judge", "judge kind: 3/3 of 3 > 0/3 of 3"),
    ]
    (row,) = await site.rows(reeval.run_id)
    assert row.result.judge_cost_usd == pytest.approx(3 * VOTE_USD)
    summary = await site.observer().summary(reeval.run_id)
    assert summary.judge_cost.total_usd == pytest.approx(3 * VOTE_USD)


async def test_more_votes_are_asked_for_beside_those_there_are(site):
    plan = await ran_before(site, [YES], KIND, then=[NO])
    reeval, compared = await again(site, plan.run_id, judge=JudgeDefaults(k=5))
    assert site.judge.asked == [3, 4]
    (row,) = await site.rows(reeval.run_id)
    assert row.result.judged == ((1, 5, 5, 3),)
    assert row.result.judge_cost_usd == pytest.approx(2 * VOTE_USD)
    assert compared.flipped == 0


async def test_another_threshold_of_a_judge_counts_the_same_votes_anew(site):
    plan = await ran_before(site, [YES], KIND)
    stricter = judged(judge(required=True, threshold=0.95))
    _, compared = await again(site, plan.run_id, stricter)
    assert (site.judge.asked, compared.changes) == ([], {"passed > hard_fail": 1})


async def test_an_edited_criterion_is_a_new_question(site):
    plan = await ran_before(site, [YES], KIND)
    site.judge = JudgeOfRecord({"brief": 0.9})
    _, compared = await again(site, plan.run_id, judged(judge("brief", required=True)))
    assert (site.judge.asked, compared.flipped) == ([0, 1, 2], 0)


async def test_no_judge_lets_its_findings_stand_and_a_new_judge_out(site):
    plan = await ran_before(site, [NO], KIND, then=[YES])
    reeval, compared = await again(site, plan.run_id, judging="skip")
    assert (site.judge.asked, compared.flipped, compared.verdict_after) == ([], 0, "HARD FAIL")
    (row,) = await site.rows(reeval.run_id)
    assert row.result.judged == ((1, 3, 3, 0),)  # told of as before, with what it rests on
    reeval, _ = await again(site, plan.run_id, judged(judge("brief")), judging="skip")
    (record,) = await records(site, reeval)
    assert (record.left_out, record.after.score, site.judge.asked) == ((1,), 1.0, [])


async def test_where_only_a_judge_could_tell_and_none_is_asked_nothing_is_passed(site):
    plan = await ran(site, trials=1)
    _, compared = await again(site, plan.run_id, loaded(assertions=[judge()]), judging="skip")
    assert compared.changes == {"passed > infra_error": 1}


async def test_judge_only_lets_every_other_finding_stand(site):
    plan = await ran_before(site, [YES], KIND, {"type": "custom", "function": "nobody.allows.this"})
    before = await site.observer().trace(plan.trace_id(0))
    assert before.findings[2].error
    reeval, _ = await again(site, plan.run_id, judging="only", fresh_votes=True)
    (record,) = await records(site, reeval)
    assert (record.kept, site.judge.asked) == ((0, 2), [0, 1, 2])
    assert record.after.findings[2] == before.findings[2]


async def test_a_trial_that_only_lacked_its_judge_is_judged_and_may_pass(site):
    plan = await ran_before(site, [YES, DOWN], KIND, then=[YES])
    assert [row.status for row in await site.rows(plan.run_id)] == ["infra_error"]
    _, compared = await again(site, plan.run_id)
    assert compared.changes == {"infra_error > passed": 1}
    assert [r.why for r in compared.flips[0].reasons] == ["judged"]
    assert site.judge.asked == [1, 2]  # the vote that was heard is not asked for again
    _, compared = await again(site, plan.trace_id(0))
    assert compared.verdict_after == "PASS"


async def test_a_judge_that_is_down_again_leaves_the_trial_without_a_grade(site):
    plan = await ran_before(site, [DOWN], KIND)
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, compared.verdict_after, compared.exit_code) == (0, "INFRA_ERROR", 3)
    (record,) = await records(site, reeval)
    assert (record.error.kind, record.outcome) == ("judge", "completed")


async def test_what_was_struck_out_flips_no_judge_silently(site):
    site.judge = JudgeOfRecord(YES)
    script = {"turns": [{"text": "Your refund, with key sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa."}]}
    plan = await ran(site, trials=1, scenarios=[judged(KIND, script=script)])
    site.judge = JudgeOfRecord(NO)
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, site.judge.asked) == (0, [])
    (record,) = await records(site, reeval)
    assert record.kept == (0, 1)
    assert record.after.findings[1].redaction_affected
    _, compared = await again(site, plan.run_id, fresh_votes=True)  # asked to, it reads what is stored
    assert (compared.flipped, site.judge.asked) == (1, [0, 1, 2])


async def test_votes_on_the_whole_conversation_are_counted_anew_where_the_record_has_holes(site):
    site.judge = JudgeOfRecord(YES)
    script = {"turns": [{"text": "Your refund, with key sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa."}]}
    shown = judge(include_user_prompt=True)
    plan = await ran(site, trials=1, scenarios=[judged(shown, script=script)])
    for edited, asked, counted in (
        ({"threshold": 0.99}, [], (1, 3, 3, 0)),
        ({"k": 5}, [3, 4], (1, 5, 5, 3)),
        ({"custom_prompt": "Be strict."}, [0, 1, 2], (1, 3, 3, 0)),
    ):
        site.judge = JudgeOfRecord(NO)
        now = judged(judge(include_user_prompt=True, **edited), script=script)
        reeval, _ = await again(site, plan.run_id, now)
        (row,) = await site.rows(reeval.run_id)
        assert (site.judge.asked, row.result.judged) == (asked, (counted,))
        assert row.result.judge_cost_usd == pytest.approx(len(asked) * VOTE_USD)
    site.judge = JudgeOfRecord(NO)  # told of another task, it is asked another question
    other = judge(include_user_prompt=True, threshold=0.7)
    await again(site, plan.run_id, judged(other, script=script, prompt="Something else."))
    assert site.judge.asked == [0, 1, 2]


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_worker_that_dies_between_votes_costs_none_that_was_kept(site, step, after):
    plan = await ran_before(site, [YES], KIND)
    reeval = await ordered(site, plan.run_id, fresh_votes=True)
    fuse = Fuse(step, after=after)
    (message,) = site.outbox.waiting
    site.outbox.waiting.clear()
    await died(message, site.bench("doomed", manifest=fuse.on(site.manifest, "vote")))
    kept = len(await site.manifest.voted(reeval.run_id, 0))
    asked = len(site.judge.asked)
    await site.silence(reeval.run_id)
    await resume(reeval.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work()
    assert len(site.judge.asked) == asked + 3 - kept
    (row,) = await site.rows(reeval.run_id)
    assert (row.status, row.result.judged) == ("passed", ((1, 3, 3, 3),))
    assert row.result.judge_cost_usd == pytest.approx(3 * VOTE_USD)
    assert not await site.manifest.voted(reeval.run_id, 0)


async def test_a_re_evaluation_that_is_cancelled_between_votes_keeps_what_was_paid(site):
    plan = await ran_before(site, [YES], judge(k=9, required=True))
    reeval = await ordered(site, plan.run_id, fresh_votes=True)
    (message,) = site.outbox.waiting
    site.outbox.waiting.clear()
    for number in range(8):
        site.judge.stage.close(number)
    running = asyncio.create_task(attempt(message, site.bench()))
    for number in range(8):
        await site.judge.stage.reached(number)
    await cancel(reeval.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    for number in range(8):
        site.judge.stage.open(number)
    await running
    (row,) = await site.rows(reeval.run_id)
    assert (row.status, await site.state(reeval.run_id)) == ("cancelled", "sealed")
    (record,) = await records(site, reeval)
    votes = [vote for judgement in record.judgements for vote in judgement.votes]
    assert len(votes) == len(site.judge.asked)
    assert row.result.judge_cost_usd == pytest.approx(len(votes) * VOTE_USD)
    assert row.result.cost_usd == (await site.rows(plan.run_id))[0].result.cost_usd


async def test_judges_are_told_of_the_task_by_the_scenario_in_force(site):
    plan = await ran(site, trials=1)
    site.judge = JudgeOfRecord(YES)
    shown = judged(judge(include_system_prompt=True), system_prompt="You refund.")
    await again(site, plan.run_id, shown)
    (_, messages, _) = site.judge.seen[0]
    assert "You refund." in " ".join(str(message.content) for message in messages)
    assert SCENARIO["tools"][0]["name"] in " ".join(str(message.content) for message in messages)
