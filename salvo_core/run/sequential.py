"""Deciding a cell's gate trial by trial, with a stated error, and stopping there.

Each rule reads the longest finished prefix of a cell in index order; trials that ended in an
infrastructure error say nothing and are passed over. What it decides is the cell's verdict: an
interval computed afterwards, as if the number of trials had been fixed, would not hold its promise.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.rows import SCORED, Status
from salvo_core.stats.sequential import Decision, Sprt, confidence_sequence
from salvo_core.trace.frozen import Frozen

RuleName = Literal["sprt", "confidence"]


class Sequential(Frozen):
    """How a cell's gate is decided early."""

    rule: RuleName
    """sprt: between two rates; confidence: by an interval that may be looked at after every trial."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of calling an agent good that is bad; with ``confidence``, of any wrong call."""
    beta: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of calling an agent bad that is good; of no meaning with ``confidence``."""
    indifference: float = Field(default=0.05, gt=0, lt=0.5)
    """On either side of the gate: an agent so near to it may be called either; of sprt."""

    def problem(self, gate: Gate | None) -> str:
        """Return what keeps a cell from being decided so, empty if nothing does."""
        if gate is None:
            return f"--early-stop {self.rule} decides about a pass rate, and the gate is an average score"
        low, high = gate.pass_rate - self.indifference, gate.pass_rate + self.indifference
        if self.rule == "sprt" and not 0 < low < high < 1:
            return (
                f"a gate of {gate.pass_rate:g} with an indifference of {self.indifference:g} leaves no room: "
                f"{low:g} to {high:g} is not within 0 to 1"
            )
        return ""

    def told(self, gate: Gate) -> str:
        """Return in a few words what was tested and how surely."""
        if self.rule == "confidence":
            return f"pass rate against {gate.pass_rate:g}, always-valid, alpha {self.alpha:g}"
        low, high = gate.pass_rate - self.indifference, gate.pass_rate + self.indifference
        return f"pass rate {low:g} against {high:g}, alpha {self.alpha:g}, beta {self.beta:g}"

    def undecided(self, gate: Gate, passed: int, graded: int) -> str:
        """Return ``told`` with what kept all trials of a cell from deciding, where that is an interval."""
        if self.rule == "sprt":
            return self.told(gate)
        low, high = confidence_sequence(passed, graded, 1 - self.alpha)
        return f"{self.told(gate)}, gives {low:.2f} to {high:.2f}"


class Evidence:
    """One cell on its way to a decision: a trial after the other, in index order.

    Args:
        rule: How.
        gate: About what.
    """

    def __init__(self, rule: Sequential, gate: Gate) -> None:
        self._rule, self._gate = rule, gate
        self._passed = self._graded = 0
        self._sprt = (
            Sprt(
                gate.pass_rate - rule.indifference,
                gate.pass_rate + rule.indifference,
                alpha=rule.alpha,
                beta=rule.beta,
            )
            if rule.rule == "sprt"
            else None
        )
        self.decision: Decision | None = None

    def add(self, status: Status) -> Decision | None:
        """Take in the next trial, which has ended; return the decision once there is one, for good."""
        if self.decision is not None or status not in SCORED:
            return self.decision
        self._graded += 1
        self._passed += status == "passed"
        if self._sprt is not None:
            self.decision = self._sprt.add(status == "passed")
        else:
            low, high = confidence_sequence(self._passed, self._graded, 1 - self._rule.alpha)
            bar = self._gate.pass_rate
            self.decision = "good" if low >= bar else "bad" if high < bar else None
        return self.decision

    @property
    def told(self) -> str:
        """What was decided on, for people."""
        return f"{self._passed:,} of {self._graded:,} graded trials passed ({self._rule.told(self._gate)})"
