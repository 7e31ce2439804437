"""How long a conversation may still take: time that stands still while nobody may be asked.

A provider that is awaited, and money that others have set aside, are no fault of the agent's (I6).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from salvo_core.adapters.gate import Asking, Cost, Entry, Gate
from salvo_core.clock import Clock
from salvo_core.errors import ProviderError
from salvo_core.trace.model import Usage


class Timer:
    """Runs from now on.

    Args:
        time_s_max: Of the whole conversation, seconds; None is no bound.
        spent_s: What earlier attempts used up, seconds.
        clock: Measures.
    """

    def __init__(self, time_s_max: float | None, spent_s: float, clock: Clock) -> None:
        self._end_s = None if time_s_max is None else clock.monotonic_s() + time_s_max - spent_s
        self._clock = clock
        self._timeout: asyncio.Timeout | None = None

    def left_s(self) -> float | None:
        """Return what is left, seconds, 0 or more; None without a bound."""
        return None if self._end_s is None else max(0.0, self._end_s - self._clock.monotonic_s())

    def deadline_s(self) -> float | None:
        """Return when time is up, on the clock's scale; None without a bound."""
        return self._end_s

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[asyncio.Timeout]:
        """Raise ``TimeoutError`` when time is up inside the block."""
        async with asyncio.timeout(self.left_s()) as limit:
            self._timeout = limit
            try:
                yield limit
            finally:
                self._timeout = None  # it is over, and must not be moved any more

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let no time pass inside the block."""
        began_s = self._clock.monotonic_s()
        self._run_out(None)
        try:
            yield
        finally:
            if self._end_s is not None:
                self._end_s += self._clock.monotonic_s() - began_s
            self._run_out(self.left_s())

    def _run_out(self, left_s: float | None) -> None:
        # At 0 the run was cancelled at once (``Hold.exchange``), and that stands.
        if self._timeout is not None and not self._timeout.expired() and self._timeout.when() != 0:
            now_s = asyncio.get_running_loop().time()
            self._timeout.reschedule(None if left_s is None else now_s + left_s)


class StandingGate:
    """A gate before which a conversation's time stands still.

    Args:
        gate: The real one.
        timer: Of the conversation.
    """

    def __init__(self, gate: Gate, timer: Timer) -> None:
        self._gate = gate
        self._timer = timer

    async def enter(self, asking: Asking) -> Entry:
        """As the gate's."""
        with self._timer.standing():
            return await self._gate.enter(asking)

    async def answered(self, entry: Entry, usage: Usage, cost: Cost) -> None:
        """As the gate's."""
        with self._timer.standing():  # a paid turn must not be lost to the clock while it is booked
            await self._gate.answered(entry, usage, cost)

    async def failed(self, entry: Entry, error: ProviderError, cost: Cost) -> bool:
        """As the gate's."""
        with self._timer.standing():
            return await self._gate.failed(entry, error, cost)

    def broken_off(self, entry: Entry) -> None:
        """As the gate's."""
        self._gate.broken_off(entry)
