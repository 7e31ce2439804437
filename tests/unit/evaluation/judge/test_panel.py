"""Asking judges: one exchange a vote, each kept, none asked twice."""

import asyncio
from dataclasses import replace

import pytest

from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.errors import (
    ContextFull,
    LeaseLost,
    ProviderAuthentication,
    ProviderPermanent,
    ProviderTransient,
    UsageError,
)
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.exchange import PLAIN, Forms, Manner
from salvo_core.evaluation.judge.panel import Bar, Interrupted, judges_in, unrepeated
from tests.unit.evaluation.builders import trace
from tests.unit.evaluation.judge.court import Kept, PretendBar, PretendJudge, heard, judge, says, writes


async def test_each_vote_is_an_exchange_of_its_own_and_is_kept():
    adapter, kept = PretendJudge(says(good=1), says(good=0.9), says(good=0.2)), Kept()
    found = await heard([judge()], adapter, keep=kept)
    (judgement,) = found.judgements
    assert [vote.number for vote in judgement.votes] == [0, 1, 2]
    assert [vote.scores["good"] for vote in judgement.votes] == [1, 0.9, 0.2]
    assert sorted(kept, key=lambda pair: pair[1].number) == [
        (judgement.request, vote) for vote in judgement.votes
    ]
    assert {(vote.attempt, vote.worker, vote.model) for vote in judgement.votes} == {(1, "w1", "sim/judge")}
    assert len({id(config) for _, _, config in adapter.seen}) == 3
    assert all(config.must_call == "score_criteria" for _, _, config in adapter.seen)
    assert adapter.closed == 1
    (finding,) = evaluate(trace(), [judge()], ballots=found.ballots)
    assert (finding.score, finding.passed, finding.error) == (0.9, True, None)


async def test_t53_the_assertions_word_goes_before_the_projects():
    project = JudgeDefaults(adapter="house", model="X", k=7, temperature=0.3, max_tokens=99)
    adapter = PretendJudge(says(good=0.65))
    bar = PretendBar(house=adapter)
    found = await heard([judge(k=1, judge_model="Y")], bar=bar, defaults=project)
    ((_, _, config),) = adapter.seen
    assert (config.model, config.temperature, config.max_tokens) == ("Y", 0.3, 99)
    assert bar.asked_for == ["house"]
    assert not evaluate(trace(), [judge(k=1, judge_model="Y")], ballots=found.ballots)[0].passed


@pytest.mark.parametrize(
    ("project", "own", "passed"),
    [(0.5, None, True), (0.5, 0.9, False), (0.8, None, False), (0.9, 0.65, True)],
)
async def test_t53_the_threshold_of_a_vote_is_the_assertions_else_the_projects(project, own, passed):
    one = judge(k=1) if own is None else judge(k=1, threshold=own)
    defaults = JudgeDefaults(default_threshold=project)
    found = await heard([one], PretendJudge(says(good=0.65)), defaults=defaults)
    assert evaluate(trace(), [one], ballots=found.ballots)[0].passed is passed


async def test_assertions_that_ask_the_same_share_their_votes():
    adapter = PretendJudge(says(good=0.7))
    few, many = judge(k=1, threshold=0.9), judge(k=3, threshold=0.5, required=True)
    found = await heard([few, parse({"type": "not", "assertion": few}), many], adapter)
    assert len(adapter.seen) == 3
    (judgement,) = found.judgements
    assert judgement.assertions == (0, 1, 2)
    assert [len(found.ballots[one].votes) for one in (few, many)] == [1, 3]
    findings = evaluate(trace(), [few, many], ballots=found.ballots)
    assert [finding.passed for finding in findings] == [False, True]


async def test_votes_of_the_past_are_used_and_only_the_missing_ones_are_asked_for():
    first = await heard([judge(k=2)], PretendJudge(says(good=1)))
    (judgement,) = first.judgements
    past = {(judgement.request, vote.number): vote for vote in judgement.votes}
    adapter, kept = PretendJudge(says(good=0)), Kept()
    more = await heard([judge(k=3)], adapter, past=past, keep=kept)
    assert [vote.scores["good"] for vote in more.judgements[0].votes] == [1, 1, 0]
    assert [vote.number for _, vote in kept] == [2]
    fewer = await heard([judge(k=1)], PretendJudge(RuntimeError("not to be asked")), past=past)
    assert [vote.scores["good"] for vote in fewer.judgements[0].votes] == [1]


