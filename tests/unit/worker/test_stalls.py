"""What holds up the loop is counted, and what merely waits is not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
import uvloop

from salvo_worker import stalls as stalls_module
from salvo_worker.stalls import Stalls

LOOPS = pytest.mark.parametrize(
    "make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


STEP_S_MAX = 0.5
"""Large, so that a machine that is busy with other things counts nothing."""


async def hold_up() -> str:
    await asyncio.sleep(0)
    time.sleep(1.2 * STEP_S_MAX)
    await asyncio.sleep(0)
    return "done"


async def wait() -> None:
    for _ in range(20):
        await asyncio.sleep(0.002)


@LOOPS
def test_a_step_that_works_for_too_long_is_counted_and_waiting_is_not(
    make_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls_module, "STEP_S_MAX", STEP_S_MAX)
    stalls = Stalls()

    async def scenario() -> None:
        stalls.watch(asyncio.get_running_loop())
        await asyncio.create_task(wait())
        assert stalls.count == 0
        assert await asyncio.gather(hold_up(), hold_up()) == ["done", "done"]

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(scenario())
    assert stalls.count == 2
    assert stalls.longest_s > STEP_S_MAX


@LOOPS
def test_a_watched_task_is_cancelled_and_fails_like_any_other(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    async def scenario() -> None:
        Stalls().watch(asyncio.get_running_loop())
        task = asyncio.create_task(asyncio.sleep(3600), name="sleeper")
        assert (task.get_name(), "sleep" in repr(task)) == ("sleeper", True)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(KeyError, match="mine"):
            await asyncio.create_task(fail())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.create_task(asyncio.sleep(3600))

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(scenario())


def test_the_log_says_once_a_while_how_often_and_where(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    stalls = Stalls()
    stalls.note(0.02, "attempt")
    stalls.note(0.03, "sweep")
    stalls.tell()
    assert caplog.messages == [], "not more often than it may"
    monkeypatch.setattr(stalls_module, "LOG_EVERY_S", 0.0)
    stalls.tell()
    stalls.tell()
    [said] = caplog.messages
    assert "2 times" in said
    assert "30 ms, was a step of sweep" in said
