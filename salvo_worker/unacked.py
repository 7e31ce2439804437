"""The books of messages that are under way, in company: fewer questions to the broker than kombu asks.

Source:
    kombu 5.7, ``kombu.transport.redis``: ``QoS``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import redis as redis_client
from kombu.asynchronous import get_event_loop
from kombu.transport import redis

from salvo_worker.envelope import NotOurs

ACK_WITHIN_S = 0.05
"""How long the broker is not told of a message that is done with, if no other message comes."""

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """Keeps the books of messages that are under way.

    Restores messages of dead workers; entries of its books that are none do not stop it. Acknowledges
    in company: the message that takes a slot carries the acknowledgement of the one that left it, one
    question to the broker where there were two. What dies before it is told is delivered again after a
    while, and the manifest says that it is done (I1).
    """

    _is_settling = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that came before anything is done for it, if it was not noted as it was taken."""
        if delivery_tag in self.channel.noted:
            self.channel.noted.discard(delivery_tag)
            super(redis.QoS, self).append(message, delivery_tag)  # type: ignore[no-untyped-call]
            return
        where = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        entry = json.dumps([message._raw, *where], separators=(",", ":"))  # as kombu's, without its blanks

        def note(pipeline: Any) -> None:
            pipeline.zadd(self.unacked_index_key, {delivery_tag: time.time()})
            pipeline.hset(self.unacked_key, delivery_tag, entry)

        self._tell_broker(note)
        super(redis.QoS, self).append(message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        """Note that a message is done with: at once in this process, at the broker within ACK_WITHIN_S."""
        super(redis.QoS, self).ack(delivery_tag)  # type: ignore[no-untyped-call]
        self.done_with(delivery_tag)

    def done_with(self, *tags: str) -> None:
        """Have the broker told within ACK_WITHIN_S, with whatever it is asked before then."""
        self.channel.done.extend(tags)
        hub = get_event_loop()
        if hub is None:
            self.settle()
        elif not self._is_settling:
            self._is_settling = True
            hub.call_later(ACK_WITHIN_S, self._settle_now)  # type: ignore[no-untyped-call]

    def _settle_now(self) -> None:
        self._is_settling = False
        self.settle()

    def settle(self) -> None:
        """Tell the broker what is done with; if it cannot be told now, it is with the next message."""
        if not self.channel.done or self.channel.closed:
            return
        try:
            self._tell_broker(lambda _: None)
        except (redis_client.RedisError, OSError) as error:  # whoever waits for messages will notice, too
            logger.warning("the broker could not be told what is done: %s", type(error).__name__)

    def _tell_broker(self, more: Callable[[Any], None]) -> None:
        """Tell what is done with, and more, in one transaction."""
        done = [self.channel.done.popleft() for _ in range(len(self.channel.done))]
        try:
            with self.pipe_or_acquire() as pipeline:
                if done:
                    pipeline.zrem(self.unacked_index_key, *done)
                    pipeline.hdel(self.unacked_key, *done)
                more(pipeline)
                pipeline.execute()
        except BaseException:
            self.channel.done.extend(done)
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put one unacknowledged message back into the queue, where it is looked at like any other."""
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except redis_client.RedisError:
            raise
        except Exception as error:  # somebody else wrote it, so reading it may fail in any way
            with self.channel.conn_or_acquire(client) as connection:
                raw = connection.hget(self.unacked_key, tag) or b""
                self._remove_from_indices(tag, connection.pipeline()).execute()  # type: ignore[no-untyped-call]
                lack = NotOurs("wrong shape", f"unacknowledged: {type(error).__name__}")
                self.channel.keep_out(connection, raw, lack)
