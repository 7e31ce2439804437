"""The verdict of a cell and of a run, with the sentence that says why.

A verdict rests on the *average score* of a cell, as it always has: scores 1, 1 and 0.5
pass at a threshold of 0.8 though one trial of three failed. Trials that ended in an
infrastructure error count neither way and are a verdict of their own; trials that are
missing (cancelled, skipped, not finished) leave the verdict open unless they could not
change it (I6).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from salvo_core.evaluation.gate import Gate
from salvo_core.evaluation.threshold import reaches
from salvo_core.evaluation.wording import apart
from salvo_core.manifest.rows import SCORED, Row
from salvo_core.stats.intervals import wilson
from salvo_core.stats.sequential import Decision

Verdict = Literal["PASS", "PARTIAL", "FAIL", "HARD FAIL", "INFRA_ERROR", "INCONCLUSIVE"]
"""What a cell or a run comes to."""

WORST_FIRST: tuple[Verdict, ...] = ("INFRA_ERROR", "HARD FAIL", "FAIL", "PARTIAL", "INCONCLUSIVE", "PASS")

EXIT_CODES: Mapping[Verdict, int] = MappingProxyType(
    {"PASS": 0, "PARTIAL": 1, "FAIL": 1, "HARD FAIL": 2, "INFRA_ERROR": 3, "INCONCLUSIVE": 4}
)
"""The process's exit code of each verdict."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the verdict of a cell rests on.

    Attributes:
        trials: Ordered, n >= 1.
        scores: One per graded trial, each 0-1, any order.
        passed: Graded trials that passed.
        hard_fail: Graded trials that failed a required assertion.
        infra_error: Trials that ended in an infrastructure error.
    """

    trials: int
    scores: Sequence[float]
    passed: int
    hard_fail: int
    infra_error: int

    @property
    def missing(self) -> int:
        """Trials that have not ended, or were cancelled or skipped."""
        return self.trials - len(self.scores) - self.infra_error


@dataclass(frozen=True, slots=True)
class Decided:
    """What a sequential rule came to.

    Attributes:
        decision: None where the trials were over before it was decided.
        reason: For people.
    """

    decision: Decision | None
    reason: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and, in one sentence for people, what led to it."""

    verdict: Verdict
    reason: str


def cell_verdict(
    rows: Iterable[Row],
    threshold: float,
    *,
    trials: int | None = None,
    allow_infra: bool = False,
    gate: Gate | None = None,
) -> Ruling:
    """Return what the rows of one cell come to.

    Args:
        rows: The cell's rows, any order, each trial at most once.
        threshold: In force for the cell, 0 <= threshold <= 1.
        trials: Ordered; rows that are not given count as missing. None: as many as there are rows.
        allow_infra: Judge the graded trials alone when some ended in an infrastructure error.
        gate: Of the pass rate, if the cell has one; then the average score decides nothing.

    Raises:
        ValueError: A graded row carries no score, or there are no trials or more rows than trials.
    """
    given = list(rows)
    tally = Tally(
        trials=len(given) if trials is None else trials,
        scores=[score_of(row) for row in given if row.status in SCORED],
        passed=sum(row.status == "passed" for row in given),
        hard_fail=sum(row.status == "hard_fail" for row in given),
        infra_error=sum(row.status == "infra_error" for row in given),
    )
    return ruling(tally, threshold, allow_infra=allow_infra, gate=gate)


