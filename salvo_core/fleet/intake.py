"""The gate in front of a worker's trials: shut while what they come to could not be kept.

A conversation that is begun while the store is away ends as one more that waits in memory, and a
fleet that goes on like that spends on work it may lose. So the first write that fails shuts the gate:
what is under way goes on, what the queue delivers waits. The next write that succeeds opens it; where
none is due, the first of those who wait tries the store for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from salvo_core.clock import Clock, SystemClock
from salvo_core.errors import SalvoError

logger = logging.getLogger(__name__)

STORE, REDIS, BROKER = "store", "redis", "broker"
WAIT_FIRST_S, WAIT_MAX_S = 0.5, 5.0
"""Pauses between two looks at a gate that is shut; the longest is how late a leaving worker notices."""

REASON_CHARS_MAX = 300


class Intake:
    """Whether this worker takes new trials, and if not, why.

    Args:
        probe: Tries the store; None where nothing shuts the gate for it.
        is_leaving: Whether the worker was told to leave: nobody waits then.
        clock: Waits.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]] | None = None,
        *,
        is_leaving: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self._probe = probe
        self._is_leaving = is_leaving
        self._clock = clock or SystemClock()
        self._reasons: dict[str, str] = {}
        self._turn = asyncio.Lock()

    @property
    def reason(self) -> str:
        """Why no new trial is taken, one line; empty while they are."""
        return " ".join("; ".join(self._reasons.values()).split())[:REASON_CHARS_MAX]

    def shut(self, subject: str, reason: str) -> None:
        """Take no new trials because of subject, until ``open`` is called for it."""
        if subject not in self._reasons:
            logger.error("no new trials are taken: %s", reason)
        self._reasons[subject] = reason

    def open(self, subject: str) -> None:
        """Take new trials again, as far as subject is concerned."""
        if self._reasons.pop(subject, None) is not None and not self._reasons:
            logger.warning("new trials are taken again")

    async def admits(self) -> bool:
        """Return True as soon as a new trial may begin, False if the worker leaves before that."""
        wait_s = WAIT_FIRST_S
        while self._reasons:
            async with self._turn:  # one tries the store, the others wait for what it hears
                if not self._reasons:
                    break
                if self._is_leaving():
                    return False
                await self._clock.sleep(wait_s)
                await self._try_store()
            wait_s = min(wait_s * 2, WAIT_MAX_S)
        return True

    async def _try_store(self) -> None:
        if STORE not in self._reasons or self._probe is None:
            return
        try:
            await self._probe()
        except SalvoError as error:
            self._reasons[STORE] = str(error)
        else:
            self.open(STORE)
