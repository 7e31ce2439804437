"""Workers told to leave while a server is silent or gone: they are gone inside their bound, with code 0."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.integration.fleet import Fleet, until
from tests.integration.scripts import GOOD_TURNS, TURNS, scenario, script
from tests.servers.minio import MinioServer
from tests.servers.process import ServerProcess, start_on_free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
HANGING_SECOND_TURN = [GOOD_TURNS[0], GOOD_TURNS[1] | {"error": {"kind": "hang", "times": 1}}, GOOD_TURNS[2]]
GRACE_S = 3.0
LONG_GRACE_S = 600.0
OVERTIME_S = 25.0
"""A worker is gone a second after its grace; the rest is for a busy machine."""


@pytest.fixture
async def mortal(bucket: str) -> AsyncIterator[tuple[Fleet, RedisServer, MinioServer]]:
    """A fleet with servers of its own."""
    with (
        start_on_free_port(lambda port: RedisServer("valkey", port=port)) as redis_server,
        start_on_free_port(MinioServer) as minio,
    ):
        minio.client().create_bucket(Bucket=bucket)
        fleet = Fleet(redis_server, f"s3://{bucket}", s3_endpoint_url=minio.endpoint_url)
        yield fleet, redis_server, minio
        await fleet.aclose()


def silence(server: ServerProcess, how: str) -> None:
    """Kill a server, or let it hold its connections and say nothing."""
    if how == "dead":
        server.kill9()
    else:
        os.kill(server.pid, signal.SIGSTOP)


def revive(server: ServerProcess, how: str) -> None:
    """Let it answer again."""
    if how == "dead":
        server.start()
    else:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("how", "told"), [("silent", "once"), ("dead", "twice")], ids=["silent, told once", "dead, told twice"]
)
async def test_a_worker_leaves_in_time_also_when_redis_does_not_answer(
    mortal: tuple[Fleet, RedisServer, MinioServer], how: str, told: str
) -> None:
    fleet, redis_server, _ = mortal
    grace_s = GRACE_S if told == "once" else LONG_GRACE_S
    async with fleet.provider({MODEL: {"turns": HANGING_SECOND_TURN}}):
        (worker,) = await fleet.start(environ={"SALVO_GRACE_S": str(grace_s)})
        plan = await fleet.submit(scenario(MODEL), trials=4)
        await until(lambda: len(fleet.requests()) == 4 * 2, "every trial hangs in its second turn")
        finished = await fleet.finished_turns(plan)
        silence(redis_server, how)
        worker.signal(signal.SIGTERM)
        if told == "twice":
            await until(lambda: "Warm shutdown" in worker.log(), "the worker was told")
            worker.signal(signal.SIGTERM)
        assert await worker.ended(deadline_s=GRACE_S + OVERTIME_S) == 0
        revive(redis_server, how)
        await fleet.start()
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert not fleet.doubled() & finished
    assert len(fleet.asked()) == plan.total * TURNS


async def test_a_worker_leaves_in_time_also_when_the_store_is_silent(
    mortal: tuple[Fleet, RedisServer, MinioServer],
) -> None:
    fleet, _, minio = mortal
    async with fleet.provider({MODEL: script(0.5)}):
        (worker,) = await fleet.start(environ={"SALVO_GRACE_S": str(GRACE_S)})
        plan = await fleet.submit(scenario(MODEL), trials=4)
        await until(lambda: len(fleet.requests()) > 4, "conversations are under way")
        silence(minio, "silent")
        everything = plan.total * TURNS

        async def said() -> bool:
            return len(await fleet.finished_turns(plan)) == everything

        await until(said, "every turn is kept, and the traces wait for the store")
        worker.signal(signal.SIGTERM)
        assert await worker.ended(deadline_s=GRACE_S + OVERTIME_S) == 0
        revive(minio, "silent")
        await fleet.start()
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert set(fleet.asked().values()) == {1}, "what waited was in the journal"
