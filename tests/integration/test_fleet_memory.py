"""A Redis that drops keys or is nearly full: nobody works for it, and no run is ordered that fills it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from salvo_core.errors import RedisUnavailable
from salvo_core.fleet.registry import WorkerRegistry
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import scenario, script
from tests.servers.process import start_on_free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
FULL = "is out of memory"


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet with a Valkey of its own, whose memory a test may bound, and a folder."""
    with start_on_free_port(lambda port: RedisServer("valkey", port=port)) as server:
        made = Fleet(server, f"file://{tmp_path}/store")
        yield made
        await made.aclose()


@pytest.mark.parametrize("procs", ["1", "3"])
async def test_workers_do_not_start_for_a_redis_that_evicts_and_say_so_once(fleet: Fleet, procs: str) -> None:
    await fleet.manifest.redis.config_set("maxmemory-policy", "allkeys-lru")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "salvo_worker", "--procs", procs,
        env={**os.environ, **fleet.environ}, cwd=fleet.folder, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode == 69
    assert said.decode().count("error: ") == 1
    assert "maxmemory-policy allkeys-lru" in said.decode()
    assert "hint: set `maxmemory-policy noeviction`" in said.decode()
    assert "Traceback" not in said.decode()


async def test_nothing_is_ordered_into_a_redis_that_evicts(fleet: Fleet) -> None:
    await fleet.manifest.redis.config_set("maxmemory-policy", "allkeys-lfu")
    with pytest.raises(RedisUnavailable, match="allkeys-lfu"):
        await fleet.submit(scenario(MODEL), trials=2)
    assert await _is_untouched(fleet)


async def test_a_run_that_would_fill_redis_is_refused_before_anything_is_written(fleet: Fleet) -> None:
    used = (await fleet.manifest.redis.info("memory"))["used_memory"]
    await fleet.manifest.redis.config_set("maxmemory", used + 3_000_000)
    with pytest.raises(RedisUnavailable, match="no room for this run: 5,000 trials"):
        await fleet.submit(scenario(MODEL), trials=5000)
    assert await _is_untouched(fleet)
    # What the estimate lets in does fit, and runs to its end.
    async with fleet.provider({MODEL: script()}):
        plan = await fleet.submit(scenario(MODEL), trials=200)
        await fleet.start(concurrency=30)
        await fleet.sealed(plan)
        await fleet.audit(plan)


async def _is_untouched(fleet: Fleet) -> bool:
    stored = [key async for key in fleet.store.list("")]
    return not stored and not await fleet.manifest.open_runs() and not await fleet.dispatcher.queued()


async def test_a_worker_that_finds_its_redis_evicting_later_begins_no_trial_until_that_is_mended(
    fleet: Fleet,
) -> None:
    redis = fleet.manifest.redis
    async with fleet.provider({MODEL: script()}):
        plan = await fleet.submit(scenario(MODEL), trials=4)
        fleet.redis_server.kill9()  # who cannot be asked is not refused
        starting = asyncio.create_task(fleet.start())
        await until(lambda: fleet.workers and "cannot be reached" in fleet.workers[0].log(), "it waits")
        fleet.redis_server._command += ["--maxmemory-policy", "allkeys-lru"]
        fleet.redis_server.start()
        (worker,) = await starting
        registry = WorkerRegistry(redis, fleet.manifest.address)

        async def says_why() -> bool:
            return [card.shut for card in await registry.workers()] == [
                "maxmemory-policy allkeys-lru would drop rows of running trials"
            ]

        await until(says_why, "its card says why")
        assert (await fleet.manifest.counts(plan.run_id)).ended < plan.total
        await redis.config_set("maxmemory-policy", "noeviction")
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert "new trials are taken again" in worker.log()


async def test_a_redis_that_is_full_in_the_middle_of_a_run_keeps_everybody_waiting_and_loses_nothing(
    fleet: Fleet,
) -> None:
    async with fleet.provider({MODEL: script(0.3)}):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await fleet.until_all_hold(plan)
        await fleet.manifest.redis.config_set("maxmemory", 1)
        await until(lambda: all(FULL in worker.log() for worker in workers), "every worker says so")
        full = await fleet.manifest.counts(plan.run_id)
        finished = await fleet.finished_turns(plan)
        await until(
            lambda: all(worker.log().count(FULL) > 20 for worker in workers), "and says so for a while"
        )
        assert (await fleet.manifest.counts(plan.run_id)).ended == full.ended, "nothing can be written down"
        assert await fleet.dispatcher.queued() >= 0, "it can still be looked at"
        await fleet.manifest.redis.config_set("maxmemory", 0)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        counts = await fleet.manifest.counts(plan.run_id)
    assert all(worker.is_alive for worker in workers)
    assert not fleet.doubled() & finished
    assert counts.statuses["passed"] == plan.total
