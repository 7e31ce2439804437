"""A bounded pool of threads that does a store's blocking work beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 1000  # one page of an S3 listing, so that a step through a listing is one request


class Threads:
    """Runs blocking calls, at most ``size`` at a time; the rest wait in order.

    A caller that is cancelled leaves at once: work that has begun ends by itself, work that
    has not is dropped.

    Args:
        size: Threads at most, 1 or more. They start as they are needed.
        name: What the threads are called in a stack dump.
    """

    def __init__(self, size: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what work returns or raise what it raises, without holding the loop.

        Raises:
            RuntimeError: The pool is closed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """Yield the items of an iterable whose steps block, a bounded number ahead of the reader."""
        iterator = iter(items)
        while chunk := await self.run(lambda: tuple(islice(iterator, _CHUNK))):
            for item in chunk:
                yield item

    async def aclose(self) -> None:
        """Take no more work, and return when the work in hand is done. Twice is as good as once."""
        await asyncio.to_thread(self._executor.shutdown)
