"""What leaves a worker: the trial's id does, the provider's key does not (I7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
import zstandard

from salvo_core.resume import resume
from tests.integration.fleet import KEY, Fleet
from tests.integration.scripts import GOOD_TURNS, scenario
from tests.servers.minio import MinioServer
from tests.servers.redis import RedisServer
from tests.unit.adapters.server import CannedServer, answer

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
SPOKEN = "canary-b83e92aa-said-by-the-model-itself"
"""Another key than KEY: Redis' disk remembers it after its test, and KEY must never be there."""

SAID = answer({"choices": [{"message": {"content": GOOD_TURNS[-1]["text"]}, "finish_reason": "stop"}]})
TELLTALES = [
    answer({"error": {"message": f"slow down, {KEY}"}}, status=429, headers={"retry-after": "0"}),
    SAID,
    answer({"error": {"message": f"Incorrect API key provided: {KEY}."}}, status=401),
    answer({"error": {"message": f"no such key: {KEY}", "type": KEY, "code": KEY}}),
    answer(text=f"<html><title>{KEY}</title>{KEY}</html>", headers={"content-type": "text/html"}),
    answer(text=f'{{"choices": [{KEY}'),
    answer(text="moved", status=308, headers={"location": f"http://127.0.0.1/?key={KEY}"}),
    answer(text=KEY, status=404),
]
"""What says the key to its caller's face. The first and the broken JSON are asked again, once."""


@pytest.fixture
async def telltale() -> AsyncIterator[CannedServer]:
    """A provider that repeats the key it is sent wherever an answer has room for it."""
    server = CannedServer()
    server.plays(*TELLTALES)
    await server.start()
    yield server
    await server.stop()


def everything_in_redis(server: RedisServer) -> Iterator[bytes]:
    """Yield every key and every value, of every type."""
    with server.client() as client:
        for key in client.scan_iter():
            yield key
            yield from _values(client, key)


def everything_redis_was_told(server: RedisServer) -> Iterator[bytes]:
    """Yield every write of before, deleted or not: what it wrote to its disk."""
    for path in server.folder.rglob("*.aof"):
        yield path.read_bytes()


def _values(client: Any, key: bytes) -> Iterator[bytes]:
    match client.type(key):
        case b"string":
            yield client.get(key)
        case b"hash":
            for pair in client.hgetall(key).items():
                yield from pair
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case other:
            pytest.fail(f"{key!r} is of a type this test cannot read: {other!r}")


def everything_in(minio: MinioServer, bucket: str) -> Iterator[bytes]:
    """Yield the name, the metadata and the body of every object, unpacked."""
    client = minio.client()
    for entry in client.list_objects_v2(Bucket=bucket)["Contents"]:
        found = client.get_object(Bucket=bucket, Key=entry["Key"])
        yield entry["Key"].encode()
        yield repr(found["Metadata"]).encode()
        body = found["Body"].read()
        yield zstandard.decompress(body) if entry["Key"].endswith(".zst") else body


def holding(secret: str, parts: Iterable[bytes]) -> list[bytes]:
    """Return the beginnings of the parts that hold the secret."""
    return [part[:200] for part in parts if secret.encode() in part]


async def test_the_key_is_in_no_byte_that_leaves_a_worker(
    fleet: Fleet, minio: MinioServer, bucket: str, telltale: CannedServer
) -> None:
    fleet.project(providers={"openai": {"adapter": "openai", "retries_max": 1}})
    fleet.environ["OPENAI_BASE_URL"] = telltale.url
    (worker,) = await fleet.start(concurrency=1, loglevel="debug")
    plan = await fleet.submit(scenario(MODEL), trials=5)
    paused = await fleet.until(plan, lambda c: c.state == "paused" and not c.statuses["running"], "it pauses")
    assert "Incorrect API key provided: [REDACTED]" in paused.paused_by
    await resume(plan.run_id, **fleet.doors)
    await fleet.sealed(plan)
    traces = await fleet.audit(plan)
    assert sorted(trace.outcome for trace in traces) == ["completed"] + ["infra_error"] * 4
    assert len(telltale.seen) == len(TELLTALES)
    assert all(seen.headers["authorization"] == f"Bearer {KEY}" for seen in telltale.seen)
    for secret in (KEY, minio.secret_key):
        assert secret not in worker.log()
        assert not holding(secret, everything_in(minio, bucket))
        assert not holding(secret, everything_in_redis(fleet.redis_server))
        assert not holding(secret, everything_redis_was_told(fleet.redis_server))


async def test_a_key_that_a_model_says_is_not_kept(
    fleet: Fleet, minio: MinioServer, bucket: str, telltale: CannedServer
) -> None:
    telltale.plays(answer({"choices": [{"message": {"content": f"A refund, and your key is {SPOKEN}."}}]}))
    fleet.environ |= {"OPENAI_BASE_URL": telltale.url, "OPENAI_API_KEY": SPOKEN}
    (worker,) = await fleet.start(loglevel="debug")
    plan = await fleet.submit(scenario(MODEL), trials=2)
    await fleet.sealed(plan)
    for trace in await fleet.audit(plan):
        assert trace.final_content == "A refund, and your key is [REDACTED]."
    assert SPOKEN not in worker.log()
    assert not holding(SPOKEN, everything_in(minio, bucket))
    assert not holding(SPOKEN, everything_in_redis(fleet.redis_server))
    # It was struck out before the turn was journaled, so it never was in Redis at all.
    assert not holding(SPOKEN, everything_redis_was_told(fleet.redis_server))


async def test_what_the_project_calls_a_secret_is_not_stored(
    fleet: Fleet, minio: MinioServer, bucket: str, telltale: CannedServer
) -> None:
    fleet.project(recording={"custom_redaction_patterns": [r"CARD-\d+"]})
    telltale.plays(answer({"choices": [{"message": {"content": "Charged to CARD-4929 as you asked."}}]}))
    fleet.environ["OPENAI_BASE_URL"] = telltale.url
    await fleet.start()
    plan = await fleet.submit(scenario(MODEL), trials=2)
    await fleet.sealed(plan)
    for trace in await fleet.audit(plan):
        assert trace.final_content == "Charged to [REDACTED] as you asked."
    assert not holding("CARD-4929", everything_in(minio, bucket))


async def test_each_request_says_which_trial_it_is_for(fleet: Fleet, telltale: CannedServer) -> None:
    telltale.plays(SAID)
    fleet.environ["OPENAI_BASE_URL"] = telltale.url
    await fleet.start()
    plan = await fleet.submit(scenario(MODEL), trials=5)
    await fleet.sealed(plan)
    found = sorted(seen.headers["x-salvo-trace-id"] for seen in telltale.seen)
    assert found == [plan.trace_id(index) for index in range(5)]
