"""The messages API on the wire, exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salvo_core.adapters.anthropic import MAX_TOKENS_DEFAULT
from salvo_core.adapters.protocol import Adapter, ToolSpec, TurnConfig
from salvo_core.errors import ProviderTransient
from salvo_core.trace.model import Message, ToolCall, Usage
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry

SCHEMA = {"type": "object", "properties": {}, "required": []}
TOOLS = [ToolSpec("lookup", "Look an order up", SCHEMA)]
ASK = [Message(role="user", content="hi")]


@pytest.fixture
async def adapter(server: CannedServer) -> AsyncIterator[Adapter]:
    made = registry(secrets={"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "sk-ant-0123456789"})
    yield made.get("anthropic")
    await made.aclose()


def message(*blocks: object, **more: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(blocks),
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **more,
    }


async def test_a_whole_conversation_is_mapped(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(message({"type": "text", "text": "done"})))
    conversation = [
        Message(role="system", content="You help."),
        Message(role="system", content="Be brief."),
        Message(role="user", content="Refund both"),
        Message(
            role="assistant",
            content="Looking.",
            tool_calls=(
                ToolCall(id="c1", name="lookup", arguments={"id": 1}),
                ToolCall(id="c2", name="lookup", malformed="[1]"),
            ),
        ),
        Message(role="tool_result", content="one", tool_call_id="c1", tool_name="lookup"),
        Message(
            role="tool_result", content="no object", tool_call_id="c2", tool_name="lookup", tool_error=True
        ),
        Message(role="assistant", content="  ", tool_calls=(ToolCall(id="c3", name="lookup"),)),
        Message(role="tool_result", content="", tool_call_id="c3", tool_name="lookup", tool_error=True),
        Message(role="assistant", content=None),
        Message(role="user", content="Go on"),
    ]
    reply = await adapter.send_turn(conversation, TOOLS, TurnConfig("claude-sonnet-4-5", seed=4))
    [seen] = server.seen
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == "sk-ant-0123456789"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers
    assert seen.body == {
        "model": "claude-sonnet-4-5",
        "max_tokens": MAX_TOKENS_DEFAULT,
        "system": "You help.\n\nBe brief.",
        "messages": [
            {"role": "user", "content": "Refund both"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "c1", "name": "lookup", "input": {"id": 1}},
                    {"type": "tool_use", "id": "c2", "name": "lookup", "input": {"malformed": "[1]"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "no object", "is_error": True},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c3", "name": "lookup", "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c3", "content": "error", "is_error": True}
                ],
            },
            {"role": "user", "content": "Go on"},
        ],
        "tools": [{"name": "lookup", "description": "Look an order up", "input_schema": SCHEMA}],
    }
    assert (reply.content, reply.finish_reason) == ("done", "end_turn")
    assert reply.model == "claude-sonnet-4-5-20250929"


async def test_a_conversation_may_end_with_results(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(message()))
    ended = [
        *ASK,
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="lookup"),)),
        Message(role="tool_result", content="one", tool_call_id="c1"),
    ]
    await adapter.send_turn(ended, TOOLS, TurnConfig("m"))
    assert server.seen[0].body["messages"][-1]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "one"}
    ]


async def test_extras_are_merged_but_never_over_what_was_asked(
    adapter: Adapter, server: CannedServer
) -> None:
    server.plays(answer(message()))
    mine = dict.fromkeys(("model", "messages", "system", "tools", "stream"), "mine")
    config = TurnConfig("m", temperature=0.0, max_tokens=9, extras={**mine, "top_k": 4})
    await adapter.send_turn(ASK, None, config)
    assert server.seen[0].body == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.0,
        "top_k": 4,
    }


async def test_text_is_joined_calls_are_kept_in_order_and_the_cache_is_counted(
    adapter: Adapter, server: CannedServer
) -> None:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 5,
    }
    server.plays(
        answer(
            message(
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "first"},
                {"type": "tool_use", "id": "t1", "name": "a", "input": {"x": 1}},
                {"type": "text", "text": "second"},
                {"type": "tool_use", "id": None, "name": "b", "input": "text"},
                "noise",
                usage=usage,
                stop_reason="tool_use",
            )
        )
    )
    reply = await adapter.send_turn(ASK, TOOLS, TurnConfig("m", turn=1))
    assert reply.content == "first\nsecond"
    assert tuple(reply.tool_calls) == (
        ToolCall(id="t1", name="a", arguments={"x": 1}),
        ToolCall(id="call_1_1", name="b", malformed="text"),
    )
    assert reply.usage == Usage(input_tokens=3210, output_tokens=5)
    assert reply.finish_reason == "tool_use"


async def test_a_turn_without_text_says_nothing(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(message(stop_reason=None)))
    reply = await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert (reply.content, reply.finish_reason) == (None, "")


async def test_an_answer_without_content_is_worth_another_try(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(message(content=None)))
    with pytest.raises(ProviderTransient, match="without content") as failed:
        await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert failed.value.input_tokens == 10


async def test_an_overloaded_provider_is_transient(adapter: Adapter, server: CannedServer) -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.plays(answer(body, status=529, headers={"retry-after": "2"}))
    with pytest.raises(ProviderTransient, match="529: Overloaded") as failed:
        await adapter.send_turn(ASK, None, TurnConfig("m"))
    assert failed.value.retry_after_s == 2.0
    await adapter.aclose()


async def test_a_tool_that_must_be_called_is_forced(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer(message({"type": "text", "text": "ok"})))
    config = TurnConfig("claude-sonnet-4-5", must_call="lookup", extras={"tool_choice": {"type": "none"}})
    await adapter.send_turn(ASK, TOOLS, config)
    await adapter.send_turn(ASK, None, TurnConfig("claude-sonnet-4-5", must_call="lookup"))
    forced, without_tools = (seen.body for seen in server.seen)
    assert forced["tool_choice"] == {"type": "tool", "name": "lookup"}
    assert "tool_choice" not in without_tools
