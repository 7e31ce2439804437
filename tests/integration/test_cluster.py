"""Keys of a run lie in one slot: whole runs on a server that refuses any call across two."""

from collections.abc import AsyncIterator

import pytest

from salvo_core.cancel import cancel
from salvo_core.fleet.registry import WorkerCard, WorkerRegistry
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.pulse import pulse
from salvo_core.store.memory import MemoryStore
from salvo_core.sweep import Sweeper
from tests.integration.site import Site, order
from tests.servers.process import start_on_free_port, wait_until
from tests.servers.redis import FLAVOURS, RedisServer, find_redis
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers


@pytest.fixture(params=FLAVOURS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site on a cluster of one node, which holds every slot."""
    if find_redis(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    options = ("--cluster-enabled", "yes")
    with start_on_free_port(lambda port: RedisServer(request.param, port=port, options=options)) as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            wait_until(
                lambda: (
                    "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))
                ),
                what="the cluster is ready",
            )
        made = Site(server.url, MemoryStore())
        yield made
        await made.aclose()


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
