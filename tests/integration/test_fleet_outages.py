"""Servers that go away in the middle of a run, and what the run does meanwhile: wait, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from salvo_core.errors import StoreRefused
from salvo_core.fleet.registry import WorkerCard, WorkerRegistry
from salvo_core.store.opening import open_store
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script
from tests.integration.slow_line import SlowLine
from tests.servers.minio import MinioServer
from tests.servers.process import start_on_free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
BUSY = {MODEL: script(0.1)}
WAITS = "for the store"
"""What a worker's log says of a finished conversation that cannot be stored yet."""
AWAY = "cannot be reached"
"""What it says of a Redis that does not answer."""

READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["*"]}],
}


@pytest.fixture
async def mortal_redis(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet with a Valkey of its own and a folder."""
    with start_on_free_port(lambda port: RedisServer("valkey", port=port)) as server:
        fleet = Fleet(server, f"file://{tmp_path}/store")
        yield fleet
        await fleet.aclose()


@pytest.fixture
async def mortal_minio(redis_server: RedisServer, bucket: str) -> AsyncIterator[tuple[Fleet, MinioServer]]:
    """A fleet with a MinIO of its own."""
    redis_server.flush()
    with start_on_free_port(MinioServer) as server:
        server.client().create_bucket(Bucket=bucket)
        fleet = Fleet(redis_server, f"s3://{bucket}", s3_endpoint_url=server.endpoint_url)
        yield fleet, server
        await fleet.aclose()


async def test_a_run_survives_a_redis_that_is_killed_and_comes_back(mortal_redis: Fleet) -> None:
    fleet = mortal_redis
    async with fleet.provider(BUSY):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await fleet.until_ended(plan, 8)
        fleet.redis_server.kill9()
        fleet.redis_server.start()  # at once: connections break, and that is all
        finished = await fleet.finished_turns(plan)
        await fleet.until_ended(plan, 24)
        noticed = [worker.log().count(AWAY) for worker in workers]
        fleet.redis_server.kill9()
        await until(
            lambda: all(worker.log().count(AWAY) > n for worker, n in zip(workers, noticed, strict=True)),
            "every worker notices that Redis is away",
        )
        fleet.redis_server.start()
        finished |= await fleet.finished_turns(plan)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert all(worker.is_alive for worker in workers)
    assert not fleet.doubled() & finished


async def test_a_redis_that_is_away_for_leases_on_end_costs_no_turn_no_attempt_and_no_strike(
    mortal_redis: Fleet,
) -> None:
    fleet = mortal_redis
    async with fleet.provider({MODEL: script(0.5)}):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await fleet.until_all_hold(plan)
        fleet.redis_server.kill9()
        await until(lambda: all(_silent_s(worker.log()) > 6 for worker in workers), "three leases run out")
        fleet.redis_server.start()
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
        counts = await fleet.manifest.counts(plan.run_id)
    assert all(worker.is_alive for worker in workers)
    assert set(fleet.asked().values()) == {1}
    assert {trace.attempt for trace in traces} == {1}
    assert (counts.expired, counts.statuses["infra_error"]) == (0, 0)


def _silent_s(log: str) -> float:
    """Return for how long a worker has not been able to renew its leases, by the last word of its log."""
    said = re.findall(r"leases were not renewed for ([\d.]+) s", log)
    return float(said[-1]) if said else 0.0


async def test_a_worker_that_is_there_before_its_redis_waits_for_it(mortal_redis: Fleet) -> None:
    fleet = mortal_redis
    async with fleet.provider({MODEL: script()}):
        plan = await fleet.submit(scenario(MODEL), trials=6)
        fleet.redis_server.kill9()
        starting = asyncio.create_task(fleet.start())
        await until(lambda: fleet.workers and AWAY in fleet.workers[0].log(), "it says so")
        fleet.redis_server.start()
        await starting
        await fleet.sealed(plan)
        await fleet.audit(plan)


async def test_what_a_power_cut_took_from_redis_is_done_again_and_counted_once(mortal_redis: Fleet) -> None:
    fleet = mortal_redis
    (log,) = (fleet.redis_server.folder / "appendonlydir").glob("*.incr.aof")
    async with fleet.provider(BUSY):
        await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=40)
        await fleet.until_ended(plan, 4)
        on_disk = log.stat().st_size
        await fleet.until_ended(plan, 20)
        fleet.redis_server.kill9()
        assert log.stat().st_size > on_disk
        with log.open("r+b") as file:  # as if what came after had never left the page cache
            file.truncate(on_disk)
        fleet.redis_server.start()
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert len(traces) == plan.total
    names = Counter(name.rpartition(".a")[0] for name in await fleet.stored_traces(plan))
    assert len(names) == plan.total


async def test_finished_conversations_wait_for_a_minio_that_is_away(
    mortal_minio: tuple[Fleet, MinioServer],
) -> None:
    fleet, minio = mortal_minio
    async with fleet.provider(BUSY):
        workers = await fleet.start(2, concurrency=10)
        plan = await fleet.submit(scenario(MODEL), trials=200)
        await fleet.until_all_ended(plan)
        minio.kill9()
        await until(lambda: all(worker.log().count(WAITS) >= 10 for worker in workers), "many slots wait")
        minio.start()
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert all(worker.is_alive for worker in workers)
    assert set(fleet.asked().values()) == {1}
    assert len(fleet.asked()) == plan.total * TURNS
    assert {trace.attempt for trace in traces} == {1}


async def test_a_store_whose_answers_take_longer_than_a_lease_costs_time_and_nothing_else(
    redis_server: RedisServer, minio: MinioServer, bucket: str
) -> None:
    redis_server.flush()
    async with SlowLine.to(minio.endpoint_url) as line:
        fleet = Fleet(redis_server, f"s3://{bucket}", s3_endpoint_url=line.url)
        async with fleet.provider(BUSY):
            await fleet.start(2)
            plan = await fleet.submit(scenario(MODEL), trials=20)
            await fleet.until_ended(plan, 1)
            line.delay_s = 2.5  # a lease lasts 2 s
            await fleet.sealed(plan, deadline_s=120)
            line.delay_s = 0.0
            traces = await fleet.audit(plan)
        counts = await fleet.manifest.counts(plan.run_id)
        assert all(worker.is_alive for worker in fleet.workers)
        assert set(fleet.asked().values()) == {1}
        assert {trace.attempt for trace in traces} == {1}
        assert (counts.expired, counts.statuses["infra_error"]) == (0, 0)
        for worker in fleet.workers:  # slow is not away
            assert "no new trials are taken" not in worker.log()
        await fleet.aclose()


async def test_a_worker_that_comes_while_minio_is_away_waits_and_blames_no_trial(
    mortal_minio: tuple[Fleet, MinioServer],
) -> None:
    fleet, minio = mortal_minio
    async with fleet.provider(BUSY):
        plan = await fleet.submit(scenario(MODEL), trials=6)
        minio.kill9()
        (worker,) = await fleet.start()
        await until(lambda: "no new trials are taken" in worker.log(), "the worker misses the store")
        minio.start()
        assert (await fleet.sealed(plan)).verdict == "PASS"
        await fleet.audit(plan)
    assert worker.is_alive
    assert set(fleet.asked().values()) == {1}
    assert (await fleet.manifest.counts(plan.run_id)).expired == 0


async def test_a_worker_that_cannot_store_begins_no_trial_and_says_so_until_it_can(
    mortal_minio: tuple[Fleet, MinioServer],
) -> None:
    fleet, minio = mortal_minio
    async with fleet.provider(BUSY):
        (worker,) = await fleet.start(concurrency=10)
        later = await fleet.submit(scenario(MODEL), trials=5)
        await fleet.manifest.pause(later.run_id)
        plan = await fleet.submit(scenario(MODEL), trials=3)
        begun = (await fleet.manifest.counts(later.run_id)).claims
        asked = len(fleet.requests())
        await until(lambda: len(fleet.requests()) >= asked + plan.total, "each conversation is under way")
        minio.kill9()
        await until(lambda: WAITS in worker.log(), "a conversation waits")
        await fleet.manifest.unpause(later.run_id)
        await fleet.dispatcher.publish(later.message(index) for index in range(later.total))
        waits = worker.log().count(WAITS)
        await until(lambda: worker.log().count(WAITS) > waits + 2, "the worker looks at the store again")
        assert (await fleet.manifest.counts(later.run_id)).claims == begun  # slots are free all the same
        assert worker.log().count("no new trials are taken") == 1
        registry = WorkerRegistry(fleet.manifest.redis, fleet.manifest.address)

        async def card() -> WorkerCard:
            (found,) = await registry.workers()
            return found

        async def says_why() -> bool:
            return "cannot reach s3://" in (await card()).shut

        await until(says_why, "its card says why")
        minio.start()
        for one in (plan, later):
            await fleet.sealed(one)
            await fleet.audit(one)
    assert set(fleet.asked().values()) == {1}
    assert "new trials are taken again" in worker.log()


async def test_conversations_wait_for_a_bucket_that_was_deleted(
    mortal_minio: tuple[Fleet, MinioServer],
) -> None:
    fleet, minio = mortal_minio
    client, bucket = minio.client(), fleet.store.address.removeprefix("s3://")
    async with fleet.provider(BUSY):
        (worker,) = await fleet.start(concurrency=10)
        plan = await fleet.submit(scenario(MODEL), trials=30)
        await fleet.until_ended(plan, 4)
        kept = _taken_away(client, bucket)
        await until(lambda: worker.log().count(WAITS) >= 10, "every slot waits")
        client.create_bucket(Bucket=bucket)
        for key, (body, metadata) in kept.items():
            client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert worker.is_alive
    assert set(fleet.asked().values()) == {1}


def _taken_away(client: Any, bucket: str) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Delete a bucket that others still write to; return what was in it."""
    kept: dict[str, tuple[bytes, dict[str, str]]] = {}
    while True:
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            found = client.get_object(Bucket=bucket, Key=entry["Key"])
            kept[entry["Key"]] = found["Body"].read(), found["Metadata"]
            client.delete_object(Bucket=bucket, Key=entry["Key"])
        try:
            client.delete_bucket(Bucket=bucket)
        except client.exceptions.ClientError as refused:
            if refused.response["Error"]["Code"] != "BucketNotEmpty":
                raise
        else:
            return kept


async def test_a_run_cannot_be_ordered_into_a_bucket_that_is_not_there(
    fleet: Fleet, minio: MinioServer
) -> None:
    fleet.doors["store"] = missing = open_store("s3://no-such-bucket", endpoint_url=minio.endpoint_url)
    with pytest.raises(StoreRefused, match="no-such-bucket") as refused:
        await fleet.submit(scenario(MODEL), trials=2)
    await missing.aclose()
    assert "create the bucket" in refused.value.hint
    assert await fleet.manifest.open_runs() == []
    assert await fleet.manifest.recent(-1) == []
    assert await fleet.dispatcher.queued() == 0


def credentials_of_a_reader(minio: MinioServer) -> dict[str, str]:
    """Return the environment of somebody who may read every bucket and write none."""
    found = minio.client("sts").assume_role(
        RoleArn="arn:aws:iam::ignored:role/by-minio", RoleSessionName="reader", Policy=json.dumps(READ_ONLY)
    )["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }


async def test_a_run_cannot_be_ordered_where_one_may_only_read(
    fleet: Fleet, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in credentials_of_a_reader(minio).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreRefused, match="may not do that"):
        await fleet.submit(scenario(MODEL), trials=2)
    assert await fleet.manifest.open_runs() == []
    assert await fleet.dispatcher.queued() == 0


async def test_a_worker_that_may_not_write_keeps_its_conversations_for_one_that_may(
    fleet: Fleet, minio: MinioServer
) -> None:
    async with fleet.provider(BUSY):
        plan = await fleet.submit(scenario(MODEL), trials=4)
        (denied,) = await fleet.start(environ=credentials_of_a_reader(minio))
        await until(lambda: denied.log().count("may not do that") >= 4, "every trial waits")
        # The operator sees it in the log, and puts a worker with the right credentials in its place.
        denied.signal(signal.SIGTERM)
        assert await denied.ended() == 0
        await fleet.start()
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert set(fleet.asked().values()) == {1}
