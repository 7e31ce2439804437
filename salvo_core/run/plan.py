"""The frozen order: which cells, how many trials of each, under which limits.

The plan object is the truth of a submission (I4); manifest rows and messages are
derived from it and can be made again. Trials are numbered across the run with cells
interleaved (index = trial * cells + cell), so that any prefix of the run, and so any
partial result, is balanced over the cells.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from salvo_core.errors import UsageError
from salvo_core.evaluation.gate import Gate
from salvo_core.evaluation.judge.defaults import JudgeDefaults, Judging
from salvo_core.identity import (
    INDEX_MAX,
    canonical_json,
    digest,
    index_in,
    is_uuid7,
    require_uuid7,
    trace_id_for,
)
from salvo_core.manifest.budget import Budget
from salvo_core.run.route import LANES, Priority, Route
from salvo_core.run.sequential import Sequential
from salvo_core.run.signature import UNSIGNED, Lack, Signer
from salvo_core.store import keys
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen
from salvo_core.trace.recording import Recording

SCHEMA = "salvo.plan/1"
_SIGNED = "salvo.plan.signature/1"
_MESSAGE_SIGNED = "salvo.trial/1"
CELLS_MAX = 10_000
TRIALS_MAX = 1_000_000
RUN_TRIALS_MAX = 1_500_000
"""Of all cells together: what one archive has room for (``manifest.archive``), and one process can seal."""


class Cell(Frozen):
    """One scenario with one model and one set of parameters; the verdict is per cell."""

    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    scenario_name: str
    scenario_file: str = ""
    model: str
    adapter: str
    threshold: float = Field(ge=0, le=1)
    """The one in force, a flag's override included."""
    gate: Gate | None = None
    """Judge by the pass rate instead of the average score."""
    assertions: tuple[str, ...] = ()
    """Each assertion in a few words, in the scenario's order: what failures are grouped by."""
    tags: dict[str, str] = Field(default_factory=dict)
    agent_digest: str = ""
    """Of what the agent sees (``scenario.digest.agent_digest``): whether a later scenario asks the same."""
    withheld: bool = False
    """Whether the scenario may not stay in the store as it is: it holds secrets, or content is not kept."""

    @property
    def label(self) -> str:
        """Scenario and model, for people."""
        return f"{self.scenario_name} · {self.model}"


def run_name(scenarios: Sequence[tuple[str, str]]) -> str:
    """Return what a run is called: its first scenario, and how many others there are.

    Args:
        scenarios: (digest, name) per cell, at least one.
    """
    others = len({digest for digest, _ in scenarios}) - 1
    return f"{scenarios[0][1]} and {others} more" if others else scenarios[0][1]


class TrialMessage(Frozen):
    """One trial on the wire: names only, never content, never a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    run_id: str
    cell: int = Field(ge=0, lt=CELLS_MAX)
    index: int = Field(ge=0, le=INDEX_MAX)
    trace_id: str

    @field_validator("run_id", "trace_id")
    @classmethod
    def _uuid7(cls, value: str) -> str:
        if not is_uuid7(value):
            raise ValueError("not a uuid7")
        return value

    def signature(self, signer: Signer) -> str:
        """Return what a site's producers send along with it; empty where nothing is signed."""
        return signer.sign(_MESSAGE_SIGNED, self.run_id, self.cell, self.index, self.trace_id)

    def lack(self, signature: object, signer: Signer) -> Lack | None:
        """Return what is wrong with the signature that came with it, None if nothing is."""
        return signer.lack(signature, _MESSAGE_SIGNED, self.run_id, self.cell, self.index, self.trace_id)


class Rescore(Frozen):
    """What a re-evaluation is of: recorded conversations are scored again, none is held."""

    run_id: str
    """Whose traces."""
    index: int | None = Field(default=None, ge=0)
    """The one trial of that run; None for all of them."""
    judging: Judging = "too"
    """Whether judges are asked."""
    fresh_votes: bool = False
    """Whether they vote anew on what they have voted on; otherwise the same question has the same votes."""
    allow_partial: bool = False
    """Whether assertions that a record without content cannot answer may be left out."""
    left_out: tuple[tuple[int, ...], ...] = ()
    """By cell, the places of those assertions; empty when there is none anywhere."""

    @field_validator("run_id")
    @classmethod
    def _uuid7(cls, value: str) -> str:
        return require_uuid7(value, "run id")


