"""The pretend provider over real HTTP, asked by real clients.

Its speed is measured by hand, not here: serve ``{turns: [{text: done}]}``, pin the server to one
core and ``wrk -t1 -c50`` with a request of about 1 KB to another.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.server import SimulatedProvider
from salvo_core.errors import UsageError

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0
LOGGED = [
    "exchange", "fault", "input_tokens", "model", "output_tokens", "script", "status", "trace_id", "trial",
    "ts", "turn",
]  # fmt: skip
OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"
VERSION = {"anthropic-version": "2023-06-01"}
USER = {"role": "user", "content": "Refund order A-1001"}
SAID = {"turns": [{"text": "done"}]}
LOOKUP = {"name": "lookup_order", "arguments": {"order_id": "A-1001"}}
CALLING = {
    "turns": [
        {"tool_calls": [LOOKUP, {"name": "b", "malformed": "{x"}]},
        {"text": "issuing", "tool_calls": [{"name": "issue_refund", "arguments": {"amount_usd": 42.5}}]},
        {"text": "Refunded."},
    ],
    "usage": {"input_tokens": 30, "output_tokens": 7},
}  # fmt: skip


@asynccontextmanager
async def simulated(
    document: Any, **options: Any
) -> AsyncIterator[tuple[SimulatedProvider, httpx.AsyncClient]]:
    async with (
        SimulatedProvider(ScriptBook.read(document), **options) as provider,
        httpx.AsyncClient(base_url=provider.url, timeout=DEADLINE_S, headers=VERSION) as client,
    ):
        yield provider, client


def failing(kind: str, **fields: Any) -> dict[str, Any]:
    return {"turns": [{"error": {"kind": kind} | fields}]}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "sim/any", "max_tokens": 100, "messages": [USER]} | fields


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


def openai_next(messages: list[Any], reply: Any) -> list[Any]:
    message = reply["choices"][0]["message"]
    calls = message.get("tool_calls") or []
    return [*messages, message, *({"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in calls)]


def anthropic_next(messages: list[Any], reply: Any) -> list[Any]:
    uses = [block for block in reply["content"] if block["type"] == "tool_use"]
    # a client that could not read a tool's input has to send an object all the same
    said = [b | {"input": {}} if b["type"] == "tool_use" else b for b in reply["content"]]
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "ok"} for use in uses]
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": results}]


class TestConversations:
    async def test_openai_plays_a_script_to_its_end(self) -> None:
        async with simulated(CALLING) as (_, client):
            messages: list[Any] = [{"role": "system", "content": "You are a refund desk."}, USER]
            replies = []
            for _ in range(3):
                replies.append((await client.post(OPENAI, json=body(messages=messages))).json())
                messages = openai_next(messages, replies[-1])
        first, second, last = (reply["choices"][0] for reply in replies)
        assert [call["function"] for call in first["message"]["tool_calls"]] == [
            {"name": "lookup_order", "arguments": '{"order_id": "A-1001"}'},
            {"name": "b", "arguments": "{x"},
        ]
        assert (first["message"]["content"], first["finish_reason"]) == (None, "tool_calls")
        assert second["message"]["content"] == "issuing"
        assert (last["message"]["content"], last["finish_reason"]) == ("Refunded.", "stop")
        assert replies[0]["usage"] == {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        assert (replies[0]["object"], replies[0]["model"]) == ("chat.completion", "sim/any")
        assert len({reply["id"] for reply in replies}) == 3

    async def test_anthropic_plays_a_script_to_its_end(self) -> None:
        async with simulated(CALLING) as (_, client):
            messages: list[Any] = [USER]
            replies = []
            for _ in range(3):
                replies.append((await client.post(ANTHROPIC, json=body(messages=messages))).json())
                messages = anthropic_next(messages, replies[-1])
        first, second, last = replies
        assert [(block["name"], block["input"]) for block in first["content"]] == [
            ("lookup_order", {"order_id": "A-1001"}),
            ("b", "{x"),
        ]
        assert first["stop_reason"] == "tool_use"
        assert [block["type"] for block in second["content"]] == ["text", "tool_use"]
        assert (last["content"], last["stop_reason"]) == ([{"type": "text", "text": "Refunded."}], "end_turn")
        assert first["usage"] == {"input_tokens": 30, "output_tokens": 7}
        assert (first["type"], first["role"]) == ("message", "assistant")

    async def test_tokens_that_no_script_gives_are_counted_from_the_text(self) -> None:
        async with simulated({"turns": [{"text": "x" * 400}]}) as (_, client):
            usage = (await client.post(OPENAI, json=body())).json()["usage"]
        assert usage["completion_tokens"] == 100
        assert usage["prompt_tokens"] > 10

    async def test_one_trial_gets_the_same_answers_from_any_server_on_any_wire(self) -> None:
        script = {
            "seed": 3,
            "turns": [{"text": "usual"}],
            "variants": [{"weight": 0.5, "turns": [{"text": "other"}]}],
        }
        ids = [{"X-Salvo-Trace-Id": f"trace {k}"} for k in range(20)]
        said: list[list[str]] = []
        for order in (ids, ids[::-1]):
            async with simulated(script) as (_, client):
                replies = [(i, await client.post(OPENAI, json=body(), headers=i)) for i in order]
                said.append(
                    [r.json()["choices"][0]["message"]["content"] for i, r in sorted(replies, key=str)]
                )
        async with simulated(script) as (_, client):
            replies = [(i, await client.post(ANTHROPIC, json=body(), headers=i)) for i in ids]
            said.append([r.json()["content"][0]["text"] for i, r in sorted(replies, key=str)])
        assert said[0] == said[2]
        assert sorted(said[0]) == sorted(said[1])
        assert {"usual", "other"} == set(said[0])

    async def test_a_client_without_trace_id_or_seed_still_gets_one_variant_per_conversation(self) -> None:
        def variant(name: str) -> list[Any]:
            return [{"text": name, "tool_calls": [{"name": "t"}]}] * 3

        script = {"turns": variant("a"), "variants": [{"weight": 0.5, "turns": variant("b")}]}
        async with simulated(script) as (_, client):

            async def conversation() -> set[str]:
                messages: list[Any] = [USER]
                said = set()
                for _ in range(3):
                    reply = (await client.post(OPENAI, json=body(messages=messages))).json()
                    said.add(reply["choices"][0]["message"]["content"])
                    messages = openai_next(messages, reply)
                return said

            spoken = await asyncio.gather(*(conversation() for _ in range(20)))
        assert {frozenset(said) for said in spoken} == {frozenset("a"), frozenset("b")}

    async def test_the_seed_chooses_the_trial_by_number(self) -> None:
        async with simulated({"trials": [[{"text": "zero"}], [{"text": "one"}]]}) as (_, client):
            reply = await client.post(OPENAI, json=body(seed=1))
        assert reply.json()["choices"][0]["message"]["content"] == "one"


class TestFailures:
    @pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
    @pytest.mark.parametrize(
        ("kind", "fields", "status"),
        [
            ("rate_limited", {}, 429),
            ("transient", {}, 503),
            ("transient", {"status": 502}, 502),
            ("server_error", {}, 500),
            ("overloaded", {}, 529),
            ("timeout", {}, 504),
            ("permanent", {}, 400),
            ("permanent", {"status": 404}, 404),
            ("authentication", {}, 401),
            ("error_in_200", {}, 200),
        ],
    )
    async def test_an_error_has_its_status_and_the_wires_shape(
        self, path: str, kind: str, fields: dict[str, Any], status: int
    ) -> None:
        async with simulated(failing(kind, message="as scripted", **fields)) as (_, client):
            reply = await client.post(path, json=body())
        assert reply.status_code == status
        document = reply.json()
        assert document["error"]["message"] == "as scripted"
        assert document["error"]["type"]
        if path == ANTHROPIC:
            assert document["type"] == "error"

    async def test_the_wires_words_for_common_errors(self) -> None:
        said = {}
        for kind in ("rate_limited", "overloaded", "authentication", "server_error"):
            async with simulated(failing(kind)) as (_, client):
                said[kind] = [
                    (await client.post(path, json=body())).json()["error"] for path in (OPENAI, ANTHROPIC)
                ]
        assert [said[kind][1]["type"] for kind in said] == [
            "rate_limit_error", "overloaded_error", "authentication_error", "api_error",
        ]  # fmt: skip
        assert said["rate_limited"][0]["code"] == "rate_limit_exceeded"
        assert said["authentication"][0]["code"] == "invalid_api_key"
        assert said["server_error"][0]["type"] == "server_error"

    async def test_a_web_page_comes_as_html(self) -> None:
        async with simulated(failing("html")) as (_, client):
            reply = await client.post(OPENAI, json=body())
        assert (reply.status_code, reply.headers["content-type"][:9]) == (200, "text/html")
        assert reply.text.startswith("<!DOCTYPE")

    async def test_wrong_json_arrives_whole_and_does_not_parse(self) -> None:
        async with simulated(failing("wrong_json")) as (_, client):
            reply = await client.post(OPENAI, json=body())
        assert reply.headers["content-type"] == "application/json"
        with pytest.raises(json.JSONDecodeError):
            reply.json()

    async def test_half_a_body_ends_in_the_middle(self) -> None:
        async with simulated(failing("half_body")) as (_, client):
            with pytest.raises(httpx.RemoteProtocolError, match="complete"):
                await client.post(OPENAI, json=body())

    async def test_a_reset_reaches_the_client_as_a_reset(self) -> None:
        async with simulated(failing("reset")) as (provider, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
            sent = json.dumps(body()).encode()
            writer.write(
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (OPENAI.encode(), len(sent))
                + sent
            )
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(DEADLINE_S):
                    await reader.read()
            writer.close()

    async def test_a_hang_lasts_until_the_client_leaves(self) -> None:
        async with simulated(failing("hang")) as (provider, client):
            asking = asyncio.create_task(client.post(OPENAI, json=body()))
            await until(lambda: provider.stats()["by_fault"] == {"hang": 1})
            assert provider.stats()["in_flight"] == 1
            asking.cancel()
            await until(lambda: provider.stats()["in_flight"] == 0)
            await until(lambda: provider.stats()["connections"] == 0)

    async def test_a_client_that_leaves_a_slow_reply_frees_its_place(self) -> None:
        async with simulated(SAID | {"latency_s": 3600}) as (provider, client):
            with pytest.raises(httpx.ReadTimeout):
                await client.post(OPENAI, json=body(), timeout=0.05)
            await until(lambda: provider.stats()["in_flight"] == 0)

    async def test_an_error_then_ok_for_clients_with_and_without_a_name(self) -> None:
        script = {"turns": [{"error": {"kind": "transient", "times": 2}, "text": "ok"}]}
        for headers in ({"X-Salvo-Trace-Id": "t"}, {}):
            async with simulated(script) as (_, client):
                tried = [
                    (await client.post(OPENAI, json=body(), headers=headers)).status_code for _ in range(3)
                ]
            assert tried == [503, 503, 200]

    async def test_a_failed_exchange_may_be_billed(self) -> None:
        async with simulated(failing("error_in_200", usage={"input_tokens": 5})) as (provider, client):
            document = (await client.post(OPENAI, json=body())).json()
            assert document["usage"]["prompt_tokens"] == provider.stats()["input_tokens"] == 5


class TestLimits:
    async def test_beyond_the_shared_limit_callers_are_told_when_to_come_back(self) -> None:
        limited = {"scripts": {"any": SAID}, "rate_limit": {"requests_per_minute": 6, "burst": 2}}
        async with simulated(limited) as (_, client):
            replies = [
                await client.post(path, json=body()) for path in (OPENAI, ANTHROPIC, OPENAI, ANTHROPIC)
            ]
        assert [reply.status_code for reply in replies] == [200, 200, 429, 429]
        for reply in replies[2:]:
            assert 1 <= int(reply.headers["retry-after"]) <= 10
            assert 0 < int(reply.headers["retry-after-ms"]) <= 10_000

    async def test_a_scripted_wait_is_exact_in_milliseconds_and_rounded_up_in_seconds(self) -> None:
        async with simulated(failing("rate_limited", retry_after_s=0.25)) as (_, client):
            reply = await client.post(OPENAI, json=body())
        assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("1", "250")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Authorization": "Bearer k"}, 200),
            ({"x-api-key": "k"}, 200),
            ({"api-key": "k"}, 200),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"x-api-key": ""}, 401),
            ({}, 401),
        ],
    )
    async def test_a_key_is_asked_for_when_one_is_set(self, headers: dict[str, str], status: int) -> None:
        async with simulated(SAID, api_key="k") as (_, client):
            assert (await client.post(OPENAI, json=body(), headers=headers)).status_code == status
            assert (await client.get("/v1/models", headers=headers)).status_code == status
            assert (await client.get("/healthz")).status_code == 200

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"\xff", "not JSON"),
            (b"[" * 99_999, "not JSON"),
            (b"[]", "object"),
        ],
    )
    async def test_a_body_that_is_no_request_is_refused(self, sent: bytes, said: str) -> None:
        async with simulated(SAID) as (_, client):
            for path in (OPENAI, ANTHROPIC):
                reply = await client.post(path, content=sent)
                assert reply.status_code == 400
                assert said in reply.json()["error"]["message"]

    async def test_a_body_without_end_is_refused(self) -> None:
        async with simulated(SAID) as (_, client):
            reply = await client.post(OPENAI, content=b" " * (17 * 1024 * 1024))
        assert reply.status_code == 413

    async def test_a_model_nobody_wrote_is_not_found(self) -> None:
        async with simulated({"scripts": {"refund": SAID}}) as (_, client):
            reply = await client.post(OPENAI, json=body(model="gpt-4o"))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert "refund" in reply.json()["error"]["message"]

    async def test_a_wrong_path_says_what_there_is_and_a_wrong_method_what_is_allowed(self) -> None:
        async with simulated(SAID) as (_, client):
            lost = await client.post("/chat/completions", json=body())
            got = await client.get(OPENAI)
            put = await client.put("/stats")
        assert lost.status_code == 404
        assert OPENAI in lost.json()["error"]["message"]
        assert (got.status_code, got.headers["allow"]) == (405, "POST")
        assert (put.status_code, put.headers["allow"]) == (405, "GET, HEAD")


class TestServing:
    async def test_models_are_listed_under_the_names_that_choose_them(self) -> None:
        async with simulated({"scripts": {"refund": SAID, "org/odd": SAID}}) as (_, client):
            theirs = (await client.get("/v1/models")).json()
            del client.headers["anthropic-version"]
            ours = (await client.get("/v1/models")).json()
        assert (
            [m["id"] for m in theirs["data"]] == [m["id"] for m in ours["data"]] == ["sim/refund", "org/odd"]
        )
        assert (theirs["has_more"], ours["object"]) == (False, "list")

    async def test_stats_count_what_was_asked(self) -> None:
        async with simulated({"scripts": {"good": SAID, "bad": failing("transient")}}) as (_, client):
            for model in ("good", "good", "bad", "none"):
                await client.post(OPENAI, json=body(model=model))
            stats = (await client.get("/stats")).json()
        assert stats["requests"] == 4
        assert stats["by_status"] == {"200": 2, "503": 1, "404": 1}
        assert stats["by_script"] == {"good": 2, "bad": 1}
        assert stats["by_fault"] == {"transient": 1}
        assert (stats["in_flight"], stats["connections"], stats["connections_opened"]) == (0, 1, 1)

    async def test_the_log_has_one_line_for_every_request_however_it_ended(self, tmp_path: Path) -> None:
        log = tmp_path / "requests.jsonl"
        script = {
            "turns": [{"tool_calls": [{"name": "t"}]}, {"text": "ok"}],
            "errors": {"transient": 0.2, "reset": 0.1, "half_body": 0.1},
        }
        asked: Counter[tuple[str, int]] = Counter()
        async with simulated(script, request_log=log) as (_, client):

            async def conversation(trace_id: str) -> None:
                messages: list[Any] = [USER]
                for turn in range(2):
                    for _ in range(50):
                        asked[trace_id, turn] += 1
                        try:
                            reply = await client.post(
                                OPENAI, json=body(messages=messages), headers={"X-Salvo-Trace-Id": trace_id}
                            )
                        except httpx.TransportError:
                            continue
                        if reply.status_code == 200:
                            break
                    messages = openai_next(messages, reply.json())

            await asyncio.gather(*(conversation(f"t{k}") for k in range(30)))
            await client.post(OPENAI, json={})
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert Counter((line["trace_id"], line["turn"]) for line in lines if line["trace_id"]) == asked
        assert {line["fault"] for line in lines} >= {None, "transient", "reset", "half_body"}
        assert all((line["status"] is None) == (line["fault"] == "reset") for line in lines)
        assert (lines[-1]["status"], lines[-1]["turn"]) == (400, None)
        assert sorted(lines[0]) == LOGGED

    async def test_a_request_is_in_the_log_before_it_is_answered(self, tmp_path: Path) -> None:
        log = tmp_path / "requests.jsonl"
        async with simulated(SAID | {"latency_s": 3600}, request_log=log) as (_, client):
            asking = asyncio.create_task(client.post(OPENAI, json=body()))
            await until(lambda: log.read_text().count("\n") == 1)
            assert not asking.done()
            asking.cancel()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
    async def test_a_log_that_cannot_be_written_fails_the_request(self) -> None:
        async with simulated(SAID, request_log=Path("/dev/full")) as (_, client):
            reply = await client.post(OPENAI, json=body())
        assert reply.status_code == 500
        assert "request log" in reply.json()["error"]["message"]

    async def test_stopping_answers_what_waits_and_ends_hangs(self) -> None:
        scripts = {"slow": SAID | {"latency_s": 3600}, "hang": failing("hang")}
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            async with SimulatedProvider(ScriptBook.read({"scripts": scripts})) as provider:
                slow, hang = (
                    asyncio.create_task(client.post(provider.url + OPENAI, json=body(model=m)))
                    for m in scripts
                )
                await until(lambda: provider.stats()["in_flight"] == 2)
            assert (await slow).status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await hang

    async def test_a_thousand_connections_are_served_at_once(self) -> None:
        async with simulated(SAID | {"latency_s": 0.5}) as (provider, _):
            sent = json.dumps(body()).encode()
            request = (
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (OPENAI.encode(), len(sent))
                + sent
            )

            async def ask() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                writer.write(request)
                status = await reader.readline()
                writer.close()
                return status

            many = min(1000, files_allowed() // 3)
            async with asyncio.timeout(DEADLINE_S):
                statuses = await asyncio.gather(*(ask() for _ in range(many)))
        assert Counter(statuses) == {b"HTTP/1.1 200 OK\r\n": many}

    async def test_a_port_that_is_taken_is_a_usage_error(self) -> None:
        async with simulated(SAID) as (provider, _):
            with pytest.raises(UsageError, match=f"port {provider.port}") as refused:
                await SimulatedProvider(ScriptBook.read(SAID), port=provider.port).start()
        assert "--port" in refused.value.hint

    @pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 0)])
    async def test_an_address_that_cannot_be_is_a_usage_error(self, host: str, port: int) -> None:
        with pytest.raises(UsageError):
            await SimulatedProvider(ScriptBook.read(SAID), host=host, port=port).start()

    def test_an_empty_key_would_let_everybody_in_and_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="key is empty"):
            SimulatedProvider(ScriptBook.read(SAID), api_key="")

    def test_a_log_in_no_folder_is_a_usage_error(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be written"):
            SimulatedProvider(ScriptBook.read(SAID), request_log=tmp_path / "none" / "log")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_as_a_process_it_says_its_port_and_drains_on_a_signal(self, number: signal.Signals) -> None:
        code = (
            "from salvo_cli.simulator.book import ScriptBook\n"
            "from salvo_cli.simulator.server import run_simulator\n"
            "book = ScriptBook.read({'turns': [{'text': 'done', 'latency_s': 3600}]})\n"
            "run_simulator(book, ready=lambda port: print(port, flush=True))\n"
            "print('drained')\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{int(await process.stdout.readline())}"
            asking = asyncio.create_task(client.post(url + OPENAI, json=body(), timeout=DEADLINE_S))
            while (await client.get(url + "/stats")).json()["in_flight"] == 0:
                await asyncio.sleep(0.01)
            process.send_signal(number)
            assert (await asking).status_code == 200
            out, err = await process.communicate()
        assert (out, err, process.returncode) == (b"drained\n", b"", 0)


def files_allowed() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
