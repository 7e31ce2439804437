"""A conversation's time: it ends what takes too long, and stands still while nobody may be asked."""

import asyncio

import pytest

from salvo_core.clock import SystemClock
from salvo_core.trial.timer import Timer

LONG_S = 30.0


async def for_ever():
    await asyncio.get_running_loop().create_future()


async def test_what_takes_longer_than_there_is_time_is_ended():
    timer = Timer(0.02, 0.0, SystemClock())
    with pytest.raises(TimeoutError):
        async with timer.limit():
            await for_ever()
    assert timer.left_s() == 0


async def test_what_earlier_attempts_took_is_not_there_any_more():
    with pytest.raises(TimeoutError):
        async with Timer(LONG_S, LONG_S, SystemClock()).limit():
            await for_ever()


async def test_time_stands_still_and_then_goes_on_to_its_end():
    timer = Timer(0.05, 0.0, SystemClock())

    async def stood_and_went_on():
        async with timer.limit():
            with timer.standing():
                await asyncio.sleep(0.15)  # the alarm rings meanwhile
            assert timer.left_s() > 0
            await for_ever()

    with pytest.raises(TimeoutError):
        await stood_and_went_on()
    assert timer.left_s() == 0


async def test_what_ends_in_time_is_not_ended_later():
    timer = Timer(0.05, 0.0, SystemClock())
    async with timer.limit() as limit:
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert not limit.expired()


async def test_no_bound_never_ends():
    timer = Timer(None, 0.0, SystemClock())
    async with timer.limit() as limit:
        with timer.standing():
            await asyncio.sleep(0)
    assert timer.left_s() is None
    assert limit.when() is None


async def test_a_run_that_is_cancelled_at_once_is_not_given_its_time_back():
    timer = Timer(LONG_S, 0.0, SystemClock())

    async def cancelled():
        async with timer.limit() as limit:
            with timer.standing():
                limit.reschedule(0)
            await for_ever()

    with pytest.raises(TimeoutError):
        await cancelled()
    assert timer.left_s() > 0


async def test_time_that_stands_ends_nothing_even_if_there_was_none_left():
    timer = Timer(0.03, 0.0, SystemClock())
    async with timer.limit() as limit:
        with timer.standing():
            await asyncio.sleep(0.1)
            assert not limit.expired()
