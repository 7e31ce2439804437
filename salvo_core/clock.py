"""Time, behind one small protocol, so that nothing in the domain sleeps for real in a test."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the domain may know of time."""

    def now(self) -> datetime:
        """Return the wall time, UTC. For people and records; never for measuring."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that only go forward. For measuring and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time, UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds that only go forward."""
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Wait without holding the loop."""
        await asyncio.sleep(seconds)
