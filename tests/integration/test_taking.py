"""Messages that lie ready: taken and noted in one step, in turn, and lost by nobody's death."""

import asyncio
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from kombu import Consumer, Queue

from salvo_core.fleet.foreign import COUNTS
from salvo_core.store.memory import MemoryStore
from salvo_worker import unacked
from salvo_worker.app import make_app
from salvo_worker.dispatch import CeleryDispatcher
from salvo_worker.letter import QUEUES
from salvo_worker.taking import TAKEN_MAX, Take
from salvo_worker.unacked import ACK_WITHIN_S
from tests.integration.fleet import UNACKED
from tests.integration.site import Site, order

pytestmark = pytest.mark.servers

INDEX = "unacked_index"


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


class Taker:
    """A worker as the broker sees it: so many messages at once, acknowledged when told."""

    def __init__(self, connection, slots):
        self.connection = connection
        self.channel = connection.default_channel
        self.taken = []
        queues = [Queue(name) for name in QUEUES]
        self._consumer = Consumer(self.channel, queues, on_message=self.taken.append)
        self._consumer.qos(prefetch_count=slots)
        self._consumer.consume()

    def until(self, condition):
        """Take messages until condition is met, at most 60 s."""
        ends_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < ends_s, f"{len(self.taken)} messages came, and it did not happen"
            try:
                self.connection.drain_events(timeout=0.2)
            except (TimeoutError, *self.connection.connection_errors):
                self.connection.ensure_connection()

    def indices(self):
        """Return (run id, index) of what came, in order."""
        return [(one.payload[1]["run_id"], one.payload[1]["index"]) for one in self.taken]

    def ack_all(self):
        """Acknowledge what came; return how many that were."""
        for message in self.taken:
            message.ack()
        count = len(self.taken)
        self.taken.clear()
        return count


@contextmanager
def taker(redis_url, slots):
    app = make_app(redis_url)
    with app.connection() as connection:
        yield Taker(connection, slots)
    app.close()


async def take(redis, lanes, priorities, wanted, done=()):
    """Ask once; return the messages that came."""
    asked = Take.of(lanes, wanted, done)
    lists = [f"{lane}{priority}" for priority in priorities for lane in lanes]
    reply = await redis.execute_command(*asked.command(lists, index=INDEX, held=UNACKED, is_known=False))
    return [(tag, lane, raw) for tag, lane, raw in asked.messages(reply)]


async def test_lanes_take_turns_and_what_goes_first_is_taken_first(site):
    redis = site.manifest.redis
    for place, names in {"a": "12", "b": "345", "a:low": "6", "b:low": "7"}.items():
        await redis.lpush(place, *names)
    first = await take(redis, ["a", "b"], ["", ":low"], 3)
    assert [(lane, raw) for _, lane, raw in first] == [("a", "1"), ("b", "3"), ("a", "2")]
    rest = await take(redis, ["b", "a"], ["", ":low"], 4)
    assert [(lane, raw) for _, lane, raw in rest] == [("b", "4"), ("b", "5"), ("b", "7"), ("a", "6")]
    assert await take(redis, ["a", "b"], ["", ":low"], 3) == []


async def test_no_worker_takes_all_of_a_small_run(site):
    await site.manifest.redis.lpush("a", *map(str, range(20)))
    assert len(await take(site.manifest.redis, ["a"], [""], 100)) == TAKEN_MAX


async def test_what_is_taken_is_under_way_in_the_same_step_and_what_is_done_is_no_more(site):
    redis = site.manifest.redis
    await redis.lpush("a", "1", "2")
    tags = [tag for tag, _, _ in await take(redis, ["a"], [""], 2)]
    assert await redis.hgetall(UNACKED) == {tags[0]: '[1,"","a"]', tags[1]: '[2,"","a"]'}
    assert set(await redis.zrange(INDEX, 0, -1)) == set(tags)
    await redis.lpush("a", "3")
    [(third, _, _)] = await take(redis, ["a"], [""], 2, done=tags)
    assert await redis.hgetall(UNACKED) == {third: '[3,"","a"]'}
    assert await redis.zrange(INDEX, 0, -1) == [third]


async def test_every_trial_comes_once_and_nothing_stays_under_way(site, queue, redis_url):
    plans = [await site.submit(order(30), dispatcher=queue) for _ in range(2)]
    seen = Counter()
    with taker(redis_url, 7) as worker:
        while len(seen) < 60:
            worker.until(lambda: worker.taken)
            seen.update(worker.indices())
            worker.ack_all()
    assert seen == {(plan.run_id, index): 1 for plan in plans for index in range(30)}
    assert not await site.manifest.redis.exists(UNACKED, INDEX)


