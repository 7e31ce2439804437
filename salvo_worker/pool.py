"""A Celery pool that runs tasks as coroutines of one event loop.

Trials wait on the network: hundreds share one process and one loop here, where threads
cost a stack each and prefork a process each. Celery 5.7 ships no such pool, so this is one
on its public ``BasePool``. Celery's own tracer is synchronous and stays unmodified: it runs
inside a greenlet, and where the task body calls ``await_`` the greenlet steps aside until
the loop has the answer.

Three threads of control meet here. The *hub* thread is Celery's consumer: it calls
``on_apply`` and must be the one to acknowledge. The *loop* thread runs everything else.
Callbacks go from the loop to the hub through kombu's ``call_soon``, in order.

Source:
    Celery 5.7, ``celery.concurrency.base``; kombu 5.7, ``kombu.asynchronous.hub`` (its
    ``call_soon`` wakes the hub from other threads, which earlier versions did not).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Any, TypeVar

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from greenlet import getcurrent, greenlet

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

START_DEADLINE_S = 60.0
LEAVE_S = 2.0
"""Of the time a warm stop may take, what is kept for giving back what would not end, and for closing; who is
in a hurry takes no longer than this for both."""


class _TaskGreenlet(greenlet):
    """The greenlet that Celery's tracer runs in; its driver is the coroutine that resumes it."""

    def __init__(self, body: Callable[[], Any], driver: greenlet) -> None:
        super().__init__(body, driver)
        self.driver = driver
        self.gr_context = driver.gr_context  # so that context variables reach the task body


def await_(awaitable: Awaitable[Answer]) -> Answer:
    """Return what awaitable comes to; for task bodies, which Celery calls synchronously.

    Raises:
        RuntimeError: Called outside a task of this pool.
    """
    current = getcurrent()
    if not isinstance(current, _TaskGreenlet):
        raise RuntimeError("await_() works only inside a task of AsyncioPool")
    answer: Answer = current.driver.switch(awaitable)
    return answer


class _Job:
    """One task on its way; Celery keeps a weak reference to it and may ask it to stop."""

    def __init__(self, number: int, pool: AsyncioPool) -> None:
        self.number = number
        self.pool = pool
        self.task: asyncio.Task[None] | None = None

    def terminate(self, signal: object = None) -> None:
        """Cancel the task at its next await. Its message stays unacknowledged."""
        self.pool.terminate_job(self.number, signal)


