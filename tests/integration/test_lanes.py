"""Whose trials come next: lanes that take turns, priorities, and a queue that is never too long."""

import asyncio
import sys
from functools import partial

import pytest
from kombu import Consumer, Queue

from salvo_core.cancel import cancel
from salvo_core.errors import RedisUnavailable
from salvo_core.run.route import LANES_OF_SMALL, SMALL_MAX
from salvo_core.store.memory import MemoryStore
from salvo_core.sweep import Sweeper
from salvo_worker.app import QUEUE, make_app
from salvo_worker.dispatch import CeleryDispatcher
from salvo_worker.letter import QUEUES
from tests.integration.site import Fuse, Killed, Site, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

STOCK = """
import sys
from celery import Celery
app = Celery("stock", broker=sys.argv[1], set_as_current=False)
app.conf.update(task_default_queue=sys.argv[2], worker_prefetch_multiplier=1, worker_redirect_stdouts=False)
@app.task(name="salvo.trial")
def trial(**arguments):
    print(arguments["index"], flush=True)
app.Worker(pool="solo", loglevel="CRITICAL", without_gossip=True, without_mingle=True, quiet=True).start()
"""


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


@pytest.fixture
async def queue(redis_url):
    made = CeleryDispatcher(redis_url)
    yield made
    await made.aclose()


def take(redis_url, count):
    """Take so many messages as a worker would, from all lanes; return (run id, index) of each, in order."""
    app = make_app(redis_url)
    taken = []
    with app.connection() as connection:
        consumer = Consumer(
            connection.default_channel, [Queue(name) for name in QUEUES], no_ack=True,
            on_message=lambda message: taken.append(message.payload[1]),
        )  # fmt: skip
        with consumer:
            while len(taken) < count:
                connection.drain_events(timeout=60)
    app.close()
    return [(one["run_id"], one["index"]) for one in taken[:count]]


async def test_a_small_run_has_its_share_beside_one_of_thousands(site, queue, redis_url):
    nightly = await site.submit(order(3000), dispatcher=queue)
    small = await site.submit(order(4), dispatcher=queue)
    assert nightly.lane != small.lane
    taken = take(redis_url, 9)
    assert {index for run_id, index in taken if run_id == small.run_id} == {0, 1, 2, 3}
    assert [index for run_id, index in taken if run_id == nightly.run_id] == [0, 1, 2, 3, 4]


async def test_higher_priorities_are_taken_first(site, queue, redis_url):
    plans = {
        word: await site.submit(order(3, priority=word), dispatcher=queue)
        for word in ("low", "normal", "high")
    }
    names = {plan.run_id: word for word, plan in plans.items()}
    taken = [names[run_id] for run_id, _ in take(redis_url, 9)]
    assert taken == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3
    assert [await queue.queued(plan.route) for plan in plans.values()] == [0, 0, 0]


async def test_each_run_is_given_the_emptiest_lane_until_all_are_in_use(site):
    plans = [await site.submit(order(3)) for _ in range(len(QUEUES) + 1)]
    assert [plan.lane for plan in plans] == [*range(len(QUEUES)), 0]


async def test_large_runs_leave_the_last_lanes_to_small_ones_however_many_there_are(site, queue, redis_url):
    large = [await site.submit(order(SMALL_MAX + 1), dispatcher=queue) for _ in range(len(QUEUES) + 1)]
    small = await site.submit(order(4), dispatcher=queue)
    assert not {plan.lane for plan in large} & set(range(len(QUEUES))[-LANES_OF_SMALL:])
    taken = take(redis_url, 5 * len(QUEUES))
    assert [index for run_id, index in taken if run_id == small.run_id] == [0, 1, 2, 3]


async def test_a_cancelled_run_leaves_no_message_in_a_lane_and_others_there_keep_their_order(
    site, queue, redis_url, monkeypatch
):
    monkeypatch.setattr("salvo_worker.dispatch.LOOKED_AT_ONCE", 7)
    before = await site.submit(order(5), dispatcher=queue)
    monkeypatch.setattr(queue, "lanes", partial(asyncio.sleep, 0, [0]))  # there is but one
    nightly = await site.submit(order(300), dispatcher=queue)
    after = await site.submit(order(5), dispatcher=queue)
    assert before.route == nightly.route == after.route
    await cancel(nightly.run_id, store=site.store, manifest=site.manifest, dispatcher=queue)
    assert await queue.queued() == 10
    assert take(redis_url, 10) == [(plan.run_id, index) for plan in (before, after) for index in range(5)]