async def test_a_worker_takes_no_more_than_it_has_slots_for(site, queue, redis_url):
    await site.submit(order(30), dispatcher=queue)
    with taker(redis_url, 7) as worker:
        worker.until(lambda: len(worker.taken) >= 7)
        with pytest.raises(TimeoutError):
            worker.connection.drain_events(timeout=0.2)
        assert len(worker.taken) == 7
        assert await site.manifest.redis.hlen(UNACKED) == 7


async def test_what_a_leaving_worker_took_is_in_the_queue_again(site, queue, redis_url):
    plan = await site.submit(order(30), dispatcher=queue)
    with taker(redis_url, 20) as worker:
        worker.until(lambda: len(worker.taken) >= 20)
        assert await queue.queued(plan.route) == 10
    assert await queue.queued(plan.route) == 30
    assert not await site.manifest.redis.exists(UNACKED, INDEX)
    with taker(redis_url, 30) as worker:
        worker.until(lambda: len(worker.taken) >= 30)
        assert sorted(worker.indices()) == [(plan.run_id, index) for index in range(30)]


async def test_strangers_messages_among_those_that_lie_ready_are_set_aside_and_not_under_way(
    site, queue, redis_url
):
    plan = await site.submit(order(6), dispatcher=queue)
    for number, raw in enumerate(("no JSON", "{}", '{"properties": {"delivery_tag": "mine"}}')):
        await site.manifest.redis.rpush(QUEUES[number], raw)
    with taker(redis_url, 10) as worker:
        worker.until(lambda: len(worker.taken) == 6)
        assert sorted(worker.indices()) == [(plan.run_id, index) for index in range(6)]
        assert sum(map(int, await site.manifest.redis.hvals(COUNTS))) == 3
        worker.ack_all()
    assert not await site.manifest.redis.exists(UNACKED, INDEX)


class Later:
    """Celery's hub, as far as putting things off goes."""

    def __init__(self):
        self.calls = []

    def call_later(self, delay_s, function):
        assert delay_s == ACK_WITHIN_S
        self.calls.append(function)

    def run(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


async def test_what_is_done_with_is_told_soon_also_when_no_message_comes_any_more(
    site, queue, redis_url, monkeypatch
):
    await site.submit(order(5), dispatcher=queue)
    first = await site.manifest.redis.rpop(QUEUES[0])
    await site.manifest.redis.rpush(QUEUES[0], "no JSON", first)
    with taker(redis_url, 10) as worker:
        worker.until(lambda: worker.taken)  # by BRPOP: the rest lies ready, and is taken in one go
        hub = Later()
        monkeypatch.setattr(unacked, "get_event_loop", lambda: hub)
        worker.until(lambda: len(worker.taken) == 5)
        worker.ack_all()
        assert len(hub.calls) == 1
        hub.run()
        assert not await site.manifest.redis.exists(UNACKED, INDEX)


async def test_a_server_that_forgot_the_script_is_told_it_again(site, queue, redis_url):
    plan = await site.submit(order(40), dispatcher=queue)
    seen = []
    with taker(redis_url, 5) as worker:
        while len(seen) < 40:
            await site.manifest.redis.script_flush()
            worker.until(lambda: worker.taken)
            seen += worker.indices()
            worker.ack_all()
    assert sorted(seen) == [(plan.run_id, index) for index in range(40)]


async def test_messages_whose_worker_lost_its_connection_are_noted_or_in_the_queue(site, queue, redis_url):
    plan = await site.submit(order(40), dispatcher=queue)
    redis = site.manifest.redis
    with taker(redis_url, 40) as worker:
        while await queue.queued(plan.route):
            before = len(worker.taken)
            worker.until(lambda before=before: len(worker.taken) > before or worker.channel._asked)
            for client in await redis.client_list(_type="normal"):
                if client["name"] == "salvo" and client["cmd"] in ("evalsha", "eval"):
                    await redis.client_kill_filter(_id=client["id"])
            await asyncio.sleep(0)
            assert await redis.hlen(UNACKED) + await queue.queued(plan.route) == 40


async def test_a_full_server_gives_out_messages_and_loses_none(site, queue, redis_url):
    plan = await site.submit(order(20), dispatcher=queue)
    redis = site.manifest.redis
    with taker(redis_url, 10) as worker:
        worker.until(lambda: worker.taken)
        try:
            await redis.config_set("maxmemory", 1)
            worker.until(lambda: len(worker.taken) >= 8)
            held = await redis.hlen(UNACKED) + await queue.queued(plan.route)
        finally:
            await redis.config_set("maxmemory", 0)
        assert held == 20
