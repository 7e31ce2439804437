"""The examples: valid, free of warnings, and right about what the pretend provider says."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from salvo_cli.simulator.book import ScriptBook
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.script import ScriptTurn
from salvo_core.clock import SystemClock
from salvo_core.evaluation.catalogue import ASSERTION_TYPES
from salvo_core.evaluation.grading import Graded, evaluate, grade
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.panel import judges_in
from salvo_core.scenario.loading import load_paths
from salvo_core.scenario.model import Scenario, ToolDef
from salvo_core.scenario.project import find_root, load_project
from salvo_core.scenario.source import parse_file
from salvo_core.trace.model import Message, Provenance, ScenarioRef, ToolCall, Trace, Turn, Usage
from salvo_core.trial.tools import MockTools
from tests.unit.evaluation.judge.court import PretendBar, heard

EXAMPLES = Path(__file__).parents[3] / "examples"
BOOK = ScriptBook.read(parse_file(EXAMPLES / "providers" / "demo.yaml", boundary=EXAMPLES).data)
PROJECT = load_project(find_root(EXAMPLES))
LOADED = {Path(one.file).stem: one for one in load_paths([EXAMPLES], project=PROJECT)}
NAMES = ["coding-agent", "flaky-weather", "refund-desk", "travel-booking"]


def scripted(name: str) -> list[tuple[float, tuple[ScriptTurn, ...]]]:
    """What the example's model may do, each with its share of the trials."""
    found = BOOK.find(LOADED[name].scenario.model)
    assert found is not None
    script = found[1]
    rest = 1 - math.fsum(variant.weight for variant in script.variants)
    return [(rest, script.turns), *((variant.weight, variant.turns) for variant in script.variants)]


async def played(scenario: Scenario, script: tuple[ScriptTurn, ...]) -> Trace:
    """The trial in which the model does that, without its waits."""
    tools = MockTools([without_latency(tool) for tool in scenario.tools], SystemClock())
    messages = [Message(role="user", content=scenario.prompt)]
    turns = []
    for index, said in enumerate(script):
        calls = tuple(
            ToolCall(
                id=f"c{index}.{n}", name=call.name, arguments=dict(call.arguments), malformed=call.malformed
            )
            for n, call in enumerate(said.tool_calls)
        )
        messages.append(Message(role="assistant", content=said.text, tool_calls=calls or None))
        messages += [await tools.answer(call) for call in calls]
        turns.append(Turn(index=index, content=said.text, tool_calls=calls))
    now, identity = datetime(2026, 11, 22, tzinfo=UTC), "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
    return Trace(
        trace_id=identity, run_id=identity, index=0, cell=0, trial=0, attempt=1, model=scenario.model,
        scenario=ScenarioRef(digest="0" * 64, name=scenario.name), adapter=scenario.adapter,
        threshold=scenario.threshold, started_at=now, ended_at=now, outcome="completed",
        messages=tuple(messages), turns=tuple(turns), usage=Usage(), cost_usd=0.01,
        latency_s=1, duration_s=1, finish_reason="stop",
        provenance=Provenance(salvo_version="0", python_version="3", host="h", worker="w"),
    )  # fmt: skip


def without_latency(tool: ToolDef) -> ToolDef:
    mocks = [rule.model_copy(update={"latency_s": 0.0}) for rule in tool.mocks]
    return tool.model_copy(update={"mocks": mocks, "mock_latency_s": 0.0})


class DemoJudge:
    """The judge of the demo's provider, as ``salvo simulate`` plays it, without its waits."""

    name = "openai"

    async def send_turn(
        self, messages: list[Message], tools: list[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        found = BOOK.find(config.model)
        assert found is not None
        (said,) = found[1].plan_for(f"{config.trace_id}v{config.turn}")
        calls = tuple(ToolCall(id="c", name=call.name, arguments=call.arguments) for call in said.tool_calls)
        return TurnReply(content=said.text, tool_calls=calls)

    async def aclose(self) -> None:
        pass


async def judged(trace: Trace, scenario: Scenario) -> dict[object, Ballot]:
    found = await heard(scenario.assertions, bar=PretendBar(openai=DemoJudge()), subject=trace)
    assert all(vote.heard for judgement in found.judgements for vote in judgement.votes)
    return dict(found.ballots)


async def graded(name: str) -> list[tuple[float, Graded]]:
    """Share of the trials and grade of everything the example's model may do."""
    scenario = LOADED[name].scenario
    found = []
    for share, turns in scripted(name):
        trace = await played(scenario, turns)
        findings = evaluate(trace, scenario.assertions, ballots=await judged(trace, scenario))
        found.append((share, grade(findings, scenario.threshold, outcome="completed")))
    return found


def test_the_folder_holds_the_four_examples_and_no_warning() -> None:
    assert sorted(LOADED) == NAMES
    assert [problem for one in LOADED.values() for problem in one.problems] == []
    assert PROJECT.problems == ()


@pytest.mark.parametrize("name", NAMES)
async def test_the_usual_conversation_meets_every_assertion(name: str) -> None:
    _, usual = (await graded(name))[0]
    assert usual == Graded(1.0, "passed")


@pytest.mark.parametrize("name", NAMES)
async def test_no_conversation_fails_hard(name: str) -> None:
    assert all(one.grade != "hard_fail" for _, one in await graded(name))


@pytest.mark.parametrize("name", NAMES)
async def test_on_average_the_flaky_example_is_far_below_its_threshold_and_the_others_above(
    name: str,
) -> None:
    average = math.fsum(share * one.score for share, one in await graded(name))
    threshold = LOADED[name].scenario.threshold
    assert average < threshold - 0.1 if name == "flaky-weather" else average > threshold + 0.1


@pytest.mark.parametrize("name", NAMES)
async def test_a_conversation_passes_if_it_meets_every_assertion_and_only_then(name: str) -> None:
    grades = await graded(name)
    assert all((one.grade == "passed") == (one.score == 1.0) for _, one in grades)
    assert any(one.grade == "failed" for _, one in grades)


def test_together_the_examples_show_the_whole_format() -> None:
    scenarios = [one.scenario for one in LOADED.values()]
    assertions = [assertion for one in scenarios for assertion in one.assertions]
    rules = [rule for one in scenarios for tool in one.tools for rule in tool.mocks]
    inside = [member for assertion in assertions for _, member in assertion.members()]
    # What needs a package of one's own, or an agent that answers in JSON, is not in them.
    shown = {assertion.type for assertion in (*assertions, *inside)}
    assert shown == set(ASSERTION_TYPES) - {"custom", "json_schema"}
    assert {True, False} <= {assertion.required for assertion in assertions}
    assert len({assertion.weight for assertion in assertions}) > 2
    assert any(rule.match for rule in rules)
    assert any(rule.call and rule.error for rule in rules)
    assert any(rule.latency_s for rule in rules)
    assert all(one.tags and one.system_prompt for one in scenarios)
    assert any(one.max_tokens for one in scenarios)


def test_every_model_of_the_examples_has_a_price() -> None:
    assert {one.scenario.model for one in LOADED.values()} <= set(PROJECT.prices)
    judges = [judge for one in LOADED.values() for _, judge in judges_in(one.scenario.assertions)]
    assert {judge.terms(PROJECT.judge).model for judge in judges} <= set(PROJECT.prices)
