"""The pool beside the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from salvo_core.store.threads import Threads


async def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    pool = Threads(3, "test")
    inside, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(3)

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        barrier.wait(timeout=10)  # passes only if three really run together
        with lock:
            inside -= 1

    await asyncio.gather(*(pool.run(work) for _ in range(9)))
    assert most == 3
    await pool.aclose()


async def test_an_iterator_is_read_beside_the_loop_and_only_as_far_as_needed() -> None:
    pool = Threads(1, "test")
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5000):
            assert threading.current_thread() is not threading.main_thread()
            read.append(number)
            yield number

    seen = [number async for number in pool.each(numbers())]
    assert seen == list(range(5000))
    read.clear()
    async for _ in pool.each(numbers()):
        break
    assert len(read) == 1000
    await pool.aclose()


async def test_an_error_in_a_thread_is_the_callers() -> None:
    pool = Threads(1, "test")

    def fail() -> Iterator[int]:
        yield 1
        raise LookupError("half way")

    with pytest.raises(LookupError, match="half way"):
        assert [number async for number in pool.each(fail())]
    await pool.aclose()
