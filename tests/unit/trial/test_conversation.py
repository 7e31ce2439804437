"""The turn loop: the journal before the next turn, every way to end, and going on from a past."""

import asyncio
import json

import pytest

from salvo_core.clock import SystemClock
from salvo_core.errors import LeaseLost
from salvo_core.trace.model import Usage
from salvo_core.trial.conversation import Leaving
from salvo_core.trial.limits import Limits
from tests.unit.trial.builders import Journal, StepClock, Talk, call, price_of, tool

TWO_THEN_DONE = [call(q="one"), call(q="two"), {"text": "Done."}]


async def test_each_turn_is_journaled_before_the_next_is_asked_for():
    talk = Talk(TWO_THEN_DONE)
    said = await talk.had()
    assert said.outcome == "completed"
    assert talk.events == [
        ("asked", 0), ("kept", 0), ("asked", 1), ("kept", 1), ("asked", 2), ("kept", 2),
    ]  # fmt: skip
    assert tuple(talk.hold.turns) == said.turns


async def test_a_plain_answer_is_a_whole_conversation():
    said = await Talk([{"text": "Hello."}]).had()
    assert (said.outcome, said.error, len(said.turns), said.finish_reason) == ("completed", None, 1, "stop")
    assert [message.role for message in said.messages] == ["user", "assistant"]
    assert said.messages[-1].tool_calls is None


async def test_the_system_prompt_comes_first_if_there_is_one():
    said = await Talk([{"text": "Hello."}], system_prompt="Be brief.").had()
    assert [(m.role, m.content) for m in said.messages[:2]] == [("system", "Be brief."), ("user", "Go.")]


async def test_t18_results_come_in_the_order_of_the_calls_in_the_forms_the_first_salvo_gave_them():
    both = {"tool_calls": [{"name": "a", "arguments": {}}, {"name": "c", "arguments": {}}]}
    talk = Talk(
        [both, {"text": "Done."}],
        tools=[tool("a", mock_response={"name": "é"}), tool("c", mock_response="")],
        price=lambda model, usage: usage.input_tokens * 2.5e-6 + usage.output_tokens * 10e-6,
    )
    said = await talk.had()
    results = [message for message in said.messages if message.role == "tool_result"]
    assert [(m.tool_name, m.content, m.tool_error) for m in results] == [
        ("a", '{"name": "\\u00e9"}', False),
        ("c", "", False),
    ]
    assert [m.tool_call_id for m in results] == [c.id for c in said.turns[0].tool_calls]
    assert said.usage == Usage(input_tokens=200, output_tokens=100)
    assert said.cost_usd == 0.0015
    assert talk.adapter.seen[1][0] == list(said.messages[:-1])  # the provider saw exactly what is recorded


async def test_t19_the_last_turn_allowed_still_has_its_calls_answered():
    said = await Talk([call()] * 9, max_turns=2).had()
    assert (said.outcome, len(said.turns)) == ("max_turns", 2)
    assert said.messages[-1].role == "tool_result"
    assert said.finish_reason == "tool_calls"


async def test_a_final_answer_on_the_last_turn_allowed_is_no_limit_reached():
    assert (await Talk([call(), {"text": "Done."}], max_turns=2).had()).outcome == "completed"


async def test_t20_a_tool_the_agent_invented_is_told_to_it_and_the_conversation_goes_on():
    talk = Talk([call("look_under"), {"text": "Sorry."}])
    said = await talk.had()
    assert said.outcome == "completed"
    answer = said.messages[2]
    assert (answer.role, answer.tool_error, answer.tool_name) == ("tool_result", True, "look_under")
    assert (
        "there is no tool named 'look_under'; the tools are: look_up" in json.loads(answer.content)["error"]
    )
    assert said.turns[0].retries == ()
    assert talk.calls == 2


async def test_where_the_scenario_says_so_an_invented_tool_ends_the_trial_with_the_conversation_kept():
    both = {"text": "Let me see.", "tool_calls": [{"name": "look_up"}, {"name": "look_under"}]}
    said = await Talk([call(), both, {"text": "never"}], unknown_tool="fail").had()
    assert (said.outcome, said.error, len(said.turns)) == ("unknown_tool", None, 2)
    assert [m.tool_error for m in said.messages if m.role == "tool_result"] == [False, False, True]


