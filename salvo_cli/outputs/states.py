"""Documents about where runs, trials and schedules stand."""

from __future__ import annotations

from typing import NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.delivery import Delivery
from salvo_core.alerts.incident import Followed
from salvo_core.fleet.breaker import Trouble
from salvo_core.fleet.registry import WorkerCard
from salvo_core.manifest.budget import Spending
from salvo_core.manifest.counters import RunState
from salvo_core.manifest.rows import Status
from salvo_core.run.schedule import CellName, Schedule
from salvo_core.run.verdict import Verdict
from salvo_core.stats.nights import Event, Phase
from salvo_core.store.keys import FiringKind


class Counts(TypedDict):
    """A run as its counters tell it; ``_ms`` is Unix time in milliseconds, by the server's clock."""

    run_id: str
    kind: str
    name: str
    state: RunState
    verdict: str | None
    exit_code: int | None
    total: int
    ended: int
    cells: int
    counts: dict[Status, int]
    rate_per_s: float | None
    eta_s: float | None
    cost_usd: float
    cost_unknown: int
    judge_cost_usd: float
    judge_cost_unknown: int
    input_tokens: int
    output_tokens: int
    retries: int
    expired: int
    budget: Spending | None
    paused_by: str
    concurrency_max: int | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    now_ms: int


class Waiting(TypedDict):
    """Trials that wait for a provider's limits; ``why`` says what keeps the others."""

    provider: str
    trials: int
    trials_of_all_runs: int
    why: str
    requests_per_min: float | None
    tokens_per_min: float | None
    concurrency_max: int | None
    learned_per_min: float | None
    pause_s: float


class StatusTold(Counts):
    """Where a run stands: its counts, which providers are left alone, who waits for what, and who works."""

    waiting: list[Trouble]
    queues: list[Waiting]
    workers: list[WorkerCard]


class ListedReevaluation(Counts):
    """A re-evaluation, and the run that it looked at."""

    of: str


class RunsListed(TypedDict):
    """The newest runs, newest first."""

    runs: list[Counts]


class ReevaluationsListed(TypedDict):
    """The newest re-evaluations, newest first."""

    reevals: list[ListedReevaluation]


class Waited(TypedDict):
    """How a wait ended; ``verdict`` is null while the run is not over."""

    run_id: str
    state: str
    verdict: Verdict | None
    reason: str
    exit_code: int


class TrialResult(TypedDict):
    """What a trial came to."""

    score: float | None
    outcome: str
    error: str
    cost_usd: float | None
    judge_cost_usd: float | None
    latency_s: float
    duration_s: float
    input_tokens: int
    output_tokens: int
    turns: int
    retries: int
    failed_assertions: list[int]


class Trial(TypedDict):
    """One trial; ``trial`` counts in its cell, ``index`` in its run, ``cell`` is the cell's place."""

    index: int
    cell: int
    trial: int
    scenario: str
    model: str
    status: Status
    attempt: int
    trace_id: str
    reason: str
    worker: str
    result: TrialResult | None


class TrialsListed(TypedDict):
    """The trials of a run that were asked for."""

    run_id: str
    matching: int
    truncated: bool
    trials: list[Trial]


class ManifestRow(TypedDict):
    """One row; ``error`` is there after an infrastructure error, ``reason`` where a trial was ended early."""

    trace_id: str
    index: int
    status: Status
    attempt: int
    error: NotRequired[str]
    reason: NotRequired[str]


class ManifestShown(TypedDict):
    """A run's rows in index order."""

    run_id: str
    name: str
    created_at: str
    cells: int
    trials: list[ManifestRow]


class ScheduleShown(Schedule):
    """A schedule, and when it is due next; null while it is paused."""

    signature: str = Field(default="", exclude=True)
    next_due: str | None


class ScheduleListed(ScheduleShown):
    """The same with what its newest runs came to, oldest first."""

    verdicts: list[str]


class SchedulesListed(TypedDict):
    """All schedules by name."""

    schedules: list[ScheduleListed]


class FiringShown(TypedDict):
    """What became of a due time; ``verdict`` is its run's, or its state, or ``lost``."""

    schedule: str
    due_at: str
    run_id: str
    why: str
    by_hand: bool
    trials: int | None
    confirms: str
    cells: list[CellName]
    kind: FiringKind
    verdict: str


class DeliveryTold(Delivery):
    """How far one channel is with an alert."""

    alert: str = Field(default="", exclude=True)


class AlertTold(Alert):
    """An alert, and whom it has reached."""

    told: tuple[DeliveryTold, ...]


class FollowedShown(Followed):
    """What was decided after a firing, and who was told."""

    alerts: tuple[AlertTold, ...]


class NightEvent(TypedDict):
    """What was found about a cell, and in which run."""

    run_id: str
    event: Event


class CellStanding(TypedDict):
    """Where a cell stands after its nights; ``reference`` is the rate that nights are measured by."""

    scenario: str
    model: str
    nights: int
    phase: Phase
    evidence_nats: float
    reference: float | None
    events: list[NightEvent]


class ScheduleHistory(TypedDict):
    """What became of a schedule's due times, oldest first."""

    schedule: str
    firings: list[FiringShown]
    cells: list[CellStanding]
    followed: list[FollowedShown]
    note: str


class BaselineShown(TypedDict):
    """A baseline, and what its run came to; null where that run's objects are gone."""

    name: str
    run_id: str
    set_at: str
    verdict: Verdict | None
    passed: int | None
    trials: int | None


class BaselinesListed(TypedDict):
    """All baselines by name."""

    baselines: list[BaselineShown]
