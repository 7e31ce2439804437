"""A recording put to a live model."""

import pytest

from salvo_core.adapters.retrying import Backoff
from salvo_core.trace.model import Message, ToolCall, Turn, Usage
from salvo_core.trace.redaction import Redactor
from salvo_core.trial.comparison import Live, calls_max, compare
from tests.unit.trial.builders import StepClock, Talk, Watched, call, price_of, trace

SAID = [call(n=1), call(n=2), {"text": "Done."}]


async def recorded(turns=None, **fields):
    """A trace of a conversation, its scenario, and what the model was sent."""
    talk = Talk(turns or SAID, **fields)
    said = await talk.had()
    made = trace(
        messages=said.messages,
        turns=said.turns,
        outcome=said.outcome,
        usage=said.usage,
        cost_usd=said.cost_usd,
    )
    return made, talk.scenario, talk.adapter.seen


class Second:
    """A live model that says something of its own."""

    def __init__(self, turns, *, retries_max=0, secrets=(), price=None):
        self.clock = StepClock()
        self.events = []
        self.adapter = Watched({"turns": turns}, self.clock, self.events)
        self.live = Live(
            adapter=self.adapter,
            model="other",
            backoff=Backoff(retries_max=retries_max, base_s=1.0),
            price=price or price_of(0.001),
            redactor=Redactor(secrets),
            clock=self.clock,
        )


async def test_the_same_model_is_asked_the_same_and_does_not_diverge():
    was, scenario, seen = await recorded()
    second = Second(SAID)
    found = await compare(was, scenario, second.live)
    assert found.divergence is None
    assert found.complete
    assert [turn.content for turn in found.turns] == [None, None, "Done."]
    assert [(messages, tools) for messages, tools, _ in second.adapter.seen] == [
        (messages, tools) for messages, tools, _ in seen
    ]
    assert {config.model for _, _, config in second.adapter.seen} == {"other"}
    assert (found.usage, found.cost_usd) == (Usage(input_tokens=300, output_tokens=150), 0.45)


async def test_it_ends_with_the_first_turn_that_differs():
    was, scenario, _ = await recorded()
    second = Second([call(n=1), call(n=3), call(n=4), {"text": "Done."}])
    found = await compare(was, scenario, second.live)
    assert (found.divergence.kind, found.divergence.recorded.index) == ("arguments", 1)
    assert len(second.adapter.seen) == 2
    assert found.complete


async def test_what_tools_answered_then_is_heard_not_the_mock_of_now():
    was, scenario, _ = await recorded()
    told = [
        message.model_copy(update={"content": "as it was", "tool_error": True})
        if message.role == "tool_result"
        else message
        for message in was.messages
    ]
    second = Second(SAID)
    await compare(was.model_copy(update={"messages": tuple(told)}), scenario, second.live)
    last = second.adapter.seen[-1][0]
    heard = [message for message in last if message.role == "tool_result"]
    assert [(one.content, one.tool_error) for one in heard] == [("as it was", True)] * 2
    asked = [one.id for message in last for one in message.tool_calls or ()]
    assert [one.tool_call_id for one in heard] == asked


async def test_results_go_to_the_calls_under_the_ids_of_now():
    was, scenario, _ = await recorded()
    renamed = ToolCall(id="recorded-id", name="look_up", arguments={"n": 1})
    messages = (
        Message(role="user", content="Go."),
        Message(role="assistant", tool_calls=(renamed,)),
        Message(role="tool_result", content="r", tool_call_id="recorded-id", tool_name="look_up"),
        Message(role="assistant", content="Done."),
    )
    turns = (Turn(index=0, tool_calls=(renamed,)), Turn(index=1, content="Done."))
    second = Second([call(n=1), {"text": "Done."}])
    found = await compare(
        was.model_copy(update={"messages": messages, "turns": turns}), scenario, second.live
    )
    assert found.divergence is None
    _, said, heard = second.adapter.seen[-1][0]
    assert heard.tool_call_id == said.tool_calls[0].id != "recorded-id"


async def test_a_secret_struck_out_of_the_recording_is_no_difference():
    secret = "hunter2-hunter2"
    said = [call(word=secret), {"text": f"The word is {secret}."}]
    was, scenario, _ = await recorded(said)
    stored = was.model_validate(Redactor((secret,)).document(was.model_dump(mode="json")))
    second = Second(said, secrets=(secret,))
    found = await compare(stored, scenario, second.live)
    assert found.divergence is None
    assert secret not in str(found.turns)


async def test_a_provider_that_fails_is_no_difference_and_what_it_billed_counts():
    was, scenario, _ = await recorded()
    broken = [call(n=1), {"error": {"kind": "permanent", "usage": {"input_tokens": 7}}}]
    found = await compare(was, scenario, Second(broken).live)
    assert found.divergence is None
    assert not found.complete
    assert (found.error.kind, found.error.turn) == ("permanent", 1)
    assert found.usage.input_tokens == 107


async def test_a_spending_limit_of_the_scenario_ends_it():
    was, scenario, _ = await recorded(max_tokens=200, turns=SAID[:1] + SAID[2:])
    longer, _, _ = await recorded()
    found = await compare(longer, scenario, Second(SAID).live)
    assert found.limit == "max_tokens"
    assert not found.complete
    assert len(found.turns) == 2
    whole = await compare(was, scenario, Second(SAID[:1] + SAID[2:]).live)
    assert whole.complete  # the limit is reached by the last word, which leaves nothing to be asked


async def test_an_unknown_price_makes_the_cost_unknown():
    was, scenario, _ = await recorded()
    found = await compare(was, scenario, Second(SAID, price=lambda model, usage: None).live)
    assert found.cost_usd is None


@pytest.mark.parametrize(("retries_max", "calls"), [(0, 3), (3, 12)])
async def test_the_most_calls_are_each_turn_with_every_retry(retries_max, calls):
    was, scenario, _ = await recorded()
    second = Second(SAID, retries_max=retries_max)
    assert calls_max(was, second.live.backoff) == calls
    always = Second(
        [{**turn, "error": {"kind": "transient", "times": retries_max}} for turn in SAID]
        if retries_max
        else SAID,
        retries_max=retries_max,
    )
    await compare(was, scenario, always.live)
    assert len(always.adapter.seen) == calls


async def test_a_recording_that_ended_in_the_middle_is_compared_as_far_as_it_goes():
    was, scenario, _ = await recorded()
    cut = was.model_copy(update={"turns": was.turns[:1], "outcome": "max_turns"})
    second = Second(SAID)
    found = await compare(cut, scenario, second.live)
    assert found.divergence is None
    assert len(second.adapter.seen) == 1
