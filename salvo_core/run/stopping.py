"""When a cell is decided early: rules that read its trials in index order and say where they may end.

A rule sees the longest finished prefix of a cell's trials, one trial at a time, never trials in the
order in which they happened to end: fast trials are not a fair sample (I8). What it says is therefore
the same on every worker, in every sweep, and again when the run is sealed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, Protocol

from pydantic import Field

from salvo_core.evaluation.gate import Gate
from salvo_core.evaluation.threshold import reaches
from salvo_core.evaluation.wording import apart
from salvo_core.manifest.rows import SCORED, STATUSES, TERMINAL, Row, Status
from salvo_core.run.plan import Plan
from salvo_core.run.sequential import Evidence, Sequential
from salvo_core.stats.intervals import wilson
from salvo_core.stats.sequential import Decision
from salvo_core.trace.frozen import Frozen

DECIDED = "decided"
"""The reason in the row of a trial that was skipped because its cell was decided without it."""


class Stop(Frozen):
    """Where a cell was decided before its end, and why."""

    after: int = Field(ge=1)
    """Trials of the prefix that decided it."""
    rule: Literal["hard_fail", "unreachable", "sprt", "confidence"]
    reason: str
    """For people; trials are numbered from 0, as ``salvo trials`` numbers them."""
    decision: Decision | None = None
    """What a sequential rule called the agent; None from the other rules."""

    def told(self, trials: int, skipped: int) -> str:
        """Return in a few words where the cell stopped, of so many trials ordered, and what it spared."""
        return f"stopped early after {self.after:,} of {trials:,} trials, {skipped:,} skipped"


class StopRule(Protocol):
    """Reads a cell's trials in index order, each once."""

    def add(self, status: Status, score: float | None) -> Stop | None:
        """Take in the next trial, which has ended; return where to stop, None to go on."""


class Curtailment:
    """Stops when no trial that is still to come could change what the cell comes to.

    That is so after a hard fail, and when even perfect scores in every trial to come would leave
    the average below the threshold, or the pass rate's lower end below the gate. Infrastructure
    errors count neither way (I6). After the last trial there is nothing to stop.

    Args:
        trials: Ordered, n >= 1.
        threshold: In force for the cell, 0 <= threshold <= 1.
        gate: Of the pass rate, if the cell has one; then the average score decides nothing.
    """

    def __init__(self, trials: int, threshold: float, gate: Gate | None = None) -> None:
        self._trials = trials
        self._threshold = threshold
        self._gate = gate
        self._passed = 0
        self._ended = 0
        self._graded = 0
        self._unknown = trials
        self._sum = Fraction(0)  # exact: rounding must not stop a cell that could just have passed

    def add(self, status: Status, score: float | None) -> Stop | None:
        """Take in the next trial, which has ended; return where to stop, None to go on."""
        self._ended += 1
        if status in SCORED:
            self._graded += 1
            self._passed += status == "passed"
            self._unknown -= 1
            self._sum += Fraction(score or 0.0)
        elif status == "infra_error":
            self._unknown -= 1
        if self._ended >= self._trials:
            return None
        if status == "hard_fail":
            return Stop(after=self._ended, rule="hard_fail", reason=_failed_hard(self._ended))
        if not self._graded:
            return None
        if self._gate is not None:
            low = wilson(
                self._passed + self._unknown, self._graded + self._unknown, self._gate.confidence
            ).low
            if low >= self._gate.pass_rate:
                return None
            reason = _gate_out_of_reach(low, self._gate.pass_rate)
            return Stop(after=self._ended, rule="unreachable", reason=reason)
        # Rounded in the order in which verdicts round a sum and divide it.
        best = float(self._sum + self._unknown) / (self._graded + self._unknown)
        if reaches(best, self._threshold):
            return None
        return Stop(after=self._ended, rule="unreachable", reason=_out_of_reach(best, self._threshold))


class Deciding:
    """Stops where a sequential rule has decided the cell's gate, and after a hard fail.

    Args:
        gate: Of the cell.
        rule: How it is decided.
    """

    def __init__(self, gate: Gate, rule: Sequential) -> None:
        self._rule = rule
        self._evidence = Evidence(rule, gate)
        self._ended = 0

    def add(self, status: Status, score: float | None) -> Stop | None:
        """Take in the next trial, which has ended; return where to stop, None to go on."""
        self._ended += 1
        if status == "hard_fail":
            return Stop(after=self._ended, rule="hard_fail", reason=_failed_hard(self._ended))
        if (decision := self._evidence.add(status)) is None:
            return None
        return Stop(after=self._ended, rule=self._rule.rule, reason=self._evidence.told, decision=decision)


def rule_of(plan: Plan, cell: int) -> StopRule:
    """Return a fresh rule for one cell of a run that stops early.

    Args:
        plan: Of the run.
        cell: The cell's place in it.
    """
    of = plan.cells[cell]
    if plan.sequential is not None and of.gate is not None:
        return Deciding(of.gate, plan.sequential)
    return Curtailment(plan.trials, of.threshold, of.gate)


def first_stop(rule: StopRule, trials: Iterable[tuple[Status, float | None]]) -> Stop | None:
    """Return where a rule stops a cell, None where it does not.

    Args:
        rule: Fresh.
        trials: (status, score) of each trial from the first on; what follows one that has not
            ended is not looked at.
    """
    for status, score in trials:
        if status not in TERMINAL:
            return None
        if (stop := rule.add(status, score)) is not None:
            return stop
    return None


class StopFold:
    """Collects one cell's rows, in any order; tells what was skipped, and where and why it stopped.

    Args:
        plan: Of the run.
        cell: The cell's place in it.
    """

    def __init__(self, plan: Plan, cell: int) -> None:
        trials = plan.trials
        self._rule = rule_of(plan, cell)
        self._may_stop = plan.sequential is not None
        self._statuses = bytearray(trials)  # places in STATUSES: 0, pending, until a row says otherwise
        self._scores = array("d", bytes(8 * trials))
        self.skipped: dict[str, int] = {}
        """Skipped trials by reason."""

    def add(self, row: Row, trial: int) -> None:
        """Take a row in.

        Args:
            row: Of the cell.
            trial: Its place in the cell.
        """
        self._statuses[trial] = STATUSES.index(row.status)
        if row.result is not None and row.result.score is not None:
            self._scores[trial] = row.result.score
        if row.status == "skipped":
            reason = row.reason or "unknown"
            self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def stop(self) -> Stop | None:
        """Return where the cell was decided.

        None where it was not, and where no trials were skipped for it unless a sequential rule is on.

        Worked out again from the rows, by the rule that skipped them: nothing was remembered that
        could be lost or contradict them.
        """
        if DECIDED not in self.skipped and not self._may_stop:
            return None
        trials = ((STATUSES[s], score) for s, score in zip(self._statuses, self._scores, strict=True))
        return first_stop(self._rule, trials)


def _failed_hard(ended: int) -> str:
    which = f"trial {ended - 1}" + (", the last of them," if ended > 1 else "")
    return f"{which} failed a required assertion"


def _out_of_reach(best: float, threshold: float) -> str:
    shown, bar = apart(best, threshold, 2)
    return f"perfect scores in all others would make the average {shown}, below the threshold {bar}"


def _gate_out_of_reach(low: float, bar: float) -> str:
    return f"if all others passed, the pass rate's lower end would be {low:.2f}, below the gate {bar:g}"
