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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args, overload

Status = Literal[
    "pending", "running", "passed", "failed", "hard_fail", "infra_error", "cancelled", "skipped"
]  # fmt: skip

STATUSES: tuple[Status, ...] = get_args(Status)
_STATUSES: dict[str, Status] = {status: status for status in STATUSES}
TERMINAL: frozenset[Status] = frozenset(STATUSES) - {"pending", "running"}
SCORED: frozenset[Status] = frozenset({"passed", "failed", "hard_fail"})


class Result(NamedTuple):
    """What a finished trial came to: all that reports need without opening its trace.

    A tuple, for it is made a hundred thousand times when a large run is sealed; it is named, compared and
    frozen as a dataclass would be, at a seventh of the price.

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
        last = len(self)
        while last > _FAILED + 1 and self[last - 1] == _DEFAULTS[last - 1]:
            last -= 1
        return _compact(self[:last])

    @classmethod
    def decode(cls, text: str) -> Result:
        """Return the result that ``encode`` wrote."""
        values, stop = _scan(text)  # json.loads looks around first, which takes as long again
        if stop != len(text):
            raise ValueError(f"a result is followed by {text[stop : stop + 40]!r}")
        for place in range(_FAILED, len(values)):
            value = values[place]
            values[place] = _READ[place](value) if value else () if value == [] else value
        return cls(*values)


_FAILED = Result._fields.index("failed")
_DEFAULTS = {Result._fields.index(name): value for name, value in Result._field_defaults.items()}
_scan = json.JSONDecoder().raw_decode
_compact = json.JSONEncoder(separators=(",", ":")).encode


def _places(listed: list[Any]) -> tuple[int, ...]:
    return tuple(map(int, listed))


_READERS: dict[str, Callable[[Any], Any]] = {
    "failed": lambda listed: tuple([(int(index), float(score)) for index, score in listed]),
    "judge_cost_usd": lambda cost: cost,
    "judged": lambda listed: tuple([(int(a), int(v), int(h), int(f)) for a, v, h, f in listed]),
    "undecided": _places,
    "struck_out": _places,
    "retried": int,
}
_READ = {Result._fields.index(name): read for name, read in _READERS.items()}


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
        if self.status != "skipped":
            return False
        result = self.result
        return self.reason == "budget" or (result is not None and "budget" in (result.outcome, result.error))

    def encode(self) -> str:
        """Return the row's line of text."""
        rest = self.result.encode() if self.result else self.worker or self.reason
        return f"{self.status} {self.attempt} {self.trace_id}" + (f" {rest}" if rest else "")

    @classmethod
    def decode(cls, index: int, line: str) -> Row:
        """Return the row that a line of text says."""
        status, attempt, trace_id, *rest = line.split(" ", 3)
        if (known := _STATUSES.get(status)) is None:
            raise ValueError(f"manifest row {index} has the unknown status {status[:40]!r}")
        tail = rest[0] if rest else ""
        if tail.startswith("[") and known in TERMINAL:
            return cls(index, known, int(attempt), trace_id, "", Result.decode(tail))
        if known == "skipped":
            return cls(index, known, int(attempt), trace_id, reason=tail)
        return cls(index, known, int(attempt), trace_id, tail)


class Lines(Sequence[Row]):
    """The rows of a run as the text they are kept as: each is made when it is looked at, and not kept.

    A hundred thousand rows made at once take 100 MB; as text, a quarter of it.

    Args:
        indices: Ascending.
        lines: One for each index.

    Raises:
        ValueError: They are not as many: a line that is none came between.
    """

    def __init__(self, indices: Sequence[int], lines: Sequence[str]) -> None:
        if len(indices) != len(lines):
            raise ValueError(f"{len(lines):,} lines cannot be the rows of {len(indices):,} trials")
        self.indices = indices
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Lines: ...
    def __getitem__(self, place: int | slice) -> Row | Lines:
        if isinstance(place, slice):
            return Lines(self.indices[place], self.lines[place])
        return Row.decode(self.indices[place], self.lines[place])

    def __iter__(self) -> Iterator[Row]:
        return map(Row.decode, self.indices, self.lines)

    def of_status(self, status: Status) -> Iterator[Row]:
        """Yield the rows of one status; no other is made."""
        mark = f"{status} "
        for index, line in zip(self.indices, self.lines, strict=True):
            if line.startswith(mark):
                yield Row.decode(index, line)
