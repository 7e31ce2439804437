"""What ``status`` reads: a run's header and counters, two small hashes whatever the run's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from salvo_core.manifest.budget import NANO, Spending
from salvo_core.manifest.rows import STATUSES, TERMINAL, Result, Row, Status

RunState = Literal["submitting", "running", "paused", "cancelling", "finished", "sealed"]
"""``paused`` begins no trial until it is resumed;
``finished`` has every row terminal; ``sealed`` also has its summary in the store."""

__all__ = ["NANO", "CellCounts", "RunCounts", "RunState", "increments", "read_counts"]

STATES: tuple[RunState, ...] = get_args(RunState)


@dataclass(frozen=True, slots=True)
class CellCounts:
    """A cell's terminal rows so far. A live figure in completion order: progress, not an estimate."""

    statuses: Mapping[Status, int]
    score_sum: float
    scored: int


@dataclass(frozen=True, slots=True)
class RunCounts:
    """A run as its counters tell it, at one moment.

    Attributes:
        statuses: Trials by status; the statuses sum to ``seeded``.
        started_ms: Server time of the first claim; None before it.
        finished_ms: Server time of the last row's end; None before it.
        now_ms: Server time of this reading.
        cost_usd: Known costs so far.
        cost_unknown: Finished trials whose cost is not known.
        judge_cost_usd: Known costs of judges so far, apart from the agents'.
        judge_cost_unknown: Finished trials whose judges' cost is not known.
        skipped_ahead: Trials that were skipped before they were released.
        again: Trials that wait again, and for a place among those that may run at once.
        verdict: Set once sealed.
        budget: What it may spend, and has; None without a budget.
        paused_by: What has to be mended before it is resumed; empty unless something has to.
        reeval: Whether it scores recorded conversations again: then ``cost_usd`` and the tokens are what
            those took once, and only judges cost anything now.
    """

    run_id: str
    state: RunState
    total: int
    cells: int
    seeded: int
    released: int
    created_ms: int
    now_ms: int
    started_ms: int | None
    finished_ms: int | None
    concurrency_max: int | None
    statuses: Mapping[Status, int]
    cost_usd: float
    cost_unknown: int
    input_tokens: int
    output_tokens: int
    turns: int
    retries: int
    claims: int
    expired: int
    judge_cost_usd: float = 0.0
    judge_cost_unknown: int = 0
    name: str = ""
    verdict: str | None = None
    exit_code: int | None = None
    per_cell: Mapping[int, CellCounts] = field(default_factory=dict)
    budget: Spending | None = None
    paused_by: str = ""
    skipped_ahead: int = 0
    again: int = 0
    reeval: bool = False

    @property
    def ended(self) -> int:
        """Terminal rows."""
        return self.seeded - self.statuses["pending"] - self.statuses["running"]

    @property
    def waiting(self) -> int:
        """Released trials that nobody has begun: what messages in a queue should stand for."""
        released = self.released - (self.ended - self.skipped_ahead) - self.again
        return max(0, released - self.statuses["running"])

    @property
    def rate_per_s(self) -> float | None:
        """Trials ended per second since the first claim; None before the first end."""
        if self.started_ms is None or not self.ended:
            return None
        elapsed_s = max((self.finished_ms or self.now_ms) - self.started_ms, 1) / 1000
        return self.ended / elapsed_s

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end at the present rate; None while there is no rate."""
        rate = self.rate_per_s
        return None if rate is None else (self.total - self.ended) / rate


def increments(cell: int, status: Status, result: Result | None) -> list[str | int]:
    """Return counter fields and increments, alternating, that one terminal row is worth."""
    if result is None:
        return [f"cell:{cell}:{status}", 1]
    pairs: dict[str, int] = {
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "turns": result.turns,
        "retries": result.retries,
        f"cell:{cell}:{status}": 1,
    }
    if result.cost_usd is None:
        pairs["cost_unknown"] = 1
    else:
        pairs["cost_nano_usd"] = round(result.cost_usd * NANO)
    if result.judge_cost_usd is None:
        pairs["judge_cost_unknown"] = 1
    else:
        pairs["judge_cost_nano_usd"] = round(result.judge_cost_usd * NANO)
    if result.score is not None:
        pairs[f"cell:{cell}:score_nano"] = round(result.score * NANO)
    return [item for pair in pairs.items() if pair[1] for item in pair]


HISTORY: frozenset[str] = frozenset({"claims", "expired", "skipped_ahead"})
"""Counters of what happened, which no row remembers."""


def worth(row: Row | None, cells: int) -> Counter[str]:
    """Return what one row adds to the counters, by field; nothing for a row that is not there.

    Args:
        row: A trial's.
        cells: In the run.
    """
    if row is None:
        return Counter()
    found = Counter({row.status: 1, "ended": int(row.status in TERMINAL)})
    if row.result is not None:
        pairs = iter(increments(row.index % cells, row.status, row.result))
        found.update({str(field): int(by) for field, by in zip(pairs, pairs, strict=True)})
    elif row.status == "skipped":
        found[f"cell:{row.index % cells}:skipped"] = 1
    return found


def difference(before: Row | None, after: Row, cells: int) -> list[str | int]:
    """Return counter fields and increments, alternating, for one row in the place of another."""
    change = worth(after, cells)
    change.subtract(worth(before, cells))
    return [item for pair in change.items() if pair[1] for item in pair]


def recounted(rows: Iterable[Row], cells: int) -> dict[str, int]:
    """Return what the counters must say if these are all the rows there are; zeros are left out."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(worth(row, cells))
    return {field: number for field, number in total.items() if number}


