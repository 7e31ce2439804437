"""Counts what holds up the loop: steps of its tasks that take too long.

While one trial works, hundreds wait, and so do the leases of all of them. Work belongs into threads; this
tells when some of it does not. A step is timed by the wall, because to ask for the CPU of a thread costs ten
times as much, a twentieth of a trial: on a machine with too few processors some steps are only slow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Generator
from typing import Any

logger = logging.getLogger(__name__)

STEP_S_MAX = 0.005
"""That one step may take."""

LOG_EVERY_S = 60.0


class Stalls:
    """Steps that took too long, as far as one loop's tasks are watched."""

    def __init__(self) -> None:
        self.count = 0
        """Since the worker began."""
        self.longest_s = 0.0
        """The longest since the worker began."""
        self._untold = 0
        self._worst: tuple[float, str] = (0.0, "")
        self._told_s = time.monotonic()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Time every step of the tasks that this loop is given from now on."""

        def make(
            loop: asyncio.AbstractEventLoop,
            coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
            **more: Any,
        ) -> asyncio.Task[Any]:
            if isinstance(coroutine, Coroutine):
                coroutine = _Timed(coroutine, self)
            return asyncio.Task(coroutine, loop=loop, **more)

        loop.set_task_factory(make)

    def note(self, step_s: float, where: str) -> None:
        """Take note of one step that took too long."""
        self.count += 1
        self._untold += 1
        self.longest_s = max(self.longest_s, step_s)
        self._worst = max(self._worst, (step_s, where))

    def tell(self) -> None:
        """Log a line about what came since the last one, at most one each LOG_EVERY_S."""
        now_s = time.monotonic()
        if not self._untold or now_s - self._told_s < LOG_EVERY_S:
            return
        step_s, where = self._worst
        logger.info(
            "the loop was held up %d times for more than %.0f ms; the longest, %.0f ms, was a step of %s",
            self._untold,
            STEP_S_MAX * 1000,
            step_s * 1000,
            where,
        )
        self._untold, self._worst, self._told_s = 0, (0.0, ""), now_s


class _Timed(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are timed; otherwise the very same."""

    def __init__(self, inner: Coroutine[Any, Any, Any], stalls: Stalls) -> None:
        self._inner = inner
        self._stalls = stalls
        self.__name__ = getattr(inner, "__name__", type(inner).__name__)
        self.__qualname__ = getattr(inner, "__qualname__", self.__name__)

    def send(self, value: Any) -> Any:
        """Run the next step."""
        began_s = time.perf_counter()
        try:
            return self._inner.send(value)
        finally:
            if (step_s := time.perf_counter() - began_s) > STEP_S_MAX:
                self._stalls.note(step_s, self.__qualname__)

    def throw(self, *error: Any) -> Any:
        """Run the next step, which begins with an error."""
        began_s = time.perf_counter()
        try:
            return self._inner.throw(*error)
        finally:
            if (step_s := time.perf_counter() - began_s) > STEP_S_MAX:
                self._stalls.note(step_s, self.__qualname__)

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