async def test_arguments_that_are_no_object_are_told_to_the_agent():
    broken = {"tool_calls": [{"name": "look_up", "malformed": "{q: one"}]}
    said = await Talk([broken, call(q="one"), {"text": "Done."}]).had()
    assert said.outcome == "completed"
    assert said.messages[2].tool_error
    assert json.loads(said.messages[2].content) == {"error": "the arguments of look_up are not a JSON object"}
    assert said.turns[0].tool_calls[0].malformed == "{q: one"


async def test_a_scenario_without_tools_offers_none_and_answers_calls_all_the_same():
    talk = Talk([call(), {"text": "Done."}], tools=[])
    said = await talk.had()
    assert talk.adapter.seen[0][1] is None
    assert "there are none" in said.messages[2].content


# -- limits ------------------------------------------------------------------------------------------


async def test_tokens_used_up_end_the_trial_after_the_turn_that_used_them():
    said = await Talk([call()] * 9, max_tokens=300).had()  # 150 a turn
    assert (said.outcome, len(said.turns), said.usage.total_tokens) == ("max_tokens", 2, 300)
    assert said.messages[-1].role == "tool_result"


async def test_money_used_up_ends_the_trial_after_the_turn_that_used_it():
    said = await Talk([call()] * 9, max_cost_usd=0.4).had()  # 0.15 a turn
    assert (said.outcome, len(said.turns), said.cost_usd) == ("max_cost", 3, 0.45)


async def test_a_final_answer_is_an_answer_however_much_it_cost():
    assert (await Talk([{"text": "Done."}], max_cost_usd=0.01, max_tokens=1).had()).outcome == "completed"


async def test_a_cost_limit_for_a_model_without_a_price_is_refused_before_any_call():
    talk = Talk([{"text": "Done."}], max_cost_usd=1.0, price=lambda model, usage: None)
    said = await talk.had()
    assert (said.outcome, said.error.kind, talk.calls) == ("infra_error", "scenario", 0)
    assert "price of 'gpt-4o' is not known" in said.error.message
    assert said.finish_reason == "error"


async def test_a_past_does_not_talk_a_worker_without_prices_into_going_on_without_the_limit():
    past = (await Talk(TWO_THEN_DONE).had()).turns[:1]
    talk = Talk(TWO_THEN_DONE, past=past, max_cost_usd=1.0, price=lambda model, usage: None)
    said = await talk.had()
    assert (said.outcome, said.error.kind, talk.calls) == ("infra_error", "scenario", 0)
    assert said.turns == past
    assert said.cost_usd == 0.15


async def test_an_unknown_price_is_unknown_and_not_nothing():
    said = await Talk([{"text": "Done."}], price=lambda model, usage: None).had()
    assert said.outcome == "completed"
    assert said.cost_usd is None


async def test_one_turn_of_unknown_price_makes_the_whole_unknown():
    prices = iter([0.1, None])
    said = await Talk([call(), {"text": "Done."}], price=lambda model, usage: next(prices)).had()
    assert said.cost_usd is None


async def test_time_that_runs_out_in_a_turn_ends_the_trial_with_what_was_said_before():
    talk = Talk(
        [call(), {"text": "late", "latency_s": 60}],
        clock=SystemClock(),
        timeout_s=0.3,
        script={"latency_s": 0},
    )
    said = await talk.had()
    assert (said.outcome, said.error, len(said.turns)) == ("timeout", None, 1)
    assert said.messages[-1].role == "tool_result"


async def test_time_that_runs_out_in_a_tool_keeps_the_turn_that_was_paid():
    talk = Talk([call()], clock=SystemClock(), timeout_s=0.3, tools=[tool(mock_latency_s=60)])
    said = await talk.had()
    assert (said.outcome, len(said.turns)) == ("timeout", 1)
    assert [turn.index for turn in talk.hold.turns] == [0]


async def test_time_spent_by_earlier_attempts_counts_and_with_none_left_nothing_is_asked_for():
    slow = [call() | {"latency_s": 6}, call() | {"latency_s": 6}, {"text": "Done."}]
    past = (await Talk(slow).had()).turns[:2]
    talk = Talk(slow, past=past, timeout_s=10)
    said = await talk.had()
    assert (said.outcome, talk.calls, len(said.turns)) == ("timeout", 0, 2)


async def test_a_provider_that_asks_to_wait_beyond_the_limit_is_the_providers_failure_and_no_timeout():
    rate_limited = {"error": {"kind": "rate_limited", "retry_after_s": 50}}
    talk = Talk([rate_limited], timeout_s=10)
    said = await talk.had()
    assert (said.outcome, said.error.kind, talk.calls) == ("infra_error", "rate_limited", 1)


