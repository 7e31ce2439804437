"""Where a run's rows, counters and traces do not say the same: pure comparisons, in words for a person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from salvo_core.evaluation.grading import UNGRADED, grade
from salvo_core.manifest.counters import HISTORY
from salvo_core.manifest.repairs import Restatement
from salvo_core.manifest.rows import TERMINAL, Result, Row
from salvo_core.run.plan import Plan
from salvo_core.trace.model import Finding, Grade, Outcome, Trace

Kind = Literal[
    "row_missing",  # no row, or none that can be read, or one of another trial
    "row_differs",  # the row does not say what its trace says
    "object_missing",
    "object_damaged",  # cannot be read, or is not the trace of its name
    "object_other",  # whole, but not the one whose digest the row has
    "object_newer",  # a later Salvo wrote it: only that one can tell
    "object_foreign",  # not a trace of this run at all
    "grade_differs",  # the stored grade does not follow from the stored findings
    "not_ended",  # the run is over, the trial is not
    "leftover",  # a lease, strikes or a journal of a trial that has ended
    "no_lease",  # a running trial that nobody would ever take back
    "header",
    "state",
    "unwatched",  # not over, and no sweep looks after it
    "counters",
    "archive",
    "summary",
]

Remedy = Literal["restate", "rerun", "tidy", "header", "recount", "watch", "seal", "none"]

REMEDIES: Mapping[Remedy, str] = {
    "restate": "restore the row",
    "rerun": "with --rerun: run it again",
    "tidy": "tidy up",
    "header": "restore the header",
    "recount": "count again",
    "watch": "look after it again",
    "seal": "write it again",
    "none": "nothing",
}
"""What ``--repair`` does about each, in a few words."""

SCORE_DRIFT = 1e-12
"""A regraded score this far off is the same: another machine may round a sum of floats otherwise."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is not as it should be.

    Attributes:
        kind: What sort of thing.
        what: In words.
        remedy: What ``--repair`` would do.
        index: The trial's place in the run; None when it is not about one.
        trace_id: The trial's, empty when it is not about one.
        key: The object in question, empty when there is none.
        change: The correction of the row, where the remedy is one.
    """

    kind: Kind
    what: str
    remedy: Remedy
    index: int | None = None
    trace_id: str = ""
    key: str = ""
    change: Restatement | None = None


def mistaken(
    plan: Plan, index: int, attempt: int, run_id: str, trace_id: str, its_index: int, its_attempt: int
) -> str:
    """Return how a record says that it is not that of an attempt at a trial; empty when it is."""
    expected = {
        "run": (plan.run_id, run_id),
        "trace id": (plan.trace_id(index), trace_id),
        "index": (index, its_index),
        "attempt": (attempt, its_attempt),
    }
    return ", ".join(
        f"its {name} is {found}, not {right}" for name, (right, found) in expected.items() if right != found
    )


def differing(row: Row, status: str, derived: Result) -> str:
    """Return how a row does not say what its trace comes to; empty when it does.

    Args:
        row: Terminal, with a result.
        status: The trace's.
        derived: What a row of that trace must hold (``record.result_of``).
    """
    assert row.result is not None
    pairs: list[tuple[str, object, object]] = [("status", row.status, status)]
    pairs += zip(Result._fields, row.result, derived, strict=True)
    return ", ".join(
        f"{name} is {_short(said)} in the row, {_short(true)} in its trace"
        for name, said, true in pairs
        if said != true
    )


def regraded(trace: Trace) -> str:
    """Return how a trace's grade does not follow from its findings and threshold; empty when it does."""
    if trace.outcome in UNGRADED or (trace.grade is None and trace.error is not None):
        if trace.grade is None and trace.score is None:
            return ""
        return (
            f"a trial that ended as {trace.outcome} has the grade {trace.grade} and the score {trace.score}"
        )
    return misgraded(trace.findings, trace.threshold, trace.outcome, trace.grade, trace.score)


def misgraded(
    findings: Sequence[Finding], threshold: float, outcome: Outcome, said: Grade | None, score: float | None
) -> str:
    """Return how a grade and a score do not follow from findings; empty when they do."""
    try:
        graded = grade(findings, threshold, outcome=outcome)
    except ValueError as error:
        return f"it has the grade {said}, and {error}"
    if graded.grade == said and _same(graded.score, score):
        return ""
    told = f"its trace says {said} with {_short(score)}"
    return f"its findings come to {graded.grade} with {graded.score:g}, {told}"


def miscounted(read: Mapping[str, int], right: Mapping[str, int]) -> str:
    """Return which counters do not say what the rows come to; empty when all do."""
    wrong = sorted(
        field for field in (set(read) | set(right)) - HISTORY if read.get(field, 0) != right.get(field, 0)
    )
    shown = ", ".join(f"{f} is {read.get(f, 0):,} and should be {right.get(f, 0):,}" for f in wrong[:4])
    return shown + (f", and {len(wrong) - 4} more" if len(wrong) > 4 else "")


def _same(one: float, other: float | None) -> bool:
    return other is not None and math.isclose(one, other, rel_tol=0, abs_tol=SCORE_DRIFT)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        plan: The run's.
        state: As its header says; ``sealed`` where only the store remembers it.
        live: Whether Redis knows the run.
        rows: What could be read, in index order.
        checked: Traces that were read and compared.
        discrepancies: What is not as it should be, rows first, in index order.
        losing: Keys of attempts that lost their trial to the one its row names. That is no fault:
            a worker died between storing and committing, or was late.
        uncommitted: Objects of trials that have not ended.
        unrecorded: Ended trials whose row says itself that there is no trace.
        moving: Trials began or ended meanwhile, so that counters could not be compared.
        started_ms: First claim, Unix time, as far as it is known.
        finished_ms: End of the last row.
    """

    plan: Plan
    state: str = "sealed"
    live: bool = True
    rows: list[Row] = field(default_factory=list)
    checked: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)
    losing: list[str] = field(default_factory=list)
    uncommitted: int = 0
    unrecorded: int = 0
    moving: bool = False
    started_ms: int | None = None
    finished_ms: int | None = None

    @property
    def clean(self) -> bool:
        """Whether everything is as it should be."""
        return not self.discrepancies

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return sum(row.status in TERMINAL for row in self.rows)
