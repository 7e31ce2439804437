"""The producer: trials onto the queue, thousands a second, in Celery's own message format.

Messages are written by hand (``letter``) and pushed hundreds at a time, in one
command. ``benchmarks.submission`` says how many a second, and how large they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from salvo_core.errors import RedisUnavailable
from salvo_core.manifest.connection import explain
from salvo_core.run.plan import TrialMessage
from salvo_core.run.route import PRIORITIES, USUAL, Route
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_core.settings import QUEUED_MAX, without_password
from salvo_worker.app import make_app
from salvo_worker.letter import NUMBERS, QUEUES, letter, only_in_letters_of

BATCH = 500
"""Messages per command: a quarter of a megabyte, and less than a millisecond of the server's time."""

LOOKED_AT_ONCE = 1000
"""Messages that one script takes from the end of a list and puts back at the other: a millisecond or two."""

WITHDRAW = """
local gone = 0
for _ = 1, tonumber(ARGV[2]) do
  local letter = redis.call('RPOP', KEYS[1])
  if not letter then break end
  if string.find(letter, ARGV[1], 1, true) then gone = gone + 1 else redis.call('LPUSH', KEYS[1], letter) end
end
return gone
"""


class CeleryDispatcher:
    """Sends messages through kombu on one thread of its own, so that no event loop waits for a socket.

    Args:
        broker_url: As in the settings.
        signer: Signs each message.
        queued_max: As in the settings.
    """

    def __init__(self, broker_url: str, signer: Signer = UNSIGNED, *, queued_max: int = QUEUED_MAX) -> None:
        self.signer = signer
        self.queued_max = queued_max
        self._address = without_password(broker_url)
        self._app = make_app(broker_url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="salvo-dispatch")

    async def publish(self, messages: Iterable[TrialMessage], route: Route = USUAL) -> int:
        """Send one message per trial, in order; return how many were sent.

        Raises:
            RedisUnavailable: The broker did not take them all; some may have been sent.
        """
        return int(await self._on_thread(self._publish, messages, route))

    async def queued(self, route: Route | None = None) -> int:
        """Return how many messages no worker has taken yet, on one route or on all."""
        lengths = await self._on_thread(self._lengths)
        return sum(length for at, length in lengths.items() if route in (None, at))

    async def lanes(self) -> Sequence[int]:
        """Return how many messages no worker has taken yet, by lane."""
        found = [0] * len(QUEUES)
        for route, length in (await self._on_thread(self._lengths)).items():
            found[route.lane] += length
        return found

    async def withdraw(self, run_id: str, route: Route) -> int:
        """Take a run's messages that no worker has taken yet out of the queue; return how many there were.

        Its list goes round once, some at a time, and others' messages keep their order.

        Raises:
            RedisUnavailable: The broker is away; some may be left.
        """
        return int(await self._on_thread(self._withdraw, run_id, route))

    async def aclose(self) -> None:
        """Close the broker connections and the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._app.close)
        self._thread.shutdown()

    async def _on_thread(self, function: Any, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *args)
        except RedisError as error:
            raise explain(error, self._address) from error
        except (OperationalError, KombuError, OSError) as error:
            raise RedisUnavailable(
                f"the broker at {self._address} did not take the messages: {error}",
                hint="`salvo resume RUN` sends what is missing once the broker is back",
            ) from error

    def _publish(self, messages: Iterable[TrialMessage], route: Route) -> int:
        queue, number = QUEUES[route.lane], NUMBERS[route.priority]
        letters = (letter(message, queue, number, self.signer) for message in messages)
        sent = 0
        with self._app.connection_or_acquire() as connection:
            channel = connection.default_channel
            with channel.conn_or_acquire() as client:
                for batch in _batches(letters):
                    client.lpush(channel.list_of(queue, number), *batch)
                    sent += len(batch)
        return sent

    def _withdraw(self, run_id: str, route: Route) -> int:
        gone, sought = 0, only_in_letters_of(run_id)
        with self._app.connection_or_acquire() as connection:
            channel = connection.default_channel
            key = channel.list_of(QUEUES[route.lane], NUMBERS[route.priority])
            with channel.conn_or_acquire() as client:
                left = client.llen(key)
                while left > 0:
                    gone += client.eval(WITHDRAW, 1, key, sought, min(left, LOOKED_AT_ONCE))
                    left -= LOOKED_AT_ONCE
        return gone

    def _lengths(self) -> dict[Route, int]:
        routes = [Route(lane, priority) for lane in range(len(QUEUES)) for priority in PRIORITIES]
        with self._app.connection_or_acquire() as connection:
            channel = connection.default_channel
            with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                for route in routes:
                    pipe.llen(channel.list_of(QUEUES[route.lane], NUMBERS[route.priority]))
                return dict(zip(routes, map(int, pipe.execute()), strict=True))


def _batches(letters: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(letters, BATCH)):
        yield batch
