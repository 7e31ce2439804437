"""The network's manners: every way an exchange can end, over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvloop

from salvo_core.adapters import transport as transport_module
from salvo_core.adapters.profile import Timeouts
from salvo_core.adapters.transport import Reply, Transport
from salvo_core.errors import (
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)
from tests.unit.adapters.server import HANG, RESET, Canned, CannedServer, answer, half_a_body

KEY = "sk-very-secret-0123456789"
QUICK = Timeouts(connect_s=5, read_s=0.2, write_s=5, turn_s=5)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport(4)
    yield made
    await made.aclose()


async def post(transport: Transport, server: CannedServer, timeouts: Timeouts | None = None) -> Reply:
    return await transport.post_json(
        f"{server.url}/v1/chat?api-version=1",
        {"authorization": f"Bearer {KEY}"},
        {"model": "m", "text": "é😀"},
        timeouts=timeouts,
        key_name="MY_KEY",
        secrets=[KEY],
    )


async def test_an_object_goes_out_and_an_object_comes_back(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"said": "ja 😀"}, headers={"X-Request-Id": "r1"}))
    reply = await post(transport, server)
    assert (reply.status, reply.document, reply.headers["x-request-id"]) == (200, {"said": "ja 😀"}, "r1")
    assert reply.elapsed_s > 0
    [seen] = server.seen
    assert (seen.path, seen.body) == ("/v1/chat?api-version=1", {"model": "m", "text": "é😀"})
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["user-agent"] == "salvo"


@pytest.mark.parametrize(
    ("canned", "kind", "said"),
    [
        (answer(text="<html><title>Sign in</title></html>"), ProviderPermanent, "with a web page: Sign in"),
        (answer(text="hello", headers={"content-type": "text/html"}), ProviderPermanent, "web page"),
        (answer(text="data: {}", headers={"content-type": "text/event-stream"}), ProviderPermanent, "stream"),
        (answer([1, 2]), ProviderPermanent, "no object: [1, 2]"),
        (answer(text='{"choices": [{"mess'), ProviderTransient, "broken JSON"),
        (answer(text=""), ProviderTransient, "broken JSON"),
        (answer(text='{"a": NaN}'), ProviderTransient, "broken JSON (NaN is not JSON)"),
        (half_a_body(), ProviderTransient, "broke off: ClientPayloadError"),
        (Canned(b"HTTP/1.1 200 OK\r\ncontent-le", then="close"), ProviderTransient, "broke off"),
        (Canned(b"what is this?\r\n\r\n", then="close"), ProviderTransient, "broke off"),
        (Canned(b"", then="close"), ProviderTransient, "broke off"),
        (
            answer(text="no gzip", headers={"content-encoding": "gzip"}),
            ProviderTransient,
            "broke off: ClientPayloadError",
        ),
        (RESET, ProviderTransient, "broke off"),
        (HANG, ProviderTransient, "sent nothing for 0.2 s"),
        (answer({"error": {"message": "bad key"}}, status=401), ProviderAuthentication, "401: bad key"),
        (answer({"error": "slow down"}, status=429, headers={"Retry-After": "3"}), RateLimited, "slow down"),
        (
            answer({"error": {"type": "overloaded_error"}}, status=529),
            ProviderTransient,
            "529: overloaded_error",
        ),
        (
            answer({"error": {"code": 429, "message": "busy"}}),
            RateLimited,
            "answered 200 with an error inside: busy",
        ),
        (answer(text="<html>nginx</html>", status=502), ProviderTransient, "502: <html>nginx</html>"),
        (
            answer(text="", status=302, headers={"Location": "/login"}),
            ProviderPermanent,
            "302: moved to /login",
        ),
        (answer({"detail": "no"}, status=404), ProviderPermanent, "404: no"),
    ],
)
async def test_every_bad_answer_is_one_error_of_its_kind(
    transport: Transport, server: CannedServer, canned: Canned, kind: type[ProviderError], said: str
) -> None:
    server.plays(canned, answer({"ok": True}))
    with pytest.raises(ProviderError) as failed:
        await post(transport, server, QUICK)
    assert type(failed.value) is kind
    assert said in failed.value.message
    assert failed.value.message.startswith(f"127.0.0.1:{server.port}/v1/chat")
    assert len(server.seen) == 1, "nothing is sent twice from here"
    assert (await post(transport, server)).document == {"ok": True}


async def test_a_rate_limits_wait_is_kept(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({}, status=429, headers={"Retry-After": "3"}))
    with pytest.raises(RateLimited) as failed:
        await post(transport, server)
    assert (failed.value.retry_after_s, failed.value.status_code) == (3.0, 429)


async def test_an_exchange_that_only_trickles_ends_at_the_turns_timeout(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(HANG)
    with pytest.raises(ProviderTransient, match=r"did not finish its answer within 0\.2 s"):
        await post(transport, server, Timeouts(turn_s=0.2))
    await server.until(lambda: server.open_connections == 0)


async def test_nobody_listening_is_worth_another_try_and_says_what_to_check(transport: Transport) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(ProviderTransient, match="cannot be connected") as failed:
            await transport.post_json(url, {}, {})
    assert "base_url" in failed.value.hint


async def test_a_plain_server_behind_https_is_an_error_and_not_a_hang(
    transport: Transport, server: CannedServer
) -> None:
    url = f"https://127.0.0.1:{server.port}/"
    with pytest.raises(ProviderTransient):
        await transport.post_json(url, {}, {}, timeouts=Timeouts(connect_s=0.2))


@pytest.mark.parametrize("headers", [{"x-bad": "two\nlines"}, {"x-bad": "sn\u00f6"}, {"bad name": "x"}])
async def test_a_header_that_cannot_be_sent_is_permanent(
    transport: Transport, server: CannedServer, headers: dict[str, str]
) -> None:
    server.plays(answer({}))
    with pytest.raises(ProviderError) as failed:
        await transport.post_json(server.url, headers, {})
    assert not failed.value.retryable


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}])
async def test_a_body_that_is_no_json_is_refused_before_anything_is_sent(
    transport: Transport, server: CannedServer, body: dict[str, object]
) -> None:
    with pytest.raises(ProviderPermanent, match="is not JSON"):
        await transport.post_json(server.url, {}, body)
    assert server.connections == 0


async def test_an_answer_beyond_the_bound_is_not_read_to_its_end(
    transport: Transport, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "BODY_BYTES_MAX", 1 << 20)
    bomb = gzip.compress(b" " * (8 << 20))
    head = f"HTTP/1.1 200 x\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode()
    server.plays(Canned(head + bomb))
    with pytest.raises(ProviderPermanent, match="more than 1 MiB"):
        await post(transport, server)


async def test_text_cut_within_a_character_is_still_read(transport: Transport, server: CannedServer) -> None:
    body = b'{"said": "caf\xc3"}'
    server.plays(Canned(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n" % len(body) + body))
    assert (await post(transport, server)).document == {"said": "caf\ufffd"}


@pytest.mark.parametrize(
    "canned",
    [
        answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401),
        answer(text=f"<html>{KEY}</html>"),
        answer(text=f"broken {KEY}"),
        answer([KEY]),
        answer(text="", status=302, headers={"location": f"/x/{KEY}"}),
        answer({"error": f"Bearer {KEY}"}),
        Canned(f"{KEY}\r\n\r\n".encode(), then="close"),
        HANG,
        RESET,
    ],
)
async def test_a_key_never_comes_back_in_an_error(
    transport: Transport, server: CannedServer, canned: Canned, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.plays(canned)
    with pytest.raises(ProviderError) as failed:
        await post(transport, server, QUICK)
    error = failed.value
    assert KEY not in f"{error} {error!r} {error.message} {error.hint}"
    assert KEY not in caplog.text
    assert "api-version" not in caplog.text


async def test_one_connection_serves_turn_after_turn_errors_included(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(*[answer({"ok": 1}), answer({"error": "x"}, status=500)] * 5, answer({"ok": 1}))
    for _ in range(10):
        with suppress(ProviderTransient):
            await post(transport, server)
    assert (len(server.seen), server.connections) == (10, 1)


async def test_no_more_requests_are_in_flight_than_there_are_slots(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"ok": 1}))
    await asyncio.gather(*(post(transport, server) for _ in range(40)))
    assert server.most_at_once <= transport.concurrency_max
    assert server.connections <= transport.concurrency_max
    assert len(server.seen) == 40


async def test_a_broken_connection_is_dropped_and_a_fresh_one_made(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"ok": 1}), HANG, answer({"ok": 2}))
    await post(transport, server)
    with pytest.raises(ProviderTransient):
        await post(transport, server, QUICK)
    await server.until(lambda: server.open_connections == 0)
    assert (await post(transport, server)).document == {"ok": 2}
    assert server.connections == 2


@pytest.mark.parametrize("seed", range(5))
async def test_cancelling_at_any_moment_leaks_no_slot(server: CannedServer, seed: int) -> None:
    rng = random.Random(seed)
    transport = Transport(3)
    server.plays(*[rng.choice([HANG, HANG, answer({"ok": 1})]) for _ in range(60)], answer({"ok": 1}))
    for _ in range(12):
        tasks = [asyncio.ensure_future(post(transport, server)) for _ in range(6)]
        for _ in range(
            rng.randrange(40)
        ):  # some get as far as connecting, some as far as waiting, some nowhere
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    server.plays(answer({"ok": 1}))
    replies = await asyncio.gather(*(post(transport, server) for _ in range(9)))
    assert [reply.document for reply in replies] == [{"ok": 1}] * 9
    await transport.aclose()
    await server.until(lambda: server.open_connections == 0)


async def test_connections_to_many_hosts_share_the_one_bound(server: CannedServer) -> None:
    others = [CannedServer(), CannedServer()]
    transport = Transport(2)
    for host in [server, *others]:
        host.plays(answer({"ok": 1}))
        if host is not server:
            await host.start()
    for host in [server, *others, server]:
        await asyncio.gather(post(transport, host), post(transport, host))
    await server.until(lambda: server.connections == 4)
    for host in others:
        await host.until(lambda host=host: host.open_connections == 0)
    await transport.aclose()
    for host in others:
        await host.stop()


async def test_a_cookie_of_one_trial_is_not_sent_with_the_next(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"ok": 1}, headers={"set-cookie": "session=abc; Path=/"}))
    await post(transport, server)
    await post(transport, server)
    assert "cookie" not in server.seen[1].headers


async def test_a_request_that_ends_after_closing_closes_its_connection_too(server: CannedServer) -> None:
    transport = Transport(1)
    server.plays(HANG)
    task = asyncio.ensure_future(post(transport, server, QUICK))
    await server.until(lambda: len(server.seen) == 1)
    await transport.aclose()
    with pytest.raises(ProviderTransient):
        await task
    await server.until(lambda: server.open_connections == 0)


def test_a_kept_connection_that_the_server_closed_is_replaced_under_uvloop_too() -> None:
    async def scenario() -> list[object]:
        server = CannedServer()
        await server.start()
        server.plays(Canned(answer({"ok": 1}).raw, then="close"))
        transport = Transport(1)
        outcomes: list[object] = []
        for _ in range(5):
            try:
                outcomes.append((await post(transport, server)).document["ok"])
            except ProviderError as error:
                outcomes.append(error.retryable)
        await transport.aclose()
        await server.stop()
        return outcomes

    outcomes = uvloop.run(scenario())
    assert outcomes[0] == 1
    assert all(outcomes), "each is an answer, or worth another try"


def test_a_proxy_that_cannot_be_used_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://nowhere.test")
    with pytest.raises(ProviderPermanent, match="proxy"):
        asyncio.run(Transport(1).post_json("http://llm.test/", {}, {}))


async def test_a_server_on_this_machine_is_reached_past_any_proxy(
    transport: Transport, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.plays(answer({"ok": 1}))
    assert (await post(transport, server)).document == {"ok": 1}


def test_a_transport_without_a_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="concurrency_max is 0"):
        Transport(0)


async def test_a_key_that_the_other_side_repeats_in_its_answer_is_struck_out_of_it(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"content": f"your key is {KEY}, is it not?"}))
    reply = await post(transport, server)
    assert reply.document == {"content": "your key is [REDACTED], is it not?"}
