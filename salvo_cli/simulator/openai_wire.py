"""OpenAI's chat completions, from the provider's side: what is refused, what a turn looks like.

Source:
    OpenAI API reference, "Create chat completion" and "Error codes".
"""

from __future__ import annotations

import json
import re
import time
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

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 429: "requests"}
_ERROR_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class OpenAIWire:
    """``POST /v1/chat/completions``."""

    def read(self, document: dict[str, Any], headers: dict[bytes, bytes]) -> Asked:
        """Return what a request asks for; the headers say nothing more on this wire.

        Raises:
            Refused: The real API would not take it.
        """
        model, messages = model_and_messages(document, missing_code="missing_required_parameter")
        refuse_streaming(document)
        require(document.get("n") in (None, 1), "the simulator gives one choice: 'n' must be 1", param="n")
        check_number(document, "temperature", 0, 2)
        check_whole_number(document, "max_tokens")
        check_whole_number(document, "max_completion_tokens")
        _check_tools(document.get("tools"))
        must_call = _forced(document)
        call_id = _check_conversation(messages)
        return Asked(
            model=model,
            turn=sum(message["role"] == "assistant" for message in messages),
            opening=next((text_of(m.get("content")) for m in messages if m["role"] == "user"), ""),
            seed=seed_of(document),
            call_id=call_id,
            must_call=must_call,
        )

    def reply(self, asked: Asked, turn: ScriptTurn, usage: Usage, mark: str) -> dict[str, Any]:
        """Return the body of a turn."""
        message: dict[str, Any] = {"role": "assistant", "content": turn.text, "refusal": None}
        if turn.tool_calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{mark}_{asked.turn}_{place}",
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": json.dumps(call.arguments) if call.malformed is None else call.malformed,
                    },
                }
                for place, call in enumerate(turn.tool_calls)
            ]
        finish_reason = turn.finish_reason or ("tool_calls" if turn.tool_calls else "stop")
        return {
            "id": f"chatcmpl-{mark}-{asked.turn}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
            "usage": self.usage(usage),
            "system_fingerprint": "salvo-simulator",
        }

    def error(self, refused: Refused) -> dict[str, Any]:
        """Return the body of an error."""
        usual_type = "server_error" if refused.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": refused.message,
                "type": NO_QUOTA
                if refused.code == NO_QUOTA
                else _ERROR_TYPES.get(refused.status, usual_type),
                "param": refused.param or None,
                "code": refused.code or _ERROR_CODES.get(refused.status),
            }
        }

    def usage(self, usage: Usage) -> dict[str, int]:
        """Return tokens in this wire's words."""
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        }

    def models(self, ids: list[str]) -> dict[str, Any]:
        """Return the list of models."""
        entries = [{"id": name, "object": "model", "created": 0, "owned_by": "salvo"} for name in ids]
        return {"object": "list", "data": entries}


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    require(
        isinstance(tools, list) and bool(tools), "'tools' must be a list of at least one tool", param="tools"
    )
    for place, tool in enumerate(tools):
        at = f"tools.{place}"
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        require(isinstance(function, dict), "a tool is {'type': 'function', 'function': {...}}", param=at)
        name = function.get("name") if isinstance(function, dict) else None
        require(
            isinstance(name, str) and _FUNCTION_NAME.fullmatch(name) is not None,
            "a function's name has 1 to 64 letters, digits, dashes and underscores",
            param=f"{at}.function.name",
        )


def _forced(document: dict[str, Any]) -> str:
    """Return the tool that ``tool_choice`` forces, "" if none; refuse a choice that cannot be made."""
    choice = document.get("tool_choice")
    if choice is None:
        return ""
    tools = document.get("tools") or []
    require(bool(tools), "'tool_choice' is only allowed when 'tools' are given", param="tool_choice")
    if isinstance(choice, str):
        require(choice in ("none", "auto", "required"), f"{choice[:40]!r} is no choice", param="tool_choice")
        return ""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    require(
        name in [tool["function"]["name"] for tool in tools],
        "'tool_choice' names a tool that is not among 'tools'",
        param="tool_choice",
    )
    return str(name)


def _check_conversation(messages: list[dict[str, Any]]) -> str:
    """Refuse a conversation the API would not take; return the id of its first tool call, or ""."""
    first_call_id = ""
    unanswered: set[str] = set()
    for place, message in enumerate(messages):
        at, role = f"messages.{place}", message.get("role")
        require(
            isinstance(role, str) and role in _ROLES, f"{str(role)[:40]!r} is not a role", param=f"{at}.role"
        )
        if role == "tool":
            answers = message.get("tool_call_id")
            require(
                isinstance(answers, str) and answers in unanswered,
                "a tool message must answer a call of the assistant message before it, once",
                param=f"{at}.tool_call_id",
            )
            unanswered.discard(str(answers))
            continue
        _require_answered(unanswered, at)
        if role == "assistant":
            calls = _call_ids(message, at)
            first_call_id = first_call_id or next(iter(calls), "")
            unanswered = set(calls)
        else:
            require(
                message.get("content") is not None, f"a {role} message needs content", param=f"{at}.content"
            )
    _require_answered(unanswered, "messages")
    return first_call_id


def _require_answered(unanswered: set[str], at: str) -> None:
    missing = ", ".join(sorted(unanswered))[:200]
    require(not unanswered, f"these tool calls have no tool message after them: {missing}", param=at)


def _call_ids(message: dict[str, Any], at: str) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        require(
            message.get("content") is not None,
            "an assistant message needs content or tool_calls",
            param=f"{at}.content",
        )
        return []
    require(
        isinstance(calls, list) and bool(calls), "'tool_calls' must not be empty", param=f"{at}.tool_calls"
    )
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        fields = function if isinstance(function, dict) else {}
        whole = isinstance(fields.get("name"), str) and isinstance(fields.get("arguments"), str)
        require(
            whole and isinstance(call.get("id"), str),
            "a tool call has a string id, and a function with a name and its arguments as a string",
            param=f"{at}.tool_calls.{place}",
        )
    return [call["id"] for call in calls]
