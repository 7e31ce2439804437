"""kombu's Redis transport, with a look at each message before anything is made of it.

Whoever can write to the queue's list can put anything there, and what kombu and Celery make
of a message that is none (no JSON, no headers, a date far away) ends in the death of the
worker or in a slot that is never free again. So each reply is looked at as the bytes that
came, in the client that received it (``envelope``). What has not the shape of the messages that
``dispatch`` sends, names no trial, or is not signed where the site has a key, is set aside
and counted (``fleet.foreign``), and kombu is told that nothing came. Nothing is lost by it: the
manifest is the truth, and a trial that no message stands for is sent again by a sweep (I1).

Source:
    kombu 5.7, ``kombu.transport.redis``.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any

import redis as redis_client
from kombu.transport import redis
from redis import exceptions

from salvo_core.fleet.foreign import ForeignMessage, set_aside
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_worker.envelope import NotOurs, require_ours, require_ping
from salvo_worker.letter import NUMBERS
from salvo_worker.taking import DONE_MAX, Take, tagged
from salvo_worker.unacked import QoS

LOG_EVERY_S = 1.0
"""A flood of messages is no flood of lines in the log."""

ROOM = "salvo:room"
"""A key that is gone a millisecond later."""

logger = logging.getLogger(__name__)

_Admits = Callable[["Client", bytes, Callable[[bytes], object]], bool]


class Listener(redis_client.client.PubSub):
    """Listens to remote control, and hears only what the client admits."""

    admits: Callable[[bytes], bool]

    def parse_response(self, *arguments: Any, **options: Any) -> Any:
        """Return what was said, None in place of what is not to be heard."""
        reply = super().parse_response(*arguments, **options)  # type: ignore[no-untyped-call]
        said = reply and bytes(reply[0]).endswith(b"message")
        return None if said and not self.admits(reply[-1]) else reply


class Client(redis_client.Redis):
    """A client of the broker that looks at what is received before it hands it on.

    Args:
        admits: Given this client, a message and what it must pass; False keeps it from kombu.
        require: What a message of the queue must pass.
        options: Of the client.
    """

    def __init__(
        self, *, admits: Callable[..., bool], require: Callable[[bytes], object], **options: Any
    ) -> None:
        super().__init__(**options)
        self._admits = admits
        self._require = require

    def pubsub(self, **options: Any) -> Listener:
        """Return a listener that hears nothing but pings."""
        listener = Listener(self.connection_pool, **options)
        listener.admits = lambda raw: self._admits(self, raw, require_ping)
        return listener

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Return the reply, or None, as if BRPOP had waited in vain, in place of a message to be kept out."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name == "BRPOP" and reply and not self._admits(self, reply[1], self._require):
            return None
        return reply


class Channel(redis.Channel):
    """Lets in only trials of this site; survives a server that is gone."""

    QoS = QoS
    from_transport_options = (  # type: ignore[assignment]
        *redis.Channel.from_transport_options,
        "signer",
        "done",
        "takes",
    )
    signer: Signer = UNSIGNED
    takes = False
    default_priority = NUMBERS["normal"]
    _told_s = float("-inf")
    _untold = 0
    _passing: Any = None
    _asked: Take | None = None
    """What was asked for, while its reply is awaited."""
    _lies_ready = False
    """Whether there was more than was asked for, the last time."""
    _knows_script = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Find out, where messages are taken, whether the server takes writes; kombu asks whether it answers.

        One that is full says no here, where kombu waits and asks again, ever more seldom. Otherwise the
        consumer would come back at once, take a message that it cannot note as taken, and fall over it.
        """
        self.done = deque[str]()
        """Tags that are done with and of which the broker does not know: given, a new channel tells it."""
        self.noted = set[str]()
        """Tags of messages that were noted as they were taken, until they are handed on."""
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        if not self.takes:
            return
        try:
            self.client.set(ROOM, "", px=1)
        except Exception:
            self._disconnect_pools()  # type: ignore[no-untyped-call]
            raise

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield a client that owns no connection.

        kombu makes a new one for every message taken and for every one acknowledged, and redis-py puts
        together a table of some hundred commands for each: a tenth of what a trial cost this process.
        """
        if client is None:
            if self._passing is None or self._passing.connection_pool is not self.pool:
                self._passing = self._create_client()  # type: ignore[no-untyped-call]
            client = self._passing
        yield client

    def close(self) -> None:
        """Close for good, also when the server cannot be asked any more.

        Where a pending BRPOP cannot be read, kombu leaves the channel half open; it closes it
        again once it has dropped the server's address, and that error ends the worker.
        """
        if not self.closed and self._qos is not None:
            self._qos.settle()
        self._let_poll_end()
        try:
            super().close()  # type: ignore[no-untyped-call]
        except self.connection_errors:
            # The pending BRPOP is forgotten by now.
            super().close()  # type: ignore[no-untyped-call]

    def _let_poll_end(self) -> None:
        """Have the server answer the pending BRPOP now: its reply is awaited, and would take up to a second.

        A message that it took meanwhile is in that reply, as ever. A server that does not permit it, or is
        gone, changes nothing but that second.
        """
        if self._in_poll:
            told = getattr(self.client.connection, "handshake_metadata", None) or {}
            if number := told.get(b"id", told.get("id")):
                with suppress(redis_client.RedisError, OSError), self.conn_or_acquire() as client:
                    client.client_unblock(number)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for messages where some lay ready, else wait for the next."""
        if self._asked is not None:  # its connection went before the reply came
            lost, self._asked = self._asked, None
            self.qos.done_with(*lost.done)
        room = self.qos.can_consume_max_estimate()
        lanes = self._queue_cycle.consume(len(self.active_queues))
        if not (self._lies_ready and room and lanes):
            super()._brpop_start(timeout)  # type: ignore[no-untyped-call]
            return
        done = [self.done.popleft() for _ in range(min(len(self.done), DONE_MAX))]
        self._asked = Take.of(lanes, room, done)
        lists = [self.list_of(lane, step) for step in self.priority_steps for lane in lanes]
        command = self._asked.command(
            lists, index=self.unacked_index_key, held=self.unacked_key, is_known=self._knows_script
        )
        self._in_poll = connection = self.client.connection
        self._brpop_sent_at = time.monotonic()  # type: ignore[assignment]
        try:
            connection.send_command(*command)
        except BaseException:
            self._asked = None
            self.done.extend(done)
            raise

    def _brpop_read(self, **options: Any) -> bool:
        """Hand on what came.

        Raises:
            Empty: Nothing did.
        """
        asked, self._asked = self._asked, None
        if asked is None:
            super()._brpop_read(**options)  # type: ignore[no-untyped-call]
            self._lies_ready = True
            return True
        try:
            taken = list(asked.messages(self._taken(asked)))
        finally:
            self._in_poll: Any = None
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]
        self._lies_ready = len(taken) >= asked.wanted
        ours = [one for one in taken if self._admits_taken(*one)]
        self.noted.update(tag for tag, _, _ in ours)
        for tag, lane, raw in ours:
            self._queue_cycle.rotate(lane)
            self.connection._deliver(tagged(raw, tag), lane)
        if not ours:
            raise Empty
        return True

    def _taken(self, asked: Take) -> Any:
        """Return the reply to what was asked; what the broker could not be told it is told the next time."""
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "EVALSHA")
        except exceptions.NoScriptError:  # a server that started anew is told the script the next time
            self._knows_script = False
            self.qos.done_with(*asked.done)
            raise Empty from None
        except BaseException as error:
            self.qos.done_with(*asked.done)
            self._lies_ready = False
            if isinstance(error, self.connection_errors):
                connection.disconnect()  # the next turn connects again
            raise
        self._knows_script = True
        return reply

    def _poll_error(self, type: str, **options: Any) -> None:
        if self._asked is not None and type == "BRPOP":
            self._taken(self._asked)
        else:
            super()._poll_error(type, **options)  # type: ignore[no-untyped-call]

    def _admits_taken(self, tag: str, lane: str, raw: bytes) -> bool:
        """Return whether a message is ours; one that is not is noted as under way no more."""
        if self._admits(self.client, raw, self._require_ours):
            return True
        self._queue_cycle.rotate(lane)
        self.qos.done_with(tag)
        return False

    def keep_out(self, client: Any, raw: bytes, lack: NotOurs) -> None:
        """Set a message aside, count it and say so; a broker that takes no note of it changes nothing."""
        kept = ForeignMessage.of(raw, lack.reason, lack.detail, at_ms=round(time.time() * 1000))
        pipeline = client.pipeline()
        set_aside(pipeline, kept)
        try:
            pipeline.execute()
        except (redis_client.RedisError, OSError) as error:
            logger.warning("a message that is not ours could not be set aside: %s", type(error).__name__)
        self._tell(f"{kept.reason}: {kept.detail}")

    def _tell(self, what: str) -> None:
        """Log a line, at most one each LOG_EVERY_S; never what a message held: it may aim at the log."""
        now_s = time.monotonic()
        if now_s - self._told_s < LOG_EVERY_S:
            self._untold += 1
            return
        more = f" (and {self._untold:,} others before it)" if self._untold else ""
        logger.error("set aside a message that is not ours: %s%s", what, more)
        self._told_s, self._untold = now_s, 0

    def _admits(self, client: Client, raw: bytes, require: Callable[[bytes], object]) -> bool:
        try:
            require(raw)
        except NotOurs as lack:
            self.keep_out(client, raw, lack)
            return False
        return True

    def list_of(self, queue: str, number: int) -> str:
        """Return the key of a queue's list for a priority, 0 to 9; lists of lower numbers are emptied first.

        The queue's plain name is that of the normal priority, where kombu would have the highest: whoever
        looks at one list, or sends without a priority, means that one.
        """
        step = self.priority(number)  # type: ignore[no-untyped-call]
        return queue if step == self.default_priority else f"{queue}{self.sep}{step}"

    _q_for_pri = list_of

    def _get_client(self) -> Any:
        super()._get_client()  # type: ignore[no-untyped-call] # refuses a redis-py that is too old
        return functools.partial(Client, admits=self._admits, require=self._require_ours)

    def _require_ours(self, raw: bytes) -> None:
        require_ours(raw, self.signer)


PASSING = (
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ExecAbortError,  # what a transaction says of either
)
"""A server that is full, or is a primary no more, is waited for like one that is away; kombu would end the
worker. A message that was taken and could not be noted as taken is gone: a sweep sends its trial again."""


class Transport(redis.Transport):
    """Delivers from the queue of trials only what this site's producers send."""

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, *PASSING)


class SentinelChannel(Channel, redis.SentinelChannel):
    """The same, at whichever server the sentinels call the primary."""

    from_transport_options = (  # type: ignore[assignment]
        *redis.SentinelChannel.from_transport_options,
        "signer",
        "done",
        "takes",
    )


class SentinelTransport(redis.SentinelTransport):
    """Delivers as ``Transport`` does, by way of sentinels."""

    Channel = SentinelChannel
    connection_errors = (*redis.SentinelTransport.connection_errors, *PASSING)