async def test_a_conversation_that_differs_is_another_question():
    asked = [
        (await heard([judge(k=1)], PretendJudge(says(good=1)), subject=trace(answer=answer))).judgements[0]
        for answer in ("done", "done", "done!")
    ]
    assert asked[0].request == asked[1].request != asked[2].request


async def test_a_provider_that_fails_is_a_failed_vote_and_costs_what_it_billed():
    error = ProviderTransient("judge.test answered 503: busy", status_code=503, input_tokens=1000)
    adapter = PretendJudge(error, error, says(good=1), says(good=1), ProviderAuthentication("no key"))
    found = await heard([judge(k=3)], bar=PretendBar(openai=adapter, retries_max=1))
    votes = found.judgements[0].votes
    assert sum(vote.heard for vote in votes) == 2
    (failed,) = (vote for vote in votes if not vote.heard)
    assert (failed.error_kind, failed.error) == ("authentication", "no key")
    assert sum(len(vote.retries) for vote in votes) == 3
    assert sum(vote.cost_usd for vote in votes) == pytest.approx(2 * 0.00045 + 2 * 0.00015)


async def test_t55_three_votes_cost_what_three_votes_cost_and_an_unreadable_one_counts():
    found = await heard([judge()], PretendJudge(says(good=1), says(good=1), writes("no idea")))
    votes = found.judgements[0].votes
    assert [vote.cost_usd for vote in votes] == [0.00045] * 3
    assert (votes[2].heard, votes[2].error_kind) == (False, "unreadable")
    judged = trace().model_copy(update={"judgements": found.judgements})
    assert (judged.judge_cost_usd, judged.cost_usd) == (0.00135, 0.0015)


async def test_t55_an_unknown_price_is_unknown_and_not_zero():
    found = await heard([judge()], bar=PretendBar(openai=PretendJudge(says(good=1)), priced=False))
    assert [vote.cost_usd for vote in found.judgements[0].votes] == [None] * 3


async def test_an_adapter_that_is_not_here_fails_the_votes_and_nothing_else():
    missing = UsageError("there is no adapter 'opnai'", hint="Did you mean 'openai'?")
    kept = Kept()
    found = await heard([judge()], bar=PretendBar(openai=missing), keep=kept)
    assert {(vote.error_kind, vote.cost_usd) for _, vote in kept} == {("adapter", 0.0)}
    (finding,) = evaluate(trace(), [judge()], ballots=found.ballots)
    assert finding.infra
    assert "0 of 3 votes could be read" in finding.error
    assert "opnai" in finding.error


