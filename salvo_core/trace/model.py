"""The record of one trial: messages, turns, what they cost, and how it ended.

These are plain pydantic models because they cross three borders: the journal in
Redis, the object in the store, and a person's screen.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from salvo_core.trace.frozen import Frozen

Role = Literal["system", "user", "assistant", "tool_result"]

Outcome = Literal[
    "completed",  # the agent gave a final answer
    "max_turns",  # limits of the scenario: graded on what there is
    "timeout",
    "max_tokens",
    "max_cost",
    "context_full",  # the conversation outgrew the model; a limit too, the model's own
    "unknown_tool",  # the agent called a tool that does not exist, and the scenario says that is the end
    "infra_error",  # a provider, a worker or a store failed: never counts against the agent (I6)
    "cancelled",
    "budget",  # the run's money did not reach for its next turn
]
"""Did it run. Whether it was good is the Grade's business."""

Grade = Literal["passed", "failed", "hard_fail"]
"""Was it good. Only trials whose outcome is not infra_error, cancelled or budget have one."""

ErrorKind = Literal[
    "rate_limited",  # of providers: see the classes of errors.ProviderError
    "transient",
    "permanent",
    "context_full",
    "authentication",
    "adapter",  # no such adapter here, or it may not be imported
    "scenario",  # the scenario asks for what cannot be kept
    "store",  # the order is gone or damaged
    "worker_lost",
    "abandoned",  # its run was cancelled at once, in the midst of an exchange
    "judge",  # the conversation is whole, but a judge that the grade needs could not be heard
    "budget",  # the run's budget does not reach for the next exchange
    "internal",
]


class ToolCall(Frozen):
    """One call the agent asked for.

    ``arguments`` is what it meant; when what it sent was not a JSON object,
    ``malformed`` holds the raw text and ``arguments`` is empty.
    """

    id: str
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    malformed: str | None = None


class Message(Frozen):
    """One entry of the conversation, as the provider saw it."""

    role: Role
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    tool_error: bool = False
    latency_s: float | None = None
    """How long the (mock) tool took, seconds; only on tool_result."""


class Usage(Frozen):
    """Tokens, as the provider counted them."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class Retry(Frozen):
    """One failed exchange before a turn came back (or did not)."""

    kind: ErrorKind
    message: str
    status_code: int | None = None
    waited_s: float = 0.0
    """From the failure to the next exchange, seconds: back-off, and whatever the fleet's gates kept it for.
    0 after the last."""
    usage: Usage = Usage()
    """Tokens the provider billed for the failure, when it said so. They count in the trial's cost."""


class Turn(Frozen):
    """One exchange with the provider, as journaled: enough to go on from here without paying again."""

    index: int = Field(ge=0)
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = ""
    model: str = ""
    """The model that the provider says answered; empty when it does not say."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    """Of this turn and its retries; None when the model has no known price."""
    latency_s: float = Field(default=0.0, ge=0)
    """The exchange that came back, seconds, without retries and waits."""
    retries: tuple[Retry, ...] = ()
    attempt: int = 1
    worker: str = ""

    @property
    def billed(self) -> Usage:
        """Tokens of the turn and of its failed exchanges."""
        return sum((retry.usage for retry in self.retries), self.usage)


class TrialError(Frozen):
    """Why a trial has no grade."""

    kind: ErrorKind
    message: str
    error_class: str = ""
    hint: str = ""
    turn: int | None = None
    """The turn that did not come back, 0-based."""
    retries: tuple[Retry, ...] = ()
    """The failed exchanges of that turn; their tokens count."""


class Vote(Frozen):
    """One answer of a judge, or why there is none: an exchange of its own, kept so that nobody pays again."""

    number: int = Field(ge=0)
    """Among the votes on the same question, 0-based."""
    scores: dict[str, float] = Field(default_factory=dict)
    """0-1 by criterion; empty when the vote could not be read."""
    reasoning: dict[str, str] = Field(default_factory=dict)
    """By criterion, as far as the judge gave any."""
    raw: str = ""
    """What the judge said, before it was read: the arguments of its tool call as JSON, or its text."""
    error: str | None = None
    """Why this is no vote: nobody answered, or the answer could not be read."""
    error_kind: ErrorKind | Literal["unreadable"] | None = None
    model: str = ""
    """The model that the provider says answered; empty when it does not say."""
    usage: Usage = Usage()
    """Of the exchange that came back; failed ones stand in ``retries``."""
    cost_usd: float | None = None
    """Failed exchanges included; None when the model has no known price."""
    latency_s: float = Field(default=0.0, ge=0)
    retries: tuple[Retry, ...] = ()
    attempt: int = 1
    worker: str = ""

    @property
    def heard(self) -> bool:
        """Whether it can be counted."""
        return self.error is None

    @property
    def billed(self) -> Usage:
        """Tokens of the vote and of its failed exchanges."""
        return sum((retry.usage for retry in self.retries), self.usage)


class Judgement(Frozen):
    """The votes on one question that a judge was asked about a conversation."""

    request: str
    """Digest of everything the judge was sent: the same question has the same votes."""
    assertions: tuple[int, ...]
    """Places in the scenario's list of the assertions that rest on it, 0-based."""
    adapter: str
    model: str
    temperature: float | None
    max_tokens: int
    weights: dict[str, float]
    """By criterion, in the order they were put."""
    votes: tuple[Vote, ...]
    """By number."""


