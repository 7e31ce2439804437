"""A team's own adapter class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from salvo_core.adapters.foreign import ForeignAdapter
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.errors import ProviderError, ProviderPermanent, ProviderTransient, RateLimited
from salvo_core.trace.model import Message, ToolCall, Usage
from tests.unit.adapters.crew import SECRET, Answers, Call, Echo, Result, Tokens

ASK = [Message(role="user", content="hi")]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    Answers.answer = None


async def take(answer: Any, turn: int = 0) -> TurnReply:
    Answers.answer = answer
    adapter = ForeignAdapter("crew.Answers", Answers(), secrets=lambda: frozenset({SECRET}))
    return await adapter.send_turn(ASK, None, TurnConfig("m", turn=turn))


async def test_a_class_of_the_predecessor_is_given_and_gives_what_it_always_did() -> None:
    adapter = ForeignAdapter("crew.Echo", Echo())
    reply = await adapter.send_turn(tuple(ASK), [ToolSpec("lookup", "Looks up", {})], TurnConfig("gpt-4o"))
    assert reply.content == "list hi [('lookup', 'Looks up')] gpt-4o 1"
    assert (reply.usage, reply.finish_reason) == (Usage(input_tokens=7, output_tokens=3), "stop")


async def test_calls_and_tokens_are_read_by_attribute_or_by_key() -> None:
    expected = (
        ToolCall(id="c", name="a", arguments={"x": 1}),
        ToolCall(id="call_3_1", name="b", malformed="{"),
    )
    by_attribute = Result(None, [Call("c", "a", {"x": 1}), Call("", "b", "{")], Tokens(1, 2))
    by_key = {
        "content": None,
        "tool_calls": [{"id": "c", "name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": "{"}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "model": "mine",
    }
    for answer in (by_attribute, by_key):
        reply = await take(answer, turn=3)
        assert tuple(reply.tool_calls) == expected
        assert reply.usage == Usage(input_tokens=1, output_tokens=2)
    assert reply.model == "mine"


async def test_a_reply_of_ours_comes_through_whole() -> None:
    ours = TurnReply("x", (ToolCall(id="c", name="a"),), Usage(input_tokens=1), "stop", "m1")
    assert await take(ours) == ours


async def test_usage_and_reason_may_be_missing() -> None:
    assert await take({"content": "x"}) == TurnReply("x")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "returned a NoneType with neither content nor tool_calls"),
        ("text", "returned a str with neither"),
        ({"content": 7}, "content of type int"),
        ({"content": "x", "usage": {"input_tokens": "many"}}, "ValidationError"),
        ({"content": "x", "tool_calls": 7}, "TypeError"),
        ({"tool_calls": [{"name": "a", "arguments": {"when": object()}}]}, "TypeError"),
        ({"tool_calls": [{"name": "a", "arguments": {"x": float("nan")}}]}, "ValueError"),
        ({"tool_calls": [{"name": "a", "arguments": {"x": "\ud800"}}]}, "UnicodeEncodeError"),
    ],
)
async def test_a_return_value_that_is_no_turn_is_the_adapters_fault(answer: Any, said: str) -> None:
    with pytest.raises(ProviderPermanent, match=said):
        await take(answer)


async def test_broken_text_is_mended() -> None:
    assert (await take({"content": "a \ud800 half"})).content == "a \ufffd half"


class Busy(Exception):
    status_code = 429


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(TimeoutError("slow"), ProviderTransient), (Busy(), RateLimited), (KeyError("x"), ProviderPermanent)],
)
async def test_whatever_it_raises_leaves_as_a_provider_error(
    raised: Exception, kind: type[ProviderError]
) -> None:
    with pytest.raises(ProviderError) as failed:
        await take(raised)
    assert type(failed.value) is kind
    assert failed.value.__cause__ is raised


async def test_a_provider_error_of_its_own_stays_as_it_is() -> None:
    raised = RateLimited("slow down", retry_after_s=3.0)
    with pytest.raises(RateLimited) as failed:
        await take(raised)
    assert failed.value is raised
    assert failed.value.__cause__ is None


async def test_a_secret_in_its_exception_stays_here() -> None:
    with pytest.raises(ProviderPermanent) as failed:
        await take(ValueError(f"bad key {SECRET}"))
    assert failed.value.message == "ValueError: bad key [REDACTED]"


async def test_it_is_closed_by_whichever_method_it_has() -> None:
    echo = Echo()
    await ForeignAdapter("crew.Echo", echo).aclose()
    assert echo.closed
    await ForeignAdapter("crew.Answers", Answers()).aclose()
    assert Answers.answer == "closed"
    await ForeignAdapter("crew.Nothing", object()).aclose()
