"""Documents about what a command did, or with ``dry_run`` would do."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from salvo_core.carry_over import State
from salvo_core.fleet.foreign import ForeignMessage, Reason
from salvo_core.predecessor.folder import Skipped
from salvo_core.run.discrepancies import Kind, Remedy
from salvo_core.trace.recording import RecordingMode


class ProblemShown(TypedDict):
    """What is wrong in a file; line and col are 1-based, 0 where none can be named."""

    code: str
    severity: Literal["error", "warning"]
    file: str
    line: int
    col: int
    field: str
    message: str
    hint: str


class ErrorTold(TypedDict):
    """Why a command failed; ``problems`` are located in files, ``run_id`` is the run it is about."""

    kind: str
    message: str
    hint: str
    exit_code: int
    problems: NotRequired[list[ProblemShown]]
    run_id: NotRequired[str]


class Failed(TypedDict):
    """What any command prints instead of its own document when it fails."""

    error: ErrorTold


class Submitted(TypedDict):
    """A run that was ordered."""

    run_id: str
    cells: int
    trials: int


class Triggered(TypedDict):
    """A run that a person ordered of a schedule."""

    run_id: str
    schedule: str


class ChannelTried(TypedDict):
    """What a channel answered to a test."""

    channel: str
    leads_to: str
    told: bool
    said: str
    hint: str


class AlertTested(TypedDict):
    """Whether a schedule's alerts arrive."""

    schedule: str
    channels: list[ChannelTried]


class ScheduleRemoved(TypedDict):
    """A schedule that is fired no more."""

    name: str
    removed: bool


class BaselineRemoved(TypedDict):
    """A name that stands for nothing any more."""

    name: str


class Cancelled(TypedDict):
    """A run that was ended; ``never_begun`` trials will not begin."""

    run_id: str
    dry_run: bool
    changed: bool
    state: str
    never_begun: int


class Paused(TypedDict):
    """A run that is held up."""

    run_id: str
    dry_run: bool
    changed: bool
    state: str
    running: int
    left: int


class Retried(TypedDict):
    """Trials that are tried again, ``continued`` of them from turns already paid for."""

    run_id: str
    dry_run: bool
    trials: int
    continued: int
    state: str


class Extended(TypedDict):
    """A run with more trials: ``added`` in all, ``trials`` of each cell now."""

    run_id: str
    dry_run: bool
    added: int
    trials: int
    state: str


class DiscrepancyFound(TypedDict):
    """One thing that is not as it should be; ``index`` is null where it is about no single trial."""

    kind: Kind
    index: int | None
    trace_id: str
    key: str
    what: str
    remedy: Remedy


class RepairsDone(TypedDict):
    """What ``--repair`` did."""

    restated: int
    sent: int
    pruned: int
    sealed: bool


class Audited(TypedDict):
    """Whether a run's every row matches its trace. ``losing`` names objects that no row names: no fault."""

    run_id: str
    state: str
    live: bool
    clean: bool
    exit_code: int
    total: int
    ended: int
    checked: int
    moving: bool
    discrepancies: list[DiscrepancyFound]
    losing: list[str]
    uncommitted: int
    unrecorded: int
    repaired: RepairsDone | None


class RestoredRows(TypedDict):
    """What the store knows of a run."""

    rows: int
    missing: int
    journaled: int
    damaged: list[str]


class Rebuilt(TypedDict):
    """A run that was brought back; ``restored`` is null where nothing was lost."""

    run_id: str
    total: int
    restored: RestoredRows | None
    dry_run: bool
    published: NotRequired[int]
    state: NotRequired[str]
    left: NotRequired[int]


class LeftAlone(TypedDict):
    """A trace that was not packed."""

    key: str
    why: str


class Packed(TypedDict):
    """Traces that lie in few objects now."""

    run_id: str
    dry_run: bool
    alone: int
    packed: int
    packs: int
    bytes: int
    removed: int
    large: int
    packs_before: int
    left: list[LeftAlone]


class ImportedRun(TypedDict):
    """A run of the first Salvo."""

    run_id: str
    name: str
    file: str
    model: str
    state: State
    verdict: str
    verdict_before: str
    trials: int
    traces: int
    marked: bool
    recording: RecordingMode
    notes: list[str]


class Imported(TypedDict):
    """What was carried over, and what was not."""

    folder: str
    dry_run: bool
    runs: list[ImportedRun]
    skipped: list[Skipped]
    traces_without_a_run: int
    reevaluations_left: int
    exit_code: int


class Initialised(TypedDict):
    """Files of a new project."""

    written: list[str]


class ValidScenario(TypedDict):
    """A scenario file that can be run."""

    file: str
    name: str
    digest: str


class Validated(TypedDict):
    """Every problem of every file, warnings too."""

    valid: bool
    scenarios: list[ValidScenario]
    problems: list[ProblemShown]


class SettingShown(TypedDict):
    """A setting, passwords masked; ``source`` is flag, environment, salvo.yaml or default."""

    name: str
    variable: str
    value: str
    source: str
    meaning: str


class ChannelShown(TypedDict):
    """Whom schedules may tell; ``unset`` names variables that this machine lacks for it."""

    name: str
    kind: str
    leads_to: str
    signed_by: str
    unset: list[str]


class Configured(TypedDict):
    """Every setting, and where it came from."""

    project: str
    mode: Literal["embedded", "fleet"]
    settings: list[SettingShown]
    channels: list[ChannelShown]


class FindingShown(TypedDict):
    """One thing that was looked at."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    seen: str
    advice: str


class Examined(TypedDict):
    """Whether everything is there that runs need."""

    exit_code: int
    findings: list[FindingShown]


class ForeignShown(TypedDict):
    """Messages in the queue that were not Salvo's; their text is somebody else's."""

    counts: dict[Reason, int]
    messages: list[ForeignMessage]
    cleared: bool


class WorkerLeft(TypedDict):
    """A worker that was told to stop."""

    exit_code: int


class Simulating(TypedDict):
    """A pretend provider that answers, and the variables that lead there; printed when it is ready."""

    port: int
    variables: dict[str, str]


class OutputNamed(TypedDict):
    """A document, who prints it, and what it says."""

    name: str
    printed_by: str
    says: str


class OutputsListed(TypedDict):
    """Every document of every ``--json``."""

    outputs: list[OutputNamed]
