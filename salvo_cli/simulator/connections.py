"""The open connections: how many there are, who waits on one, and how one ends badly on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct


class Connections:
    """Counts connections and wakes what waits on them.

    A wait ends when its time is up, when its client leaves, or when the server stops; so a client
    that gives up frees its place at once, and a stop never waits for a slow reply.
    """

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self._waits: dict[asyncio.Transport, asyncio.Future[None]] = {}
        self._stopping = False

    def made(self) -> None:
        """Count a connection."""
        self.open += 1
        self.opened += 1

    def lost(self, transport: asyncio.Transport) -> None:
        """Count a connection out, and wake what waits on it."""
        self.open -= 1
        if (wait := self._waits.get(transport)) is not None:
            _wake(wait)

    async def pause(self, transport: asyncio.Transport, seconds: float | None) -> None:
        """Wait for some seconds, None for as long as the client stays; less if it leaves or we stop.

        One request at a time waits on a connection: HTTP/1.1 answers in order.
        """
        if self._stopping or transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        wait: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, wait) if seconds is not None else None
        self._waits[transport] = wait
        try:
            await wait
        finally:
            del self._waits[transport]
            if timer is not None:
                timer.cancel()

    def stop_waiting(self) -> None:
        """End every wait, now and from now on: slow replies are answered at once, hangs end."""
        self._stopping = True
        for wait in self._waits.values():
            _wake(wait)


def _wake(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_result(None)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP reset instead of a polite close.

    Source:
        POSIX, setsockopt, SO_LINGER with a time of 0: close discards what is unsent and resets.
    """
    handle = transport.get_extra_info("socket")
    # uvloop's stand-in for the socket cannot set options; a second descriptor of the same socket can
    with socket.fromfd(handle.fileno(), handle.family, handle.type) as same_socket:
        same_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
