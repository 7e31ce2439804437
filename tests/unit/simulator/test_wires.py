"""The two wires from the provider's side: what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from salvo_cli.simulator.anthropic_wire import AnthropicWire
from salvo_cli.simulator.asked import Refused
from salvo_cli.simulator.openai_wire import OpenAIWire

USER = {"role": "user", "content": "hi"}
FUNCTION_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPENAI_CALLS = {"role": "assistant", "content": None, "tool_calls": [FUNCTION_CALL]}
OPENAI_ODD_CALLS = OPENAI_CALLS | {
    "tool_calls": [FUNCTION_CALL | {"function": {"name": "f", "arguments": {}}}]
}
OPENAI_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "r"}
TOOL_USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
ANTHROPIC_CALLS = {"role": "assistant", "content": [TOOL_USE]}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "r"}
ANTHROPIC_RESULT = {"role": "user", "content": [RESULT]}
BLANK = {"role": "assistant", "content": [{"type": "text", "text": " "}]}
TEXT_THEN_RESULT = {"role": "user", "content": [{"type": "text", "text": "x"}, RESULT]}
RESULT_TWICE = {"role": "user", "content": [RESULT, RESULT]}
VERSION = {b"anthropic-version": b"2023-06-01"}


def openai(*messages: Any, **fields: Any) -> Any:
    return OpenAIWire().read({"model": "m", "messages": list(messages)} | fields, {})


def anthropic(*messages: Any, **fields: Any) -> Any:
    return AnthropicWire().read({"model": "m", "max_tokens": 9, "messages": list(messages)} | fields, VERSION)


def refusal(wire: Any, *messages: Any, **fields: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        wire(*messages, **fields)
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize("wire", [openai, anthropic])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": {}, "content": "hi"}]}, "messages.0.role"),
        ({"stream": True}, "stream"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools.0"),
    ],
)
def test_what_both_wires_refuse_names_the_field(wire: Any, fields: dict[str, Any], param: str) -> None:
    assert refusal(wire, USER, **fields).param.startswith(param)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "user"}], "messages.0.content"),
        ([USER, {"role": "assistant"}], "messages.1.content"),
        ([USER, OPENAI_RESULT], "messages.1.tool_call_id"),
        ([USER, OPENAI_CALLS], "messages"),
        ([USER, OPENAI_CALLS, USER], "messages.2"),
        ([USER, OPENAI_CALLS, OPENAI_RESULT, OPENAI_RESULT], "messages.3.tool_call_id"),
        ([USER, OPENAI_CALLS, {"role": "tool", "content": "r"}], "messages.2.tool_call_id"),
        ([USER, OPENAI_CALLS | {"tool_calls": []}], "messages.1.tool_calls"),
        ([USER, OPENAI_CALLS | {"tool_calls": ["f"]}], "messages.1.tool_calls.0"),
        ([USER, OPENAI_ODD_CALLS], "messages.1.tool_calls.0"),
    ],
)  # fmt: skip
def test_openai_wants_each_tool_message_to_follow_its_call(messages: list[Any], param: str) -> None:
    assert refusal(openai, *messages).param == param


def test_openai_takes_several_results_and_counts_the_turns() -> None:
    calls = OPENAI_CALLS | {"tool_calls": [FUNCTION_CALL, FUNCTION_CALL | {"id": "c2"}]}
    other = OPENAI_RESULT | {"tool_call_id": "c2"}
    asked = openai(
        {"role": "system", "content": "s"}, USER, calls, other, OPENAI_RESULT, OPENAI_CALLS, OPENAI_RESULT
    )
    assert (asked.turn, asked.opening, asked.call_id) == (2, "hi", "c1")


def test_openai_gives_one_choice() -> None:
    assert refusal(openai, USER, n=2).param == "n"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "system", "content": "s"}], "messages.0.role"),
        ([{"role": "assistant", "content": "a"}, USER], "messages.0.role"),
        ([{"role": "user", "content": ""}], "messages.0.content"),
        ([USER, {"role": "assistant", "content": []}, USER], "messages.1.content"),
        ([USER, BLANK, USER], "messages.1.content.0.text"),
        ([USER, ANTHROPIC_RESULT], "messages.1.content.0.tool_use_id"),
        ([USER, ANTHROPIC_CALLS], "messages"),
        ([USER, ANTHROPIC_CALLS, USER], "messages.2.content.0"),
        ([USER, ANTHROPIC_CALLS, TEXT_THEN_RESULT], "messages.2.content.0"),
        ([USER, ANTHROPIC_CALLS, RESULT_TWICE], "messages.2.content.1.tool_use_id"),
        ([USER, {"role": "assistant", "content": [TOOL_USE | {"input": "x"}]}], "messages.1.content.0"),
        ([USER, {"role": "assistant", "content": ["x"]}], "messages.1.content.0"),
    ],
)  # fmt: skip
def test_anthropic_wants_all_results_straight_after_the_calls(messages: list[Any], param: str) -> None:
    assert refusal(anthropic, *messages).param == param


def test_anthropic_takes_results_in_messages_of_their_own() -> None:
    calls = {"role": "assistant", "content": [TOOL_USE, TOOL_USE | {"id": "c2"}]}
    other = {"role": "user", "content": [RESULT | {"tool_use_id": "c2"}]}
    assert anthropic(USER, calls, ANTHROPIC_RESULT, other).turn == 1


def test_the_beginning_of_an_answer_is_not_a_turn_that_came_back() -> None:
    assert anthropic(USER, {"role": "assistant", "content": "The answer is"}).turn == 0


def test_anthropic_wants_a_version_and_a_bound_on_tokens() -> None:
    with pytest.raises(Refused, match="anthropic-version"):
        AnthropicWire().read({"model": "m", "max_tokens": 9, "messages": [USER]}, {})
    assert refusal(anthropic, USER, max_tokens=None).param == "max_tokens"


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("choice", "must_call"),
    [
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ("auto", ""),
        ("required", ""),
        (None, ""),
    ],
)
def test_openai_may_be_told_which_tool_to_call(choice: Any, must_call: str) -> None:
    assert openai(USER, tools=[FUNCTION], tool_choice=choice).must_call == must_call


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "auto"},
        {"tools": [FUNCTION], "tool_choice": "maybe"},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        {"tools": [FUNCTION], "tool_choice": {"type": "function"}},
        {"tools": [FUNCTION], "tool_choice": 5},
    ],
)
def test_openai_refuses_a_choice_that_cannot_be_made(fields: dict[str, Any]) -> None:
    assert refusal(openai, USER, **fields).param == "tool_choice"


@pytest.mark.parametrize(
    ("choice", "must_call"),
    [({"type": "tool", "name": "f"}, "f"), ({"type": "any"}, ""), (None, "")],
)
def test_anthropic_may_be_told_which_tool_to_call(choice: Any, must_call: str) -> None:
    assert anthropic(USER, tools=[TOOL], tool_choice=choice).must_call == must_call


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": {"type": "auto"}},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
        {"tools": [TOOL], "tool_choice": {"type": "maybe"}},
    ],
)
def test_anthropic_refuses_a_choice_that_cannot_be_made(fields: dict[str, Any]) -> None:
    assert refusal(anthropic, USER, **fields).param.startswith("tool_choice")
