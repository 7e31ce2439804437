"""Commands that travel together: each hears its own reply, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError

from salvo_core.manifest.batching import BATCHES_MAX, COMMANDS_MAX, BatchingRedis
from salvo_core.manifest.connection import connect

DEADLINE_S = 30


@dataclass
class Scribe:
    """A server that speaks enough of Redis to be asked: it answers GET with the key, as it is told."""

    heard: list[list[str]] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    """Commands that came in one piece, for each piece that came."""
    connections: int = 0
    hang_up_before: set[str] = field(default_factory=set)
    """Keys at which the connection is closed instead of answered, once each."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        rest = b""
        try:
            while piece := await reader.read(1 << 20):
                commands, rest = parsed(rest + piece)
                self.writes.append(sum(command[0] == "GET" for command in commands))
                for command in commands:
                    self.heard.append(command)
                    if command[-1] in self.hang_up_before:
                        self.hang_up_before.remove(command[-1])
                        return
                    if command[0] == "GET":
                        await self.held.wait()
                    writer.write(self.reply(command))
        finally:
            writer.close()

    def reply(self, command: list[str]) -> bytes:
        match command:
            case ["HELLO", *_]:
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            case ["PING"]:
                return b"+PONG\r\n"
            case ["GET", "refused"]:
                return b"-WRONGTYPE not a string\r\n"
            case ["GET", "no text"]:
                return b"$2\r\n\xff\xfe\r\n"
            case ["GET", key]:
                return f"${len(key)}\r\n{key}\r\n".encode()
            case _:
                return b"+OK\r\n"


def parsed(data: bytes) -> tuple[list[list[str]], bytes]:
    """Return the whole commands in data, and what is left of it."""
    commands: list[list[str]] = []
    while True:
        lines, at = data.split(b"\r\n"), 0
        if not lines[0].startswith(b"*") or len(lines) < 2 * int(lines[0][1:]) + 2:
            return commands, data
        count = int(lines[0][1:])
        commands.append([lines[2 * number + 2].decode() for number in range(count)])
        at = sum(len(line) + 2 for line in lines[: 2 * count + 1])
        data = data[at:]


@pytest.fixture
async def scribe() -> AsyncIterator[Scribe]:
    made = Scribe()
    made.held.set()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def client(scribe: Scribe) -> AsyncIterator[Redis]:
    made = connect(f"redis://127.0.0.1:{scribe.port}/0")
    assert isinstance(made, BatchingRedis)
    yield made
    await made.aclose()


async def ask(client: Redis, *keys: str) -> list[Any]:
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*(client.get(key) for key in keys), return_exceptions=True)


async def test_what_is_asked_in_one_turn_of_the_loop_goes_as_one_write(scribe: Scribe, client: Redis) -> None:
    keys = [f"k{number}" for number in range(50)]
    assert await ask(client, *keys) == keys
    assert [write for write in scribe.writes if write] == [50]


async def test_a_batch_is_bounded_and_so_are_those_under_way(scribe: Scribe, client: Redis) -> None:
    scribe.held.clear()
    keys = [f"k{number}" for number in range(COMMANDS_MAX * BATCHES_MAX * 2)]
    asking = asyncio.create_task(ask(client, *keys))
    async with asyncio.timeout(DEADLINE_S):
        while sum(scribe.writes) < COMMANDS_MAX:
            await asyncio.sleep(0.01)
    assert scribe.connections <= BATCHES_MAX
    scribe.held.set()
    assert await asking == keys
    assert scribe.connections <= BATCHES_MAX


async def test_a_refusal_is_heard_by_the_command_it_is_meant_for_alone(client: Redis) -> None:
    first, refused, last = await ask(client, "a", "refused", "b")
    assert (first, last) == ("a", "b")
    assert isinstance(refused, ResponseError)


async def test_a_command_that_cannot_be_written_is_refused_alone(scribe: Scribe, client: Redis) -> None:
    async with asyncio.timeout(DEADLINE_S):
        first, refused, last = await asyncio.gather(
            client.get("a"),
            client.get({"no": "key"}),
            client.get("b"),
            return_exceptions=True,  # type: ignore[arg-type]
        )
    assert (first, last) == ("a", "b")
    assert isinstance(refused, DataError)
    assert len([one for one in scribe.heard if one[0] == "GET"]) == 2


async def test_a_reply_that_is_no_text_spoils_no_other(client: Redis) -> None:
    first, spoilt, last = await ask(client, "a", "no text", "b")
    assert (first, last) == ("a", "b")
    assert isinstance(spoilt, UnicodeDecodeError)


async def test_a_connection_that_breaks_takes_only_the_replies_that_had_not_come(
    scribe: Scribe, client: Redis
) -> None:
    scribe.hang_up_before = {"c"}
    assert await ask(client, "a", "b", "c", "d") == ["a", "b", "c", "d"]
    asked = [command[1] for command in scribe.heard if command[0] == "GET"]
    assert asked == ["a", "b", "c", "c", "d"], "what was answered is not asked again"


async def test_a_server_that_keeps_hanging_up_is_told_to_everybody_who_waits(
    scribe: Scribe, client: Redis
) -> None:
    class Always(set[str]):
        def remove(self, _: str) -> None:
            """Hang up every time."""

    scribe.hang_up_before = Always({"c"})
    first, *failed = await ask(client, "a", "c", "d")
    assert first == "a"
    assert all(isinstance(error, RedisConnectionError) for error in failed)
    assert failed[0] is not failed[1], "each raises an error of its own"
    scribe.hang_up_before = set()
    assert await ask(client, "e") == ["e"]


async def test_who_stops_waiting_takes_nobody_along(scribe: Scribe, client: Redis) -> None:
    scribe.held.clear()
    one, other = (asyncio.create_task(ask(client, key)) for key in "ab")
    async with asyncio.timeout(DEADLINE_S):
        while not any(scribe.writes):
            await asyncio.sleep(0.01)
    one.cancel()
    scribe.held.set()
    assert await other == ["b"]
    assert await ask(client, "c") == ["c"]
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_what_nobody_waits_for_any_more_is_not_sent(scribe: Scribe, client: Redis) -> None:
    asking = asyncio.create_task(client.get("never"))
    await asyncio.sleep(0)  # it has asked, and the loop has not turned
    asking.cancel()
    assert await ask(client, "a") == ["a"]
    assert ["GET", "never"] not in scribe.heard
