"""The asyncio pool alone, without Celery's worker and without a broker."""

import asyncio
import contextvars
import threading
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest

from salvo_worker.pool import AsyncioPool, await_

DEADLINE_S = 10.0
wanted: contextvars.ContextVar[str] = contextvars.ContextVar("wanted", default="nothing")


class Hub:
    """Runs what the pool hands to Celery's consumer thread, on the test's own thread, in order."""

    def __init__(self):
        self._calls = []
        self._lock = threading.Condition()

    def call_soon(self, function, *args):
        with self._lock:
            self._calls.append((function, args))
            self._lock.notify()

    def _pop_ready(self):
        with self._lock:
            calls, self._calls = self._calls, []
        return [partial(function, *args) for function, args in calls]

    def run_until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            with self._lock:
                self._lock.wait_for(lambda: self._calls, timeout=0.02)
            for call in self._pop_ready():
                call()
            assert time.monotonic() < deadline, "the pool did not come so far in time"


class App:
    """Carries the lifespan, as Salvo's Celery application does."""

    grace_s = 25.0

    def __init__(self, fails=None):
        self.events = []
        self._fails = fails

    @asynccontextmanager
    async def lifespan(self):
        if self._fails:
            raise self._fails
        self.events.append(("entered", threading.current_thread().name))
        yield
        self.events.append(("left", threading.current_thread().name))


class Bench:
    """A started pool with its hub, and what its tasks came to."""

    def __init__(self, limit=4, app=None):
        self.app = app or App()
        self.hub = Hub()
        self.accepted = []
        self.results = []
        self.threads = set()
        self.pool = AsyncioPool(limit=limit, app=self.app)
        self.pool.start()
        self.pool.register_with_event_loop(self.hub)

    def apply(self, body, *args, **kwargs):
        return self.pool.apply_async(
            body, args, kwargs, callback=self._came_back, accept_callback=self._was_accepted
        )

    def _was_accepted(self, pid, accepted_at):
        self.accepted.append(pid)
        self.threads.add(threading.current_thread())

    def _came_back(self, result):
        self.results.append(result)
        self.threads.add(threading.current_thread())

    def until(self, condition):
        self.hub.run_until(condition)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.pool.terminate()


def eventually(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_a_body_awaits_comes_back_to_it(bench):
    async def answer(number):
        await asyncio.sleep(0)
        return number * 2

    def body(first, *, second):
        return [await_(answer(first)), await_(answer(second))]

    bench.apply(body, 3, second=4)
    bench.until(lambda: bench.results)
    assert bench.results == [[6, 8]]


def test_a_body_that_awaits_nothing_is_run_as_it_is(bench):
    bench.apply(lambda: (False, "done", 0.0))
    bench.until(lambda: bench.results)
    assert bench.results == [(False, "done", 0.0)]


def test_await_outside_a_task_is_an_error():
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="only inside a task"):
        await_(coroutine)
    coroutine.close()


def test_an_error_of_what_is_awaited_is_raised_where_it_is_awaited(bench):
    async def fails():
        raise LookupError("not there")

    def body():
        try:
            await_(fails())
        except LookupError as error:
            return f"caught {error}"

    bench.apply(body)
    bench.until(lambda: bench.results)
    assert bench.results == ["caught not there"]


def test_an_error_that_leaves_the_body_becomes_celerys_failure(bench):
    def body():
        raise ZeroDivisionError("oops")

    bench.apply(body)
    bench.until(lambda: bench.results)
    failed, info, _ = bench.results[0]
    assert failed is True
    assert isinstance(info.exception.exc, ZeroDivisionError)  # billiard wraps it; Celery unwraps it
    assert "oops" in info.traceback


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_not_even_a_task_that_wants_to_end_the_process_ends_the_pool(bench, error):
    def body():
        raise error

    bench.apply(body)
    bench.apply(lambda: "alive")
    bench.until(lambda: len(bench.results) == 2)
    assert "alive" in bench.results


def test_tasks_run_at_once_up_to_the_limit_and_no_more():
    bench = Bench(limit=3)
    gate, running, most = asyncio.Event(), set(), []

    async def wait(number):
        running.add(number)
        most.append(len(running))
        await gate.wait()
        running.discard(number)

    for number in range(10):
        bench.apply(lambda number=number: await_(wait(number)))
    bench.until(lambda: len(running) == len(bench.accepted) == 3)  # the others wait, not yet begun
    bench.pool._loop.call_soon_threadsafe(gate.set)
    bench.until(lambda: len(bench.results) == 10)
    assert max(most) == 3
    assert len(bench.accepted) == len(set(bench.accepted)) == 10
    bench.pool.stop()


def test_callbacks_run_on_the_hubs_thread_in_order(bench):
    for number in range(50):
        bench.apply(lambda number=number: number)
    bench.until(lambda: len(bench.results) == 50)
    assert bench.results == list(range(50))
    assert bench.accepted == list(range(1, 51))
    assert bench.threads == {threading.current_thread()}


