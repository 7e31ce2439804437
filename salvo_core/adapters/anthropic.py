"""The messages API of Anthropic, and gateways that speak it.

Source:
    Anthropic API reference, "Messages", "Tool use" and "Errors".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from salvo_core.adapters.endpoint import Wire
from salvo_core.adapters.failures import Peer
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.strict_json import read_arguments, text_or_empty
from salvo_core.adapters.transport import Reply
from salvo_core.adapters.usage import read_usage
from salvo_core.errors import ProviderTransient
from salvo_core.trace.model import Message, ToolCall

MAX_TOKENS_DEFAULT = 4096
"""The API demands a bound; this one holds when nobody says another."""

_OURS = frozenset({"model", "messages", "system", "tools", "stream"})
"""Extras may not touch these: the trace would no longer say what was asked."""


def request_body(
    messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
) -> dict[str, Any]:
    """Return the body of a request: what is set, and extras where they contradict nothing of ours."""
    body: dict[str, Any] = {"model": config.model, "messages": list(_conversation(messages))}
    body["max_tokens"] = MAX_TOKENS_DEFAULT if config.max_tokens is None else config.max_tokens
    system = "\n\n".join(
        message.content for message in messages if message.role == "system" and message.content
    )
    if system:
        body["system"] = system
    if tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in tools
        ]
    if config.temperature is not None:
        body["temperature"] = config.temperature
    body.update({key: value for key, value in config.extras.items() if key not in _OURS})
    if tools and config.must_call:
        body["tool_choice"] = {"type": "tool", "name": config.must_call}
    return body


def _conversation(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool_result":
            results.append(_tool_result(message))
            continue
        if results:
            # All results of one assistant turn stand in the one user message after it: the API's rule.
            yield {"role": "user", "content": results}
            results = []
        if message.role == "user":
            yield {"role": "user", "content": message.content or ""}
        elif message.role == "assistant":
            blocks = _assistant_blocks(message)
            # The API refuses an empty message and a blank text block. A turn that said and
            # called nothing is therefore left out, rather than given words it did not say.
            if blocks:
                yield {"role": "assistant", "content": blocks}
    if results:
        yield {"role": "user", "content": results}


def _tool_result(message: Message) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": message.tool_call_id or "",
        "content": message.content or "",
    }
    if message.tool_error:
        block["is_error"] = True
        block["content"] = message.content or "error"  # an error without words is refused
    return block


def _assistant_blocks(message: Message) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if message.content and message.content.strip():
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls or ():
        # Only an object is accepted, so what was not one is shown to the model inside one.
        shown = call.arguments if call.malformed is None else {"malformed": call.malformed}
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": shown})
    return blocks


def read_reply(peer: Peer, reply: Reply, config: TurnConfig) -> TurnReply:
    """Return the turn in an answer.

    Raises:
        ProviderTransient: There is no list of content blocks in it.
    """
    document = reply.document
    usage = read_usage(document)
    blocks = document.get("content")
    if not isinstance(blocks, list):
        raise ProviderTransient(
            f"{peer.where} answered {reply.status} without content",
            status_code=reply.status,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )
    blocks = [block for block in blocks if isinstance(block, dict)]
    texts = [
        block["text"]
        for block in blocks
        if block.get("type") == "text" and isinstance(block.get("text"), str)
    ]
    called = [block for block in blocks if block.get("type") == "tool_use"]
    return TurnReply(
        content="\n".join(texts) if texts else None,
        tool_calls=tuple(_tool_call(block, config.turn, number) for number, block in enumerate(called)),
        usage=usage,
        finish_reason=text_or_empty(document.get("stop_reason")),
        model=text_or_empty(document.get("model")),
    )


def _tool_call(block: dict[str, Any], turn: int, number: int) -> ToolCall:
    arguments, malformed = read_arguments(block.get("input"))
    call_id = text_or_empty(block.get("id")) or f"call_{turn}_{number}"
    return ToolCall(
        id=call_id, name=text_or_empty(block.get("name")), arguments=arguments, malformed=malformed
    )


WIRE = Wire(
    write=request_body,
    read=read_reply,
    base_url="https://api.anthropic.com",
    base_url_env="ANTHROPIC_BASE_URL",
    key_env="ANTHROPIC_API_KEY",
    auth_header="x-api-key",
    path="/v1/messages",
    headers={"anthropic-version": "2023-06-01"},
    provider_id="anthropic",
)