class Judged(Frozen):
    """What the votes on a question came to for one assertion that rests on them."""

    assertion: int = Field(ge=0)
    """Its place in the scenario's list, 0-based; of a judge inside a group, the group's."""
    request: str
    """Of the judgement whose first ``k`` votes count."""
    k: int = Field(ge=1)
    """Votes that were asked for."""
    threshold: float
    """The weighted score from which a vote is in favour, 0-1."""
    heard: int = Field(ge=0)
    """Votes that can be counted."""
    in_favour: int = Field(ge=0)


class Finding(Frozen):
    """What one assertion found, or how it failed to find anything.

    ``error`` set means the check itself could not be made: it says nothing about the
    agent, the score is 0 and the assertion counts as not passed. With ``infra`` set as well, what
    kept it from being made was infrastructure: then it counts neither way (I6).
    """

    assertion: int = Field(ge=0)
    """Its place in the scenario's list, 0-based."""
    type: str
    label: str
    """The assertion in a few words, the same for every trial: what failures are grouped by."""
    score: float = Field(ge=0, le=1)
    passed: bool
    weight: float
    required: bool
    details: str = ""
    error: str | None = None
    infra: bool = False
    """A judge could not be heard: it leaves the score; a required one leaves the trial without a grade."""
    redaction_affected: bool = False
    """The check would come out differently on what is stored, because something in it was struck out."""


class EarlierAttempt(Frozen):
    """An attempt at the trial that did not bring it to its end, or whose end a retry set aside."""

    attempt: int
    worker: str
    how: Literal["lost", "retried"]
    """``lost``: its worker vanished; ``retried``: it ended, in an object of its own, and was then retried."""
    at_ms: int
    """When that was noticed, or asked for: Unix time, of the server."""
    error: str = ""
    """What it had ended as, if it was retried: an ``ErrorKind``, or ``cancelled``."""
    turns: int = 0
    """Turns that it completed and that stand in this trace."""
    cost_usd: float | None = 0.0
    """Of those turns; None when the model has no known price."""
    dropped_usage: Usage = Usage()
    """Billed for what it said beyond them; counts in this trace's usage."""
    dropped_cost_usd: float | None = 0.0
    """As ``dropped_usage``, in this trace's cost."""


class ScenarioRef(Frozen):
    """Which scenario this was."""

    digest: str
    name: str
    file: str = ""


class Provenance(Frozen):
    """Who made this record, with what."""

    salvo_version: str
    python_version: str
    host: str
    worker: str


class Trace(Frozen):
    """The stored record of a trial: everything that was said, what it cost, what we think of it.

    Units: seconds, US dollars, tokens. ``latency_s`` is the conversation alone: the
    exchanges that came back and the tools, without retries, waits and evaluation.
    """

    trace_id: str
    run_id: str
    index: int
    """The trial's place in the run, 0-based: the field of its manifest row."""
    cell: int
    trial: int
    """The repetition within the cell, 0-based."""
    attempt: int
    scenario: ScenarioRef
    model: str
    adapter: str
    threshold: float
    started_at: datetime
    ended_at: datetime
    outcome: Outcome
    error: TrialError | None = None
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    usage: Usage
    cost_usd: float | None
    latency_s: float
    duration_s: float
    """From claim to grade, wall time of this attempt, seconds: retries and waits included."""
    finish_reason: str
    extras: dict[str, Any] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    """What judges were asked about it, with every vote."""
    judged: tuple[Judged, ...] = ()
    """What that came to, for each judge of the scenario in its order."""
    earlier: tuple[EarlierAttempt, ...] = ()
    """Attempts before this one that were lost or retried; of those given back only ``turns`` tell."""
    recording: Literal["full", "metadata_only"] = "full"
    """What was kept: see ``trace.recording``."""
    redacted: bool = False
    """Whether something in what was said was struck out before this was stored."""
    score: float | None = None
    grade: Grade | None = None
    provenance: Provenance

    @property
    def final_content(self) -> str | None:
        """What the agent said last, None if it never spoke."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), None)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Every call the agent made, in order."""
        return tuple(call for message in self.messages for call in message.tool_calls or ())

    @property
    def status(self) -> str:
        """The trial's terminal status: its grade, or why it has none."""
        if self.grade is not None:
            return self.grade
        if self.outcome == "cancelled":
            return "cancelled"
        out_of_money = self.error is not None and self.error.kind == "budget"
        return "skipped" if out_of_money and self.outcome != "infra_error" else "infra_error"

    @property
    def judge_cost_usd(self) -> float | None:
        """What judging cost, US dollars; None when a price is unknown, 0 without judges. Not the agent's."""
        costs = [vote.cost_usd for judgement in self.judgements for vote in judgement.votes]
        known = [cost for cost in costs if cost is not None]
        return round(math.fsum(known), 6) if len(known) == len(costs) else None

    @property
    def judge_usage(self) -> Usage:
        """Tokens that judging was billed, failed exchanges included. Not the agent's."""
        return sum((vote.billed for one in self.judgements for vote in one.votes), Usage())

    @property
    def retries_total(self) -> int:
        """Failed exchanges over all turns, the one that ended the trial included."""
        return sum(len(t.retries) for t in self.turns) + (len(self.error.retries) if self.error else 0)
