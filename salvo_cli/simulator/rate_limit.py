"""The limit that all callers share, as a provider's account has one."""

from __future__ import annotations

from salvo_cli.simulator.book import RateLimit
from salvo_core.clock import Clock


class TokenBucket:
    """A bucket of requests that fills at an even rate.

    Args:
        limit: Size and rate.
        clock: Measures time.
    """

    def __init__(self, limit: RateLimit, clock: Clock) -> None:
        self._per_s = limit.requests_per_minute / 60
        self._burst = limit.burst
        self._clock = clock
        self._held = float(limit.burst)
        self._filled_at_s = clock.monotonic_s()

    def take(self) -> float:
        """Take one request out, if there is one.

        Returns:
            0.0 when it was taken; else nothing was taken, and this is the time until there is one, seconds.
        """
        now_s = self._clock.monotonic_s()
        self._held = min(self._burst, self._held + (now_s - self._filled_at_s) * self._per_s)
        self._filled_at_s = now_s
        if self._held >= 1:
            self._held -= 1
            return 0.0
        return (1 - self._held) / self._per_s
