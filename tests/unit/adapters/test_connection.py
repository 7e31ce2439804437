"""HTTP as the other side may speak it, well or badly, on a connection that is kept."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from salvo_core.adapters import line as line_module
from salvo_core.adapters.connection import Connection, ConnectTimedOut, dial
from salvo_core.adapters.profile import Timeouts
from salvo_core.adapters.transport import Transport
from salvo_core.errors import ProviderPermanent, ProviderTransient
from tests.servers.tls import OPENSSL, make_certificates
from tests.unit.adapters.server import Canned, CannedServer, answer

OK = b'{"ok":1}'
WHOLE = answer({"ok": 1}).raw


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport(1)
    yield made
    await made.aclose()


async def ask(transport: Transport, url: str, headers: dict[str, str] | None = None) -> Any:
    return (await transport.post_json(url, headers or {}, {"q": 1}, timeouts=Timeouts(read_s=30))).document


def coded(coding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n" + OK[:3] + b"\r\n5\r\n" + OK[3:]
            + b"\r\n0\r\n\r\n",
            id="chunks",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE,
                     id="interim"),
        pytest.param(coded("gzip", gzip.compress(OK)), id="gzip"),
        pytest.param(coded("deflate", zlib.compress(OK)), id="deflate"),
        pytest.param(coded("deflate", RAW_DEFLATE.compress(OK) + RAW_DEFLATE.flush()), id="raw deflate"),
        pytest.param(coded("deflate, gzip", gzip.compress(zlib.compress(OK))), id="two codings"),
    ],
)  # fmt: skip
async def test_an_answer_in_any_form_is_read_and_its_connection_kept(
    transport: Transport, server: CannedServer, raw: bytes
) -> None:
    server.plays(Canned(raw))
    assert [await ask(transport, server.url) for _ in range(3)] == [{"ok": 1}] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"]
)
async def test_an_answer_without_a_length_ends_with_its_connection(
    transport: Transport, server: CannedServer, head: bytes
) -> None:
    server.plays(Canned(head + OK, then="close"))
    assert [await ask(transport, server.url) for _ in range(2)] == [{"ok": 1}] * 2
    assert server.connections == 2


async def test_chunks_that_stop_before_the_last_are_no_answer(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(Canned(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n" + OK, then="close"))
    with pytest.raises(ProviderTransient, match="broke off: RemoteProtocolError"):
        await ask(transport, server.url)


@pytest.mark.parametrize(
    "more", [WHOLE, b"HTTP/1.1 200", b"garbage\r\n\r\n"], ids=["answer", "part of one", "no HTTP"]
)
async def test_what_comes_after_an_answer_is_never_taken_for_the_next(
    transport: Transport, server: CannedServer, more: bytes
) -> None:
    server.plays(Canned(WHOLE + more), answer({"ok": 2}))
    assert await ask(transport, server.url) == {"ok": 1}
    assert await ask(transport, server.url) == {"ok": 2}
    assert server.connections == 2


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * (1 << 20), id="a header without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000, id="headers without end"),
    ],
)
async def test_a_head_without_end_is_not_read_for_ever(
    transport: Transport, server: CannedServer, raw: bytes
) -> None:
    server.plays(Canned(raw, then="close"))
    with pytest.raises(ProviderTransient, match="broke off"):
        await ask(transport, server.url)


async def test_an_upgrade_that_nobody_asked_for_is_no_answer(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(
        Canned(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", then="close")
    )
    with pytest.raises(ProviderTransient, match="broke off"):
        await ask(transport, server.url)


@pytest.mark.parametrize("framing", ["Content-Length", "transfer-encoding"])
async def test_nobody_but_us_says_how_long_a_request_is(
    transport: Transport, server: CannedServer, framing: str
) -> None:
    server.plays(answer({}))
    with pytest.raises(ProviderPermanent, match="cannot be asked"):
        await ask(transport, server.url, {framing: "3"})
    assert server.seen == []


async def test_a_name_and_a_password_in_the_address_are_sent_as_basic(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"ok": 1}))
    await ask(
        transport, f"http://us%40er:p%3Aw@127.0.0.1:{server.port}/a b?c=d", {"authorization": "Bearer x"}
    )
    [seen] = server.seen
    assert seen.headers["authorization"] == f"Basic {base64.b64encode(b'us@er:p:w').decode()}"
    assert (seen.headers["host"], seen.path) == (f"127.0.0.1:{server.port}", "/a%20b?c=d")


async def test_a_header_of_the_profile_goes_before_ours(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({"ok": 1}))
    await ask(transport, server.url, {"User-Agent": "theirs", "Host": "llm.example"})
    [seen] = server.seen
    assert (seen.headers["user-agent"], seen.headers["host"]) == ("theirs", "llm.example")


async def test_a_host_is_reached_by_whichever_of_its_addresses_answers(
    server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as unheard:  # bound, and listening to nobody: refused at once
        unheard.bind(("127.0.0.1", 0))
        stream = (socket.SOCK_STREAM, 6, "")
        addresses = [
            (socket.AF_INET, *stream, unheard.getsockname()),
            (socket.AF_INET, *stream, ("127.0.0.1", server.port)),
        ]

        async def resolved(*_: object, **__: object) -> list[Any]:
            return addresses

        monkeypatch.setattr(loop, "getaddrinfo", resolved)
        connection = await dial("llm.example", server.port, None, 30)
    assert connection.is_usable(30)
    connection.abort()


async def test_an_address_that_leads_nowhere_keeps_no_other_waiting(
    server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    answering = ("127.0.0.1", server.port)
    connect = loop.sock_connect

    async def resolved(*_: object, **__: object) -> list[Any]:
        stream = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET6, *stream, ("::1", 9, 0, 0)),
            (socket.AF_INET, *stream, answering),
        ]

    async def connected(sock: socket.socket, address: Any) -> None:
        if address[0] == "::1":
            await asyncio.Event().wait()  # a packet that nobody answers
        await connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    monkeypatch.setattr(loop, "sock_connect", connected)
    connection = await dial("llm.example", server.port, None, 60)
    assert connection.is_usable(30)
    connection.abort()


async def test_a_host_that_no_packet_comes_back_from_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()

    async def connected(_: socket.socket, __: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(loop, "sock_connect", connected)
    with pytest.raises(ConnectTimedOut):
        await dial("127.0.0.1", 9, None, 0.1)


async def test_a_connection_that_idled_too_long_is_not_used_again(
    transport: Transport, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.plays(answer({"ok": 1}))
    await ask(transport, server.url)
    monkeypatch.setattr(line_module, "_IDLE_S_MAX", 0.0)
    await ask(transport, server.url)
    assert server.connections == 2


async def test_a_request_that_nobody_takes_is_given_up_and_a_large_one_arrives_whole(
    server: CannedServer,
) -> None:
    loop = asyncio.get_running_loop()
    deaf = await loop.create_server(lambda: _Deaf(), "127.0.0.1", 0)
    port = deaf.sockets[0].getsockname()[1]
    transport = Transport(1)
    body = {"text": "x" * (8 << 20)}
    with pytest.raises(ProviderTransient, match="broke off: WriteTimedOut"):
        await transport.post_json(f"http://127.0.0.1:{port}/", {}, body, timeouts=Timeouts(write_s=0.2))
    deaf.close()
    server.plays(answer({"ok": 1}))
    monkey = await transport.post_json(server.url, {}, {"text": "x" * 60_000})
    assert (monkey.document, server.seen[0].body) == ({"ok": 1}, {"text": "x" * 60_000})
    await transport.aclose()


class _Deaf(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.pause_reading()


@pytest.mark.parametrize(
    "make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_certificate_is_checked_against_those_that_this_worker_trusts(
    make_loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if OPENSSL is None:
        pytest.skip("openssl is not installed")
    authority, certificate, key = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def scenario() -> list[object]:
        server = CannedServer()
        server.plays(answer({"ok": 1}))
        served = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{served.sockets[0].getsockname()[1]}/"
        outcomes: list[object] = []
        for _ in range(2):
            transport = Transport(1)
            try:
                outcomes += [await ask(transport, url), await ask(transport, url)]
            except ProviderPermanent as error:
                outcomes.append(error.message)
            await transport.aclose()
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        outcomes.append(server.connections)
        served.close()
        return outcomes

    with asyncio.Runner(loop_factory=make_loop) as runner:
        refused, *answered, connections = runner.run(scenario())
    assert "a certificate that this worker does not trust" in str(refused)
    assert (answered, connections) == ([{"ok": 1}] * 2, 1)


async def test_a_connection_is_not_usable_before_it_is_connected() -> None:
    assert not Connection().is_usable(30)
