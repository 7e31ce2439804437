"""What a re-evaluation changed: verdicts then and now, side by side, and which trials flipped and why.

Computed from two plans and two sets of rows alone, in index order, so the same manifests give the
same bytes. A flip is a trial whose status is another one now. Its reasons are read from which
assertions failed then and now, told apart by their labels: an assertion that was edited is one
that is gone and another that is new.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from salvo_core.evaluation.threshold import reaches
from salvo_core.manifest.rows import SCORED, Row, Status
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.verdict import EXIT_CODES, Verdict, cell_verdict, score_of, worst
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.comparison/1"
FLIPS_MAX = 1_000
"""Flips that are listed, those of lowest index; all are counted."""

Why = Literal[
    "newly_failing",  # an assertion fails that did not, or was not there
    "no_longer_failing",
    "removed",  # an assertion that failed is not asked for any more
    "judge",  # the votes came out differently
    "threshold",  # the score would still have the other grade by the other threshold
    "required",  # an assertion that failed then and now has become required, or is so no more
    "ungraded",  # it could not be scored again
    "judged",  # it has a grade now, which it lacked for want of its judge
    "struck_out",  # an assertion was checked on a record in which something is struck out
    "weights",  # the same assertions failed, and they count differently
]
"""Why a trial flipped."""


class Reason(Frozen):
    """One reason for a flip."""

    why: Why
    what: str = ""
    """The assertion's label, the thresholds, or what kept it from being scored."""


class Flip(Frozen):
    """One trial whose status changed."""

    index: int
    """Its place in the recorded run."""
    cell: int
    """In the re-evaluation."""
    trial: int
    """The repetition in the recorded run, 0-based."""
    trace_id: str
    before: Status
    after: Status
    score_before: float | None
    score_after: float | None
    reasons: tuple[Reason, ...]


class Figures(Frozen):
    """What a cell came to by one set of assertions."""

    verdict: Verdict
    reason: str
    passed: int
    scored: int
    trials: int
    score_mean: float | None
    """Of graded trials; None when there are none."""
    threshold: float


class CellComparison(Frozen):
    """One cell, then and now."""

    scenario_name: str
    model: str
    before: Figures
    after: Figures
    flipped: int
    rescored: int
    """Trials whose score changed, flipped or not."""
    left_out: tuple[str, ...] = ()
    """Labels of assertions that the record could not answer: they left the score."""


class ReasonCount(Frozen):
    """How many flips a reason stands behind; a flip may have several."""

    why: Why
    what: str
    cell: int
    flips: int


class Comparison(Frozen):
    """A re-evaluation beside what it looked at."""

    reeval_id: str
    run_id: str
    """Of the recorded run."""
    index: int | None
    """Of the one trial that was looked at; None for the whole run."""
    verdict_before: Verdict
    verdict_after: Verdict
    exit_code: int
    """Of the verdict now."""
    cells: tuple[CellComparison, ...]
    flipped: int
    changes: dict[str, int]
    """Flips by what became what, such as ``passed > failed``; sorted by name."""
    reasons: tuple[ReasonCount, ...]
    """Most frequent first."""
    flips: tuple[Flip, ...]
    """In index order, at most FLIPS_MAX."""

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)[0]

    @classmethod
    def decode(cls, stored: bytes, where: str) -> Comparison:
        """Return the comparison that was stored.

        Raises:
            ObjectCorrupt: Damaged, or not a comparison.
        """
        body = codec.decode(SCHEMA, stored, where=where)
        return codec.validated(cls, body, where=where, what="a comparison")


class Side:
    """One of the two: a plan, its rows in index order, and the facts of its assertions by cell.

    Args:
        plan: The order.
        rows: Terminal; one for each trial that is compared.
        facts: By cell; a cell that is left out is told with the plan's labels.
    """

    def __init__(
        self, plan: Plan, rows: Sequence[Row], facts: Mapping[int, Sequence[AssertionFacts]]
    ) -> None:
        self.plan = plan
        self.rows = rows
        self._facts = facts

    def facts(self, cell: int) -> Sequence[AssertionFacts]:
        """Return what is known of a cell's assertions, in its order."""
        return self._facts.get(cell) or [AssertionFacts(label) for label in self.plan.cells[cell].assertions]


def compare(before: Side, after: Side) -> Comparison:
    """Return how a re-evaluation differs from what it looked at.

    Args:
        before: The recorded run, or the one trial of it.
        after: The re-evaluation; its rows stand in the same order as those of ``before``.

    Raises:
        ValueError: The rows are not of the same trials.
    """
    assert after.plan.rescore is not None
    cells = [_CellFold(after.plan.cells[number]) for number in range(len(after.plan.cells))]
    flips: list[Flip] = []
    changes: Counter[str] = Counter()
    reasons: Counter[tuple[int, Reason]] = Counter()
    for then, now in zip(before.rows, after.rows, strict=True):
        if then.trace_id != now.trace_id:
            raise ValueError(f"row {now.index} is of trial {now.trace_id}, not of {then.trace_id}")
        cell = after.plan.cell_index(now.index)
        cells[cell].add(then, now)
        if then.status == now.status:
            continue
        flip = _flip(then, now, before, after)
        changes[f"{flip.before} > {flip.after}"] += 1
        reasons.update((cell, reason) for reason in flip.reasons)
        if len(flips) < FLIPS_MAX:
            flips.append(flip)
    source_cells = [_source_cell(before.plan, after.plan, number) for number in range(len(cells))]
    compared = tuple(
        fold.comparison(source_cells[number], _left_out(after, number)) for number, fold in enumerate(cells)
    )
    verdict = worst(cell.after.verdict for cell in compared)
    return Comparison(
        reeval_id=after.plan.run_id,
        run_id=before.plan.run_id,
        index=after.plan.rescore.index,
        verdict_before=worst(cell.before.verdict for cell in compared),
        verdict_after=verdict,
        exit_code=EXIT_CODES[verdict],
        cells=compared,
        flipped=sum(changes.values()),
        changes=dict(sorted(changes.items())),
        reasons=tuple(
            ReasonCount(why=reason.why, what=reason.what, cell=cell, flips=count)
            for (cell, reason), count in sorted(
                reasons.items(), key=lambda one: (-one[1], one[0][0], one[0][1].why, one[0][1].what)
            )
        ),
        flips=tuple(flips),
    )


