"""A trace as a conversation."""

from datetime import UTC, datetime

import pytest

from salvo_cli.render.console import Marks
from salvo_cli.render.conversation import conversation, steps
from salvo_core.trace.model import (
    EarlierAttempt,
    Finding,
    Judged,
    Judgement,
    Message,
    Provenance,
    Retry,
    ScenarioRef,
    ToolCall,
    Trace,
    TrialError,
    Turn,
    Usage,
    Vote,
)
from tests.unit.cli.drawing import drawn

CALL = ToolCall(id="c1", name="lookup_order", arguments={"order_id": "A-1001"})
MALFORMED = ToolCall(id="c2", name="refund", malformed="{amount: [/b]")


def trace(**more):
    fields = {
        "trace_id": "0199c2f4-7b1e-7000-8000-00520a4be1f0",
        "run_id": "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111",
        "index": 0,
        "cell": 0,
        "trial": 0,
        "attempt": 2,
        "scenario": ScenarioRef(digest="0" * 64, name="Refund desk [/b]"),
        "model": "gpt-4o",
        "adapter": "openai",
        "threshold": 0.8,
        "started_at": datetime(2026, 11, 22, tzinfo=UTC),
        "ended_at": datetime(2026, 11, 22, tzinfo=UTC),
        "outcome": "completed",
        "messages": (
            Message(role="user", content="Where is [bold]A-1001[/bold]?"),
            Message(role="assistant", tool_calls=(CALL, MALFORMED)),
            Message(
                role="tool_result",
                content='{"status": "shipped"}',
                tool_call_id="c1",
                tool_name="lookup_order",
                latency_s=0.2,
            ),
            Message(
                role="tool_result", content="not JSON", tool_call_id="c2", tool_name="refund", tool_error=True
            ),
            Message(role="assistant", content="Done [/b] \x1b[2J"),
        ),
        "turns": (
            Turn(
                index=0,
                tool_calls=(CALL, MALFORMED),
                usage=Usage(input_tokens=100, output_tokens=50),
                latency_s=1.5,
                finish_reason="tool_calls",
                cost_usd=0.001,
                retries=(
                    Retry(kind="rate_limited", message="slow [/b] down", status_code=429, waited_s=2.0),
                ),
            ),
            Turn(index=1, content="Done", latency_s=0.5),
        ),
        "usage": Usage(input_tokens=200, output_tokens=70),
        "cost_usd": None,
        "latency_s": 2.0,
        "duration_s": 4.5,
        "finish_reason": "stop",
        "findings": (
            Finding(
                assertion=0,
                type="output_contains",
                label="contains '[/b]'",
                score=1,
                passed=True,
                weight=1,
                required=True,
                details="found [red]",
            ),
            Finding(
                assertion=1,
                type="jmespath",
                label="broken",
                score=0,
                passed=False,
                weight=2,
                required=False,
                error="no such function",
            ),
        ),
        "score": 0.33,
        "grade": "failed",
        "provenance": Provenance(salvo_version="0.2.0", python_version="3.11", host="box", worker="w1"),
    }
    return Trace(**(fields | more))