async def test_a_run_is_cancelled_also_where_the_broker_does_not_let_its_messages_be_taken_out(
    site, monkeypatch
):
    async def refuse(*_):
        raise RedisUnavailable("no permission")

    plan = await site.submit(order(3))
    monkeypatch.setattr(site.outbox, "withdraw", refuse)
    done = await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (done.ended, await site.state(plan.run_id)) == (3, "sealed")


async def test_messages_can_be_read_by_a_stock_celery_worker(site, queue, redis_server):
    await site.submit(order(3), dispatcher=queue)
    assert await site.manifest.redis.llen(QUEUE) == 3
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOCK, redis_server.url, QUEUE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            assert [int(await worker.stdout.readline()) for _ in range(3)] == [0, 1, 2]
    finally:
        worker.kill()
        await worker.wait()


# -- a queue that is never too long ------------------------------------------------------------------


@pytest.fixture
def small_queue(site, monkeypatch):
    """A queue that takes six messages, and four of each run at any rate."""
    site.outbox.queued_max = 6
    monkeypatch.setattr("salvo_core.submit.LET_IN_ALWAYS", 4)
    monkeypatch.setattr("salvo_core.submit.ROWS_PER_CALL", 3)


def sweeper(site, clock, **parts):
    given = {"store": site.store, "manifest": site.manifest, "dispatcher": site.outbox}
    return Sweeper(**(given | parts), clock=clock, still_s=5.0)


async def sent(site, plan):
    return sorted(message.index for message in site.outbox.sent if message.run_id == plan.run_id)


@pytest.mark.usefixtures("small_queue")
async def test_what_the_queue_has_no_room_for_is_sent_as_it_empties(site):
    plan = await site.submit(order(20))
    assert await site.state(plan.run_id) == "running"  # its submitter is done, and may leave
    assert await sent(site, plan) == list(range(6))
    sweeping = sweeper(site, StepClock())
    await sweeping.sweep()
    assert await sent(site, plan) == list(range(6))
    for _ in range(2):
        await site.work_one(site.bench())
    await sweeping.sweep()
    assert await sent(site, plan) == list(range(8))
    while await site.state(plan.run_id) == "running":
        await site.work()
        await sweeping.sweep()
    assert await sent(site, plan) == list(range(20))  # each once
    await site.check(plan)


@pytest.mark.usefixtures("small_queue")
async def test_a_queue_that_one_run_has_filled_still_takes_the_next_ones_first_messages(site):
    large = await site.submit(order(20))
    late = await site.submit(order(10))
    assert len(await sent(site, late)) == 4
    late_only = [message for message in site.outbox.waiting if message.run_id == late.run_id]
    site.outbox.waiting = [message for message in site.outbox.waiting if message.run_id == large.run_id]
    bench, sweeping = site.bench(), sweeper(site, StepClock())
    for _ in range(3):
        held, site.outbox.waiting = site.outbox.waiting, late_only
        await site.work(bench)
        site.outbox.waiting = held
        await sweeping.sweep()
        late_only = [message for message in site.outbox.waiting if message.run_id == late.run_id]
        site.outbox.waiting = [one for one in site.outbox.waiting if one.run_id == large.run_id]
    assert await site.state(late.run_id) == "sealed"
    assert len(await sent(site, large)) == 6


@pytest.mark.usefixtures("small_queue")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_trials_whose_sweeper_died_over_sending_them_are_sent_by_the_next_one(site, after):
    plan = await site.submit(order(12))
    await site.work()
    fuse = Fuse(1, after=after)
    with pytest.raises(Killed):
        await sweeper(site, StepClock(), dispatcher=fuse.on(site.outbox, "publish")).sweep()
    clock = StepClock()
    sweeping = sweeper(site, clock)
    for _ in range(12):
        await site.work()
        await sweeping.sweep()
        await clock.sleep(6.0)
    assert await site.state(plan.run_id) == "sealed"
    await site.check(plan)
