"""Judges on real workers over HTTP: one dies between votes, or the judge's provider is down."""

from __future__ import annotations

from typing import Any

import pytest

from salvo_core.manifest import keys
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL, JUDGE = "gpt-4o-mini", "gpt-4o"
VOTE = {"name": "score_criteria", "arguments": {"kind": {"score": 0.9, "reasoning": "It is."}}}
K = 21
AT_ONCE = 8
"""Votes of a trial that are asked for at once."""


def votes(latency_s: float = 0.0) -> dict[str, Any]:
    """Return the script of a judge that is always in favour."""
    usage = {"input_tokens": 1000, "output_tokens": 100}
    return {"turns": [{"tool_calls": [VOTE]}], "latency_s": latency_s, "usage": usage}


def judged(**fields: Any) -> dict[str, Any]:
    """Return the refund scenario with a judge besides its own assertions."""
    usual = scenario(MODEL)
    judge = {
        "type": "judge", "judge_adapter": "openai", "judge_model": JUDGE,
        "criteria": [{"name": "kind", "description": "Is it kind?"}],
    }  # fmt: skip
    return usual | {"assertions": [*usual["assertions"], judge | fields]}


async def test_a_worker_killed_between_votes_leaves_those_it_had_and_none_is_asked_for_twice(
    fleet: Fleet,
) -> None:
    async with fleet.provider({MODEL: script(), JUDGE: votes(0.5)}):
        (killed,) = await fleet.start()
        plan = await fleet.submit(judged(k=K, required=True), trials=1)
        redis, key = fleet.manifest.redis, keys.votes(plan.run_id, 0)

        async def some_are_kept() -> bool:
            return await redis.hlen(key) >= AT_ONCE

        await until(some_are_kept, "the first votes are journaled")
        killed.kill9()
        kept, asked = await redis.hlen(key), len(of_the_judge(fleet))
        assert AT_ONCE <= kept < K
        await fleet.start()
        await fleet.sealed(plan)
        (trace,) = await fleet.audit(plan)
    assert not await redis.exists(key)
    numbered = trace.judgements[0].votes
    assert [vote.number for vote in numbered] == list(range(K))
    assert sum(vote.attempt == 1 for vote in numbered) == kept
    assert len(of_the_judge(fleet)) - asked == K - kept, "what was journaled is not asked for again"
    assert asked - kept <= AT_ONCE, "only votes in flight are paid for twice"
    assert len(fleet.requests()) - len(of_the_judge(fleet)) == TURNS
    assert trace.status == "passed"


def of_the_judge(fleet: Fleet) -> list[dict[str, Any]]:
    """Return what the provider was asked as the judge."""
    return [entry for entry in fleet.requests() if entry["model"] == JUDGE]


@pytest.mark.parametrize("required", [True, False])
async def test_a_judges_provider_that_is_down_costs_the_grade_only_where_it_is_required(
    fleet_on_files: Fleet, required: bool
) -> None:
    fleet = fleet_on_files
    down = {"turns": [{"error": {"kind": "html"}}]}
    async with fleet.provider({MODEL: script(), JUDGE: down}):
        await fleet.start()
        plan = await fleet.submit(judged(required=required), trials=3)
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert all(len(trace.turns) == TURNS and trace.outcome == "completed" for trace in traces)
    assert summary.exit_code == (3 if required else 0)
    (judge,) = summary.cells[0].judges
    assert (judge.trials, judge.votes, judge.votes_heard, judge.unheard) == (3, 9, 0, 3)
    assert judge.graded_without == (0 if required else 3)
    assert summary.judge_cost.total_usd == 0
    if required:
        assert [(one.kind, one.count) for one in summary.cells[0].infra_errors] == [("judge", 3)]
