"""A trial's row in the manifest: its states, its result, its text in Redis.

::

    pending ──claim──> running ──commit──> passed | failed | hard_fail | infra_error | cancelled
       ▲                  │
       └─ give back, expire ┘            pending ──cancel, skip──> cancelled | skipped

A row is one line of text, ``<status> <attempt> <trace_id> <rest>``: readable with
``HGET``, cheap for Lua to take apart, and its tail is opaque to Lua. While a trial runs
the rest is the worker's name; once it has ended the rest is the ``Result`` as a JSON list, or,
where it was skipped, one word that says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal, get_args

Status = Literal[
    "pending", "running", "passed", "failed", "hard_fail", "infra_error", "cancelled", "skipped"
]  # fmt: skip

STATUSES: tuple[Status, ...] = get_args(Status)
TERMINAL: frozenset[Status] = frozenset(STATUSES) - {"pending", "running"}
SCORED: frozenset[Status] = frozenset({"passed", "failed", "hard_fail"})


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished trial came to: all that reports need without opening its trace.

    Attributes:
        score: 0-1; None when there is no grade.
        cost_usd: Of the agent, failed exchanges included; None when a price is unknown.
        latency_s: The conversation alone, seconds.
        duration_s: From claim to grade, seconds.
        input_tokens: Billed, failed exchanges included.
        output_tokens: As ``input_tokens``.
        turns: Exchanges that came back.
        retries: Exchanges that did not.
        outcome: ``trace.model.Outcome``.
        error: Kind of the error that ended it, empty when none did.
        worker: Who ended it.
        digest: Of the trace's document; empty when there is no object (cancelled before it ran).
        failed: (assertion index, score) of each finding that did not pass, those left out that
            infrastructure kept from being found.
        judge_cost_usd: Of the judges, apart from the agent's; None when a price is unknown, 0 without judges.
        judged: (assertion index, votes, votes heard, votes in favour) of each judge of the scenario, in its
            order; of one inside a group, the group's index.
        undecided: Assertion index of each finding that infrastructure kept from being found, such as a judge
            that could not be heard; a group that its other members decided is none.
        struck_out: Assertion index of each finding that a re-evaluation made on a record in which something
            of what was said is struck out: on the whole of it, it could have come out otherwise.
        retried: Attempts that had ended, in objects of their own, and that a person had tried again.
    """

    score: float | None
    cost_usd: float | None
    latency_s: float
    duration_s: float
    input_tokens: int
    output_tokens: int
    turns: int
    retries: int
    outcome: str
    error: str
    worker: str
    digest: str
    failed: tuple[tuple[int, float], ...] = ()
    judge_cost_usd: float | None = 0.0
    judged: tuple[tuple[int, int, int, int], ...] = ()
    undecided: tuple[int, ...] = ()
    struck_out: tuple[int, ...] = ()
    retried: int = 0

    def encode(self) -> str:
        """Return the result as a compact JSON list, in field order, without last parts that say nothing."""
        values = list(astuple(self))
        while (last := len(values) - 1) in _DEFAULTS and values[last] == _DEFAULTS[last]:
            values.pop()
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Result:
        """Return the result that ``encode`` wrote."""
        values = json.loads(text)
        for place in range(_FAILED, len(values)):
            values[place] = _READ[_FIELDS[place]](values[place])
        return cls(*values)


_FIELDS = [field.name for field in fields(Result)]
_FAILED = _FIELDS.index("failed")
_DEFAULTS = {place: field.default for place, field in enumerate(fields(Result)) if place > _FAILED}


def _places(listed: list[Any]) -> tuple[int, ...]:
    return tuple(map(int, listed))


_READ: dict[str, Callable[[Any], Any]] = {
    "failed": lambda listed: tuple((int(index), float(score)) for index, score in listed),
    "judge_cost_usd": lambda cost: cost,
    "judged": lambda listed: tuple((int(a), int(v), int(h), int(f)) for a, v, h, f in listed),
    "undecided": _places,
    "struck_out": _places,
    "retried": int,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One trial as the manifest knows it."""

    index: int
    status: Status
    attempt: int
    """Attempts begun so far; 0 before the first."""
    trace_id: str
    worker: str = ""
    """Who holds it, while running."""
    result: Result | None = None
    reason: str = ""
    """Why it was skipped: one word."""

    @property
    def recorded(self) -> bool:
        """Whether a stored trace belongs to it."""
        return self.result is not None and self.result.digest != ""

    @property
    def unaffordable(self) -> bool:
        """Whether the budget kept it from beginning, or stopped it."""
        stopped = self.result is not None and (
            self.result.outcome == "budget" or self.result.error == "budget"
        )
        return self.status == "skipped" and (stopped or self.reason == "budget")

    def encode(self) -> str:
        """Return the row's line of text."""
        rest = self.result.encode() if self.result else self.worker or self.reason
        return f"{self.status} {self.attempt} {self.trace_id}" + (f" {rest}" if rest else "")

    @classmethod
    def decode(cls, index: int, line: str) -> Row:
        """Return the row that a line of text says."""
        status, attempt, trace_id, *rest = line.split(" ", 3)
        if status not in STATUSES:
            raise ValueError(f"manifest row {index} has the unknown status {status[:40]!r}")
        tail = rest[0] if rest else ""
        ended = status in TERMINAL and tail.startswith("[")
        skipped = status == "skipped" and not ended
        return cls(
            index=index,
            status=status,
            attempt=int(attempt),
            trace_id=trace_id,
            worker="" if ended or skipped else tail,
            result=Result.decode(tail) if ended else None,
            reason=tail if skipped else "",
        )
