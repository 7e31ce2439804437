"""How long a conversation may still take: time that stands still while nobody may be asked.

A provider that is awaited, and money that others have set aside, are no fault of the agent's (I6).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        self._limit: asyncio.Timeout | None = None
        self._due_s = 0.0  # when the limit ends, on the loop's scale
        self._alarm: asyncio.TimerHandle | None = None
        self._stands = False

    def left_s(self) -> float | None:
        """Return what is left, seconds, 0 or more; None without a bound."""
        return None if self._end_s is None else max(0.0, self._end_s - self._clock.monotonic_s())

    def deadline_s(self) -> float | None:
        """Return when time is up, on the clock's scale; None without a bound."""
        return self._end_s

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[asyncio.Timeout]:
        """Raise ``TimeoutError`` when time is up inside the block.

        Time stands still twice in each turn, so the alarm is not put off each time: when it rings, it is
        looked at whether time is up, and if not it is set anew.
        """
        async with asyncio.timeout(None) as limit:
            self._limit, left_s = limit, self.left_s()
            if left_s is not None:
                self._due_s = asyncio.get_running_loop().time() + left_s
                self._set_alarm()
            try:
                yield limit
            finally:
                self._limit = None  # it is over, and must not be ended any more
                if self._alarm is not None:
                    self._alarm.cancel()
                    self._alarm = None

    def standing(self) -> _Standing:
        """Let no time pass inside the block."""
        return _Standing(self)

    def stop(self) -> float:
        """Let time stand still from now on; return when that was, for ``go_on``."""
        self._stands = True
        return self._clock.monotonic_s()

    def go_on(self, stopped_s: float) -> None:
        """Let time pass again.

        Args:
            stopped_s: From ``stop``.
        """
        self._stands = False
        if self._end_s is None:
            return
        stood_s = self._clock.monotonic_s() - stopped_s
        self._end_s += stood_s
        self._due_s += stood_s
        if self._limit is not None and self._alarm is None:  # it rang meanwhile
            self._set_alarm()

    def _set_alarm(self) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = None
        if self._stands or self._limit is None:
            return
        if loop.time() < self._due_s:
            self._alarm = loop.call_at(self._due_s, self._set_alarm)
        elif self._limit.when() is None:  # else the run was cancelled at once (``Hold.exchange``)
            self._limit.reschedule(loop.time())


class _Standing:
    """A block in which a timer stands still."""

    __slots__ = ("_stopped_s", "_timer")

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def __enter__(self) -> None:
        self._stopped_s = self._timer.stop()

    def __exit__(self, *_: object) -> None:
        self._timer.go_on(self._stopped_s)


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
