"""Anthropic's messages, from the provider's side: what is refused, what a turn looks like.

Source:
    Anthropic API reference, "Messages", "Errors" and "Handle tool calls".
"""

from __future__ import annotations

from typing import Any

from salvo_cli.simulator.asked import (
    NO_QUOTA,
    Asked,
    Refused,
    check_number,
    check_whole_number,
    model_and_messages,
    refuse_streaming,
    require,
    seed_of,
    text_of,
)
from salvo_core.adapters.script import ScriptTurn
from salvo_core.trace.model import Usage

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicWire:
    """``POST /v1/messages``."""

    def read(self, document: dict[str, Any], headers: dict[bytes, bytes]) -> Asked:
        """Return what a request asks for.

        Raises:
            Refused: The real API would not take it.
        """
        require(b"anthropic-version" in headers, "the header 'anthropic-version' is required")
        model, messages = model_and_messages(document)
        require(document.get("max_tokens") is not None, "'max_tokens' is required", param="max_tokens")
        check_whole_number(document, "max_tokens")
        refuse_streaming(document)
        check_number(document, "temperature", 0, 1)
        _check_tools(document.get("tools"))
        must_call = _forced(document)
        call_id = _check_conversation(messages)
        # a conversation may end with the beginning of the answer: that turn is still to come
        before = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        return Asked(
            model=model,
            turn=sum(message["role"] == "assistant" for message in before),
            opening=next((text_of(m.get("content")) for m in messages if m["role"] == "user"), ""),
            seed=seed_of(document),
            call_id=call_id,
            must_call=must_call,
        )

    def reply(self, asked: Asked, turn: ScriptTurn, usage: Usage, mark: str) -> dict[str, Any]:
        """Return the body of a turn."""
        content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
        for place, call in enumerate(turn.tool_calls):
            content.append(
                {
                    "type": "tool_use",
                    "id": f"toolu_{mark}_{asked.turn}_{place}",
                    "name": call.name,
                    "input": call.arguments if call.malformed is None else call.malformed,
                }
            )
        return {
            "id": f"msg_{mark}_{asked.turn}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": content,
            "stop_reason": turn.finish_reason or ("tool_use" if turn.tool_calls else "end_turn"),
            "stop_sequence": None,
            "usage": self.usage(usage),
        }

    def error(self, refused: Refused) -> dict[str, Any]:
        """Return the body of an error; this wire names the field at fault in the message."""
        usual_type = "api_error" if refused.status >= 500 else "invalid_request_error"
        kind = "billing_error" if refused.code == NO_QUOTA else _ERROR_TYPES.get(refused.status, usual_type)
        at = f"{refused.param}: " if refused.param else ""
        return {
            "type": "error",
            "error": {"type": kind, "message": at + refused.message},
        }

    def usage(self, usage: Usage) -> dict[str, int]:
        """Return tokens in this wire's words."""
        return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}

    def models(self, ids: list[str]) -> dict[str, Any]:
        """Return the list of models."""
        since = "1970-01-01T00:00:00Z"
        entries = [{"type": "model", "id": name, "display_name": name, "created_at": since} for name in ids]
        ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {}
        return {"data": entries, "has_more": False} | ends


def _check_tools(tools: Any) -> None:
    require(tools is None or isinstance(tools, list), "'tools' must be a list", param="tools")
    for place, tool in enumerate(tools or ()):
        at = f"tools.{place}"
        named = isinstance(tool, dict) and isinstance(tool.get("name"), str) and bool(tool["name"])
        require(named, "a tool needs a name", param=f"{at}.name")
        require(
            isinstance(tool.get("input_schema"), dict), "a tool needs a schema", param=f"{at}.input_schema"
        )


def _forced(document: dict[str, Any]) -> str:
    """Return the tool that ``tool_choice`` forces, "" if none; refuse a choice that cannot be made."""
    choice = document.get("tool_choice")
    if choice is None:
        return ""
    kind = choice.get("type") if isinstance(choice, dict) else None
    require(kind in ("auto", "any", "tool", "none"), "must have a type", param="tool_choice.type")
    tools = document.get("tools") or []
    require(bool(tools), "may only be given with tools", param="tool_choice")
    if kind != "tool":
        return ""
    require(
        choice.get("name") in [tool["name"] for tool in tools],
        "names a tool that is not among the tools",
        param="tool_choice.name",
    )
    return str(choice["name"])


def _check_conversation(messages: list[dict[str, Any]]) -> str:
    """Refuse a conversation the API would not take; return the id of its first tool call, or ""."""
    first_call_id = ""
    unanswered: set[str] = set()
    last_role = ""
    for place, message in enumerate(messages):
        at, role = f"messages.{place}", message.get("role")
        require(role in ("user", "assistant"), "a role is 'user' or 'assistant'", param=f"{at}.role")
        require(place > 0 or role == "user", "the first message must be the user's", param=f"{at}.role")
        blocks = _blocks(message, at, is_last=place == len(messages) - 1)
        if role == "assistant":
            # messages of one role in a row are one message to the API
            _require_answered(unanswered if last_role == "user" else set(), at)
            calls = [str(block["id"]) for block in blocks if block.get("type") == "tool_use"]
            first_call_id = first_call_id or next(iter(calls), "")
            unanswered |= set(calls)
        else:
            _take_results(blocks, unanswered, at)
        last_role = str(role)
    _require_answered(unanswered, "messages")
    return first_call_id


def _take_results(blocks: list[dict[str, Any]], unanswered: set[str], at: str) -> None:
    for place, block in enumerate(blocks):
        if block.get("type") != "tool_result":
            _require_answered(unanswered, f"{at}.content.{place}")
            continue
        answers = block.get("tool_use_id")
        require(
            isinstance(answers, str) and answers in unanswered,
            "a tool_result must answer a tool_use of the assistant message before it, once",
            param=f"{at}.content.{place}.tool_use_id",
        )
        unanswered.discard(str(answers))


def _require_answered(unanswered: set[str], at: str) -> None:
    missing = ", ".join(sorted(unanswered))[:200]
    require(
        not unanswered, f"these tool_use ids have no tool_result straight after them: {missing}", param=at
    )


def _blocks(message: dict[str, Any], at: str, *, is_last: bool) -> list[dict[str, Any]]:
    content, at = message.get("content"), f"{at}.content"
    require(isinstance(content, str | list), "content is text or a list of blocks", param=at)
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    may_be_empty = is_last and message["role"] == "assistant"
    require(bool(content) or may_be_empty, "only a final assistant message may be empty", param=at)
    for place, block in enumerate(blocks):
        require(
            isinstance(block, dict) and isinstance(block.get("type"), str),
            "a block has a type",
            param=f"{at}.{place}",
        )
        if block["type"] == "text" and not may_be_empty:
            said = block.get("text")
            require(
                isinstance(said, str) and said.strip() != "",
                "a text block needs text",
                param=f"{at}.{place}.text",
            )
        if block["type"] == "tool_use":
            whole = isinstance(block.get("id"), str) and isinstance(block.get("name"), str)
            require(
                whole and isinstance(block.get("input"), dict),
                "a tool_use has an id, a name and an object as its input",
                param=f"{at}.{place}",
            )
    return blocks
