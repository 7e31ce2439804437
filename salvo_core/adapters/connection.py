"""One keep-alive HTTP/1.1 connection, asked one thing at a time.

What a model API needs of HTTP is a POST and an answer of known bounds. A general client library
spends three milliseconds of CPU on the four of a trial, more than everything else a trial costs;
this spends a fifth of that: a head put together as bytes, a parser in C (llhttp, by way of httptools), one
timer. The parser is the strict one: what is not HTTP ends the connection.

A connection whose exchange did not run to its end is never used again, nor is one on which anything
came that nobody asked for: whose answer that was is anybody's guess.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, cast

import httptools

HEAD_BYTES_MAX = 64 * 1024
"""Most bytes of an answer's head."""

_HEAD_START_S = 0.25
"""How long one address of a host may take before the next is tried beside it (RFC 8305)."""


class ConnectTimedOut(Exception):
    """Nobody answered in time; nothing was sent."""


class ConnectFailed(Exception):
    """The other side cannot be reached; nothing was sent."""


class ReadTimedOut(Exception):
    """The other side sent nothing for too long."""


class WriteTimedOut(Exception):
    """The other side took nothing for too long."""


class ConnectionBroken(Exception):
    """The connection ended by an error of the network's."""


class RemoteProtocolError(Exception):
    """The answer is not whole, or is no HTTP."""


class DecodingError(Exception):
    """The answer's body is not compressed as its head says."""


class BodyTooLarge(Exception):
    """The answer went past its bound; the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole: names of headers in lower case, the body unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


async def dial(host: str, port: int, tls: ssl.SSLContext | None, connect_s: float) -> Connection:
    """Return a connection to a host.

    Args:
        host: Name or address.
        port: Of the host.
        tls: None speaks plainly.
        connect_s: How long it may take, TLS included, seconds.

    Raises:
        ConnectTimedOut: It took longer.
        ConnectFailed: No address of the host can be connected, or its certificate is not trusted.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_s):
            reached = await _connected(loop, host, port)
            try:
                _, connection = await loop.create_connection(
                    Connection, sock=reached, ssl=tls, server_hostname=host if tls else None
                )
            except BaseException:
                reached.close()
                raise
            return connection
    except TimeoutError as error:
        raise ConnectTimedOut(str(error)) from error
    except OSError as error:
        raise ConnectFailed(str(error)) from error


