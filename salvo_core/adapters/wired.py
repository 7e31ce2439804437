"""The adapter of every wire format: a body out, an answer in. What they say is the format's own."""

from __future__ import annotations

from collections.abc import Sequence

from salvo_core.adapters.endpoint import Endpoint, Wire
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.trace.model import Message


class WiredAdapter:
    """A model or an agent behind HTTP. Keeps no state between turns.

    Args:
        endpoint: Whom to ask.
        wire: How to speak to it.
    """

    def __init__(self, endpoint: Endpoint, wire: Wire) -> None:
        self.name = endpoint.name
        self.wire = wire
        self._endpoint = endpoint

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        """Return the next turn; see ``Adapter.send_turn``."""
        reply = await self._endpoint.post(self.wire.write(messages, tools, config), config.trace_id)
        return self.wire.read(self._endpoint.peer, reply, config)

    async def aclose(self) -> None:
        """Do nothing: connections are the transport's."""
