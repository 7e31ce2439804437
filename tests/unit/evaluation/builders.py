"""A trace of a small conversation, of which each test states only what matters to it."""

from datetime import UTC, datetime

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.grading import evaluate, grade
from salvo_core.evaluation.shorthand import canonical
from salvo_core.trace.model import Message, Provenance, ScenarioRef, ToolCall, Trace, Turn, Usage

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


def trace(*, answer="done", calls=(), cost_usd=0.0015, latency_s=1.5, **more):
    """A finished trial that called these tools, one turn each, and then answered.

    A call is a name or (name, arguments).
    """
    messages = [Message(role="system", content="be brief"), Message(role="user", content="go")]
    turns = []
    for place, call in enumerate(calls):
        name, arguments = (call, {}) if isinstance(call, str) else call
        made = ToolCall(id=f"call_{place}", name=name, arguments=arguments)
        messages.append(Message(role="assistant", tool_calls=(made,)))
        messages.append(Message(role="tool_result", content="ok", tool_call_id=made.id, tool_name=name))
        turns.append(Turn(index=place, tool_calls=(made,), finish_reason="tool_calls"))
    messages.append(Message(role="assistant", content=answer))
    turns.append(Turn(index=len(turns), content=answer, finish_reason="stop"))
    now = datetime(2026, 11, 22, tzinfo=UTC)
    fields = {
        "trace_id": RUN_ID, "run_id": RUN_ID, "index": 0, "cell": 0, "trial": 0, "attempt": 1,
        "scenario": ScenarioRef(digest="0" * 64, name="refund desk"),
        "model": "gpt-4o", "adapter": "scripted", "threshold": 0.8, "started_at": now, "ended_at": now,
        "outcome": "completed", "messages": tuple(messages), "turns": tuple(turns),
        "usage": Usage(input_tokens=100 * len(turns), output_tokens=50 * len(turns)),
        "cost_usd": cost_usd, "latency_s": latency_s, "duration_s": latency_s + 1, "finish_reason": "stop",
        "provenance": Provenance(salvo_version="0", python_version="3.11", host="h", worker="w"),
    }  # fmt: skip
    return Trace(**(fields | more))


def checked(raw, subject=None):
    """What the assertion, as written in a scenario, says about a trace."""
    return parse(canonical(raw)).check(Document(subject or trace()))


def graded(raws, subject=None, threshold=0.8):
    """The grade that assertions, as written in a scenario, come to."""
    subject = subject or trace()
    findings = evaluate(subject, [parse(canonical(raw)) for raw in raws])
    return grade(findings, threshold, outcome=subject.outcome)