class Plan(Frozen):
    """One submission: cells x trials, in a fixed order."""

    run_id: str
    created_at: datetime
    cells: tuple[Cell, ...] = Field(min_length=1, max_length=CELLS_MAX)
    trials: int = Field(ge=1, le=TRIALS_MAX)
    """Repetitions of each cell."""
    concurrency_max: int | None = Field(default=None, ge=1)
    """Trials of this run that may be queued or running at once; None leaves it to the workers."""
    attempts_max: int = Field(default=3, ge=1, le=100)
    """Workers that may vanish over a trial, at one place of it, before it is given to no other."""
    crashes_max: int = Field(default=2, ge=2, le=100)
    """As ``attempts_max``, where nothing else can have ended the last of them: then it is quarantined."""
    priority: Priority = "normal"
    """Against other runs."""
    lane: int = Field(default=0, ge=0, lt=LANES)
    """Of the queue, in which its messages wait (``run.route``)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Free notes of the submitter (host, user, git commit, CI job)."""
    salvo_version: str
    recording: Recording = Recording.model_construct()  # what we say ourselves needs no checking
    """What traces keep."""
    judge: JudgeDefaults = JudgeDefaults.model_construct()
    """How judges are asked where an assertion does not say."""
    early_stop: bool = False
    """Whether a cell's remaining trials are skipped once its verdict is out of reach."""
    sequential: Sequential | None = None
    """Decide each cell by this rule as soon as it can be, and skip the rest; every cell has a gate then."""
    budget: Budget | None = None
    """What the run may spend in all; it may have been raised since."""
    trace_ids: tuple[str, ...] | None = None
    """By index, where they are not derived from the run id: of runs that another Salvo made."""
    rescore: Rescore | None = None
    """Set in a re-evaluation."""
    signature: str = Field(default="", max_length=100)
    """Of all the rest, by whoever ordered the run; empty where nothing is signed (``run.signature``)."""

    @field_validator("run_id")
    @classmethod
    def _uuid7(cls, value: str) -> str:
        return require_uuid7(value, "run id")

    @property
    def name(self) -> str:
        """What the run is called in lists."""
        return run_name([(cell.scenario_digest, cell.scenario_name) for cell in self.cells])

    @property
    def home(self) -> str:
        """The folder of the store that holds this plan and all that becomes of it."""
        return keys.REEVALS if self.rescore else keys.RUNS

    @property
    def route(self) -> Route:
        """Where its messages wait."""
        return Route(self.lane, self.priority)

    @property
    def total(self) -> int:
        """Trials in the whole run."""
        return len(self.cells) * self.trials

    def cell_index(self, index: int) -> int:
        """Return which cell the trial at that index belongs to."""
        return index % len(self.cells)

    def trial_index(self, index: int) -> int:
        """Return which repetition, 0-based, the trial at that index is within its cell."""
        return index // len(self.cells)

    def trace_id(self, index: int) -> str:
        """Return the trial's trace id. A re-evaluation's trials keep the names of those they look at."""
        if self.trace_ids is not None:
            return self.trace_ids[index]
        return trace_id_for(self.rescore.run_id if self.rescore else self.run_id, index)

    def index_of(self, trace_id: str) -> int | None:
        """Return the index of the trial with that trace id, None if this run has no such trial."""
        if self.trace_ids is not None:
            return self.trace_ids.index(trace_id) if trace_id in self.trace_ids else None
        index = index_in(trace_id)
        return index if index < self.total and self.trace_id(index) == trace_id else None

    def indices_of(self, beginning: str) -> range:
        """Return the indices of the trials whose trace ids begin so; they lie side by side.

        Args:
            beginning: Of a trace id, lower case.
        """
        if self.trace_ids is not None:
            found = [index for index, one in enumerate(self.trace_ids) if one.startswith(beginning)]
            return range(found[0], found[-1] + 1) if found else range(0)
        indices = range(self.total)  # ids of one run sort by index
        after_all = f"{beginning}~"  # sorts behind every hexadecimal digit
        return range(
            bisect_left(indices, beginning, key=self.trace_id),
            bisect_right(indices, after_all, key=self.trace_id),
        )

    def message(self, index: int) -> TrialMessage:
        """Return the message that asks a worker for the trial at that index."""
        # Not validated: the plan was, and a submission makes a hundred thousand of them.
        return TrialMessage.model_construct(
            run_id=self.run_id, cell=self.cell_index(index), index=index, trace_id=self.trace_id(index)
        )

    def messages(self, start: int, stop: int) -> Iterator[TrialMessage]:
        """Yield the messages of a range of indices."""
        return (self.message(index) for index in range(start, min(stop, self.total)))

    def encode(self) -> tuple[bytes, str]:
        """Return the stored bytes and the digest of this plan."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)

    def signed(self, signer: Signer) -> Plan:
        """Return this plan with the site's signature: the last thing done to it before it is stored."""
        return self.model_copy(
            update={"signature": signer.sign(_SIGNED, _mark(self.model_dump(mode="json")))}
        )

    @classmethod
    def decode(cls, stored: bytes, where: str, signer: Signer = UNSIGNED) -> Plan:
        """Return the plan that was stored.

        Args:
            stored: Bytes as read from the store.
            where: Their key, for the error.
            signer: Whose signature it must carry, for those who are about to do what it says.

        Raises:
            ObjectCorrupt: Damaged, or not a plan.
            UsageError: It was not signed, or with another key.
        """
        document: Any = codec.decode(SCHEMA, stored, where=where)
        if lack := _lack(document, signer):
            raise UsageError(
                f"{where} is not an order of this site: {lack}",
                hint="set SALVO_SIGNING_KEY where runs are submitted to one of the keys of the workers",
            )
        return codec.validated(cls, document, where=where, what="a plan")


def _lack(document: Any, signer: Signer) -> Lack | None:
    """Return what is wrong with a stored plan's signature, None if nothing is.

    It is of the document as it stands: made again from ``Plan``, what another Salvo wrote reads otherwise.
    """
    if not signer.keys:
        return None
    if not isinstance(document, dict):
        return "unsigned"
    try:
        mark = _mark(document)
    except (ValueError, RecursionError):  # JSON that nobody signs, such as NaN
        return "bad signature"
    return signer.lack(document.get("signature"), _SIGNED, mark)


def _mark(document: dict[str, Any]) -> str:
    """Return the digest of a plan's document without its signature."""
    return digest(canonical_json({name: value for name, value in document.items() if name != "signature"}))