def read_counts(
    run_id: str, header: Mapping[str, str], counters: Mapping[str, str], now_ms: int
) -> RunCounts:
    """Return the counts that two hashes, as Redis gives them, stand for."""

    def counted(name: str) -> int:
        return int(counters.get(name, 0))

    def stamp(name: str) -> int | None:
        return int(header[name]) if name in header else None

    state = header["state"]
    if state not in STATES:
        raise ValueError(f"run {run_id} has the unknown state {state[:40]!r}")
    return RunCounts(
        run_id=run_id,
        state=state,
        total=int(header["total"]),
        cells=int(header["cells"]),
        seeded=int(header["seeded"]),
        released=int(header["released"]),
        created_ms=int(header["created_ms"]),
        now_ms=now_ms,
        started_ms=stamp("started_ms"),
        finished_ms=stamp("finished_ms"),
        concurrency_max=stamp("concurrency_max") or None,
        statuses={status: counted(status) for status in STATUSES},
        cost_usd=counted("cost_nano_usd") / NANO,
        cost_unknown=counted("cost_unknown"),
        input_tokens=counted("input_tokens"),
        output_tokens=counted("output_tokens"),
        turns=counted("turns"),
        retries=counted("retries"),
        claims=counted("claims"),
        expired=counted("expired"),
        judge_cost_usd=counted("judge_cost_nano_usd") / NANO,
        judge_cost_unknown=counted("judge_cost_unknown"),
        name=header.get("name", ""),
        verdict=header.get("verdict"),
        exit_code=stamp("exit_code"),
        per_cell=_per_cell(counters),
        paused_by=header.get("paused_by", ""),
        skipped_ahead=counted("skipped_ahead"),
        reeval=header.get("reeval") == "1",
    )


def _per_cell(counters: Mapping[str, str]) -> dict[int, CellCounts]:
    found: dict[int, dict[str, int]] = {}
    for name, value in counters.items():
        if name.startswith("cell:"):
            _, cell, what = name.split(":")
            found.setdefault(int(cell), {})[what] = int(value)
    return {
        cell: CellCounts(
            statuses={status: counts.get(status, 0) for status in STATUSES},
            score_sum=counts.get("score_nano", 0) / NANO,
            scored=sum(counts.get(status, 0) for status in ("passed", "failed", "hard_fail")),
        )
        for cell, counts in sorted(found.items())
    }
