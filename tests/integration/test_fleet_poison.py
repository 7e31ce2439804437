"""A trial that ends its workers: it is found out and set aside, and nobody suffers for being beside it."""

from __future__ import annotations

import pytest

from tests.integration.fleet import Fleet
from tests.integration.scripts import scenario

pytestmark = pytest.mark.servers

POISON = 7
CREW = f"""
import asyncio
import os

from salvo_core.adapters.protocol import TurnReply
from salvo_core.trace.model import ToolCall, Usage


class Crew:
    name = "crew"

    async def send_turn(self, messages, tools, config):
        await asyncio.sleep(0.05)
        if config.trial == {POISON} and config.turn == 1:
            os._exit(1)
        names = ("lookup_order", "issue_refund")[config.turn : config.turn + 1]
        call = [ToolCall(id="c", name=name) for name in names]
        return TurnReply("refund", call, Usage(input_tokens=10, output_tokens=5), "stop", config.model)

    async def aclose(self):
        pass
"""


async def test_one_poison_trial_among_fifty_innocents_is_quarantined_and_they_are_spared(
    fleet_on_files: Fleet,
) -> None:
    fleet = fleet_on_files
    (fleet.folder / "poisonous_crew.py").write_text(CREW)
    fleet.environ["PYTHONPATH"] += f":{fleet.folder}"
    fleet.environ["SALVO_ALLOW_IMPORTS"] = "poisonous_crew.*"
    workers = await fleet.start(3, concurrency=10)
    plan = await fleet.submit(scenario("m", adapter="poisonous_crew.Crew"), trials=51)
    await fleet.sealed(plan)
    traces = await fleet.audit(plan)
    rows = await fleet.rows(plan)
    assert [row.index for row in rows if row.status != "passed"] == [POISON]
    assert sum(not worker.is_alive for worker in workers) == 2, (
        "it ended two workers and was given to no third"
    )
    trace = traces[POISON]
    assert (trace.status, trace.outcome) == ("infra_error", "infra_error")
    assert trace.error is not None
    assert trace.error.kind == "worker_lost"
    assert [(one.attempt, one.how, one.turns) for one in trace.earlier] == [(1, "lost", 1), (2, "lost", 0)]
    assert len({one.worker for one in trace.earlier}) == 2
    for one in trace.earlier:
        assert f"attempt {one.attempt} on {one.worker}" in trace.error.message
    assert len(trace.turns) == 1, "what was paid is kept"
