"""A line to a server on which every answer takes its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class SlowLine:
    """Carries bytes both ways; the first of each answer arrives ``delay_s`` late.

    Args:
        host: Of the server.
        port: Of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay_s = 0.0
        self.url = ""
        self._server = host, port
        self._carrying: set[asyncio.Task[None]] = set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._server)
            asked = asyncio.Event()
            await asyncio.gather(self._ask(reader, back, asked), self._answer(there, writer, asked))

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while some := await reader.read(65536):
            asked.set()
            writer.write(some)
            await writer.drain()
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while some := await reader.read(65536):
            if asked.is_set():
                asked.clear()
                await asyncio.sleep(self.delay_s)
            writer.write(some)
            await writer.drain()
        writer.close()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[SlowLine]:
        """Open a line to the server at that address, without a delay yet."""
        parts = urlsplit(url)
        line = cls(str(parts.hostname), int(parts.port or 80))
        server = await asyncio.start_server(line._carry, "127.0.0.1", 0)
        line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield line
        finally:
            server.close()
            for task in tuple(line._carrying):
                task.cancel()
            await asyncio.gather(*line._carrying, return_exceptions=True)
