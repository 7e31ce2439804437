"""The server around the application: a socket, a loop, a beginning and an end.

uvicorn (httptools, uvloop, no access log) with this application answers about 13,500 requests a
second on one core of a small virtual machine, 9,600 with a request log, so there is no protocol
of our own here. Measured with wrk on another core: 50 keep-alive connections, requests of 1 KB,
no latency. 1,000 connections: 10,700.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Self

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from salvo_cli.simulator.app import SimulatorApp
from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.request_log import RequestLog
from salvo_core.clock import Clock, SystemClock
from salvo_core.errors import UsageError

_BACKLOG = 2048  # a fleet's connections all come in the same moment
_KEEP_ALIVE_S = 600  # longer than any client's own: the client closes, so no request meets a closing server
_DRAIN_S = 10  # what is being written when we stop has this long; every wait has ended by then


class _Server(uvicorn.Server):
    """uvicorn's server, told to leave the process's signals alone and to say when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none: whoever started us decides what a signal means."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.serving.set()


def _protocol_for(app: SimulatorApp) -> type[asyncio.Protocol]:
    class Connection(HttpToolsProtocol):
        """A connection that the application can count, wait on and break."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            app.connections.made()
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            app.connections.lost(self.transport)
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["state"]["transport"] = self.transport

    return Connection


class SimulatedProvider:
    """A pretend provider on a port of its own, inside the running event loop.

    Usable as an async context manager. One instance is started once; ``stop`` also closes the log.

    Args:
        book: The scripts.
        host: Address to listen on; the default is reachable from this machine only.
        port: 0 takes a free one; ``port`` says which.
        api_key: Asked of every caller; None asks for nothing.
        request_log: File that gets one JSON line per request to a model.
        clock: Measures the rate limit and stamps the log.

    Raises:
        UsageError: The key is empty, or the log cannot be written.
    """

    def __init__(
        self,
        book: ScriptBook,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        request_log: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        if api_key == "":
            raise UsageError(
                "the API key is empty", hint="give --api-key a key, or leave it out to ask for none"
            )
        self.port = port
        """The port; after ``start`` the real one."""
        self._host = host
        clock = clock or SystemClock()
        self._log = RequestLog(request_log) if request_log is not None else None
        self._app = SimulatorApp(book, clock=clock, api_key=api_key, request_log=self._log)
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=_protocol_for(self._app),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("server", "salvo-simulator")],
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it is served; OpenAI clients want ``/v1`` behind it, Anthropic's want it as it is."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def stats(self) -> dict[str, Any]:
        """Return what ``GET /stats`` answers."""
        return self._app.stats()

    def follow(self, book: ScriptBook) -> None:
        """Answer from another book from the next request on; its rate limit is not looked at."""
        self._app.follow(book)

    async def start(self) -> None:
        """Listen; on return requests are answered and ``port`` is known.

        Raises:
            UsageError: The address is taken, not ours, or not allowed.
        """
        try:
            listening = _listen(self._host, self.port)
        except UsageError:
            self._close_log()
            raise
        self.port = listening.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        await self._server.serving.wait()

    async def stop(self) -> None:
        """Stop listening, answer what is waiting at once, end hangs, and return when all is quiet."""
        if self._serving is None:
            return
        self._app.connections.stop_waiting()
        self._server.should_exit = True
        await self._serving
        self._serving = None
        self._close_log()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def run_simulator(
    book: ScriptBook,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    request_log: Path | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until the process gets SIGINT or SIGTERM, then drain and return.

    Args:
        book: The scripts.
        host: Address to listen on.
        port: 0 takes a free one.
        api_key: Asked of every caller; None asks for nothing.
        request_log: File that gets one JSON line per request to a model.
        ready: Called once with the real port, when requests are answered.

    Raises:
        UsageError: The address or the request log cannot be used.
    """
    _allow_many_connections()

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        provider = SimulatedProvider(book, host=host, port=port, api_key=api_key, request_log=request_log)
        async with provider:
            if ready is not None:
                ready(provider.port)
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"the simulator cannot listen on {host} port {port}: {said}",
            hint="choose another --port (0 takes a free one), or another --host",
        ) from None
    # Connections inherit it. Without it a reply's body, written after its head, waits for the client's
    # delayed acknowledgement, 40 ms; asyncio sets it by itself only on sockets that name their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _allow_many_connections() -> None:
    """Raise the number of open files to what the system lets us have; 1,024 is usual, and too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems refuse their own maximum
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