# -- failing providers ------------------------------------------------------------------------------


async def test_t39_a_failed_exchange_is_asked_again_and_stands_in_the_turn():
    flaky = {"text": "Done.", "error": {"kind": "transient", "times": 1, "usage": {"input_tokens": 70}}}
    said = await Talk([flaky]).had()
    assert said.outcome == "completed"
    assert [(retry.kind, retry.status_code) for retry in said.turns[0].retries] == [("transient", 503)]
    assert said.usage == Usage(input_tokens=170, output_tokens=50)
    assert said.cost_usd == 0.22


async def test_t40_a_turn_is_asked_for_four_times_at_most_and_the_conversation_is_never_begun_again():
    billed = {"kind": "rate_limited", "usage": {"input_tokens": 10, "output_tokens": 5}}
    talk = Talk([call(), {"error": billed}])
    said = await talk.had()
    assert (said.outcome, said.error.kind, said.error.turn) == ("infra_error", "rate_limited", 1)
    assert len(said.error.retries) == 4
    assert [event for event in talk.events if event[0] == "asked"] == [("asked", 0)] + [("asked", 1)] * 4
    assert len(said.turns) == 1
    assert said.messages[-1].role == "tool_result"  # the real conversation, as far as it went
    assert said.usage == Usage(input_tokens=140, output_tokens=70)
    assert said.cost_usd == 0.21
    caps = [1.0, 2.0, 4.0]
    waits = [retry.waited_s for retry in said.error.retries]
    assert all(0 <= wait <= cap for wait, cap in zip(waits, caps, strict=False))
    assert waits[3] == 0


@pytest.mark.parametrize("kind", ["permanent", "authentication"])
def test_what_waiting_cannot_mend_is_asked_for_once(kind):
    talk = Talk([{"error": {"kind": kind}}])
    said = asyncio.run(talk.had())
    assert (said.outcome, said.error.kind, talk.calls) == ("infra_error", kind, 1)
    assert said.turns == ()
    assert said.finish_reason == "error"


async def test_failed_exchanges_of_unknown_price_make_the_cost_unknown():
    said = await Talk([{"error": {"kind": "permanent"}}], price=lambda model, usage: None).had()
    assert said.cost_usd is None


async def test_latency_is_the_conversations_own_without_retries_and_waits():
    flaky = call() | {"error": {"kind": "transient"}, "latency_s": 2.0}
    talk = Talk([flaky, {"text": "Done.", "latency_s": 3.0}], tools=[tool(mock_latency_s=0.25)])
    said = await talk.had()
    assert said.latency_s == 5.25
    assert talk.clock.time_s > 7.25  # the failed exchange took its two seconds, too


# -- interruptions ----------------------------------------------------------------------------------


async def test_a_cancelled_trial_ends_at_its_turn_with_what_was_said():
    talk = Talk(TWO_THEN_DONE, hold=Journal(interrupt=(1, "cancelled")))
    said = await talk.had()
    assert (said.outcome, len(said.turns), talk.calls) == ("cancelled", 1, 1)
    assert said.messages[-1].role == "tool_result"


async def test_a_trial_cancelled_before_its_first_turn_says_nothing():
    said = await Talk(TWO_THEN_DONE, hold=Journal(interrupt=(0, "cancelled"))).had()
    assert (said.outcome, said.turns, said.finish_reason, said.cost_usd) == ("cancelled", (), "", 0.0)


async def test_a_worker_that_leaves_stops_at_the_turn_with_everything_journaled():
    talk = Talk(TWO_THEN_DONE, hold=Journal(interrupt=(2, "leaving")))
    with pytest.raises(Leaving):
        await talk.had()
    assert talk.events == [("asked", 0), ("kept", 0), ("asked", 1), ("kept", 1)]


async def test_an_attempt_that_lost_its_trial_asks_for_no_further_turn():
    talk = Talk(TWO_THEN_DONE, hold=Journal(interrupt=(1, "lost")))
    with pytest.raises(LeaseLost):
        await talk.had()
    assert talk.calls == 1


async def test_a_turn_that_could_not_be_journaled_is_not_gone_on_from():
    talk = Talk(TWO_THEN_DONE, hold=Journal(lost_at=1))
    with pytest.raises(LeaseLost):
        await talk.had()
    assert talk.events == [("asked", 0), ("kept", 0), ("asked", 1)]


