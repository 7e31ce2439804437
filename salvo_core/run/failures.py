"""What went wrong in a cell, ranked: which assertions failed, and which infrastructure did.

Failures are grouped by the assertion itself, never by what a message said: details quote
the answer, and one broken assertion would fall apart into as many groups as answers.
Infrastructure errors are grouped by kind and stand apart, since they are not the agent's (I6).
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence

from pydantic import Field

from salvo_core.manifest.rows import SCORED, Row
from salvo_core.run.facts import AssertionFacts
from salvo_core.trace.frozen import Frozen

SAMPLES_MAX = 3
"""Trials named for each kind of failure: those with the lowest index."""

MESSAGE_LENGTH_MAX = 400


class Failure(Frozen):
    """One assertion of a cell and the graded trials that it failed in."""

    assertion: int = Field(ge=0)
    """Its place in the scenario's list, 0-based."""
    label: str
    weight: float
    required: bool
    fail_count: int = Field(ge=1)
    fail_rate: float = Field(ge=0, le=1)
    """Of the graded trials."""
    weight_lost: float = Field(ge=0)
    """Sum over the failures of (1 - score) * weight."""
    trace_ids: tuple[str, ...]
    """Samples, at most SAMPLES_MAX, lowest index first."""


class InfraErrors(Frozen):
    """The infrastructure errors of one kind in a cell."""

    kind: str
    """``trace.model.ErrorKind``; ``unknown`` when the row does not say."""
    count: int = Field(ge=1)
    trace_ids: tuple[str, ...]
    """Samples, at most SAMPLES_MAX, lowest index first."""
    message: str = ""
    """What the first sample said and what to do about it, at most MESSAGE_LENGTH_MAX characters, as its
    trace has it; empty when no trace could be read, and in what rows alone come to."""


class FirstTrials:
    """Names the few trials of lowest index among those it is shown, whatever the order."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, row: Row) -> None:
        """Count a trial."""
        self.count += 1
        bisect.insort(self._first, (row.index, row.trace_id))
        del self._first[SAMPLES_MAX:]

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """At most SAMPLES_MAX names, lowest index first."""
        return tuple(trace_id for _, trace_id in self._first)


class FailureFold:
    """Collects the failures of one cell's rows, one row at a time, in any order.

    Args:
        facts: Of the cell's assertions, in the scenario's order.
    """

    def __init__(self, facts: Sequence[AssertionFacts]) -> None:
        self._facts = facts
        self._graded = 0
        self._trials: dict[int, FirstTrials] = {}
        self._lost: dict[int, array[float]] = {}

    def add(self, row: Row) -> None:
        """Take a row in. Rows that are not graded say nothing about the agent and are left out (I6)."""
        if row.status not in SCORED or row.result is None:
            return
        self._graded += 1
        for assertion, score in row.result.failed:
            self._trials.setdefault(assertion, FirstTrials()).add(row)
            self._lost.setdefault(assertion, array("d")).append(1 - score)

    def ranked(self) -> tuple[Failure, ...]:
        """Return the failures: required assertions first, then by weight lost, count, and place."""
        failures = (self._failure(assertion) for assertion in self._trials)
        return tuple(sorted(failures, key=_rank))

    def _failure(self, assertion: int) -> Failure:
        # A row that names an assertion the scenario does not have is shown, not dropped.
        known = assertion < len(self._facts)
        facts = self._facts[assertion] if known else AssertionFacts(f"assertion {assertion}")
        trials = self._trials[assertion]
        return Failure(
            assertion=assertion,
            label=facts.label,
            weight=facts.weight,
            required=facts.required,
            fail_count=trials.count,
            fail_rate=trials.count / self._graded,
            weight_lost=math.fsum(self._lost[assertion]) * facts.weight,
            trace_ids=trials.trace_ids,
        )


class InfraFold:
    """Collects the infrastructure errors of one cell's rows, one row at a time, in any order."""

    def __init__(self) -> None:
        self._kinds: dict[str, FirstTrials] = {}

    def add(self, row: Row) -> None:
        """Take a row in; only one that ended as infra_error counts."""
        if row.status == "infra_error":
            kind = row.result.error if row.result else ""
            self._kinds.setdefault(kind or "unknown", FirstTrials()).add(row)

    def ranked(self) -> tuple[InfraErrors, ...]:
        """Return the errors by kind, the most frequent first, then by name."""
        kinds = sorted(self._kinds.items(), key=lambda item: (-item[1].count, item[0]))
        return tuple(
            InfraErrors(kind=kind, count=trials.count, trace_ids=trials.trace_ids) for kind, trials in kinds
        )


def _rank(failure: Failure) -> tuple[bool, float, int, int]:
    return (not failure.required, -failure.weight_lost, -failure.fail_count, failure.assertion)
