"""A tiny HTTP server that answers as some S3 servers do and MinIO does not: busy, odd, broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What to send. A ``cut_after`` sends that many bytes of the body and drops the connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


def refusal(status: int, code: str, message: str = "said the server") -> Answer:
    """Return an S3 error document."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


class S3Stub:
    """Keeps objects in a dict, unless ``intercept`` gives another answer."""

    def __init__(self, intercept: Callable[[Request], Answer | None]) -> None:
        self.intercept = intercept
        self.requests: list[Request] = []
        self.objects: dict[str, Request] = {}
        self.url = ""
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def asked(self, method: str) -> int:
        """Return how many requests of a method came."""
        return sum(request.method == method for request in self.requests)

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        special = self.intercept(request)
        if special is not None:
            return special
        if request.method == "PUT":
            self.objects[request.path] = request
            return Answer()
        if request.method == "DELETE":
            self.objects.pop(request.path, None)
            return Answer(204)
        stored = self.objects.get(request.path)
        if stored is None:
            return refusal(404, "NoSuchKey")
        metadata = {name: value for name, value in stored.headers.items() if name.startswith("x-amz-meta-")}
        return Answer(200, stored.body, metadata)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                if headers.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                answer = self._answer(Request(method, path, headers, body))
                lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(answer.body)}"]
                lines += [f"{name}: {value}" for name, value in answer.headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode())
                if method != "HEAD":
                    writer.write(answer.body[: answer.cut_after])
                await writer.drain()
                if answer.cut_after is not None:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[S3Stub]:
        """Listen on a free port of the loopback interface until the block ends."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._serving[task] = writer
            await self._serve(reader, writer)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.url = f"http://localhost:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in self._serving.values():
                writer.close()
            await asyncio.gather(*self._serving)
