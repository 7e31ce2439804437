"""What a run comes to in numbers: the document that reports and lists read.

Computed from the plan and the manifest's rows alone, without a clock, and every figure is
independent of the order of the rows: sums are exact before they are rounded once
(``math.fsum``), samples are the trials of lowest index. Sealing twice therefore gives the
same bytes. Rows are folded one at a time; what is kept of each is a few floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from salvo_core.manifest.budget import Spending
from salvo_core.manifest.counters import RunState
from salvo_core.manifest.rows import STATUSES, TERMINAL, Row, Status
from salvo_core.run.cells import CellFold, CellSummary, equal_weights
from salvo_core.run.costs import NO_COST, Cost, cost_of
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.plan import Plan
from salvo_core.run.verdict import EXIT_CODES, Verdict, worst
from salvo_core.run.workers import WorkerTally, worker_tallies
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.summary/1"
__all__ = ["SCHEMA", "CellSummary", "Summary", "summarise"]


class Summary(Frozen):
    """One run in numbers."""

    run_id: str
    created_at: datetime
    state: RunState
    """Of the run, at the time of folding."""
    started_ms: int | None
    """First claim, Unix time."""
    finished_ms: int | None
    """End of the last row, Unix time."""
    wall_s: float | None
    trials_per_s: float | None
    """Trials that ended per second between the two."""
    verdict: Verdict
    """The worst of the cells'."""
    reason: str
    exit_code: int
    exit_code_allow_infra: int
    """Of the graded trials alone, for those who accept infrastructure errors."""
    total: int
    """Trials ordered, over all cells."""
    counts: dict[Status, int]
    """Trials by status; they sum to ``total``."""
    cost: Cost
    """Of the agents."""
    judge_cost: Cost = NO_COST
    """Of the judges, over the trials in which any was asked; apart from ``cost``."""
    budget: Spending | None = None
    """Where the run's budget stands; None without one."""
    input_tokens: int
    """Of the agents, as billed, failed exchanges included."""
    output_tokens: int
    retries: int
    retried: int = 0
    """Trials that had ended otherwise before somebody had them tried again (`salvo retry`)."""
    labels: dict[str, str]
    """The submitter's notes, from the plan."""
    workers: tuple[WorkerTally, ...] = ()
    """Those who graded most trials, at most ``WORKERS_MAX``, most trials first; empty in older summaries."""
    cells: tuple[CellSummary, ...]
    """In the plan's order."""

    def encode(self) -> tuple[bytes, str]:
        """Return the stored bytes and the digest: the same for the same plan and rows."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)

    @classmethod
    def decode(cls, stored: bytes, where: str) -> Summary:
        """Return the summary that was stored.

        Raises:
            ObjectCorrupt: Damaged, or not a summary.
        """
        body = codec.decode(SCHEMA, stored, where=where)
        return codec.validated(cls, body, where=where, what="a summary")


def summarise(
    plan: Plan,
    rows: Iterable[Row],
    assertions: Mapping[int, Sequence[AssertionFacts]],
    *,
    started_ms: int | None,
    finished_ms: int | None,
    state: RunState,
    budget: Spending | None = None,
) -> Summary:
    """Return what the rows of a run come to, finished or not.

    Args:
        plan: The order. Trials without a row count as pending.
        rows: Any order, each trial at most once; read once.
        assertions: By the cell's place in the plan, in the scenario's order. A cell that is
            left out is ranked with the plan's labels and equal weights.
        started_ms: First claim, Unix time in ms; None if there was none.
        finished_ms: End of the last row, Unix time in ms; None while the run goes on.
        state: Of the run.
        budget: Where it stands, if there is one.

    Raises:
        ValueError: A row is not of this plan, comes twice, or is graded without a score.
    """
    folds = [
        CellFold(number, cell, plan, assertions.get(number) or equal_weights(cell))
        for number, cell in enumerate(plan.cells)
    ]
    seen = bytearray(plan.total)
    for row in rows:
        if not 0 <= row.index < plan.total or seen[row.index]:
            problem = "came twice" if 0 <= row.index < plan.total else f"is outside 0..{plan.total - 1}"
            raise ValueError(f"run {plan.run_id}: manifest row {row.index} {problem}")
        seen[row.index] = 1
        folds[plan.cell_index(row.index)].add(row, plan.trial_index(row.index))
    cells = tuple(fold.summary() for fold in folds)
    verdict = worst(cell.verdict for cell in cells)
    counts = {status: sum(cell.counts[status] for cell in cells) for status in STATUSES}
    wall_s = None if started_ms is None or finished_ms is None else max(finished_ms - started_ms, 0) / 1000
    return Summary(
        run_id=plan.run_id,
        created_at=plan.created_at,
        state=state,
        started_ms=started_ms,
        finished_ms=finished_ms,
        wall_s=wall_s,
        trials_per_s=sum(counts[status] for status in TERMINAL) / wall_s if wall_s else None,
        verdict=verdict,
        reason=_run_reason(cells, verdict),
        exit_code=EXIT_CODES[verdict],
        exit_code_allow_infra=EXIT_CODES[worst(cell.verdict_allow_infra for cell in cells)],
        total=plan.total,
        counts=counts,
        cost=cost_of([fold.costs for fold in folds], counts["passed"]),
        judge_cost=cost_of([fold.judge_costs for fold in folds], counts["passed"]),
        budget=budget,
        input_tokens=sum(fold.input_tokens for fold in folds),
        output_tokens=sum(fold.output_tokens for fold in folds),
        retries=sum(cell.retries for cell in cells),
        retried=sum(fold.retried for fold in folds),
        labels=plan.labels,
        workers=worker_tallies([fold.workers for fold in folds]),
        cells=cells,
    )


def _run_reason(cells: Sequence[CellSummary], verdict: Verdict) -> str:
    decisive = next(cell for cell in cells if cell.verdict == verdict)
    if len(cells) == 1:
        return decisive.reason
    passed = sum(cell.verdict == "PASS" for cell in cells)
    if passed == len(cells):
        return f"all {passed} cells passed"
    return f"{passed} of {len(cells)} cells passed; {decisive.label}: {decisive.reason}"
