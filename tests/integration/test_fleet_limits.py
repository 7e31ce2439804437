"""A fleet within a provider's limits: what is stated is kept to by all, what is not is found out."""

from __future__ import annotations

import pytest

from salvo_core.fleet.limits import ProviderLimits
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
DEADLINE_S = 90.0


async def test_two_workers_keep_to_one_rate_and_status_can_tell_who_waits(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    fleet.project(providers={"openai": {"adapter": "openai", "requests_per_min": 600, "retries_max": 10}})
    limit = {"requests_per_minute": 600, "burst": 40}
    async with fleet.provider({MODEL: script()}, rate_limit=limit) as provider:
        await fleet.start(2, concurrency=20)
        plan = await fleet.submit(scenario(MODEL), trials=20)
        limits = ProviderLimits(fleet.manifest.redis, fleet.manifest.address)
        most = 0

        async def sealed() -> bool:
            nonlocal most
            for queue in await limits.queues(["openai"]):
                assert queue.requests_per_min == 600
                most = max(most, queue.runs.get(plan.run_id, 0))
            return (await fleet.manifest.counts(plan.run_id)).state == "sealed"

        await until(sealed, "the run is sealed", deadline_s=DEADLINE_S)
        await fleet.audit(plan)
        answered = provider.stats()["by_status"]["200"]
    assert answered == 20 * TURNS
    assert 1 <= most <= 20


async def test_the_slots_of_a_killed_worker_come_back_and_no_more_are_taken(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    fleet.project(providers={"openai": {"adapter": "openai", "concurrency_max": 2}})
    async with fleet.provider({MODEL: script(latency_s=0.3)}) as provider:
        (killed,) = await fleet.start(concurrency=6)
        plan = await fleet.submit(scenario(MODEL), trials=6)
        await until(lambda: provider.stats()["in_flight"] == 2, "both slots are taken", deadline_s=DEADLINE_S)
        killed.kill9()
        await until(
            lambda: provider.stats()["in_flight"] == 0, "its requests are gone", deadline_s=DEADLINE_S
        )
        await fleet.start(2, concurrency=6)
        summary = await fleet.sealed(plan, deadline_s=DEADLINE_S)
        await fleet.audit(plan)
        assert provider.stats()["in_flight_peak"] == 2
    assert (summary.verdict, summary.counts["passed"]) == ("PASS", 6)


async def test_a_limit_that_nobody_stated_is_found_out_and_costs_no_trial(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    fleet.project(providers={"openai": {"adapter": "openai", "retries_max": 20}})
    limit = {"requests_per_minute": 1200, "burst": 10}
    async with fleet.provider({MODEL: script()}, rate_limit=limit) as provider:
        await fleet.start(2, concurrency=20)
        plan = await fleet.submit(scenario(MODEL), trials=40)
        summary = await fleet.sealed(plan, deadline_s=DEADLINE_S)
        await fleet.audit(plan)
        refused = provider.stats()["by_status"].get("429", 0)
    assert (summary.verdict, summary.counts["passed"]) == ("PASS", 40)
    if refused:
        assert await ProviderLimits(fleet.manifest.redis, fleet.manifest.address).known("openai")
