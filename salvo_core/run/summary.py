"""What a run comes to in numbers: the document that reports and lists read.

Computed from the plan and the manifest's rows alone, without a clock, and every figure is
independent of the order of the rows: sums are exact before they are rounded once
(``math.fsum``), samples are the trials of lowest index. Sealing twice therefore gives the
same bytes. Rows are folded one at a time; what is kept of each is a few floats.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import Field

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.budget import Spending
from salvo_core.manifest.counters import RunState
from salvo_core.manifest.rows import SCORED, STATUSES, TERMINAL, Result, Row, Status
from salvo_core.run.costs import NO_COST, Cost, CostFold, cost_of
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.failures import Failure, FailureFold, InfraErrors, InfraFold
from salvo_core.run.judges import JudgeFold, JudgeSummary
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.spread import Spread
from salvo_core.run.stopping import DECIDED, Stop, StopFold
from salvo_core.run.verdict import EXIT_CODES, Decided, Ruling, Tally, Verdict, ruling, score_of, worst
from salvo_core.stats.intervals import wilson
from salvo_core.trace import codec
from salvo_core.trace.model import Frozen

SCHEMA = "salvo.summary/1"


_NO_SCORE = Spread(mean=0, min=0, p50=0, p95=0, max=0)


class CellSummary(Frozen):
    """One cell in numbers. Scores, times and tokens are over graded trials only (I6)."""

    cell: int
    """Its place in the plan, 0-based."""
    scenario_name: str
    scenario_file: str
    scenario_digest: str
    model: str
    adapter: str
    tags: dict[str, str]
    threshold: float
    gate: Gate | None = None
    """Of the pass rate, where it decides instead of the average score."""
    verdict: Verdict
    reason: str
    verdict_allow_infra: Verdict
    """What the graded trials alone come to, infrastructure errors left out."""
    trials: int
    """Ordered."""
    counts: dict[Status, int]
    """Trials by status; they sum to ``trials``."""
    scored: int
    """Graded trials: the n behind every rate and spread here."""
    pass_rate: float = Field(ge=0, le=1)
    """Of the graded trials; 0 when there are none."""
    pass_rate_low: float
    """Wilson interval of the pass rate, 95 %."""
    pass_rate_high: float
    pass_rate_worst: float
    """Of all trials ordered, as if each that has no grade had failed."""
    pass_rate_best: float
    """As if each that has no grade had passed."""
    score: Spread
    """Zeros when no trial was graded."""
    latency_s: Spread | None
    """Conversation alone, seconds; None when no trial was graded."""
    duration_s: Spread | None
    """Claim to grade, seconds."""
    tokens: Spread | None
    """Input and output together, per trial."""
    turns: Spread | None
    """Exchanges that came back, per trial."""
    cost: Cost
    """Of the agent."""
    judge_cost: Cost = NO_COST
    """Of the judges, over the trials in which any was asked; apart from ``cost``."""
    judges: tuple[JudgeSummary, ...] = ()
    """In the scenario's order."""
    unaffordable: int = 0
    """Trials that the budget kept from beginning, or stopped."""
    retries: int
    """Exchanges that failed and were tried again or ended the trial."""
    trials_with_retries: int
    outcomes: dict[str, int]
    """Trials by outcome, of those that left a result; sorted by name."""
    infra_errors: tuple[InfraErrors, ...]
    """By kind, most frequent first."""
    failures: tuple[Failure, ...]
    """By assertion, worst first."""
    skipped: dict[str, int] = Field(default_factory=dict)
    """Trials that were skipped, by reason; sorted by name."""
    cost_usd: Spread | None = None
    """Of the agent, per trial of known cost; None when none is known."""
    early_stop: Stop | None = None
    """Where the cell was decided, if trials were skipped for it."""

    @property
    def label(self) -> str:
        """Scenario and model, for people."""
        return f"{self.scenario_name} · {self.model}"


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
        _CellFold(number, cell, plan, assertions.get(number) or _equal_weights(cell))
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
        cells=cells,
    )