REFUSED = {
    "openai-style": (400, "tool_choice is not supported by this model"),
    "no endpoint": (404, "No endpoints found that support tool use"),
    "llama.cpp": (500, "tools param requires --jinja flag"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_provider_without_forced_tools_is_asked_in_another_form_and_that_is_remembered(case):
    status, words = REFUSED[case]
    kind = ProviderTransient if status == 500 else ProviderPermanent

    def picky(messages, tools, config):
        if tools:
            return kind(f"host.test/v1 answered {status}: {words}", status_code=status, input_tokens=10)
        return writes({"good": {"score": 0.9, "reasoning": "fine"}})

    adapter, forms = PretendJudge(picky), Forms()
    found = await heard([judge(k=1)], adapter, forms=forms)
    assert [(bool(tools), config.must_call) for _, tools, config in adapter.seen] == [
        (True, "score_criteria"),
        (True, ""),
        (False, ""),
    ]
    (vote,) = found.judgements[0].votes
    assert (vote.scores, len(vote.retries), vote.billed.input_tokens) == ({"good": 0.9}, 2, 1020)
    assert forms.of("openai", "gpt-4o-mini") == Manner(tools=PLAIN)
    again = PretendJudge(picky)
    await heard([judge(k=2)], again, forms=forms)
    assert [bool(tools) for _, tools, _ in again.seen] == [False, False]


async def test_a_model_without_temperature_and_with_another_name_for_its_bound_is_asked_without_them():
    def reasoning(messages, tools, config):
        if config.max_tokens:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        elif config.temperature is not None:
            said = "Unsupported value: 'temperature' does not support 0.0 with this model."
        else:
            return says(good=0.9)
        return ProviderPermanent(f"host.test answered 400: {said}", status_code=400)

    adapter, forms = PretendJudge(reasoning), Forms()
    found = await heard([judge(k=1)], adapter, forms=forms)
    assert found.judgements[0].votes[0].heard
    _, _, config = adapter.seen[-1]
    assert (config.extras, config.must_call) == ({"max_completion_tokens": 1024}, "score_criteria")
    assert len(adapter.seen) == 3
    await heard([judge(k=1)], adapter, forms=forms)
    assert len(adapter.seen) == 4


async def test_a_manner_that_did_not_help_is_not_remembered():
    error = ProviderPermanent("host.test answered 400: bad tools, or bad something", status_code=400)
    adapter, forms = PretendJudge(error), Forms()
    found = await heard([judge(k=1)], adapter, forms=forms)
    (vote,) = found.judgements[0].votes
    assert (vote.error_kind, len(vote.retries), len(adapter.seen)) == ("permanent", 3, 3)
    assert not forms.found


async def test_an_answer_that_was_cut_off_says_so():
    cut = replace(writes('{"good": {"score": 0.'), finish_reason="length")
    found = await heard([judge(k=1)], PretendJudge(cut))
    (vote,) = found.judgements[0].votes
    assert vote.error.endswith("(it was cut off at max_tokens)")
    assert vote.raw == '{"good": {"score": 0.'


@pytest.mark.parametrize(
    "error",
    [
        ProviderPermanent("tools.test/v1 answered 404: model not found", status_code=404),
        ProviderPermanent("host.test answered 405: use the tool endpoint", status_code=405),
        ContextFull("host.test answered 400: maximum context length, tools included", status_code=400),
        ProviderAuthentication("host.test answered 401: no access to tools", status_code=401),
        ProviderTransient("the tool of the network broke off"),
    ],
)
async def test_other_failures_are_failures_in_whatever_form(error):
    adapter, forms = PretendJudge(error), Forms()
    await heard([judge(k=1)], adapter, forms=forms)
    assert len(adapter.seen) == 1
    assert not forms.found


async def test_no_more_votes_are_under_way_than_allowed():
    under_way, most = 0, 0

    async def slow(messages, tools, config):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return says(good=1)

    await heard([judge(k=21), judge("kind", k=21)], PretendJudge(slow), at_once_max=4)
    assert most == 4


async def test_when_asking_must_stop_votes_under_way_are_kept_first():
    allowed = iter([True, True, False])
    adapter, kept = PretendJudge(says(good=1)), Kept()
    with pytest.raises(Interrupted):
        await heard([judge(k=5)], adapter, keep=kept, may_ask=lambda: next(allowed), at_once_max=2)
    assert [vote.number for _, vote in kept] == [0, 1]
    assert len(adapter.seen) == 2
    assert adapter.closed == 1


async def test_a_lost_lease_is_told_as_such_and_nothing_is_left_running():
    async def lost(request, vote):
        raise LeaseLost("held by another attempt")

    before = len(asyncio.all_tasks())
    with pytest.raises(LeaseLost):
        await heard([judge(k=5)], PretendJudge(says(good=1)), keep=lost)
    assert len(asyncio.all_tasks()) == before


async def test_cancelling_ends_every_vote_under_way():
    begun = asyncio.Event()

    async def hang(messages, tools, config):
        begun.set()
        await asyncio.Event().wait()

    adapter = PretendJudge(hang)
    before = len(asyncio.all_tasks())
    hearing = asyncio.ensure_future(heard([judge(k=5)], adapter))
    await asyncio.wait_for(begun.wait(), 5)
    hearing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hearing
    assert len(asyncio.all_tasks()) == before
    assert adapter.closed == 1


async def test_a_scenario_without_judges_asks_nobody():
    found = await heard([parse({"type": "output_contains", "value": "x"})], bar=PretendBar())
    assert (found.judgements, found.ballots) == ((), {})


def test_judges_are_found_inside_groups_with_the_place_of_the_group():
    inner = judge(k=1)
    group = parse({"type": "any_of", "assertions": [{"type": "not", "assertion": inner}, judge("kind")]})
    assert judges_in([parse({"type": "output_contains", "value": "x"}), group]) == [
        (1, inner),
        (1, judge("kind")),
    ]


def test_t57_judges_with_a_single_vote_are_named():
    assert unrepeated([judge(), judge("kind", k=1)], JudgeDefaults()) == [(1, judge("kind", k=1))]
    assert unrepeated([judge(), judge("kind", k=2)], JudgeDefaults(k=1)) == [(0, judge())]


def test_a_registry_is_a_bar(tmp_path):
    fits: type[Bar] = AdapterRegistry  # what mypy holds, said once where it is read
    assert {"get", "backoff_for", "price_usd"} <= set(dir(fits))
