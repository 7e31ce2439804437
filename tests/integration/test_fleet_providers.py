"""Providers that fail, a team's own adapter, and assertions that cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fleet import Fleet
from tests.integration.scripts import GOOD_TURNS, TURNS, failing, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
FAULTS: dict[str, tuple[str, str]] = {
    "html": ("permanent", "a web page"),
    "half_body": ("transient", "broke off"),
    "wrong_json": ("transient", "broken JSON"),
    "error_in_200": ("transient", "answered 200 with an error inside"),
    "hang": ("transient", "0.4 s"),
    "reset": ("transient", "127.0.0.1"),
    "overloaded": ("transient", "529"),
    "rate_limited": ("rate_limited", "429"),
}
"""What a provider does in the second turn -> the kind of error it is, and words of its reason."""


def hasty(fleet: Fleet, **profile: Any) -> None:
    """Make the openai of this fleet's workers give up soon."""
    fleet.project(
        providers={"openai": {"adapter": "openai", "retries_max": 1, "timeouts": {"turn_s": 0.4}} | profile}
    )


async def test_a_provider_that_fails_is_infrastructure_and_what_was_said_is_kept(fleet: Fleet) -> None:
    hasty(fleet)
    async with fleet.provider({kind: failing(kind) for kind in FAULTS} | {MODEL: script()}):
        (worker,) = await fleet.start(concurrency=30)
        plan = await fleet.submit(scenario(), trials=2, models=(*FAULTS, MODEL))
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert worker.is_alive
    assert (summary.verdict, summary.exit_code) == ("INFRA_ERROR", 3)
    assert [cell.verdict for cell in summary.cells] == ["INFRA_ERROR"] * len(FAULTS) + ["PASS"]
    for trace in traces:
        if trace.model == MODEL:
            continue
        kind, words = FAULTS[trace.model]
        assert trace.outcome == "infra_error", trace.model
        assert trace.error is not None
        assert (trace.error.kind, trace.error.turn) == (kind, 1), trace.model
        assert words in trace.error.message, trace.model
        assert len(trace.turns) == 1, "the first turn came back, and is kept"
        assert trace.grade is None
        assert len(trace.error.retries) == (2 if kind in ("transient", "rate_limited") else 1), trace.model
    rows = await fleet.rows(plan)
    assert {plan.cells[plan.cell_index(row.index)].model: row.result.error for row in rows if row.result} == {
        name: kind for name, (kind, _) in FAULTS.items()
    } | {MODEL: ""}


async def test_a_rate_limit_is_waited_out_and_the_run_passes(fleet: Fleet) -> None:
    limited = {"error": {"kind": "rate_limited", "retry_after_s": 0.5, "times": 1}}
    async with fleet.provider({MODEL: {"turns": [GOOD_TURNS[0], GOOD_TURNS[1] | limited, GOOD_TURNS[2]]}}):
        await fleet.start(concurrency=20)
        plan = await fleet.submit(scenario(MODEL), trials=10)
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert (summary.verdict, summary.retries) == ("PASS", 10)
    for trace in traces:
        (retry,) = trace.turns[1].retries
        assert (retry.kind, retry.status_code) == ("rate_limited", 429)
        # Waited out at the turnstile, by all trials of the fleet; the trace says so, and not as latency.
        assert retry.waited_s >= 0.5
        assert trace.duration_s >= 0.5 > trace.latency_s
    assert len(fleet.requests()) == 10 * (TURNS + 1)


async def test_a_limit_that_all_trials_share_slows_the_run_and_fails_none(fleet: Fleet) -> None:
    book = {"rate_limit": {"requests_per_minute": 3000, "burst": 4}}
    fleet.project(providers={"openai": {"adapter": "openai", "retries_max": 10}})
    async with fleet.provider({MODEL: script()}, **book) as provider:
        await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=12)
        summary = await fleet.sealed(plan)
        await fleet.audit(plan)
        refused = provider.stats()["by_status"]["429"]
    assert summary.verdict == "PASS"
    assert summary.retries == refused > 0


CREW = """
class Reply:
    def __init__(self, content):
        self.content = content
        self.tool_calls = []
        self.usage = {"input": 7, "output": 3}
        self.finish_reason = "stop"


class Agent:
    async def send_turn(self, messages, tools=None, config=None):
        names = ", ".join(tool["name"] for tool in tools)
        return Reply(f"{messages[-1].role} said {messages[-1].content!r}; refund with {names}")
"""


async def test_a_teams_own_adapter_runs_where_the_workers_owner_allows_it(fleet: Fleet) -> None:
    path = fleet.folder / "crew"
    path.mkdir()
    (path / "our_crew.py").write_text(CREW)
    fleet.environ["PYTHONPATH"] += f":{path}"
    asked = scenario(
        "any", adapter="our_crew.Agent", assertions=[{"type": "output_contains", "value": "refund"}]
    )
    (refusing,) = await fleet.start()
    plan = await fleet.submit(asked, trials=2)
    assert (await fleet.sealed(plan)).verdict == "INFRA_ERROR"
    for trace in await fleet.audit(plan):
        assert trace.error is not None
        assert trace.error.kind == "adapter"
        assert "our_crew.Agent" in trace.error.message
        assert "SALVO_ALLOW_IMPORTS" in trace.error.hint
        assert trace.turns == ()
    refusing.kill9()
    await fleet.start(environ={"SALVO_ALLOW_IMPORTS": "our_crew.*"})
    plan = await fleet.submit(asked, trials=2)
    assert (await fleet.sealed(plan)).verdict == "PASS"
    for trace in await fleet.audit(plan):
        expected = "user said 'Refund order A-1001.'; refund with lookup_order, issue_refund"
        assert trace.final_content == expected
        assert (trace.usage.input_tokens, trace.usage.output_tokens) == (7, 3)


async def test_an_assertion_that_cannot_be_made_is_a_failed_finding(fleet: Fleet) -> None:
    impossible = {"type": "jmespath", "expression": "abs(response.content)", "operator": "eq", "value": 1}
    asked = scenario(MODEL)
    asked["assertions"] = [*asked["assertions"], impossible]
    async with fleet.provider({MODEL: script()}):
        await fleet.start()
        plan = await fleet.submit(asked, trials=3)
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert summary.verdict == "FAIL"
    for trace in traces:
        assert (trace.outcome, trace.grade) == ("completed", "failed")
        assert [finding.passed for finding in trace.findings] == [True, True, False]
        assert "abs()" in f"{trace.findings[2].details} {trace.findings[2].error}"
        assert trace.final_content == GOOD_TURNS[2]["text"]