def ruling(
    tally: Tally,
    threshold: float,
    *,
    allow_infra: bool = False,
    gate: Gate | None = None,
    decided: Decided | None = None,
) -> Ruling:
    """Return what a cell's tally comes to; arguments and errors as in ``cell_verdict``.

    Args:
        tally: Of the cell.
        threshold: As there.
        allow_infra: As there.
        gate: As there.
        decided: What a sequential rule came to, where one was on: it alone decides about the gate.
    """
    if tally.trials < 1 or tally.missing < 0:
        raise ValueError(
            f"{len(tally.scores)} graded and {tally.infra_error} failed of {tally.trials} trials"
        )
    if tally.infra_error and not (allow_infra and tally.scores):
        return Ruling(
            "INFRA_ERROR",
            f"{_of(tally.infra_error, tally.trials)} ended in an infrastructure error; "
            "that says nothing about the agent",
        )
    if tally.hard_fail:
        return Ruling("HARD FAIL", f"{_of(tally.hard_fail, tally.trials)} failed a required assertion")
    if not tally.scores:
        return Ruling(
            "INCONCLUSIVE", f"no result from {_of(tally.missing, tally.trials)}: there is nothing to judge by"
        )
    if gate is not None:
        return _decided(tally, gate, decided) if decided is not None else _gated(tally, gate)
    if tally.missing:
        return _with_missing(tally, threshold)
    return _complete(tally, threshold)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the run's verdict: the worst of its cells'.

    Raises:
        ValueError: There are none.
    """
    return min(verdicts, key=WORST_FIRST.index)


def score_of(row: Row) -> float:
    """Return the score of a graded row.

    Raises:
        ValueError: It has none, which no commit writes.
    """
    if row.result is None or row.result.score is None:
        raise ValueError(f"manifest row {row.index} is {row.status} and carries no score")
    return row.result.score


def _complete(tally: Tally, threshold: float) -> Ruling:
    average = math.fsum(tally.scores) / len(tally.scores)
    graded = len(tally.scores)
    kind = "graded trial" if graded < tally.trials else "trial"
    share = f"{_of(tally.passed, graded, kind)} passed"
    shown, bar = apart(average, threshold, 2)
    # An average that reaches the threshold although no trial passed: a threshold of 0 and trials that
    # failed for another reason (all weights zero, a forbidden tool). Nothing passed is not a PASS.
    if reaches(average, threshold) and tally.passed:
        return Ruling("PASS", f"average score {shown} reaches the threshold {bar}; {share}")
    if reaches(average, threshold):
        return Ruling(
            "FAIL", f"no trial passed, though the average score {shown} reaches the threshold {bar}"
        )
    return Ruling(
        "PARTIAL" if tally.passed else "FAIL",
        f"average score {shown} is below the threshold {bar}; {share}",
    )


def _gated(tally: Tally, gate: Gate) -> Ruling:
    """Judge by the pass rate's interval, trials without a grade counted against either answer."""
    graded = len(tally.scores)
    wanted = graded + tally.missing
    low = wilson(tally.passed, wanted, gate.confidence).low
    high = wilson(tally.passed + tally.missing, wanted, gate.confidence).high
    share = f"{_of(tally.passed, graded, 'graded trial')} passed"
    if tally.missing:
        share += f", no result from {tally.missing:,}"
    ends = " to ".join(apart(end, gate.pass_rate, 2)[0] for end in (low, high))
    told = f"{share}: the pass rate is {ends} at {gate.confidence:.0%} confidence"
    if low >= gate.pass_rate:
        return Ruling("PASS", f"{told}, all of it above the gate {gate.pass_rate:g}")
    if high < gate.pass_rate:
        verdict: Verdict = "PARTIAL" if tally.passed else "FAIL"
        return Ruling(verdict, f"{told}, all of it below the gate {gate.pass_rate:g}")
    return Ruling("INCONCLUSIVE", f"{told}, on both sides of the gate {gate.pass_rate:g}: more trials tell")


def _decided(tally: Tally, gate: Gate, decided: Decided) -> Ruling:
    bar = f"the gate {gate.pass_rate:g}"
    if decided.decision == "good":
        return Ruling("PASS", f"decided to meet {bar}: {decided.reason}")
    if decided.decision == "bad":
        return Ruling("PARTIAL" if tally.passed else "FAIL", f"decided to miss {bar}: {decided.reason}")
    share = f"{_of(tally.passed, len(tally.scores), 'graded trial')} passed"
    return Ruling("INCONCLUSIVE", f"{share}, not enough to decide about {bar}: {decided.reason}")


def _with_missing(tally: Tally, threshold: float) -> Ruling:
    wanted = len(tally.scores) + tally.missing
    known = math.fsum(tally.scores)
    low, high = known / wanted, (known + tally.missing) / wanted
    missing = f"no result from {_of(tally.missing, tally.trials)}"
    if reaches(low, threshold) and tally.passed:
        complete = _complete(tally, threshold)
        return Ruling(complete.verdict, f"{complete.reason}; {missing}, which cannot change that")
    shown, bar = apart(high, threshold, 2)
    if not reaches(high, threshold):
        return Ruling(
            "PARTIAL" if tally.passed else "FAIL",
            f"average score stays below the threshold {bar}: {missing}, "
            f"and even perfect scores there would make it {shown}",
        )
    return Ruling(
        "INCONCLUSIVE",
        f"{missing}: the average score may end anywhere from {low:.2f} to {high:.2f}, "
        f"and the threshold is {threshold:.2f}",
    )


def _of(part: int, whole: int, kind: str = "trial") -> str:
    return f"{part:,} of {whole:,} {kind}{'s' if whole != 1 else ''}"
