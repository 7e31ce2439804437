"""Any agent behind one HTTP address, in a small JSON shape of our own.

The whole conversation is posted each time, so that the endpoint need keep no state::

    POST <base_url>
    {
      "trace_id": "0199c2f4-...",        the trial's id
      "trial": 0,                        the repetition, 0-based
      "turn": 1,                         turns that came back before this one, 0-based
      "model": "support-agent",
      "messages": [
        {"role": "system",      "content": "..."},
        {"role": "user",        "content": "..."},
        {"role": "assistant",   "content": null,
         "tool_calls": [{"id": "call_0_0", "name": "lookup", "arguments": {"id": 7}}]},
        {"role": "tool_result", "content": "...", "tool_call_id": "call_0_0",
         "tool_name": "lookup", "tool_error": false}
      ],
      "tools": [{"name": "lookup", "description": "...", "parameters": {JSON Schema}}],
      "config": {"temperature": null, "seed": null, "max_tokens": null, "extras": {}}
    }

``config`` holds ``must_call`` as well, the name of a tool, when the answer has to call that tool: this is
how an endpoint is asked to be a judge.

The answer is a JSON object with ``content``, ``tool_calls`` or both, and nothing that
is not listed here. A turn without tool calls ends the conversation::

    {
      "content": "..." or null,
      "tool_calls": [{"id": "optional", "name": "lookup", "arguments": {"id": 7}}],
      "usage": {"input_tokens": 100, "output_tokens": 50},      optional, else zeros
      "finish_reason": "stop",                                  optional
      "model": "what answered"                                  optional
    }

``malformed`` stands in a replayed call instead of ``arguments`` if what the agent sent
was no object. A failure is an HTTP status of 400 or more, or a 200 with a non-empty
``error``: a text, or an object with ``message``, ``type`` and ``code``. Statuses 408,
409, 425, 429 and 5xx are tried again, after ``Retry-After`` if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salvo_core.adapters.endpoint import Wire
from salvo_core.adapters.failures import Peer
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.strict_json import read_arguments
from salvo_core.adapters.transport import Reply
from salvo_core.errors import ProviderPermanent
from salvo_core.trace.model import Message, ToolCall, Usage

_PROBLEMS_MAX = 3


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Call(_Record):
    name: str = Field(min_length=1)
    id: str | None = None
    arguments: Any = None


class _Tokens(_Record):
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)


class _Answer(_Record):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    usage: _Tokens | None = None
    finish_reason: str | None = None
    model: str | None = None
    error: bool | str | dict[str, Any] | None = None
    """Empty: one that says something never gets this far."""


def request_body(
    messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
) -> dict[str, Any]:
    """Return the body of a request, in the shape that the module's docstring shows."""
    return {
        "trace_id": config.trace_id,
        "trial": config.trial,
        "turn": config.turn,
        "model": config.model,
        "messages": [_message(message) for message in messages],
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in tools or ()
        ],
        "config": {
            "temperature": config.temperature,
            "seed": config.seed,
            "max_tokens": config.max_tokens,
            "extras": config.extras,
            # Only where it is wanted: agents that validate what they get know nothing of judges.
            **({"must_call": config.must_call} if tools and config.must_call else {}),
        },
    }


def _message(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        document["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.role == "tool_result":
        document["tool_call_id"] = message.tool_call_id
        document["tool_name"] = message.tool_name
        document["tool_error"] = message.tool_error
    return document


def _call(call: ToolCall) -> dict[str, Any]:
    meant = {"arguments": call.arguments} if call.malformed is None else {"malformed": call.malformed}
    return {"id": call.id, "name": call.name, **meant}


def read_reply(peer: Peer, reply: Reply, config: TurnConfig) -> TurnReply:
    """Return the turn in an answer.

    Raises:
        ProviderPermanent: It is not of the documented shape; names the fields that are wrong.
    """
    try:
        answer = _Answer.model_validate(reply.document)
    except ValidationError as error:
        raise _misshapen(peer, reply, _problems(peer, error)) from None  # its text quotes the answer
    if not {"content", "tool_calls"} & reply.document.keys():
        raise _misshapen(peer, reply, "neither `content` nor `tool_calls` is there")
    tokens = answer.usage or _Tokens()
    return TurnReply(
        content=answer.content,
        tool_calls=tuple(_tool_call(call, config.turn, n) for n, call in enumerate(answer.tool_calls or ())),
        usage=Usage(input_tokens=tokens.input_tokens, output_tokens=tokens.output_tokens),
        finish_reason=answer.finish_reason or "",
        model=answer.model or "",
    )


def _tool_call(call: _Call, turn: int, number: int) -> ToolCall:
    arguments, malformed = read_arguments(call.arguments)
    return ToolCall(
        id=call.id or f"call_{turn}_{number}", name=call.name, arguments=arguments, malformed=malformed
    )


def _problems(peer: Peer, error: ValidationError) -> str:
    said = []
    for problem in error.errors(include_input=False, include_url=False)[:_PROBLEMS_MAX]:
        place = peer.quote(".".join(str(part) for part in problem["loc"]))
        unknown = problem["type"] == "extra_forbidden"
        said.append(f"`{place}`: {'not a field of the answer' if unknown else problem['msg']}")
    return "; ".join(said)


def _misshapen(peer: Peer, reply: Reply, problems: str) -> ProviderPermanent:
    return ProviderPermanent(
        f"{peer.where} answered {reply.status}, but not in the agreed shape: {problems}",
        hint="It is {content, tool_calls, usage, finish_reason, model}: see the README on the http adapter.",
        status_code=reply.status,
    )


WIRE = Wire(
    write=request_body,
    read=read_reply,
    base_url="",
    base_url_env="SALVO_AGENT_URL",
    key_env="",
    auth_header="Authorization",
    path="",
)
