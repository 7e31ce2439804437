"""Chat completions on the wire, exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salvo_core.adapters.protocol import Adapter, ToolSpec, TurnConfig
from salvo_core.errors import ProviderError, ProviderTransient, RateLimited
from salvo_core.trace.model import Message, ToolCall, Usage
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry

TRACE_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
TOOLS = [ToolSpec("lookup", "Look an order up", SCHEMA)]
ASK = [Message(role="user", content="hi")]


@pytest.fixture
async def adapter(server: CannedServer) -> AsyncIterator[Adapter]:
    made = registry(secrets={"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-0123456789"})
    yield made.get("openai")
    await made.aclose()


def completion(message: object, **more: Any) -> dict[str, Any]:
    return {
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        **more,
    }


def calling(*calls: object) -> dict[str, Any]:
    return completion({"role": "assistant", "content": None, "tool_calls": list(calls)})


async def test_a_whole_conversation_is_mapped(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(completion({"role": "assistant", "content": "done"})))
    conversation = [
        Message(role="system", content="You help."),
        Message(role="user", content="Refund A-1"),
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(id="c1", name="lookup", arguments={"id": "Ä-1"}),
                ToolCall(id="c2", name="lookup", malformed='{"id": '),
            ),
        ),
        Message(role="tool_result", content='{"total": 4}', tool_call_id="c1", tool_name="lookup"),
        Message(
            role="tool_result", content="not JSON", tool_call_id="c2", tool_name="lookup", tool_error=True
        ),
        Message(role="assistant", content=None),
        Message(role="assistant", content="one moment", tool_calls=(ToolCall(id="c3", name="lookup"),)),
        Message(role="tool_result", content=None, tool_call_id="c3", tool_name="lookup"),
    ]
    reply = await adapter.send_turn(conversation, TOOLS, TurnConfig("gpt-4o", trace_id=TRACE_ID, turn=3))
    [seen] = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer sk-0123456789"
    assert seen.headers["x-salvo-trace-id"] == TRACE_ID
    assert seen.body == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "Refund A-1"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "lookup", "arguments": '{"id": "Ä-1"}'},
                    },
                    {"id": "c2", "type": "function", "function": {"name": "lookup", "arguments": '{"id": '}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": '{"total": 4}'},
            {"role": "tool", "tool_call_id": "c2", "content": "not JSON"},
            {"role": "assistant", "content": ""},
            {
                "role": "assistant",
                "content": "one moment",
                "tool_calls": [
                    {"id": "c3", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c3", "content": ""},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "lookup", "description": "Look an order up", "parameters": SCHEMA},
            }
        ],
    }
    assert (reply.content, tuple(reply.tool_calls)) == ("done", ())
    assert reply.usage == Usage(input_tokens=100, output_tokens=50)
    assert (reply.finish_reason, reply.model) == ("stop", "gpt-4o-2024-08-06")


async def test_extras_are_merged_but_never_over_what_was_asked(
    adapter: Adapter, server: CannedServer
) -> None:
    server.plays(answer(completion({"content": "x"})))
    mine = dict.fromkeys(("model", "messages", "tools", "stream", "stream_options", "n"), "mine")
    extras = {**mine, "top_p": 0.5, "temperature": 0.9}
    config = TurnConfig("m", temperature=0.1, max_tokens=7, seed=3, extras=extras)
    await adapter.send_turn(ASK, None, config)
    assert server.seen[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.9,
        "max_tokens": 7,
        "seed": 3,
        "top_p": 0.5,
    }
    assert "x-salvo-trace-id" not in server.seen[0].headers


async def test_one_bound_on_tokens_is_sent_and_not_two(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(completion({"content": "x"})))
    config = TurnConfig("m", max_tokens=7, extras={"max_completion_tokens": 9})
    await adapter.send_turn(ASK, None, config)
    assert server.seen[0].body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.seen[0].body


@pytest.mark.parametrize(
    ("arguments", "read", "malformed"),
    [
        ('{"id": "1"}', {"id": "1"}, None),
        ("", {}, None),
        (None, {}, None),
        ({"id": 1}, {"id": 1}, None),
        ('{"id": ', {}, '{"id": '),
        ("[1]", {}, "[1]"),
        ('{"id": NaN}', {}, '{"id": NaN}'),
    ],
)
async def test_arguments_that_are_no_object_are_the_agents_and_no_error(
    adapter: Adapter, server: CannedServer, arguments: object, read: dict[str, Any], malformed: str | None
) -> None:
    server.plays(answer(calling({"id": "c1", "function": {"name": "lookup", "arguments": arguments}})))
    reply = await adapter.send_turn(ASK, TOOLS, TurnConfig("m"))
    assert tuple(reply.tool_calls) == (ToolCall(id="c1", name="lookup", arguments=read, malformed=malformed),)


async def test_ids_that_are_missing_or_repeated_are_made_up(adapter: Adapter, server: CannedServer) -> None:
    function = {"name": "lookup", "arguments": "{}"}
    server.plays(
        answer(
            calling(
                {"function": function},
                {"id": "", "function": function},
                {"id": "a", "function": function},
                {"id": "a", "function": function},
            )
        )
    )
    reply = await adapter.send_turn(ASK, TOOLS, TurnConfig("m", turn=2))
    assert [call.id for call in reply.tool_calls] == ["call_2_0", "call_2_1", "a", "call_2_3"]


@pytest.mark.parametrize("call", [None, "lookup", {}, {"function": None}, {"function": {"name": 3}}])
async def test_a_call_of_nothing_is_a_call_of_a_tool_without_a_name(
    adapter: Adapter, server: CannedServer, call: object
) -> None:
    server.plays(answer(calling(call)))
    reply = await adapter.send_turn(ASK, TOOLS, TurnConfig("m"))
    assert tuple(reply.tool_calls) == (ToolCall(id="call_0_0", name=""),)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": ""}, ""),
        ({"content": None}, None),
        ({}, None),
        ({"content": 7}, None),
        (
            {"content": [{"type": "text", "text": "in "}, {"type": "image"}, "?", {"text": "parts"}]},
            "in parts",
        ),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "no"),
        ({"content": None, "refusal": "I will not"}, "I will not"),
        ({"content": "a lone \ud800 half"}, "a lone \ufffd half"),
    ],
)
async def test_content_comes_in_several_shapes(
    adapter: Adapter, server: CannedServer, message: dict[str, Any], content: str | None
) -> None:
    server.plays(answer(completion(message)))
    assert (await adapter.send_turn(ASK, None, TurnConfig("m"))).content == content


@pytest.mark.parametrize("usage", [None, {}, "many", {"prompt_tokens": None, "completion_tokens": -1}])
async def test_usage_that_says_nothing_is_zero(adapter: Adapter, server: CannedServer, usage: object) -> None:
    server.plays(answer(completion({"content": "x"}, usage=usage, model=None)))
    reply = await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert (reply.usage, reply.model) == (Usage(), "")


@pytest.mark.parametrize("choices", [None, [], ["x"], [{}], [{"message": None}], {"0": {}}])
async def test_no_message_is_worth_another_try_and_its_tokens_count(
    adapter: Adapter, server: CannedServer, choices: object
) -> None:
    server.plays(answer(completion({}, choices=choices)))
    with pytest.raises(ProviderTransient, match="without a message") as failed:
        await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert (failed.value.input_tokens, failed.value.output_tokens) == (100, 50)


async def test_an_error_inside_a_choice_is_an_error(adapter: Adapter, server: CannedServer) -> None:
    choice = {"message": {"content": ""}, "error": {"code": 429, "message": "upstream is busy"}}
    server.plays(answer(completion({}, choices=[choice])))
    with pytest.raises(RateLimited, match="upstream is busy") as failed:
        await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert failed.value.input_tokens == 100


async def test_a_failure_leaves_as_ours(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer({"error": {"message": "no such model"}}, status=404))
    with pytest.raises(ProviderError, match="404: no such model"):
        await adapter.send_turn(ASK, None, TurnConfig("m"))
    await adapter.aclose()


async def test_a_tool_that_must_be_called_is_forced(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(completion({"role": "assistant", "content": "ok"})))
    config = TurnConfig("gpt-4o", must_call="lookup", extras={"tool_choice": "none"})
    await adapter.send_turn(ASK, TOOLS, config)
    await adapter.send_turn(ASK, None, TurnConfig("gpt-4o", must_call="lookup"))
    forced, without_tools = (seen.body for seen in server.seen)
    assert forced["tool_choice"] == {"type": "function", "function": {"name": "lookup"}}
    assert "tool_choice" not in without_tools
