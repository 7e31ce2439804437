"""The record of a trial: sums, properties, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from salvo_core.trace.model import Message, Retry, ToolCall, TrialError, Turn, Usage

tokens = st.integers(0, 10**9)
usages = st.builds(Usage, input_tokens=tokens, output_tokens=tokens)


@given(usages, usages)
def test_usages_add_up(one, other):
    both = one + other
    assert both.total_tokens == one.total_tokens + other.total_tokens
    assert both.input_tokens == one.input_tokens + other.input_tokens


@given(usages, st.lists(usages, max_size=4))
def test_a_turn_is_billed_for_its_failed_exchanges_too(own, failed):
    turn = Turn(index=0, usage=own, retries=[Retry(kind="transient", message="", usage=u) for u in failed])
    assert turn.billed.total_tokens == own.total_tokens + sum(u.total_tokens for u in failed)


@given(
    st.builds(
        Turn,
        index=st.integers(0, 100),
        usage=usages,
        content=st.none() | st.text(st.characters(exclude_categories=("Cs",))),
    )
)
def test_a_turn_comes_back_from_the_journal_as_it_went(turn):
    assert Turn.model_validate_json(turn.model_dump_json()) == turn


def test_a_record_does_not_change_and_takes_no_unknown_field():
    call = ToolCall(id="1", name="look_up")
    with pytest.raises(ValidationError):
        call.name = "other"
    with pytest.raises(ValidationError):
        ToolCall(id="1", name="look_up", argument={})
    with pytest.raises(ValidationError):
        Usage(input_tokens=-1)


def test_a_trace_says_what_was_said_last_and_how_it_ended():
    from tests.unit.trial.builders import trace

    messages = (
        Message(role="user", content="go"),
        Message(role="assistant", content="first", tool_calls=(ToolCall(id="1", name="a"),)),
        Message(role="tool_result", content="x"),
        Message(role="assistant", content=None, tool_calls=(ToolCall(id="2", name="b"),)),
    )
    said = trace(messages=messages, outcome="max_turns", grade="failed", score=0.0)
    assert said.final_content is None
    assert [call.name for call in said.tool_calls] == ["a", "b"]
    assert said.status == "failed"
    assert trace(outcome="cancelled").status == "cancelled"
    failed = trace(
        outcome="infra_error",
        error=TrialError(kind="transient", message="", retries=[Retry(kind="transient", message="")] * 2),
        turns=[Turn(index=0, retries=[Retry(kind="transient", message="")])],
    )
    assert failed.status == "infra_error"
    assert failed.retries_total == 3
    assert failed.final_content is None