@pytest.mark.parametrize("width", [80, 160])
def test_a_conversation_shows_roles_calls_results_times_retries_and_findings(width):
    text = drawn(conversation(trace(), signs=Marks()), width)
    for part in (
        "✗ FAILED  Refund desk [/b]",
        "cell 1, trial 0, attempt 2",
        "Where is [bold]A-1001[/bold]?",
        "! rate limited 429, waited 2.00 s: slow [/b] down",
        "assistant  turn 1 · 1.50 s · 100 in, 50 out · cost $0.00100 · tool_calls",
        'calls lookup_order {"order_id": "A-1001"}',
        "calls refund  with arguments that are not a JSON object:",
        "{amount: [/b]",
        "tool lookup_order  0.20 s",
        "tool refund  error",
        "Done [/b] \\x1b[2J",
        "✓ 1.00  contains '[/b]'  required",
        "found [red]",
        "✗ 0.00  broken  weight 2",
        "could not be checked: no such function",
        "failed, score 0.33, threshold 0.80",
        "cost unknown",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_a_trial_that_infrastructure_ended_shows_what_failed_and_what_to_do():
    error = TrialError(
        kind="authentication",
        message="the provider said 401 [/b]",
        hint="set OPENAI_API_KEY",
        turn=2,
        retries=(Retry(kind="transient", message="half a body"),),
    )
    text = drawn(
        conversation(
            trace(outcome="infra_error", error=error, grade=None, score=None, findings=()), signs=Marks()
        )
    )
    assert "! INFRA ERROR" in text
    assert "! transient, waited 0.00 s: half a body" in text
    assert "! ended by an error in turn 3: authentication" in text
    assert "the provider said 401 [/b]" in text
    assert "hint: set OPENAI_API_KEY" in text
    assert "not graded, threshold 0.80" in text


def test_a_limit_is_named_as_the_outcome():
    text = drawn(conversation(trace(outcome="max_turns"), signs=Marks()))
    assert "max turns  (a limit of the scenario)" in text


def test_an_assistant_that_says_nothing_is_shown_saying_nothing():
    text = drawn(
        conversation(trace(messages=(Message(role="assistant", content=""),), turns=()), signs=Marks())
    )
    assert "(says nothing)" in text


@pytest.mark.parametrize("width", [80, 160])
def test_in_a_replay_times_and_costs_are_marked_and_an_unknown_cost_is_a_dash(width):
    text = drawn(conversation(trace(), signs=Marks(), recorded=True), width)
    for part in (
        "turn 1 · 100 in, 50 out · tool_calls · 1.50 s, $0.00100 (recorded)",
        "tool lookup_order  0.20 s (recorded)",
        "turns     2, 1 retried",
        "messages  1 user, 2 assistant, 2 tool result",
        "tokens    270 (200 in, 70 out)",
        "latency   2.00 s talking, 4.50 s in all (recorded)",
        "cost      -",
        "finish    stop",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= width
    known = drawn(conversation(trace(cost_usd=0.0015), signs=Marks(), recorded=True), width)
    assert "cost      $0.00150 (recorded)" in known


def test_the_steps_are_the_question_each_turn_with_its_tools_and_the_end():
    question, first, second, end = (drawn(part) for part in steps(trace(), signs=Marks()))
    assert "Where is" in question
    assert "assistant" not in question
    assert "rate limited" in first
    assert "tool refund" in first
    assert "turn 2" in second
    assert "findings" in end
    assert drawn(conversation(trace(), signs=Marks())) == question + first + second + end


def test_a_trial_that_never_began_has_a_question_and_an_end():
    assert len(steps(trace(messages=(), turns=()), signs=Marks())) == 2


def judged(**more):
    votes = (
        Vote(
            number=0, scores={"kind": 0.9}, reasoning={"kind": "warm [/b] \x1b[2J words"}, cost_usd=0.0004,
            usage=Usage(input_tokens=1000, output_tokens=200), latency_s=1.5,
        ),
        Vote(
            number=1, error="no scores are in it", error_kind="unreadable", raw="I [red]refuse",
            cost_usd=0.0004,
        ),
        Vote(
            number=2, error="the key is not accepted", error_kind="authentication", cost_usd=0.0,
            retries=(Retry(kind="authentication", message="no [/] entry"),),
        ),
    )  # fmt: skip
    judgement = Judgement(
        request="a" * 64, assertions=(0,), adapter="openai", model="gpt-4o-mini", temperature=0.0,
        max_tokens=1024, weights={"kind": 1.0}, votes=votes,
    )  # fmt: skip
    counted = Judged(assertion=0, request="a" * 64, k=3, threshold=0.8, heard=1, in_favour=1)
    return trace(judgements=(judgement,), judged=(counted,), **more)


@pytest.mark.parametrize("recorded", [False, True])
def test_every_vote_of_a_judge_is_shown_with_its_reasons_or_why_it_is_none(recorded):
    text = drawn(conversation(judged(), signs=Marks(), recorded=recorded), 100)
    mark = " (recorded)" if recorded else ""
    for line in (
        "judge gpt-4o-mini via openai  asked 3 times for assertion 1",
        "assertion 1: 1 of 3 votes heard, 1 in favour (from 0.80)",
        f"vote 1  1,000 in, 200 out · 1.50 s, cost $0.00040{mark}",
        "0.90  kind",
        "warm [/b] \\x1b[2J words",
        "not counted: no scores are in it",
        "I [red]refuse",
        "not counted: the key is not accepted",
        "no [/] entry",
        f"3 votes, 1,200 tokens, cost $0.00080{mark}",
    ):
        assert line in text


def test_a_conversation_that_lacks_its_judge_was_not_ended_by_an_error():
    error = TrialError(
        kind="judge", message="`judge kind` is required and could not be decided", hint="reeval"
    )
    finding = Finding(
        assertion=0, type="judge", label="judge kind", score=0, passed=False, weight=1, required=True,
        error="1 of 3 votes could be read", infra=True,
    )  # fmt: skip
    text = drawn(
        conversation(judged(error=error, grade=None, score=None, findings=(finding,)), signs=Marks()), 100
    )
    assert "! not graded: judge" in text
    assert "ended by an error" not in text
    assert "!    -  judge kind" in text
    assert "completed" in text


def test_attempts_that_were_lost_or_retried_before_are_told_with_what_they_had_paid():
    earlier = (
        EarlierAttempt(attempt=1, worker="w1", how="lost", at_ms=0, turns=2, cost_usd=0.01),
        EarlierAttempt(attempt=2, worker="w2", how="retried", at_ms=0, error="transient"),
    )
    said = drawn(conversation(trace(earlier=earlier), signs=Marks()), width=200)
    assert "attempt 1 on w1 vanished" in said
    assert "2 turns kept, $0.01" in said
    assert "attempt 2 on w2 ended as transient, retried at" in said
