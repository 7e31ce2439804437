"""One cell in numbers, and how they are collected from its rows one at a time.

What is kept of a row is a few floats; every figure is independent of the order of the rows.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence

from pydantic import Field

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.rows import SCORED, STATUSES, Result, Row, Status
from salvo_core.run.costs import NO_COST, Cost, CostFold, cost_of
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.failures import Failure, FailureFold, InfraErrors, InfraFold
from salvo_core.run.judges import JudgeFold, JudgeSummary
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.spread import Spread
from salvo_core.run.stopping import DECIDED, Stop, StopFold
from salvo_core.run.verdict import Decided, Ruling, Tally, Verdict, ruling, score_of
from salvo_core.run.workers import WorkerFold
from salvo_core.stats.intervals import wilson
from salvo_core.trace.frozen import Frozen

_NO_SCORE = Spread.model_construct(mean=0.0, min=0.0, p50=0.0, p95=0.0, max=0.0)


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
    retried_scored: int = 0
    """Graded trials in which an exchange failed and was tried again."""
    retried_passed: int = 0
    """Those of them that passed."""
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

    @property
    def wanted(self) -> int:
        """Trials that should have had a grade: not those that were skipped because it was decided."""
        return self.trials - self.skipped.get(DECIDED, 0)


class CellFold:
    """Collects the rows of one cell, in any order.

    Args:
        number: The cell's place in the plan.
        cell: The cell.
        plan: Of the run.
        facts: Of its assertions, in the scenario's order.
    """

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
        self.retried_scored = 0
        self.retried_passed = 0
        self.workers = WorkerFold()
        self.retried = 0
        self.outcomes: dict[str, int] = defaultdict(int)
        self.unaffordable = 0
        self.infra_errors = InfraFold()
        self.failures = FailureFold(facts)

    def add(self, row: Row, trial: int) -> None:
        """Take a row in, the trial's place in the cell being given."""
        self.counts[row.status] += 1
        self.stops.add(row, trial)
        graded = row.status in SCORED
        if graded:
            self.failures.add(row)
            self.scores.append(score_of(row))
            self._compare(row)
        else:
            self.unaffordable += row.unaffordable
            self.infra_errors.add(row)
        if row.result is not None:
            self.judges.add(row)
            self._add_result(row.result, graded=graded)

    def _compare(self, row: Row) -> None:
        """Count a graded trial by what must not matter: who ran it, and whether it was retried."""
        assert row.result is not None
        passed = row.status == "passed"
        self.workers.add(row.result.worker, passed=passed)
        if row.result.retries:
            self.retried_scored += 1
            self.retried_passed += passed

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
        """Return what the rows so far come to; those that were not given count as pending."""
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
            retried_scored=self.retried_scored,
            retried_passed=self.retried_passed,
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
            if stop is None:
                decided = Decided(None, self.sequential.undecided(gate, tally.passed, len(tally.scores)))
            else:
                decided = Decided(stop.decision, stop.reason)
        return ruling(tally, self.cell.threshold, allow_infra=allow_infra, gate=gate, decided=decided)


def equal_weights(cell: Cell) -> tuple[AssertionFacts, ...]:
    """Return what failures are ranked by where the scenario is not at hand: the plan's labels."""
    return tuple(AssertionFacts(label) for label in cell.assertions)
