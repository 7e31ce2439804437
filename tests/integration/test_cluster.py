"""Keys of a run lie in one slot: whole runs on a server that refuses any call across two."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from salvo_core.cancel import cancel
from salvo_core.errors import RedisUnavailable
from salvo_core.fleet.registry import WorkerCard, WorkerRegistry
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.pulse import pulse
from salvo_core.store.memory import MemoryStore
from salvo_core.sweep import Sweeper
from tests.integration.fleet import ROOT
from tests.integration.site import Site, order
from tests.servers.process import start_on_free_port, wait_until
from tests.servers.redis import FLAVOURS, Flavour, RedisServer, find_redis
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers


@pytest.fixture(params=FLAVOURS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site on a cluster of one node, which holds every slot."""
    if find_redis(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with start_on_free_port(lambda port: _node(request.param, port), port_max=PORT_MAX) as server:
        _give_slots(server, range(16384))
        made = Site(server.url, MemoryStore())
        yield made
        await made.aclose()


PORT_MAX = 55_535
"""A cluster's node listens 10,000 ports higher, too."""


def _node(flavour: Flavour, port: int) -> RedisServer:
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    return RedisServer(flavour, port=port, options=options)


def _give_slots(server: RedisServer, slots: range) -> None:
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *slots)
        wait_until(
            lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)),
            what="the cluster is ready",
        )


async def test_runs_are_worked_swept_cancelled_and_sealed_in_a_cluster(site: Site) -> None:
    plan = await site.submit(order(6, idempotency_key="once", concurrency_max=2))
    doomed = await site.submit(order(5))
    registry = WorkerRegistry(site.manifest.redis, site.manifest.address)
    for name in ("w1", "w2", "w3"):
        card = WorkerCard(
            name=name, host="h", pid=1, concurrency=1, running=0, started_ms=0, salvo_version="1"
        )
        await registry.beat(card)
    assert [card.name for card in await registry.workers()] == ["w1", "w2", "w3"]
    await _abandon(site.manifest, doomed)
    sweeper = Sweeper(site.store, site.manifest, site.outbox, StepClock())
    assert await pulse(site.manifest, silence_s=15, mercy_s=30) == 0
    assert await sweeper.sweep() == 2
    await cancel(doomed.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work(site.bench("w1"), site.bench("w2"))
    for one in (plan, doomed):
        await site.check(one)
        assert await site.state(one.run_id) == "sealed"
    assert (await site.manifest.recent(10)) == [doomed.run_id, plan.run_id]
    assert await site.manifest.open_runs() == []


async def _abandon(manifest: Manifest, plan) -> None:
    """Let two workers hold trials of the run: one gives its trial back, the other is gone for good."""
    for index in (0, 1):
        claim = await manifest.claim(plan.run_id, index, plan.trace_id(index), f"w{index}", lease_s=30)
        if index:
            await manifest.give_back(claim)
    lease_ends = f"salvo:{{{plan.run_id}}}:leases"
    await manifest.redis.zadd(lease_ends, {"0": 1})


async def test_the_queue_is_not_put_into_a_cluster_and_whoever_would_is_told(
    site: Site, tmp_path: Path
) -> None:
    for command in (("salvo_worker",), ("salvo_cli", "doctor")):
        code, said = await _told(command, site.manifest.address, tmp_path)
        assert code == 69
        assert "belongs to a Redis Cluster, which cannot carry the queue" in said
        assert "Sentinel" in said


@pytest.fixture
def node() -> Iterator[RedisServer]:
    """One node of a cluster, with half of the slots; nobody has the others."""
    with start_on_free_port(lambda port: _node("valkey", port), port_max=PORT_MAX) as server:
        _give_slots(server, range(8192))
        yield server


async def test_a_node_that_keeps_only_some_keys_is_refused_before_anything_is_written(
    node: RedisServer, tmp_path: Path
) -> None:
    site = Site(node.url, MemoryStore())
    for _ in range(4):  # a run's own slot may be the node's or not
        with pytest.raises(RedisUnavailable, match="a node of a Redis Cluster") as refused:
            await site.submit(order(2))
        assert "Sentinel" in refused.value.hint
    assert await site.everything_stored() == {}
    with node.client() as client:
        assert client.dbsize() == 0
    await site.aclose()
    # The queue elsewhere does not mend it.
    code, said = await _told(("salvo_worker",), node.url, tmp_path, SALVO_BROKER_URL="unix:///nowhere.sock")
    assert (code, "a node of a Redis Cluster" in said) == (69, True)


async def _told(command: tuple[str, ...], url: str, folder: Path, **more: str) -> tuple[int | None, str]:
    """Return how a command on that Redis ends, and what it says."""
    environ = {
        "SALVO_REDIS_URL": url, "SALVO_STORE_URL": f"file://{folder}/store", "SALVO_ALLOW_ROOT": "1",
        "COLUMNS": "300",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", *command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ, **more}, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert "Traceback" not in said.decode()
    return process.returncode, " ".join(said.decode().split())
