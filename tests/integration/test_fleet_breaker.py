"""Providers that go away while a fleet talks to them: nobody asks in vain, nothing is lost, all goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salvo_cli.simulator.book import ScriptBook
from salvo_core.fleet.breaker import Breakers
from salvo_core.resume import resume
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"


def storm(kind: str, **fields: Any) -> ScriptBook:
    """Return a book whose every answer is that fault."""
    return ScriptBook.read({"scripts": {MODEL: {"turns": [{"error": {"kind": kind} | fields}] * TURNS}}})


def fine() -> ScriptBook:
    return ScriptBook.read({"scripts": {MODEL: script()}})


def breakers(fleet: Fleet) -> Breakers:
    return Breakers(fleet.manifest.redis, fleet.manifest.address)


@pytest.mark.parametrize(
    ("kind", "fields"), [("server_error", {}), ("rate_limited", {"retry_after_s": 0.1}), ("hang", {})]
)
async def test_a_storm_of_seconds_is_waited_out_by_single_probes_and_costs_no_trial(
    fleet_on_files: Fleet, kind: str, fields: dict[str, Any]
) -> None:
    fleet = fleet_on_files
    fleet.project(providers={"openai": {"adapter": "openai", "timeouts": {"turn_s": 1.0}}})
    async with fleet.provider({MODEL: script(latency_s=0.05)}) as provider:
        await fleet.start(2, concurrency=20)
        plan = await fleet.submit(scenario(MODEL, timeout_s=8), trials=80)
        await until(lambda: len(fleet.requests()) >= 60, "the run is under way")
        provider.follow(storm(kind, **fields))
        watched = breakers(fleet)
        seen: list[Any] = []

        async def is_open() -> bool:
            seen[:] = await watched.troubles()
            return bool(seen)

        await until(is_open, "the breaker opens")
        assert (seen[0].provider, seen[0].state) == ("openai", "open")
        await asyncio.sleep(1.1)  # what was under way when it opened
        began = len(fleet.requests())
        await asyncio.sleep(3.0)
        probes = len(fleet.requests()) - began
        assert 1 <= probes <= 3, "one at a time, ever more seldom"
        counts = await fleet.manifest.counts(plan.run_id)
        assert counts.statuses["infra_error"] == 0
        provider.follow(fine())
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
        assert await watched.troubles() == []
    assert (summary.verdict, summary.counts["passed"]) == ("PASS", 80)
    assert set(summary.cells[0].outcomes) == {"completed"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [("authentication", "401"), ("quota", "the quota is used up")],
    ids=["revoked key", "no quota"],
)
async def test_what_no_waiting_mends_pauses_the_run_which_goes_on_when_a_person_mended_it(
    fleet_on_files: Fleet, kind: str, told: str
) -> None:
    fleet = fleet_on_files
    async with fleet.provider({MODEL: script(latency_s=0.05)}) as provider:
        await fleet.start(2, concurrency=10)
        plan = await fleet.submit(scenario(MODEL), trials=60)
        await until(lambda: len(fleet.requests()) >= 50, "the run is under way")
        provider.follow(storm(kind))
        paused = await fleet.until(
            plan, lambda c: c.state == "paused" and not c.statuses["running"], "the run is paused"
        )
        assert told in paused.paused_by
        assert "salvo resume" in paused.paused_by
        assert paused.statuses["infra_error"] == 0
        refused = sum(entry["fault"] == kind for entry in fleet.requests())
        assert refused <= 20, "only what was under way"
        await asyncio.sleep(0.5)
        assert sum(entry["fault"] == kind for entry in fleet.requests()) == refused
        kept = await fleet.finished_turns(plan)
        await resume(plan.run_id, **fleet.doors)  # too early: one asks, and all wait again
        again = await fleet.until(
            plan, lambda c: c.state == "paused" and not c.statuses["running"], "the run is paused again"
        )
        assert again.paused_by == paused.paused_by
        assert sum(entry["fault"] == kind for entry in fleet.requests()) == refused + 1
        provider.follow(fine())
        before = len(fleet.requests())
        await resume(plan.run_id, **fleet.doors)
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
    assert (summary.verdict, summary.counts["passed"]) == ("PASS", 60)
    asked_after = {(entry["trace_id"], entry["turn"]) for entry in fleet.requests()[before:]}
    assert not asked_after & kept, "what was paid for is not asked again"
    assert (await fleet.manifest.counts(plan.run_id)).paused_by == ""


async def test_one_conversation_that_always_fails_ends_alone(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    fleet.project(providers={"openai": {"adapter": "openai", "retries_max": 20}})
    bad = {"turns": [{"error": {"kind": "server_error"}}]}
    slow = script(latency_s=0.2)
    async with fleet.provider({"bad": bad, MODEL: slow}):
        await fleet.start(concurrency=10)
        plan = await fleet.submit(scenario(MODEL), trials=2, models=("bad", MODEL), concurrency_max=4)
        await until(
            lambda: sum(entry["model"] == "bad" for entry in fleet.requests()) >= 6,
            "one fails again and again",
        )
        assert await breakers(fleet).troubles() == []
        counts = await fleet.until(plan, lambda c: c.statuses["passed"] == 2, "the others pass")
        assert counts.state == "running"


async def test_a_profile_says_how_soon_its_provider_is_left_alone(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    terms = {"failures": 2, "trials": 1, "wait_first_s": 300, "wait_s_max": 300}
    fleet.project(providers={"openai": {"adapter": "openai", "breaker": terms}})
    async with fleet.provider({MODEL: {"turns": [{"error": {"kind": "server_error"}}]}}):
        await fleet.start()
        await fleet.submit(scenario(MODEL), trials=1)  # by default one trial alone opens nothing
        watched = breakers(fleet)
        await until(watched.troubles, "the breaker opens", deadline_s=60)
        (trouble,) = await watched.troubles()
        assert 200 < trouble.due_s <= 300
        assert len(fleet.requests()) == 2