class _CellFold:
    """Collects the rows of one cell, in any order."""

    def __init__(self, number: int, cell: Cell, plan: Plan, facts: Sequence[AssertionFacts]) -> None:
        self.number = number
        self.cell = cell
        self.trials = plan.trials
        self.stops = StopFold(plan, number)
        self.sequential = plan.sequential
        self.counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.scores = array("d")
        self.latencies_s = array("d")
        self.durations_s = array("d")
        self.tokens = array("d")
        self.turns = array("d")
        self.costs = CostFold()
        self.judge_costs = CostFold()
        self.judges = JudgeFold(facts)
        self.input_tokens = 0
        self.output_tokens = 0
        self.retries = 0
        self.trials_with_retries = 0
        self.retried = 0
        self.outcomes: dict[str, int] = defaultdict(int)
        self.unaffordable = 0
        self.infra_errors = InfraFold()
        self.failures = FailureFold(facts)

    def add(self, row: Row, trial: int) -> None:
        self.counts[row.status] += 1
        self.unaffordable += row.unaffordable
        self.stops.add(row, trial)
        self.infra_errors.add(row)
        self.failures.add(row)
        self.judges.add(row)
        if row.status in SCORED:
            self.scores.append(score_of(row))
        if row.result is not None:
            self._add_result(row.result, graded=row.status in SCORED)

    def _add_result(self, result: Result, *, graded: bool) -> None:
        self.outcomes[result.outcome] += 1
        self.input_tokens += result.input_tokens
        self.output_tokens += result.output_tokens
        self.retries += result.retries
        self.trials_with_retries += result.retries > 0
        self.retried += result.retried > 0
        self.costs.add(result.cost_usd)
        if result.judged or result.judge_cost_usd != 0:
            self.judge_costs.add(result.judge_cost_usd)
        if graded:
            self.latencies_s.append(result.latency_s)
            self.durations_s.append(result.duration_s)
            self.tokens.append(result.input_tokens + result.output_tokens)
            self.turns.append(result.turns)

    def summary(self) -> CellSummary:
        # A trial whose row was never made has not begun either.
        unseen = self.trials - sum(self.counts.values())
        scored, passed = len(self.scores), self.counts["passed"]
        interval = wilson(passed, scored)
        stop, skipped = self.stops.stop(), self.stops.skipped
        strict, lenient = self._ruling(stop, allow_infra=False), self._ruling(stop, allow_infra=True)
        early = "" if stop is None else f"; {stop.told(self.trials, skipped.get(DECIDED, 0))}"
        return CellSummary(
            cell=self.number,
            scenario_name=self.cell.scenario_name,
            scenario_file=self.cell.scenario_file,
            scenario_digest=self.cell.scenario_digest,
            model=self.cell.model,
            adapter=self.cell.adapter,
            tags=self.cell.tags,
            threshold=self.cell.threshold,
            gate=self.cell.gate,
            verdict=strict.verdict,
            reason=strict.reason + early + self._rests_on(),
            verdict_allow_infra=lenient.verdict,
            trials=self.trials,
            counts=self.counts | {"pending": self.counts["pending"] + unseen},
            scored=scored,
            pass_rate=passed / scored if scored else 0.0,
            pass_rate_low=interval.low,
            pass_rate_high=interval.high,
            pass_rate_worst=passed / self.trials,
            pass_rate_best=(passed + self.trials - scored) / self.trials,
            score=Spread.of(self.scores) if scored else _NO_SCORE,
            latency_s=Spread.of(self.latencies_s) if scored else None,
            duration_s=Spread.of(self.durations_s) if scored else None,
            tokens=Spread.of(self.tokens) if scored else None,
            turns=Spread.of(self.turns) if scored else None,
            cost=cost_of([self.costs], passed),
            judge_cost=cost_of([self.judge_costs], passed),
            judges=self.judges.summaries(),
            unaffordable=self.unaffordable,
            retries=self.retries,
            trials_with_retries=self.trials_with_retries,
            outcomes=dict(sorted(self.outcomes.items())),
            infra_errors=self.infra_errors.ranked(),
            failures=self.failures.ranked(),
            skipped=dict(sorted(skipped.items())),
            cost_usd=Spread.of(self.costs.known_usd) if self.costs.known_usd else None,
            early_stop=stop,
        )

    def _rests_on(self) -> str:
        """Say that the budget took trials out of the verdict; empty if it did not."""
        if not self.unaffordable:
            return ""
        was = "trial was" if self.unaffordable == 1 else "trials were"
        return f"; {self.unaffordable:,} {was} not run or not finished, the budget was used up"

    def _ruling(self, stop: Stop | None, *, allow_infra: bool) -> Ruling:
        tally = Tally(
            trials=self.trials,
            scores=self.scores,
            passed=self.counts["passed"],
            hard_fail=self.counts["hard_fail"],
            infra_error=self.counts["infra_error"],
        )
        gate, decided = self.cell.gate, None
        if gate is not None and self.sequential is not None:
            reason = self.sequential.told(gate) if stop is None else stop.reason
            decided = Decided(None if stop is None else stop.decision, reason)
        return ruling(tally, self.cell.threshold, allow_infra=allow_infra, gate=gate, decided=decided)


def _equal_weights(cell: Cell) -> tuple[AssertionFacts, ...]:
    return tuple(AssertionFacts(label) for label in cell.assertions)


def _run_reason(cells: Sequence[CellSummary], verdict: Verdict) -> str:
    decisive = next(cell for cell in cells if cell.verdict == verdict)
    if len(cells) == 1:
        return decisive.reason
    passed = sum(cell.verdict == "PASS" for cell in cells)
    if passed == len(cells):
        return f"all {passed} cells passed"
    return f"{passed} of {len(cells)} cells passed; {decisive.label}: {decisive.reason}"
