"""A budget that many workers share: what the provider was paid, by its own log, is never more."""

from __future__ import annotations

import math

import pytest

from salvo_core.manifest.budget import Budget
from salvo_core.resume import resume
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import scenario, script
from tests.integration.test_fleet_rebuild import known

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
INPUT_USD, OUTPUT_USD = 0.15 / 1e6, 0.60 / 1e6
CAPPED = {"extras": {"max_tokens": 400}}


def paid_usd(fleet: Fleet) -> float:
    """Return what the provider billed, by its own log."""
    return math.fsum(
        entry["input_tokens"] * INPUT_USD + entry["output_tokens"] * OUTPUT_USD for entry in fleet.requests()
    )


async def test_two_hundred_conversations_at_once_never_spend_more_than_the_budget(
    fleet_on_files: Fleet,
) -> None:
    fleet = fleet_on_files
    budget = Budget(usd_max=0.012)
    usage = {"input_tokens": 300, "output_tokens": 400}
    async with fleet.provider({MODEL: script(latency_s=0.02, usage=usage)}):
        await fleet.start(2, concurrency=100)
        plan = await fleet.submit(scenario(MODEL, **CAPPED), trials=400, budget=budget)
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
    paid, most = paid_usd(fleet), budget.usd_max
    assert most is not None
    assert paid <= most, f"overshoot ${paid - most:.6f}"
    assert paid > 0.9 * most, "what can be spent is spent"
    books = summary.budget
    assert books is not None
    assert books.spent_usd == pytest.approx(paid, abs=1e-9)
    assert (books.reserved_usd, books.reserved_tokens, books.closed) == (0.0, 0, True)
    assert summary.counts["skipped"] == summary.cells[0].unaffordable > 0
    assert summary.counts["infra_error"] == 0
    assert "the budget was used up" in summary.reason
    assert summary.cells[0].scored >= 5, "money goes to trials under way before others begin"


async def test_workers_that_are_killed_take_no_money_with_them(fleet_on_files: Fleet) -> None:
    fleet = fleet_on_files
    usage = {"input_tokens": 300, "output_tokens": 100}
    async with fleet.provider({MODEL: script(latency_s=0.3, usage=usage)}):
        first, _ = await fleet.start(2, concurrency=8)
        plan = await fleet.submit(scenario(MODEL, **CAPPED), trials=24, budget=Budget(usd_max=1.0))
        await until(lambda: len(fleet.requests()) >= 12, "some turns are under way")
        first.kill9()
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
    books, paid = summary.budget, paid_usd(fleet)
    assert summary.counts["passed"] == 24
    assert books is not None
    assert books.reserved_usd == 0
    worst = (2500 * INPUT_USD + 400 * OUTPUT_USD) * 8
    assert paid - 1e-9 <= books.spent_usd <= paid + worst, "what was in flight is booked at its worst"


async def test_a_redis_that_loses_its_memory_forgets_neither_bills_nor_what_was_commanded(
    fleet_on_files: Fleet,
) -> None:
    fleet = fleet_on_files
    usage = {"input_tokens": 300, "output_tokens": 400}
    raised = Budget(usd_max=0.02)
    async with fleet.provider({MODEL: script(latency_s=0.3, usage=usage)}):
        await fleet.start(2, concurrency=8)
        plan = await fleet.submit(scenario(MODEL, **CAPPED), trials=60, budget=Budget(usd_max=0.012))
        await resume(plan.run_id, **fleet.doors, budget=raised)
        await until(lambda: len(fleet.requests()) >= 24, "some trials have ended, others are under way")
        fleet.redis_server.flush()
        await known(fleet, plan)
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
    paid, most = paid_usd(fleet), raised.usd_max
    assert most is not None
    assert summary.budget is not None
    assert summary.budget.usd_max == most, "it was raised before Redis forgot"
    assert paid <= most, f"overshoot ${paid - most:.6f}; {summary.budget}"
    assert paid > 0.012, "a rebuild does not fall back to what was ordered"