def test_context_variables_set_in_the_loop_reach_the_body_and_what_it_awaits(bench):
    async def seen():
        return wanted.get()

    def body():
        wanted.set("mine")
        return wanted.get(), await_(seen())

    bench.apply(body)
    bench.apply(lambda: (wanted.get(), await_(seen())))
    bench.until(lambda: len(bench.results) == 2)
    assert sorted(bench.results) == [("mine", "mine"), ("nothing", "nothing")]  # and stay with their own task


def test_a_terminated_task_is_cancelled_where_it_waits_and_nothing_is_said_of_it(bench):
    events = []

    async def forever():
        try:
            events.append("waits")
            await asyncio.Event().wait()
        finally:
            events.append("cleaned up")

    bench.apply(lambda: await_(forever()))
    bench.until(lambda: events and bench.accepted)
    bench.pool.terminate_job(bench.accepted[0])
    eventually(lambda: "cleaned up" in events and not bench.pool._jobs)
    bench.apply(lambda: "next")
    bench.until(lambda: bench.results)
    assert bench.results == ["next"]  # no callback: the message of the first stays unacknowledged


def test_a_job_can_be_stopped_through_what_celery_was_given_even_before_it_began():
    bench = Bench(limit=1)
    gate, began = asyncio.Event(), []

    async def wait():
        await gate.wait()

    bench.apply(lambda: await_(wait()))
    second = bench.apply(lambda: began.append("second"))
    bench.until(lambda: bench.accepted)
    second.terminate()
    eventually(lambda: len(bench.pool._jobs) == 1)
    bench.pool._loop.call_soon_threadsafe(gate.set)
    bench.until(lambda: bench.results)
    bench.pool.stop()
    assert began == []
    assert len(bench.results) == 1


def test_terminating_a_job_that_nobody_knows_does_nothing(bench):
    bench.pool.terminate_job(4711)


def test_a_stop_waits_for_running_tasks_and_delivers_their_callbacks():
    bench = Bench()
    gate = asyncio.Event()

    async def wait():
        await gate.wait()
        return "done"

    bench.apply(lambda: await_(wait()))
    bench.until(lambda: bench.accepted)
    stopping = threading.Thread(target=bench.pool.stop)
    stopping.start()
    stopping.join(0.2)
    assert stopping.is_alive()  # it waits
    assert ("left", "salvo-loop") not in bench.app.events
    bench.pool._loop.call_soon_threadsafe(gate.set)
    stopping.join(DEADLINE_S)
    assert bench.results == ["done"]
    assert bench.app.events == [("entered", "salvo-loop"), ("left", "salvo-loop")]


def test_a_stop_does_not_wait_for_ever():
    bench = Bench()
    bench.app.grace_s = 0.2
    ended = []

    async def forever():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    bench.apply(lambda: await_(forever()))
    bench.until(lambda: bench.accepted)
    bench.pool.stop()
    assert ended == ["cancelled"]
    assert bench.results == []
    assert bench.app.events[-1][0] == "left"


def test_a_terminated_pool_cancels_everything_and_leaves_the_lifespan():
    bench = Bench()
    for _ in range(4):
        bench.apply(lambda: await_(asyncio.sleep(3600)))
    bench.until(lambda: len(bench.accepted) == 4)
    bench.pool.terminate()
    assert bench.results == []
    assert bench.app.events[-1][0] == "left"
    bench.pool.on_terminate()  # again is harmless


def test_a_signal_that_comes_after_the_pool_was_stopped_is_no_failure():
    bench = Bench()
    bench.pool.stop()
    bench.pool.wake_hub()
    bench.pool.terminate_job(1)
    bench.pool.hurry()


def test_a_lifespan_that_cannot_be_entered_is_raised_to_who_starts_the_pool():
    pool = AsyncioPool(limit=1, app=App(fails=ConnectionError("no Redis")))
    with pytest.raises(ConnectionError, match="no Redis"):
        pool.start()


def test_what_a_result_puts_off_is_done_before_the_hub_waits_again(bench):
    """Celery acknowledges so: a message that waits for the slot must not wait for the hub's poll too."""
    done = []

    def came_back(result):
        bench.hub.call_soon(bench.pool._run_posted)  # as the loop may at any moment
        bench.hub.call_soon(done.append, result)

    bench.pool.apply_async(lambda: await_(asyncio.sleep(0)), callback=came_back)
    deadline = time.monotonic() + DEADLINE_S
    while not bench.pool._calls:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bench.pool._run_posted()  # one turn of the hub
    assert len(done) == 1


def test_the_pool_tells_how_many_tasks_it_runs(bench):
    gate = asyncio.Event()
    bench.apply(lambda: await_(gate.wait()))
    bench.until(lambda: bench.accepted)
    assert bench.pool.info["running"] == 1
    bench.pool._loop.call_soon_threadsafe(gate.set)
    bench.until(lambda: bench.results)
    assert bench.pool.info["running"] == 0


def test_thousands_of_tasks_all_come_back_once(bench):
    async def quick(number):
        await asyncio.sleep(0)
        return number

    for number in range(2000):
        bench.apply(lambda number=number: await_(quick(number)))
    bench.until(lambda: len(bench.results) == 2000)
    assert sorted(bench.results) == list(range(2000))
    eventually(lambda: not bench.pool._jobs)