def _source_cell(before: Plan, after: Plan, number: int) -> Cell:
    assert after.rescore is not None
    index = after.rescore.index
    return before.cells[number if index is None else before.cell_index(index)]


def _left_out(after: Side, cell: int) -> tuple[str, ...]:
    assert after.plan.rescore is not None
    by_cell = after.plan.rescore.left_out
    return tuple(_label(place, after.facts(cell)) for place in by_cell[cell]) if by_cell else ()


class _CellFold:
    """Collects one cell's pairs of rows."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._then: list[Row] = []
        self._now: list[Row] = []

    def add(self, then: Row, now: Row) -> None:
        self._then.append(then)
        self._now.append(now)

    def comparison(self, source: Cell, left_out: tuple[str, ...]) -> CellComparison:
        pairs = list(zip(self._then, self._now, strict=True))
        return CellComparison(
            scenario_name=self._cell.scenario_name,
            model=self._cell.model,
            before=_figures(self._then, source),
            after=_figures(self._now, self._cell),
            flipped=sum(then.status != now.status for then, now in pairs),
            rescored=sum(_score(then) != _score(now) for then, now in pairs),
            left_out=left_out,
        )


def _figures(rows: Sequence[Row], cell: Cell) -> Figures:
    ruling = cell_verdict(rows, cell.threshold, gate=cell.gate)
    scores = [score_of(row) for row in rows if row.status in SCORED]
    return Figures(
        verdict=ruling.verdict,
        reason=ruling.reason,
        passed=sum(row.status == "passed" for row in rows),
        scored=len(scores),
        trials=len(rows),
        score_mean=math.fsum(scores) / len(scores) if scores else None,
        threshold=cell.threshold,
    )


def _score(row: Row) -> float | None:
    return row.result.score if row.result else None


def _flip(then: Row, now: Row, before: Side, after: Side) -> Flip:
    return Flip(
        index=then.index,
        cell=after.plan.cell_index(now.index),
        trial=before.plan.trial_index(then.index),
        trace_id=now.trace_id,
        before=then.status,
        after=now.status,
        score_before=_score(then),
        score_after=_score(now),
        reasons=tuple(_reasons(then, now, before, after)),
    )


def _reasons(then: Row, now: Row, before: Side, after: Side) -> Iterable[Reason]:
    """Yield why a trial flipped; at least one reason."""
    if now.status not in SCORED:
        yield Reason(why="ungraded", what=(now.result.error if now.result else "") or now.status)
        return
    if then.status not in SCORED:
        yield Reason(why="judged")
        return
    old_cell, new_cell = before.plan.cell_index(then.index), after.plan.cell_index(now.index)
    old, new = before.facts(old_cell), after.facts(new_cell)
    found = [*_by_assertion(then, now, old, new)]
    thresholds = before.plan.cells[old_cell].threshold, after.plan.cells[new_cell].threshold
    score = _score(now)
    if score is not None and reaches(score, thresholds[0]) != reaches(score, thresholds[1]):
        found.append(Reason(why="threshold", what=f"{thresholds[0]:g} > {thresholds[1]:g}"))
    yield from found or [Reason(why="weights")]
    # Whatever else stands behind it: on the conversation as it was, this could have come out otherwise.
    struck_out = {_label(place, new) for place in (now.result.struck_out if now.result else ())}
    yield from (Reason(why="struck_out", what=label) for label in sorted(struck_out))


def _by_assertion(
    then: Row, now: Row, old: Sequence[AssertionFacts], new: Sequence[AssertionFacts]
) -> Iterable[Reason]:
    was, is_now = _failed(then, old), _failed(now, new)
    asked = {facts.label for facts in new}
    votes = _votes(then, old), _votes(now, new)
    for label in sorted((is_now - was).keys()):
        yield Reason(why="newly_failing", what=label)
    for label in sorted((was - is_now).keys()):
        yield Reason(why="no_longer_failing" if label in asked else "removed", what=label)
    for label in sorted(votes[0].keys() & votes[1].keys()):
        if votes[0][label] != votes[1][label]:
            yield Reason(why="judge", what=f"{label}: {votes[0][label]} > {votes[1][label]}")
    demanded = {facts.label for facts in old if facts.required}, {f.label for f in new if f.required}
    for label in sorted((was & is_now).keys()):
        if (label in demanded[0]) != (label in demanded[1]):
            yield Reason(why="required", what=label)


def _failed(row: Row, facts: Sequence[AssertionFacts]) -> Counter[str]:
    failed = row.result.failed if row.result else ()
    return Counter(_label(place, facts) for place, _ in failed)


def _votes(row: Row, facts: Sequence[AssertionFacts]) -> dict[str, str]:
    judged = row.result.judged if row.result else ()
    return {_label(place, facts): f"{in_favour}/{heard} of {k}" for place, k, heard, in_favour in judged}


def _label(place: int, facts: Sequence[AssertionFacts]) -> str:
    return facts[place].label if place < len(facts) else f"assertion {place}"
