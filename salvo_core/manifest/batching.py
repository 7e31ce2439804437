"""A Redis client that sends together what is asked together.

Hundreds of trials share one loop, and each asks Redis ten small things. What they ask while the loop
turns once, or while earlier batches are still out, goes as one write on one connection, and each hears
its own reply or its own refusal. Nothing else changes: every command is still its own, atomic or not as it
was, a script still fences by itself, and who waits for a reply waits until the server gave it (I1, I3).

A connection that breaks takes only the replies that had not come: those commands are sent again, as
often as redis-py would have sent each of them.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError

BATCHES_MAX = 4
"""Under way at once. More would be smaller: a batch grows while it waits for its turn."""

COMMANDS_MAX = 128
"""In one batch: the first reply of a thousand would have to wait for the last."""


class _Call:
    """One command, and who waits for its reply."""

    __slots__ = ("command", "options", "reply")

    def __init__(self, command: tuple[Any, ...], options: dict[str, Any], reply: asyncio.Future[Any]) -> None:
        self.command = command
        self.options = options
        self.reply = reply

    def answer(self, reply: Any) -> None:
        if not self.reply.done():  # whoever waited may have been cancelled
            self.reply.set_result(reply)

    def refuse(self, error: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class BatchingRedis(Redis):
    """``redis.asyncio.Redis`` for one event loop, whose single commands travel in company.

    Pipelines, transactions and subscriptions are redis-py's own and go their own way.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: deque[_Call] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._is_called = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Return the reply to one command; raises as redis-py's own does."""
        loop = asyncio.get_running_loop()
        call = _Call(args, options, loop.create_future())
        self._waiting.append(call)
        if not self._is_called and len(self._batches) < BATCHES_MAX:
            self._is_called = True
            loop.call_soon(self._send)  # not yet: others ask in this turn of the loop too
        return await call.reply

    def _send(self) -> None:
        self._is_called = False
        while self._waiting and len(self._batches) < BATCHES_MAX:
            batch: list[_Call] = []
            while self._waiting and len(batch) < COMMANDS_MAX:
                call = self._waiting.popleft()
                if not call.reply.done():  # nobody waits for it, and nothing of it was sent
                    batch.append(call)
            if batch:
                task = asyncio.get_running_loop().create_task(self._exchange(batch))
                self._batches.add(task)
                task.add_done_callback(self._sent)

    def _sent(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        self._send()

    async def _exchange(self, batch: list[_Call]) -> None:
        """Answer every call of the batch, one way or the other."""
        left = deque(batch)
        try:
            connection = await self.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                retry: Retry = copy.copy(connection.retry)
                await retry.call_with_retry(lambda: self._attempt(connection, left), _nothing_more)
            finally:
                await self.connection_pool.release(connection)
        except Exception as error:  # of the connection, and so of all that had no reply
            for call in left:
                call.refuse(_own(error))
        except BaseException:  # the loop is ending: nobody may wait for ever
            for call in left:
                call.reply.cancel()
            raise

    async def _attempt(self, connection: Any, left: deque[_Call]) -> None:
        """Send what is left and answer it, one call after the other."""
        try:
            await connection.send_packed_command(_packed(connection, left))
            while left:
                call = left[0]
                try:
                    reply = await self.parse_response(connection, call.command[0], **call.options)
                except ResponseError as error:  # the server's word on this command, and no other
                    call.refuse(error)
                except UnicodeDecodeError as error:
                    # What somebody else wrote there is no text. Where the next reply begins is not known now.
                    call.refuse(error)
                    left.popleft()
                    raise RedisConnectionError("a reply could not be read") from error
                else:
                    call.answer(reply)
                left.popleft()
        except BaseException:
            await connection.disconnect(nowait=True)  # what it would hear next is nobody's reply
            raise


def _packed(connection: Any, left: deque[_Call]) -> list[bytes]:
    """Return the commands as bytes; one that cannot be written is refused alone, and taken out."""
    packed: list[bytes] = []
    for _ in range(len(left)):
        call = left.popleft()
        try:
            packed += connection.pack_command(*call.command)
        except (DataError, UnicodeEncodeError) as error:
            call.refuse(error)
        else:
            left.append(call)
    return packed


async def _nothing_more(_: Exception) -> None:
    """Do nothing between two attempts: the connection is closed by then."""


def _own(error: Exception) -> Exception:
    """Return the error for one of many who wait: each raises it, and an exception has one traceback."""
    try:
        own = copy.copy(error)
    except Exception:
        own = RedisConnectionError(str(error))
    own.__cause__ = error
    return own
