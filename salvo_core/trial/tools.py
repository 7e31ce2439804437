"""Mock tools: what the agent gets when it calls one.

A tool answers from the scenario: rules that match arguments or the n-th call first, then
``mock_response`` (a list answers call by call, the last one for ever). What the agent does
wrong, an unknown tool or arguments that are not an object, is answered like any tool
error, so that the conversation goes on and the record shows it (I6).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from salvo_core.adapters.protocol import ToolSpec
from salvo_core.clock import Clock
from salvo_core.evaluation.matching import contains
from salvo_core.scenario.model import MockRule, ToolDef
from salvo_core.trace.model import Message, ToolCall

ARGUMENTS_DEPTH_MAX = 100
"""Maps and lists within one another in a call's arguments. A journal holds twice as many."""


def journalable(call: ToolCall) -> ToolCall:
    """Return the call as a record can hold it.

    Arguments that nest beyond ARGUMENTS_DEPTH_MAX are the agent's mistake, like those that are
    no JSON at all: they are kept as text.
    """
    layer: list[Any] = [call.arguments]
    for _ in range(ARGUMENTS_DEPTH_MAX):
        layer = [inner for outer in layer for inner in _inner(outer) if isinstance(inner, dict | list)]
        if not layer:
            return call
    try:
        raw = json.dumps(call.arguments)
    except RecursionError:
        raw = "(nested too deep to be shown)"
    return ToolCall(id=call.id, name=call.name, malformed=raw)


def _inner(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


class MockTools:
    """The tools of one trial; counts calls, so each trial has its own.

    Args:
        tools: As the scenario declares them.
        clock: Waits out injected latency.
    """

    def __init__(self, tools: Sequence[ToolDef], clock: Clock) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._calls: dict[str, int] = {}
        self._clock = clock

    def specs(self) -> list[ToolSpec] | None:
        """Return what the model is told about the tools; None when there are none."""
        return [
            ToolSpec(tool.name, tool.description, tool.parameters.model_dump(exclude_none=True))
            for tool in self._tools.values()
        ] or None

    def knows(self, name: str) -> bool:
        """Tell whether the scenario declares a tool of that name."""
        return name in self._tools

    async def answer(self, call: ToolCall, *, replayed: bool = False) -> Message:
        """Return the tool's result message.

        Args:
            call: What the agent asked for.
            replayed: The call was answered by an earlier attempt: count it, but do not wait again.
        """
        content, is_error, latency_s = self._look_up(call)
        if latency_s and not replayed:
            await self._clock.sleep(latency_s)
        return Message(
            role="tool_result",
            content=content,
            tool_call_id=call.id,
            tool_name=call.name,
            tool_error=is_error,
            latency_s=latency_s or None,
        )

    def _look_up(self, call: ToolCall) -> tuple[str, bool, float]:
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join(self._tools) or "there are none"
            return _error(f"there is no tool named {call.name!r}; the tools are: {names}"), True, 0.0
        if call.malformed is not None:
            return _error(f"the arguments of {call.name} are not a JSON object"), True, 0.0
        number = self._calls[call.name] = self._calls.get(call.name, 0) + 1
        for rule in tool.mocks:
            if _applies(rule, call.arguments, number):
                if rule.error is not None:
                    return _error(rule.error), True, rule.latency_s
                return _text(rule.response), False, rule.latency_s
        response: Any = tool.mock_response
        if isinstance(response, list):
            response = response[min(number, len(response)) - 1] if response else None
        if response is None:
            return _error(f"{call.name} is not available: the scenario gives it no answer"), True, 0.0
        return _text(response), False, tool.mock_latency_s


def _applies(rule: MockRule, arguments: dict[str, Any], number: int) -> bool:
    if rule.call is not None and rule.call != number:
        return False
    return rule.match is None or contains(arguments, rule.match)


def _text(response: Any) -> str:
    # The predecessor's form, which its users' assertions may rest on: spaces, ASCII escapes.
    return response if isinstance(response, str) else json.dumps(response)


def _error(message: str) -> str:
    return json.dumps({"error": message})
