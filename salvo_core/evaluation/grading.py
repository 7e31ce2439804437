"""From a trace to findings, and from findings to a score and a grade."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.document import Document, Functions
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.threshold import reaches
from salvo_core.trace.model import Finding, Grade, Outcome, Trace

UNGRADED: frozenset[Outcome] = frozenset({"infra_error", "cancelled", "budget"})
"""Outcomes that say nothing about the agent (I6): they have neither score nor grade."""


@dataclass(frozen=True, slots=True)
class Graded:
    """What a trial is worth: score 0-1, and the grade that follows from it."""

    score: float
    grade: Grade


def evaluate(
    trace: Trace,
    assertions: Sequence[AssertionSpec],
    *,
    redact: Callable[[Any], Any] | None = None,
    functions: Functions | None = None,
    ballots: Mapping[Any, Ballot] | None = None,
) -> tuple[Finding, ...]:
    """Return one finding per assertion, in their order.

    A check that raises becomes a finding with ``error`` and the others go on: a mistake of
    ours or of an assertion never loses a conversation. It is work, and ``custom`` assertions wait
    for a team's own functions: a caller with an event loop runs it in a thread.

    Args:
        trace: The conversation as it was; its own findings are not looked at.
        assertions: The scenario's list.
        redact: Applied to what findings quote (``trace.redaction.Redactor.document``); None for a
            trace that was redacted when it was stored.
        functions: Where ``custom`` assertions get their functions from; without it they are findings
            with an error.
        ballots: What judges said (``judge.panel.hear``); without it judge assertions could not be made.
    """
    document = Document(trace, redact, functions, ballots)
    return tuple(_finding(index, assertion, document) for index, assertion in enumerate(assertions))


def _finding(index: int, assertion: AssertionSpec, document: Document) -> Finding:
    check = assertion.tried(document)
    return Finding(
        assertion=index,
        type=assertion.type,
        label=assertion.label(),
        score=check.score,
        passed=check.passed,
        weight=assertion.weight,
        required=assertion.required,
        details=check.details,
        error=check.error,
        infra=check.infra,
    )


def ungradable(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding for whose want there can be no grade, None if there can be one.

    What infrastructure kept from being found (``infra``) counts neither way. That is no way to treat
    a required assertion, nor to treat the only ones that carry weight.
    """
    missing = [finding for finding in findings if finding.infra]
    for finding in missing:
        if finding.required:
            return finding
    if any(finding.weight > 0 for finding in findings if not finding.infra):
        return None
    return next((finding for finding in missing if finding.weight > 0), None)


def grade(findings: Sequence[Finding], threshold: float, *, outcome: Outcome) -> Graded:
    """Return the score and grade that findings come to, fresh ones or those of a stored trace.

    The score is the weighted mean of the findings' scores; those that infrastructure kept from
    being found are left out, weights too. No findings: 1.0 and passed. All
    weights zero: 0.0 and failed, since nothing was asked that could earn a score. A required
    finding that did not pass makes it a hard fail and leaves the score as it is. An agent
    that called an unknown tool where the scenario forbids it scores 0 and has failed at least.

    Args:
        findings: Weights finite and not negative.
        threshold: The score that passes, 0 <= threshold <= 1, with SCORE_TOLERANCE.
        outcome: How the trial ended. A limit that was reached is graded on what there is.

    Raises:
        ValueError: The outcome has no grade, a weight is negative, or the findings are ``ungradable``.
    """
    if outcome in UNGRADED:
        raise ValueError(f"a trial with the outcome {outcome} has no grade")
    if any(finding.weight < 0 for finding in findings):
        raise ValueError("negative weights have no meaning in a score")
    if ungradable(findings) is not None:
        raise ValueError("a finding that the grade needs is missing")
    counted = [finding for finding in findings if not finding.infra]
    total = math.fsum(finding.weight for finding in counted)
    failed = outcome == "unknown_tool" or (bool(findings) and total == 0)
    if failed:
        score = 0.0
    elif not findings:
        score = 1.0
    else:
        # Both sums are rounded correctly and no score exceeds 1, so neither does the quotient.
        score = math.fsum(finding.score * finding.weight for finding in counted) / total
    assert 0.0 <= score <= 1.0, f"score {score} of {len(findings)} findings"
    if any(finding.required and not finding.passed for finding in counted):
        return Graded(score, "hard_fail")
    return Graded(score, "passed" if not failed and reaches(score, threshold) else "failed")