async def test_a_conversation_that_is_over_is_not_interrupted_any_more():
    said = await Talk([{"text": "Done."}], hold=Journal(interrupt=(1, "cancelled"))).had()
    assert said.outcome == "completed"


# -- going on ---------------------------------------------------------------------------------------

LONG = [call(q=number) for number in range(4)] + [{"text": "Done."}]


@pytest.mark.parametrize("kept", range(6))
async def test_going_on_from_any_point_ends_in_the_same_conversation_and_pays_only_for_the_rest(kept):
    whole = await Talk(LONG).had()
    talk = Talk(LONG, past=whole.turns[:kept])
    said = await talk.had()
    assert said == whole
    assert [event for event in talk.events if event[0] == "asked"] == [("asked", n) for n in range(kept, 5)]
    assert len(talk.hold.turns) == 5 - kept  # the past is not journaled again


async def test_tools_of_the_past_are_answered_again_without_waiting_and_their_time_still_counts():
    tools = [tool(mock_latency_s=30.0)]
    whole = await Talk(LONG, tools=tools).had()
    talk = Talk(LONG, tools=tools, past=whole.turns)
    said = await talk.had()
    assert talk.clock.slept == []
    assert talk.calls == 0
    assert said.latency_s == whole.latency_s == 120.0
    assert said.outcome == "completed"


async def test_the_nth_call_of_a_tool_is_the_nth_after_going_on_too():
    tools = [tool(mock_response=["first", "second", "third"])]
    whole = await Talk(LONG, tools=tools).had()
    said = await Talk(LONG, tools=tools, past=whole.turns[:2]).had()
    results = [m.content for m in said.messages if m.role == "tool_result"]
    assert results == ["first", "second", "third", "third"]


async def test_a_past_that_had_reached_its_limit_is_not_gone_on_from():
    whole = await Talk([call()] * 5, max_turns=2).had()
    talk = Talk([call()] * 5, max_turns=2, past=whole.turns)
    said = await talk.had()
    assert (said.outcome, talk.calls) == ("max_turns", 0)


async def test_retries_of_the_past_are_still_paid_for():
    flaky = call() | {"error": {"kind": "transient", "usage": {"input_tokens": 1000}}}
    whole = await Talk([flaky, {"text": "Done."}]).had()
    said = await Talk([flaky, {"text": "Done."}], past=whole.turns[:1]).had()
    assert said.usage == whole.usage
    assert said.usage.input_tokens == 1200
    assert said.cost_usd == whole.cost_usd


async def test_what_the_provider_is_asked_names_the_trial_the_turn_and_the_scenarios_wishes():
    talk = Talk(
        [call(), {"text": "Done."}], temperature=0.5, seed=7, extras={"top_p": 0.9}, price=price_of(0)
    )
    await talk.had()
    config = talk.adapter.seen[1][2]
    assert (config.trace_id, config.trial, config.turn) == (talk.part.trace_id, 0, 1)
    assert (config.model, config.temperature, config.seed, config.extras) == (
        "gpt-4o",
        0.5,
        7,
        {"top_p": 0.9},
    )
    spec = talk.adapter.seen[0][1][0]
    assert (spec.name, spec.parameters) == ("look_up", {"type": "object", "properties": {}, "required": []})


async def test_a_journal_that_is_away_for_long_takes_none_of_the_agents_time():
    clock = StepClock()

    class Slow(Journal):
        async def keep(self, turn):
            clock.time_s += 100
            await super().keep(turn)

    talk = Talk([call(), {"text": "Done."}], clock=clock, hold=Slow([]), limits=Limits(10, 30.0, None, None))
    assert (await talk.had()).outcome == "completed"


async def test_an_exchange_that_is_abandoned_ends_the_trial_and_nobody_knows_its_cost():
    talk = Talk(TWO_THEN_DONE)
    ask = talk.adapter.send_turn

    async def silent_in_the_end(messages, tools, config):
        if config.turn == 1:
            talk.hold.abandoned = True
            talk.hold.under_way.reschedule(0)
            await asyncio.Event().wait()
        return await ask(messages, tools, config)

    talk.adapter.send_turn = silent_in_the_end
    said = await talk.had()
    assert (said.outcome, said.cost_usd, len(said.turns)) == ("cancelled", None, 1)
    assert (said.error.kind, said.error.turn) == ("abandoned", 1)
    assert tuple(talk.hold.turns) == said.turns
