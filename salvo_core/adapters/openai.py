"""Chat completions: OpenAI, and the many servers that speak its format.

vLLM, Ollama, llama.cpp, OpenRouter and Azure-style gateways differ in what they leave
out. So everything in an answer may be missing except the message itself, and what a
model got wrong (arguments that are not JSON) is kept as it was, for the model to see.

Source:
    OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from salvo_core.adapters.endpoint import Wire
from salvo_core.adapters.failures import Peer, failure_from_reply
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.strict_json import read_arguments, text_or_empty
from salvo_core.adapters.transport import Reply
from salvo_core.adapters.usage import read_usage
from salvo_core.errors import ProviderTransient
from salvo_core.trace.model import Message, ToolCall

_OURS = frozenset({"model", "messages", "tools", "stream", "stream_options", "n"})
"""Extras may not touch these: the trace would no longer say what was asked."""


def request_body(
    messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
) -> dict[str, Any]:
    """Return the body of a request: what is set, and extras where they contradict nothing of ours."""
    body: dict[str, Any] = {"model": config.model, "messages": [_message(message) for message in messages]}
    if tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in tools
        ]
    # Newer models refuse max_tokens and take max_completion_tokens, which then comes through extras.
    max_tokens = None if "max_completion_tokens" in config.extras else config.max_tokens
    wanted = {"temperature": config.temperature, "max_tokens": max_tokens, "seed": config.seed}
    body.update({key: value for key, value in wanted.items() if value is not None})
    body.update({key: value for key, value in config.extras.items() if key not in _OURS})
    if tools and config.must_call:
        body["tool_choice"] = {"type": "function", "function": {"name": config.must_call}}
    return body


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool_result":
        return {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.content or ""}
    # An empty text where there is none: OpenAI takes null, or nothing at all, beside tool calls, but
    # llama.cpp's server answers either with a 500, and no server was found that minds "".
    spoken: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        spoken["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return spoken


def _arguments(call: ToolCall) -> str:
    if call.malformed is not None:
        return call.malformed  # the model should see what it sent
    return json.dumps(call.arguments, ensure_ascii=False)


def read_reply(peer: Peer, reply: Reply, config: TurnConfig) -> TurnReply:
    """Return the turn in an answer: its first choice.

    Raises:
        ProviderTransient: There is no message in it.
        ProviderError: A gateway put the upstream's error inside the choice.
    """
    document = reply.document
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and isinstance(choice.get("error"), dict):
        error = {"error": choice["error"], "usage": document.get("usage")}
        raise failure_from_reply(peer, reply.status, reply.headers, error, "")
    message = choice.get("message") if isinstance(choice, dict) else None
    usage = read_usage(document)
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ProviderTransient(
            f"{peer.where} answered {reply.status} without a message",
            status_code=reply.status,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )
    return TurnReply(
        content=_content(message),
        tool_calls=_tool_calls(message, config.turn),
        usage=usage,
        finish_reason=text_or_empty(choice.get("finish_reason")),
        model=text_or_empty(document.get("model")),
    )


def _content(message: dict[str, Any]) -> str | None:
    """The text said; servers send it whole, in parts, or as a refusal."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") or part.get("refusal") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str):
        return refusal
    return content if isinstance(content, str) else None


def _tool_calls(message: dict[str, Any], turn: int) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    taken: set[str] = set()
    listed = message.get("tool_calls")
    for number, raw in enumerate(listed if isinstance(listed, list) else ()):
        function = raw.get("function") if isinstance(raw, dict) else None
        function = function if isinstance(function, dict) else {}
        # Results are matched to calls by id, so one that is missing or repeated is made up here.
        call_id = text_or_empty(raw.get("id")) if isinstance(raw, dict) else ""
        if not call_id or call_id in taken:
            call_id = f"call_{turn}_{number}"
        taken.add(call_id)
        arguments, malformed = read_arguments(function.get("arguments"))
        calls.append(
            ToolCall(
                id=call_id, name=text_or_empty(function.get("name")), arguments=arguments, malformed=malformed
            )
        )
    return tuple(calls)


WIRE = Wire(
    write=request_body,
    read=read_reply,
    base_url="https://api.openai.com/v1",
    base_url_env="OPENAI_BASE_URL",
    key_env="OPENAI_API_KEY",
    auth_header="Authorization",
    path="/chat/completions",
    provider_id="openai",
)
