"""Judges asked over real HTTP, on both wires, at the pretend provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.server import SimulatedProvider
from salvo_core.adapters.prices import ModelRates
from salvo_core.clock import SystemClock
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.panel import Heard
from tests.unit.adapters.wiring import registry
from tests.unit.evaluation.builders import trace
from tests.unit.evaluation.judge.court import TRACE_ID, heard, judge

PRICES = {"sim/judge": ModelRates(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)}
USAGE = {"input_tokens": 1000, "output_tokens": 500}


def scored(score: float) -> dict[str, Any]:
    arguments = {"good": {"score": score, "reasoning": "as scripted"}}
    return {"tool_calls": [{"name": "score_criteria", "arguments": arguments}], "usage": USAGE}


async def heard_at(
    folder: Path, adapter: str, script: dict[str, Any], k: int
) -> tuple[Heard, list[dict[str, Any]]]:
    """What a simulated judge said, and the provider's log."""
    log = folder / "log"
    book = ScriptBook.read({"scripts": {"judge": script}})
    async with SimulatedProvider(book, request_log=log) as provider:
        base_url = provider.url + ("/v1" if adapter == "openai" else "")
        bar = registry(
            profiles={adapter: {"adapter": adapter, "base_url": base_url, "retries_max": 8}}, prices=PRICES
        )
        try:
            defaults = JudgeDefaults(adapter=adapter, model="sim/judge", k=k)
            found = await heard([judge()], bar=bar, clock=SystemClock(), defaults=defaults)
        finally:
            await bar.aclose()
    return found, [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("adapter", ["openai", "anthropic"])
async def test_a_simulated_judge_is_asked_for_every_vote_and_forced_to_call(
    tmp_path: Path, adapter: str
) -> None:
    script = {"turns": [scored(0.9)], "variants": [{"weight": 0.4, "turns": [scored(0.2)]}]}
    found, log = await heard_at(tmp_path, adapter, script, k=9)
    votes = found.judgements[0].votes
    assert all(vote.heard for vote in votes)
    assert {vote.scores["good"] for vote in votes} == {0.2, 0.9}  # each vote is a draw of its own
    assert {vote.cost_usd for vote in votes} == {0.00045}
    assert len(log) == 9
    assert {entry["trace_id"] for entry in log} == {TRACE_ID}
    (finding,) = evaluate(trace(), [judge()], ballots=found.ballots)
    assert finding.error is None


@pytest.mark.parametrize("adapter", ["openai", "anthropic"])
async def test_a_simulated_judges_failures_are_retried_vote_by_vote(tmp_path: Path, adapter: str) -> None:
    script = {"turns": [scored(0.9)], "errors": {"rate_limited": 0.3, "retry_after_s": 0.001}}
    found, log = await heard_at(tmp_path, adapter, script, k=7)
    votes = found.judgements[0].votes
    assert all(vote.heard for vote in votes)
    failed = sum(entry["status"] == 429 for entry in log)
    assert failed == sum(len(vote.retries) for vote in votes) > 0
    assert len(log) == 7 + failed
