"""The record of a trial that was scored again: what is found now, beside what was found then.

It is small: the conversation stays where it is, and this cites it by key and digest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from salvo_core.errors import ObjectCorrupt
from salvo_core.trace import codec
from salvo_core.trace.model import (
    Finding,
    Frozen,
    Grade,
    Judgement,
    Outcome,
    Provenance,
    ScenarioRef,
    TrialError,
)

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
        return self.after.grade or ("cancelled" if self.outcome == "cancelled" else "infra_error")

    @classmethod
    def decode(cls, stored: bytes, where: str, expected_digest: str | None = None) -> Rescored:
        """Return the record that was stored.

        Raises:
            ObjectCorrupt: Damaged, no such record, or not the one that expected_digest names.
        """
        document: Any = codec.decode(SCHEMA, stored, where=where, expected_digest=expected_digest)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ObjectCorrupt(
                f"{where} holds a record that this Salvo cannot read ({error.error_count()} problems)",
                hint="a newer Salvo may have written it",
            ) from None
