"""The one method every adapter has, and the values that cross it.

The shape is the predecessor's (``send_turn(messages, tools, config)``), so that a
team's own adapter classes keep working when their module is allow-listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from salvo_core.trace.model import Message, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told about it.

    ``parameters`` is a JSON Schema object: type, properties, required.
    """

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """How to ask for one turn, and on whose behalf.

    Attributes:
        model: Sent to the provider.
        temperature: None leaves it to the provider.
        max_tokens: Most output tokens of this turn; None leaves it to the provider.
        seed: Sampling seed; providers without one ignore it.
        extras: Merged into the request, except over model, messages and tools.
        must_call: Name of the tool that the model must call; empty leaves it the choice.
        trace_id: The trial's id; sent as ``X-Salvo-Trace-Id`` so that two systems' logs can be joined.
        trial: The repetition within the cell, 0-based; the seed of scripted variation.
        turn: Turns that came back before this one, 0-based; of a judge's vote, its number.
    """

    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    must_call: str = ""
    trace_id: str = ""
    trial: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class TurnReply:
    """What the model answered.

    ``tool_calls`` whose arguments were not a JSON object carry the raw text in
    ``malformed``: the agent's mistake, not the wire's (I6).
    """

    content: str | None
    tool_calls: Sequence[ToolCall] = ()
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    model: str = ""


class Adapter(Protocol):
    """A model that can be asked for the next turn of a conversation.

    One instance serves many concurrent trials of a worker; it keeps no state between
    turns. All failures leave as ``ProviderError``; nothing of httpx or of a vendor crosses.
    """

    name: str

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        """Return the model's next turn.

        Args:
            messages: The conversation so far, oldest first, at least one.
            tools: What the model may call; None when the scenario has no tools.
            config: How to ask.

        Raises:
            ProviderError: The exchange yielded no turn; ``retryable`` says whether to try again.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. The adapter is not used afterwards."""
        ...
