"""What every channel promises, and how one says that it did not work."""

from __future__ import annotations

from typing import Protocol

from salvo_core.alerts.alert import Alert
from salvo_core.clock import Clock
from salvo_core.errors import Unavailable

SEND_S_MAX = 45.0
"""A channel is given so long, its own tries included."""


class ChannelFailed(Unavailable):
    """A channel did not take an alert.

    Args:
        message: What happened, for a person; no address, no key, a stranger's words cleaned.
        hint: What to do next.
        retry_after_s: How long the receiver asked to be left alone, seconds.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One way to tell people."""

    @property
    def name(self) -> str:
        """Under which it is kept what it was told: a channel's of the project, or one made of an address."""
        ...

    @property
    def shown(self) -> str:
        """What anybody may see of where it leads."""
        ...

    async def send(self, alert: Alert, clock: Clock) -> str:
        """Tell it; return what was answered, for a person, on one line.

        Whoever calls gives it SEND_S_MAX and cancels it then: nothing may stay behind.

        Raises:
            ChannelFailed: As far as is known it was not told.
        """
        ...