def _nothing() -> None:
    pass


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the cheapest loop there is here: uvloop's, where it exists; None is Python's own."""
    try:
        import uvloop  # absent on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


class AsyncioPool(BasePool):  # type: ignore[misc]
    """Runs each task as a coroutine; ``limit`` of them at once.

    The application may carry ``lifespan``, a function that returns an async context
    manager: it is entered on the loop before the first task and left after the last. Its
    ``grace_s`` says how long a warm stop may take in all, seconds.
    """

    signal_safe = False
    task_join_will_block = False
    body_can_be_buffer = True

    def on_start(self) -> None:
        """Start the loop's thread and wait until the lifespan is entered."""
        self._numbers = count(1)
        self._jobs: dict[int, _Job] = {}
        self._books = threading.Lock()  # over _jobs and _idle, which two threads write
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._hub: Any = None
        self._is_running_posted = False
        self._idle = threading.Event()
        self._idle.set()
        self._hurried = threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run_loop, name="salvo-loop", daemon=True)
        self._thread.start()
        if not self._started.wait(START_DEADLINE_S):
            raise RuntimeError(f"the worker's event loop did not start within {START_DEADLINE_S:g} s")
        if self._failure is not None:
            raise self._failure

    def _run_loop(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()
            self._idle.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._slots = asyncio.Semaphore(self.limit)
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] = self.app.lifespan
        async with lifespan():
            self._started.set()
            await self._closing.wait()

    def register_with_event_loop(self, hub: Any) -> None:
        """Remember the hub: from now on callbacks run on it."""
        self._hub = hub

    def on_apply(  # type: ignore[no-untyped-def]
        self, target, args=None, kwargs=None, callback=None, accept_callback=None, **_
    ) -> _Job:
        """Hand one task to the loop; called on the hub's thread."""
        job = _Job(next(self._numbers), self)
        with self._books:
            self._jobs[job.number] = job
            self._idle.clear()
        self._loop.call_soon_threadsafe(self._spawn, job, target, args, kwargs, callback, accept_callback)
        return job

    def _spawn(self, job: _Job, *call: Any) -> None:
        job.task = self._loop.create_task(self._run(job, *call))

    async def _run(
        self,
        job: _Job,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        callback: Callable[..., Any],
        accept_callback: Callable[..., Any] | None,
    ) -> None:
        try:
            async with self._slots:
                if accept_callback:
                    self._post(accept_callback, job.number, time.monotonic())
                try:
                    returned = await self._drive(target, args or (), kwargs or {})
                except asyncio.CancelledError:
                    return  # no callback: the message stays unacknowledged and is delivered again
                except BaseException:
                    returned = (True, ExceptionInfo(), 0.0)
                self._post(callback, returned)
        finally:
            with self._books:  # or a job taken at this moment would not be waited for
                self._jobs.pop(job.number, None)
                if not self._jobs:
                    self._idle.set()

    async def _drive(self, target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the tracer in a greenlet and await, here, whatever its body asks to be awaited."""
        body = _TaskGreenlet(lambda: target(*args, **kwargs), getcurrent())
        result = body.switch()
        while not body.dead:
            try:
                answer = await result
            except BaseException as error:
                result = body.throw(error)
            else:
                result = body.switch(answer)
        return result

    def _post(self, function: Callable[..., Any], *args: Any) -> None:
        self._calls.append((function, args))
        if self._hub is not None:
            self._hub.call_soon(self._run_posted)

    def wake_hub(self) -> None:
        """Make the hub look up from its poll, which otherwise goes on for up to a second after a signal."""
        self._ask_loop(self._nudge)

    def _ask_loop(self, function: Callable[..., Any]) -> None:
        """Have the loop call function soon; a loop that is over has nothing left to stop or to wake.

        Signals come when they like: a second one, for instance, after the pool was stopped.
        """
        with contextlib.suppress(RuntimeError):  # closed; to ask first whether it is would be a race
            self._loop.call_soon_threadsafe(function)

    def _nudge(self) -> None:
        if self._hub is not None:
            self._hub.call_soon(_nothing)  # from this thread, which is what wakes it

    def _run_posted(self) -> None:
        """Run what the loop posted, and at once what that puts off.

        Celery puts acknowledgements off to the hub's next turn, and the hub polls before it: a worker whose
        slots were all taken would take its next message up to a second late, or be woken for it by way
        of the loop. The hub gives out what was put off to whoever asks, and this is its thread.
        """
        if self._is_running_posted:
            return  # it stood among what was put off: whoever called goes on until nothing is left
        self._is_running_posted = True
        try:
            while self._calls:
                while self._calls:
                    function, args = self._calls.popleft()
                    function(*args)
                for put_off in self._hub._pop_ready() if self._hub is not None else ():
                    put_off()
        finally:
            self._is_running_posted = False

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Cancel one job; Celery knows it by the number that accept_callback was given."""
        job = self._jobs.get(pid)
        if job is not None:
            self._ask_loop(lambda: job.task and job.task.cancel())

    def hurry(self) -> None:
        """Cut the wait of ``on_stop`` short; safe in a signal handler, before it or during it."""
        self._hurried.set()

    def on_stop(self) -> None:
        """Wait for running tasks as long as there is time, then cancel the rest and leave the lifespan."""
        grace_s: float = self.app.grace_s
        gone_by = time.monotonic() + grace_s
        deadline = gone_by - min(LEAVE_S, grace_s / 2)
        while not (self._idle.wait(0.05) or self._hurried.is_set() or time.monotonic() >= deadline):
            self._run_posted()  # the hub no longer runs: acknowledge from here, this is its thread
        self._leave(gone_by)

    def on_terminate(self) -> None:
        """Cancel every task and leave the lifespan."""
        self._leave(time.monotonic() + self.app.grace_s)

    def _leave(self, gone_by: float) -> None:
        if not self._thread.is_alive():
            return
        for number in list(self._jobs):
            self.terminate_job(number)
        # A server that does not answer any more is not waited for: the leases run out instead.
        self._idle.wait(LEAVE_S / 2)
        self._run_posted()
        self._ask_loop(self._closing.set)
        closed_by = time.monotonic() + LEAVE_S / 2
        if not self._hurried.is_set():
            closed_by = max(closed_by, gone_by)
        while self._thread.is_alive() and time.monotonic() < closed_by:
            self._thread.join(0.05)
            if self._hurried.is_set():
                closed_by = min(closed_by, time.monotonic() + LEAVE_S / 2)
        if self._thread.is_alive():  # ``departure`` knows how to leave without it
            logger.warning("the worker's event loop does not end, a server may be silent")
        if self._failure is not None:
            logger.error("the worker's event loop ended with %r", self._failure)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "running": len(self._jobs)}
