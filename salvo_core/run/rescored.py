"""The record of a trial that was scored again: what is found now, beside what was found then.

It is small: the conversation stays where it is, and this cites it by key and digest.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from salvo_core.evaluation.rescoring import Division
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.plan import Plan
from salvo_core.store import keys
from salvo_core.trace import codec
from salvo_core.trace.exclusion import without_content
from salvo_core.trace.frozen import Frozen
from salvo_core.trace.model import (
    Finding,
    Grade,
    Judged,
    Judgement,
    Outcome,
    Provenance,
    ScenarioRef,
    Trace,
    TrialError,
)
from salvo_core.trace.recording import RecordingMode
from salvo_core.trace.redaction import Redactor
from salvo_core.version import VERSION

SCHEMA = "salvo.rescored/1"


class Cited(Frozen):
    """The recording that was scored again."""

    run_id: str
    trace_id: str
    index: int = Field(ge=0)
    """Its place in its run, 0-based."""
    key: str
    """Where it lies in the store."""
    digest: str
    """Of the document there."""


class Found(Frozen):
    """What a trial came to by one set of assertions."""

    scenario: ScenarioRef
    threshold: float
    findings: tuple[Finding, ...] = ()
    score: float | None = None
    grade: Grade | None = None


class Rescored(Frozen):
    """One trial of a re-evaluation. Money in US dollars."""

    reeval_id: str
    index: int = Field(ge=0)
    """Its place in the re-evaluation, 0-based."""
    cell: int
    attempt: int
    source: Cited
    outcome: Outcome
    """Of the recorded conversation; infra_error when it could not be scored again."""
    error: TrialError | None = None
    before: Found | None = None
    """None when the recording could not be read."""
    after: Found
    judgements: tuple[Judgement, ...] = ()
    """What judges were asked, with every vote, those of the recording included."""
    judged: tuple[Judged, ...] = ()
    """What that came to, for each judge, in the order of places."""
    kept: tuple[int, ...] = ()
    """Places of the assertions whose recorded finding stands."""
    left_out: tuple[int, ...] = ()
    """Places of the assertions that the record cannot answer."""
    judge_cost_usd: float | None = 0.0
    """Of the votes that were asked for this time; None when a price is unknown."""
    recording: Literal["full", "metadata_only"] = "full"
    evaluated_at: datetime
    provenance: Provenance

    @property
    def status(self) -> str:
        """The trial's terminal status: its grade now, or why it has none."""
        if self.after.grade is not None:
            return self.after.grade
        if self.outcome == "cancelled":
            return "cancelled"
        out_of_money = self.error is not None and self.error.kind == "budget"
        return "skipped" if out_of_money and self.outcome != "infra_error" else "infra_error"

    def encode(self, redactor: Redactor) -> tuple[bytes, str]:
        """Return the stored bytes, without secrets, and the digest."""
        return codec.encode(SCHEMA, redactor.record(self), compress=True)

    def result(self, agents: Result | None, digest: str) -> Result:
        """Return what the row says: what is found now, and what the recorded conversation took.

        Args:
            agents: The recording's; None when nobody knows it.
            digest: Of the stored record.
        """
        return (agents or _NOTHING_KNOWN)._replace(
            score=self.after.score,
            outcome=self.outcome,
            error=self.error.kind if self.error else "",
            worker=self.provenance.worker,
            digest=digest,
            failed=tuple(
                (finding.assertion, finding.score)
                for finding in self.after.findings
                if not finding.passed and not finding.infra
            ),
            judge_cost_usd=self.judge_cost_usd,
            judged=tuple((one.assertion, one.k, one.heard, one.in_favour) for one in self.judged),
            undecided=tuple(finding.assertion for finding in self.after.findings if finding.infra),
            struck_out=tuple(
                finding.assertion
                for finding in self.after.findings
                if finding.redaction_affected and finding.assertion not in self.kept
            ),
        )

    @classmethod
    def decode(cls, stored: bytes, where: str, expected_digest: str | None = None) -> Rescored:
        """Return the record that was stored.

        Raises:
            ObjectCorrupt: Damaged, no such record, or not the one that expected_digest names.
        """
        body = codec.decode(SCHEMA, stored, where=where, expected_digest=expected_digest)
        return codec.validated(cls, body, where=where, what="a record")


def blank_record(plan: Plan, row: Row, *, index: int, attempt: int, worker: str, now: datetime) -> Rescored:
    """Return a trial's record with nothing found yet: an infrastructure error, until something is.

    Args:
        plan: Of the re-evaluation.
        row: The recording's.
        index: The trial's place in the re-evaluation.
        attempt: Which try this is.
        worker: Whose.
        now: When.
    """
    assert plan.rescore is not None
    source_id, cell = plan.rescore.run_id, plan.cells[plan.cell_index(index)]
    return Rescored(
        reeval_id=plan.run_id,
        index=index,
        cell=plan.cell_index(index),
        attempt=attempt,
        source=Cited(
            run_id=source_id,
            trace_id=row.trace_id,
            index=row.index,
            key=keys.trace(source_id, row.trace_id, row.attempt) if row.recorded else "",
            digest=row.result.digest if row.result else "",
        ),
        outcome="infra_error",
        after=Found(
            scenario=ScenarioRef(
                digest=cell.scenario_digest, name=cell.scenario_name, file=cell.scenario_file
            ),
            threshold=cell.threshold,
        ),
        evaluated_at=now,
        provenance=Provenance(
            salvo_version=VERSION,
            python_version=platform.python_version(),
            host=socket.gethostname(),
            worker=worker,
        ),
    )


def filled(
    blank: Rescored,
    before: Trace,
    now: Trace,
    division: Division,
    *,
    labels: Sequence[str],
    judge_cost_usd: float | None,
    mode: RecordingMode,
) -> Rescored:
    """Return the record of a trial that was scored again.

    Args:
        blank: As it began.
        before: The recording.
        now: The recording with what is found now: findings, grade, judgements, or why there is none.
        division: What was checked again.
        labels: What the plan calls the assertions, by place: words that may be kept.
        judge_cost_usd: Of new votes, US dollars; None when a price is unknown.
        mode: What is kept of what was said; a recording without content says so itself.
    """
    findings = tuple(
        one.model_copy(update={"label": labels[one.assertion]}) if one.assertion < len(labels) else one
        for one in now.findings
    )
    now = now.model_copy(update={"findings": findings})
    if "metadata_only" in (before.recording, mode):
        now = without_content(now)
    then = Found(
        scenario=before.scenario,
        threshold=before.threshold,
        findings=before.findings,
        score=before.score,
        grade=before.grade,
    )
    after = {"findings": now.findings, "score": now.score, "grade": now.grade}
    return blank.model_copy(
        update={
            "outcome": now.outcome,
            "error": now.error,
            "before": then,
            "after": blank.after.model_copy(update=after),
            "judgements": now.judgements,
            "judged": now.judged,
            "kept": tuple(division.kept),
            "left_out": division.left_out,
            "judge_cost_usd": judge_cost_usd,
            "recording": now.recording,
        }
    )


_NOTHING_KNOWN = Result(None, None, 0.0, 0.0, 0, 0, 0, 0, "infra_error", "", "", "")
