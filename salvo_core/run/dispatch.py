"""What the doors need of a queue: they own the promise, whoever speaks to a broker keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from salvo_core.run.plan import TrialMessage
from salvo_core.run.signature import Signer


class Dispatcher(Protocol):
    """Sends messages to workers. A message is a hint: losing or repeating one changes no result (I1)."""

    @property
    def signer(self) -> Signer:
        """What signs its messages; whoever orders work signs the plan with it too."""
        ...

    async def publish(self, messages: Iterable[TrialMessage]) -> int:
        """Send one message per trial; return how many were sent.

        Raises:
            RedisUnavailable: The broker did not take them all; some may have been sent.
        """
        ...

    async def queued(self) -> int:
        """Return how many trial messages no worker has taken yet."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
