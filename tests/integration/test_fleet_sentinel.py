"""A fleet that finds its Redis by way of sentinels, through the loss of the primary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from salvo_core.errors import RedisUnavailable
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import scenario, script
from tests.servers.sentinel import SentinelTrio

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"


@pytest.fixture
def trio() -> Iterator[SentinelTrio]:
    with SentinelTrio() as running:
        yield running


@pytest.fixture
async def fleet(trio: SentinelTrio, tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(trio.primary, f"file://{tmp_path}/store", redis_url=trio.url)
    yield made
    await made.aclose()


async def test_a_run_survives_the_loss_of_its_primary_and_a_sentinel(
    fleet: Fleet, trio: SentinelTrio
) -> None:
    async with fleet.provider({MODEL: script(0.1)}):
        workers = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await fleet.until_ended(plan, 8)
        trio.sentinels[0].kill9()
        trio.primary.kill9()

        async def is_reached_again() -> bool:
            try:
                return bool(await fleet.manifest.counts(plan.run_id))
            except RedisUnavailable:
                return False

        await until(is_reached_again, "another server is promoted")
        await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert len(traces) == plan.total
    assert all(worker.is_alive for worker in workers)
    with trio.replica.client() as client:
        assert client.info("replication")["role"] == "master"
    # What the replica had not heard yet is done again; a primary is only that far ahead of it.
    assert max(fleet.asked().values()) <= 2
    assert len(fleet.doubled()) <= 2 * 8
