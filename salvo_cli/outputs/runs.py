"""Documents about what runs came to."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from salvo_core.evaluation.gate import Gate
from salvo_core.foresee import Amount, Foreseen
from salvo_core.run.change import RunChange
from salvo_core.run.comparison import Comparison
from salvo_core.run.reliability import Reliability
from salvo_core.run.rescored import Rescored
from salvo_core.run.sequential import Sequential
from salvo_core.run.summary import Summary
from salvo_core.run.verdict import Verdict
from salvo_core.trace.model import Trace, TrialError, Turn, Usage
from salvo_core.trial.divergence import Kind


class RecordedTrial(TypedDict):
    """A trial that left a trace."""

    cell: int
    trial: int
    status: str
    trace_id: str


class Reported(TypedDict):
    """A run, or a re-evaluation, as far as it has come; its exit code is that of the process.

    ``recorded`` is there with ``--record``; ``cells_total`` and ``cells_by`` in ``report``, where
    ``summary.cells`` and ``reliability`` hold the cells that were asked for, by the options that
    ``cells_by`` names (empty: all of them), while verdict, exit code and counts stay the whole run's;
    ``of``, ``comparison`` and ``trial`` for a re-evaluation.
    """

    run_id: str
    state: str
    verdict: Verdict
    exit_code: int
    summary: Summary
    reliability: Reliability
    recorded: NotRequired[list[RecordedTrial]]
    cells_total: NotRequired[int]
    cells_by: NotRequired[str]
    of: NotRequired[str | None]
    comparison: NotRequired[Comparison | None]
    trial: NotRequired[Rescored | None]


class NothingToReport(TypedDict):
    """There is no run yet."""

    run_id: None
    message: str
    hint: str


class Resumed(TypedDict):
    """A run that goes on in the background (``--detach``)."""

    run_id: str
    state: str
    left: int


class WouldResume(TypedDict):
    """What ``--dry-run`` foretells."""

    run_id: str
    dry_run: bool
    state: str
    left: int
    unseeded: int


class ReevaluationOrdered(TypedDict):
    """A re-evaluation that goes on in the background (``--detach``)."""

    run_id: str
    of: str
    trials: int


class NotReplayed(TypedDict):
    """A recording that cannot be shown; ``index`` is unknown where it is not about a run."""

    index: int | None
    trace_id: str
    reason: str


class ReplayedTrial(TypedDict):
    """A recorded trial; ``trace`` is null where nothing is recorded or readable."""

    trace: Trace | None
    skipped: list[NotReplayed]


class ReplayedRun(Reported):
    """A run's report made anew from its traces; ``exit_code`` is its verdict's, that of the process is 0."""

    traces: int
    skipped: list[NotReplayed]


class PartedAt(TypedDict):
    """The first turn in which a live model left the recording."""

    turn: int
    kind: Kind
    told: str
    recorded: Turn
    live: Turn


class ReplayedAgainst(TypedDict):
    """A recording put to a live model."""

    trace_id: str
    model: str
    adapter: str
    exit_code: int
    complete: bool
    turns_recorded: int
    turns: list[Turn]
    divergence: PartedAt | None
    error: TrialError | None
    limit: str | None
    usage: Usage
    cost_usd: float | None


class TraceShown(TypedDict):
    """One trial's stored record."""

    trace: Trace


class PastCell(TypedDict):
    """A cell of a past run. Rates and scores are null where no trial was graded."""

    scenario: str
    file: str
    digest: str
    model: str
    verdict: Verdict
    trials: int
    scored: int
    passed: int
    pass_rate: float | None
    pass_rate_low: float
    pass_rate_high: float
    score_mean: float | None
    cost_usd: float | None
    judge_cost_usd: float | None


class PastRun(TypedDict):
    """A sealed run, over the cells that were asked for."""

    run_id: str
    name: str
    created_at: str
    labels: dict[str, str]
    verdict: Verdict
    trials: int
    scored: int
    passed: int
    pass_rate: float | None
    score_mean: float | None
    cost_usd: float | None
    cost_unknown: int
    judge_cost_usd: float | None
    judge_cost_unknown: int
    cells: list[PastCell]


class PastPoint(TypedDict):
    """One cell in one run."""

    run_id: str
    created_at: str
    verdict: Verdict
    passed: int
    scored: int
    pass_rate: float
    pass_rate_low: float
    pass_rate_high: float
    interval: str


class Trend(TypedDict):
    """One cell's pass rates from run to run, oldest first; ``edited`` if its scenario changed on the way.

    ``chance_p`` is how probable such differences are by chance alone; null where that cannot be told.
    """

    scenario: str
    model: str
    pass_rates: list[float | None]
    first: float
    last: float
    edited: bool
    chance_p: float | None
    points: list[PastPoint | None]


class DamagedRun(TypedDict):
    """A run whose summary cannot be read."""

    run_id: str
    message: str


class History(TypedDict):
    """The last runs, and how each cell did over them."""

    runs: list[PastRun]
    trends: list[Trend]
    damaged: list[DamagedRun]
    not_ended: int
    truncated: bool


class ComparedSide(TypedDict):
    """One of two runs, and the baseline's name that it was called by."""

    run_id: str
    baseline_name: str | None


class Compared(TypedDict):
    """What changed between two runs."""

    candidate: ComparedSide
    baseline: ComparedSide
    verdict: str
    reason: str
    exit_code: int
    change: RunChange


class PlannedJudge(TypedDict):
    """A judge that would be asked."""

    model: str
    adapter: str
    votes: int
    price_known: bool


class PlannedCell(TypedDict):
    """A cell that would be run, and what it takes at most."""

    scenario: str
    file: str
    model: str
    adapter: str
    threshold: float
    gate: Gate | None
    trials: int
    calls_max: int
    judge_calls_max: int
    judges: list[PlannedJudge]
    price_known: bool
    tokens_max: int | None
    cost_usd_max: float | None


class _Bounds(TypedDict):
    trials: int
    calls_max: int
    judge_calls_max: int
    cost_usd_max: float | None
    detects: float | None
    concurrency_max: int | None
    early_stop: bool
    stop_rule: Sequential | None


class ForeseenCell(PlannedCell):
    """The same with what past runs of the cell say it will take."""

    expected: Foreseen


class ForeseenTotals(TypedDict):
    """What all cells take together; null where that of any is not known."""

    calls: Amount | None
    tokens: Amount | None
    cost_usd: Amount | None


class Estimated(TypedDict):
    """What all cells take of one unit: ``foreseen`` of some by past runs, of the others the worst case."""

    basis: Literal["past runs", "worst case", "both"]
    foreseen: Amount | None
    by_past_runs: int
    by_worst_case: int
    worst_case: float | None


class Estimates(TypedDict):
    """The same of every unit."""

    calls: Estimated
    tokens: Estimated
    cost_usd: Estimated


class Planned(_Bounds):
    """What would be run: the bounds, and what past runs say; a bound is null where nothing bounds it."""

    cells: list[ForeseenCell]
    expected: ForeseenTotals
    estimate: Estimates


class DryRunBounds(_Bounds):
    """The bounds alone, where past runs cannot be read."""

    cells: list[PlannedCell]
