"""Our own JSON shape for any agent behind an address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salvo_core.adapters.protocol import Adapter, ToolSpec, TurnConfig
from salvo_core.errors import ProviderError, ProviderPermanent, ProviderTransient
from salvo_core.trace.model import Message, ToolCall, Usage
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry

TRACE_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
ASK = [Message(role="user", content="hi")]


@pytest.fixture
async def adapter(server: CannedServer) -> AsyncIterator[Adapter]:
    made = registry(profiles={"desk": {"adapter": "http", "base_url": f"{server.url}/agent"}})
    yield made.get("desk")
    await made.aclose()


async def test_the_documented_request_is_what_is_sent(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer({"content": "ok"}))
    schema = {"type": "object", "properties": {}, "required": []}
    conversation = [
        Message(role="system", content="You help."),
        Message(role="user", content="Refund A-1"),
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(id="c1", name="lookup", arguments={"id": 7}),
                ToolCall(id="c2", name="lookup", malformed="{"),
            ),
        ),
        Message(role="tool_result", content="seven", tool_call_id="c1", tool_name="lookup", latency_s=0.1),
        Message(role="tool_result", content="bad", tool_call_id="c2", tool_name="lookup", tool_error=True),
    ]
    config = TurnConfig("support", seed=5, extras={"tone": "kind"}, trace_id=TRACE_ID, trial=3, turn=1)
    await adapter.send_turn(conversation, [ToolSpec("lookup", "Looks up", schema)], config)
    [seen] = server.seen
    assert seen.path == "/agent"
    assert seen.headers["x-salvo-trace-id"] == TRACE_ID
    assert seen.body == {
        "trace_id": TRACE_ID,
        "trial": 3,
        "turn": 1,
        "model": "support",
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "Refund A-1"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "name": "lookup", "arguments": {"id": 7}},
                    {"id": "c2", "name": "lookup", "malformed": "{"},
                ],
            },
            {
                "role": "tool_result",
                "content": "seven",
                "tool_call_id": "c1",
                "tool_name": "lookup",
                "tool_error": False,
            },
            {
                "role": "tool_result",
                "content": "bad",
                "tool_call_id": "c2",
                "tool_name": "lookup",
                "tool_error": True,
            },
        ],
        "tools": [{"name": "lookup", "description": "Looks up", "parameters": schema}],
        "config": {"temperature": None, "seed": 5, "max_tokens": None, "extras": {"tone": "kind"}},
    }


async def test_a_full_answer_is_read(adapter: Adapter, server: CannedServer) -> None:
    server.plays(
        answer(
            {
                "content": None,
                "tool_calls": [
                    {"id": "x", "name": "lookup", "arguments": {"id": 7}},
                    {"name": "lookup"},
                    {"name": "lookup", "arguments": "{oops"},
                ],
                "usage": {"input_tokens": 3, "output_tokens": 2},
                "finish_reason": "tool_calls",
                "model": "support-7",
                "error": None,
            }
        )
    )
    reply = await adapter.send_turn(ASK, None, TurnConfig("support", turn=4))
    assert tuple(reply.tool_calls) == (
        ToolCall(id="x", name="lookup", arguments={"id": 7}),
        ToolCall(id="call_4_1", name="lookup"),
        ToolCall(id="call_4_2", name="lookup", malformed="{oops"),
    )
    assert reply.usage == Usage(input_tokens=3, output_tokens=2)
    assert (reply.finish_reason, reply.model) == ("tool_calls", "support-7")


async def test_a_text_alone_is_enough(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer({"content": "hello", "tool_calls": None, "usage": None}))
    reply = await adapter.send_turn(ASK, None, TurnConfig("support"))
    assert (reply.content, tuple(reply.tool_calls), reply.usage) == ("hello", (), Usage())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "neither `content` nor `tool_calls`"),
        ({"usage": {}}, "neither `content` nor `tool_calls`"),
        ({"content": 7}, "`content`: Input should be a valid string"),
        ({"contents": "x"}, "`contents`: not a field of the answer"),
        ({"content": "x", "tool_calls": {}}, "`tool_calls`: Input should be a valid list"),
        ({"tool_calls": [{"arguments": {}}]}, "`tool_calls.0.name`: Field required"),
        ({"tool_calls": [{"name": ""}]}, "`tool_calls.0.name`: String should have at least 1 character"),
        (
            {"content": "x", "usage": {"input_tokens": "5"}},
            "`usage.input_tokens`: Input should be a valid integer",
        ),
        ({"content": "x", "usage": {"input_tokens": -5}}, "`usage.input_tokens`: Input should be greater"),
        ({"content": "x", "usage": {"prompt_tokens": 5}}, "`usage.prompt_tokens`: not a field"),
    ],
)
async def test_a_wrong_answer_names_the_field(
    adapter: Adapter, server: CannedServer, body: dict[str, Any], said: str
) -> None:
    server.plays(answer(body))
    with pytest.raises(ProviderPermanent) as wrong:
        await adapter.send_turn(ASK, None, TurnConfig("support"))
    assert said in wrong.value.message


async def test_a_hundred_wrong_fields_make_a_short_message(adapter: Adapter, server: CannedServer) -> None:
    server.plays(answer({"content": "x", **{f"{'long' * 200}\x1b{n}": n for n in range(100)}}))
    with pytest.raises(ProviderPermanent) as wrong:
        await adapter.send_turn(ASK, None, TurnConfig("support"))
    assert len(wrong.value.message) < 1500
    assert wrong.value.message.isprintable()


@pytest.mark.parametrize(
    ("canned", "kind"),
    [
        (answer({"error": "agent crashed"}), ProviderPermanent),
        (answer({"error": {"type": "server_error", "message": "agent crashed"}}), ProviderTransient),
        (answer({"detail": "agent crashed"}, status=500), ProviderTransient),
    ],
)
async def test_an_agent_can_say_that_it_failed(
    adapter: Adapter, server: CannedServer, canned: Any, kind: type[ProviderError]
) -> None:
    server.plays(canned)
    with pytest.raises(ProviderError, match="agent crashed") as failed:
        await adapter.send_turn(ASK, None, TurnConfig("support"))
    assert type(failed.value) is kind
    await adapter.aclose()


async def test_an_endpoint_that_judges_is_told_which_tool_to_call(
    adapter: Adapter, server: CannedServer
) -> None:
    server.plays(answer({"content": "ok"}))
    tool = ToolSpec("score_criteria", "Records scores", {"type": "object", "properties": {}, "required": []})
    ask = [Message(role="user", content="hi")]
    await adapter.send_turn(ask, [tool], TurnConfig("judge", must_call="score_criteria"))
    await adapter.send_turn(ask, [tool], TurnConfig("judge"))
    forced, free = (seen.body["config"] for seen in server.seen)
    assert forced["must_call"] == "score_criteria"
    assert "must_call" not in free
