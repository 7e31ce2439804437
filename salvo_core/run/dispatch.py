"""What the doors need of a queue: they own the promise, whoever speaks to a broker keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from salvo_core.run.plan import TrialMessage
from salvo_core.run.route import USUAL, Route
from salvo_core.run.signature import Signer


class Dispatcher(Protocol):
    """Sends messages to workers. A message is a hint: losing or repeating one changes no result (I1)."""

    @property
    def signer(self) -> Signer:
        """What signs its messages; whoever orders work signs the plan with it too."""
        ...

    @property
    def queued_max(self) -> int:
        """Messages that should wait at once; beyond, only the first few of a run are sent."""
        ...

    async def publish(self, messages: Iterable[TrialMessage], route: Route = USUAL) -> int:
        """Send one message per trial; return how many were sent.

        Raises:
            RedisUnavailable: The broker did not take them all; some may have been sent.
        """
        ...

    async def queued(self, route: Route | None = None) -> int:
        """Return how many trial messages no worker has taken yet, on one route or on all."""
        ...

    async def lanes(self) -> Sequence[int]:
        """Return how many messages no worker has taken yet, by lane."""
        ...

    async def withdraw(self, run_id: str, route: Route) -> int:
        """Take a run's messages that no worker has taken yet out of the queue; return how many there were.

        Raises:
            RedisUnavailable: The broker is away; some may be left.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
