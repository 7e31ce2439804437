"""A real HTTP server on the loopback that answers what a test tells it to, well or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """One request, as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes = b""


@dataclass
class Canned:
    """One answer. ``raw`` goes out as it is; then the connection is kept, closed or reset."""

    raw: bytes
    then: str = "keep"


def answer(
    body: object = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    text: str | None = None,
) -> Canned:
    payload = (json.dumps(body) if text is None else text).encode()
    fields = {"content-type": "application/json", "content-length": str(len(payload)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Canned(f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + payload)


def half_a_body(text: str = '{"choices": [{"mess') -> Canned:
    whole = answer(text=text, headers={"content-length": "5000"})
    return Canned(whole.raw, then="close")


RESET = Canned(b"", then="reset")
HANG = Canned(b"", then="hang")


@dataclass
class CannedServer:
    """Plays its answers in order, whatever the connection; the last one is repeated."""

    answers: list[Canned] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plays(self, *answers: Canned) -> None:
        self.answers = list(answers)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Any, deadline_s: float = 10.0) -> None:
        async with asyncio.timeout(deadline_s), self.arrived:
            await self.arrived.wait_for(condition)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()
            async with self.arrived:
                self.arrived.notify_all()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        canned = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        async with self.arrived:
            self.seen.append(Seen(head[0].split(" ")[1], headers, json.loads(body), body))
            self.arrived.notify_all()
        try:
            if canned.then == "hang":
                await reader.read()  # until the client has had enough
                return False
            if canned.then == "reset":
                writer.transport.abort()
                return False
            writer.write(canned.raw)
            await writer.drain()
        finally:
            self._at_once -= 1
        return canned.then == "keep"
