"""The document that assertions see: a trace in the shape that scenario files have always queried.

::

    response   {content, finish_reason}
    turns[]    {role, content, tool_calls?, tool_call_id?, tool_name?}      every message, in order
    tool_calls[]  {id, name, arguments}                                     every call, in order
    metadata   {model, provider, cost_usd, latency_seconds, input_tokens, output_tokens,
                total_tokens, turn_count, finish_reason, outcome, retries}

``turns`` and ``provider`` are the names that users' expressions rely on; elsewhere in
Salvo they are messages and adapter. Times are seconds, money US dollars (null when the
price is unknown).

Checks compare what was really said; what they *quote* passes through the redaction first,
whole, before it is cut to a readable length: half of a key would match no pattern (I7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.wording import quoted
from salvo_core.trace.model import Message, ToolCall, Trace


class Functions(Protocol):
    """Where a team's own assertion functions come from."""

    def load(self, path: str) -> Callable[[Trace, Any], Any]:
        """Return the function ``(trace, assertion) -> answer`` of that name.

        Raises:
            UsageError: There is none, or it may not be called here.
        """
        ...


class Document:
    """One trace, ready to be checked. Built once per trial; the query tree is made on first use.

    Args:
        trace: The conversation as it was.
        redact: Removes secrets from a JSON value (``trace.redaction.Redactor.document``); None
            when the trace holds none any more.
        functions: For ``custom`` assertions; None where no code of a team's own can run.
        ballots: What judges said, by ``judge`` assertion (``panel.hear``); None where none was asked.
    """

    def __init__(
        self,
        trace: Trace,
        redact: Callable[[Any], Any] | None = None,
        functions: Functions | None = None,
        ballots: Mapping[Any, Ballot] | None = None,
    ) -> None:
        self.trace = trace
        self.functions = functions
        self.ballots: Mapping[Any, Ballot] = ballots or {}
        self._redact = redact

    def redacted(self, value: Any) -> Any:
        """Return a JSON value of this document without secrets."""
        return value if self._redact is None else self._redact(value)

    def quoted(self, value: Any) -> str:
        """Return a JSON value of this document as short, safe text without secrets, for details."""
        return quoted(self.redacted(value))

    @property
    def content(self) -> str | None:
        """What the agent said last; None if it never spoke."""
        return self.trace.final_content

    @cached_property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Every call of a tool, in order."""
        return self.trace.tool_calls

    @cached_property
    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools that the agent called, in order, invented ones included."""
        return tuple(call.name for call in self.tool_calls)

    @property
    def cost_usd(self) -> float | None:
        """What the agent cost, US dollars; None when a price is unknown."""
        return self.trace.cost_usd

    @property
    def latency_s(self) -> float:
        """The conversation alone, seconds: no retries, no waits, no evaluation."""
        return self.trace.latency_s

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The whole document as plain dicts and lists. Readers must not change it."""
        trace = self.trace
        return {
            "response": {"content": trace.final_content, "finish_reason": trace.finish_reason},
            "turns": [_message(message) for message in trace.messages],
            "tool_calls": [_call(call) for call in self.tool_calls],
            "metadata": {
                "model": trace.model,
                "provider": trace.adapter,
                "cost_usd": trace.cost_usd,
                "latency_seconds": trace.latency_s,
                "input_tokens": trace.usage.input_tokens,
                "output_tokens": trace.usage.output_tokens,
                "total_tokens": trace.usage.total_tokens,
                "turn_count": len(trace.turns),
                "finish_reason": trace.finish_reason,
                "outcome": trace.outcome,
                "retries": trace.retries_total,
            },
        }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _message(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        entry["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        entry["tool_call_id"] = message.tool_call_id
    if message.tool_name is not None:
        entry["tool_name"] = message.tool_name
    return entry