async def _connected(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Return a connected socket: the first of the host's addresses to answer, each given a head start."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # The resolver's first choice of a family, then the other's, by turns: one of them may lead nowhere.
    first = [entry for entry in found if entry[0] == found[0][0]]
    second = [entry for entry in found if entry[0] != found[0][0]]
    waiting = [entry for entry in chain(*zip_longest(first, second)) if entry is not None]
    trying: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException | None = None
    try:
        while waiting or trying:
            if waiting:
                family, _, protocol, _, address = waiting.pop(0)
                trying.add(loop.create_task(_connect(loop, family, protocol, address)))
            done, trying = await asyncio.wait(
                trying, timeout=_HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (failed := task.exception()) is None:
                    trying |= done - {task}
                    return task.result()
                failure = failure or failed
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close_result)
    raise failure or OSError("the host has no address")


async def _connect(
    loop: asyncio.AbstractEventLoop, family: int, protocol: int, address: Any
) -> socket.socket:
    reached = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        reached.setblocking(False)
        await loop.sock_connect(reached, address)
    except BaseException:
        reached.close()
        raise
    return reached


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


class Connection(asyncio.Protocol):
    """A connection under the feet of ``exchange``; made by ``dial``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        self._read_s = self._heard_s = 0.0
        self._bytes_max = 0
        self._parser: Any = None
        self._idle_since_s = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        """Forget the answer before."""
        self._status = 0
        self._raw_bytes = 0
        self._names: list[tuple[str, str]] = []
        self._is_headed = self._is_bounded = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._unpackers: list[_Unpacker] = []

    # -- what its owner asks of it -------------------------------------------------------------

    def is_usable(self, idle_s_max: float) -> bool:
        """Tell whether it is open, idle, and was not idle for longer than so many seconds."""
        return (
            self._transport is not None
            and self._waiter is None
            and time.monotonic() - self._idle_since_s < idle_s_max
        )

    async def exchange(self, request: bytes, *, read_s: float, write_s: float, bytes_max: int) -> Answer:
        """Return the answer to a request; raise what became of it instead.

        Args:
            request: Head and body.
            read_s: For the next byte of the answer, seconds.
            write_s: To be rid of the request, seconds.
            bytes_max: Of the answer's body, unpacked.

        Raises:
            ReadTimedOut, WriteTimedOut, ConnectionBroken, RemoteProtocolError, DecodingError, BodyTooLarge:
                The connection is of no more use, as after a cancellation.
        """
        if self._transport is None:
            raise ConnectionBroken("the connection was closed before the request")
        self._begin()
        self._parser = self._parser or httptools.HttpResponseParser(self)
        self._bytes_max = bytes_max
        self._waiter = waiter = self._loop.create_future()
        try:
            self._transport.write(request)
            if not self._writable.is_set():
                await self._written(write_s)
            self._read_s, self._heard_s = read_s, self._loop.time()
            if not waiter.done():
                self._timer = self._loop.call_later(read_s, self._look_up)
            answer: Answer = await waiter
            return answer
        except BaseException:
            self.abort()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._waiter = None
            self._idle_since_s = time.monotonic()

    async def _written(self, write_s: float) -> None:
        try:
            async with asyncio.timeout(write_s):
                await self._writable.wait()  # or an answer before the request's end: a refusal, mostly
        except TimeoutError as error:
            raise WriteTimedOut(f"for {write_s:g} s") from error

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _look_up(self) -> None:
        left_s = self._heard_s + self._read_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look_up)
        else:
            self._fail(ReadTimedOut(f"for {self._read_s:g} s"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._writable.set()
        self.abort()

    # -- what the loop tells it ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """Note that the other side does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take part of an answer."""
        if self._waiter is None or self._waiter.done():
            return self.abort()  # nobody asked
        self._heard_s = self._loop.time()
        self._raw_bytes += len(data)
        if not self._is_headed and self._raw_bytes > HEAD_BYTES_MAX + len(data):
            return self._fail(RemoteProtocolError("the answer's head does not end"))
        if self._raw_bytes > HEAD_BYTES_MAX + 2 * self._bytes_max:  # chunks of one byte double it at most
            return self._fail(BodyTooLarge())
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__ or error
            known = isinstance(cause, DecodingError | BodyTooLarge | RemoteProtocolError)
            self._fail(cast(Exception, cause) if known else RemoteProtocolError(type(cause).__name__))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(RemoteProtocolError(f"no HTTP: {type(error).__name__}"))
        return None

    def eof_received(self) -> None:
        """Let the loop close: there is nothing to say to one who has hung up."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end; an answer that has neither length nor chunks ends with its connection."""
        self._transport = None
        if self._waiter is None or self._waiter.done():
            self._writable.set()
        elif exc is not None:
            self._fail(ConnectionBroken(f"{type(exc).__name__} {exc}"))
        elif self._is_headed and not self._is_bounded:
            self._finish()
        else:
            self._fail(RemoteProtocolError("the connection was closed in the middle of the answer"))

    # -- what the parser tells it --------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Note that something comes; after the one answer that was asked for, it is nobody's."""
        if self._waiter is not None and self._waiter.done():
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        key, text = name.decode("latin-1").lower(), _text(value)
        self._names.append((key, text))
        if key in ("content-length", "transfer-encoding"):
            self._is_bounded = True
        elif key == "content-encoding":
            codings = (coding.strip().lower() for coding in text.split(","))
            self._unpackers = [_Unpacker(coding) for coding in codings if coding in _WBITS][::-1]

    def on_headers_complete(self) -> None:
        """Note that the body follows."""
        self._status = self._parser.get_status_code()
        self._is_headed = True

    def on_body(self, body: bytes) -> None:
        """Take part of the body, unpacked as far as it may grow."""
        for unpacker in self._unpackers:
            body = unpacker.unpack(body, self._bytes_max - self._size)
        self._size += len(body)
        if self._size > self._bytes_max:
            raise BodyTooLarge
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """End the exchange; what is only an interim answer (1xx) is passed over."""
        if 100 <= self._status < 200:
            self._begin()
        else:
            self._finish()

    def _finish(self) -> None:
        if not self._parser.should_keep_alive():
            self.abort()
        if self._waiter is not None and not self._waiter.done():
            headers: dict[str, str] = {}
            for name, value in self._names:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            self._waiter.set_result(Answer(self._status, headers, b"".join(self._chunks)))
        elif self._waiter is not None:
            self.abort()  # a second answer to one question
        self._writable.set()


_WBITS: dict[str, Sequence[int]] = {
    "gzip": (zlib.MAX_WBITS | 16,),
    "x-gzip": (zlib.MAX_WBITS | 16,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # some servers leave out the frame it should have
}


class _Unpacker:
    """One coding of a body, undone piece by piece."""

    def __init__(self, coding: str) -> None:
        self._ways = [zlib.decompressobj(bits) for bits in _WBITS[coding]]

    def unpack(self, packed: bytes, most: int) -> bytes:
        """Return what the next piece comes to.

        Raises:
            DecodingError: It is not what the head said.
            BodyTooLarge: It comes to more than so many bytes.
        """
        failure: Exception | None = None
        while self._ways:
            try:
                unpacked = self._ways[0].decompress(packed, max(1, most + 1))
            except zlib.error as error:
                failure = error
                self._ways.pop(0)
                continue
            del self._ways[1:]
            if self._ways[0].unconsumed_tail:
                raise BodyTooLarge
            return unpacked
        raise DecodingError(str(failure or "damaged"))


def _text(value: bytes) -> str:
    for encoding in ("ascii", "utf-8"):
        with suppress(UnicodeDecodeError):
            return value.decode(encoding)
    return value.decode("latin-1")
