"""Where each cell of a schedule stands after its nights: worked out from summaries.

Nights of long ago are folded: what they come to is kept, and nights after them go on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from salvo_core.run.cells import CellSummary
from salvo_core.run.summary import Summary
from salvo_core.stats.intervals import wilson
from salvo_core.stats.nights import (
    DEFAULT,
    REFERENCE_CONFIDENCE,
    Event,
    Night,
    Phase,
    Rule,
    Watch,
    WatchState,
)


class PastNight(NamedTuple):
    """A sealed run of a schedule.

    Attributes:
        summary: What it came to.
        fresh: Whether its trials were asked for beside the due times: they confirm a suspicion or dismiss it.
        part: Whether it has only some of the schedule's cells, as a confirmation has.
    """

    summary: Summary
    fresh: bool = False
    part: bool = False


class CellKey(NamedTuple):
    """What makes a cell the same from night to night: an edited scenario is another one."""

    scenario_digest: str
    model: str


class Found(NamedTuple):
    """What was found of a cell on one night.

    Attributes:
        run_id: The night's.
        event: What it changed.
        evidence: That it rests on, nats.
        reference: Pass rate that the night was measured by.
        passed: Trials of that night that passed.
        n: Its graded trials.
    """

    run_id: str
    event: Event
    evidence: float
    reference: float | None
    passed: int
    n: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One cell after its nights.

    Attributes:
        scenario: Its name.
        model: As ordered.
        nights: How many had a graded trial of it, confirmations included.
        phase: ``learning`` until enough is known; ``fallen`` is an alert that stands.
        evidence: Nats for the fall, >= 0; once fallen, nats for its being over.
        reference: Pass rate that nights are measured by; None while it is learned.
        found: What was found on the way, oldest first.
        key: What it is called from night to night.
    """

    scenario: str
    model: str
    nights: int
    phase: Phase
    evidence: float
    reference: float | None
    found: tuple[Found, ...]
    key: CellKey

    @property
    def events(self) -> tuple[tuple[str, Event], ...]:
        """What was found on the way, oldest first: (run id, what)."""
        return tuple((one.run_id, one.event) for one in self.found)


def references_of(baseline: Summary) -> dict[CellKey, float]:
    """Return what a baseline's run promises of each of its cells: the lower end of what it shows.

    The same end as that of what is learned from nights (``stats.nights``), so that a baseline of few
    trials promises no more than they show. A cell that was cut short promises nothing.
    """
    return {
        _key(cell): wilson(cell.counts.get("passed", 0), cell.scored, confidence=REFERENCE_CONFIDENCE).low
        for cell in baseline.cells
        if cell.scored and not _is_cut_short(cell)
    }


class FoldedCell(NamedTuple):
    """What a cell's nights come to, so that they need not be read again.

    Attributes:
        key: What it is called from night to night.
        scenario: Its name.
        state: Of its watch.
        nights: How many were followed.
        found: The newest of each kind that was found on the way, oldest first.
        absent: Whole nights since it was last in one; 0: it is in the newest.
    """

    key: CellKey
    scenario: str
    state: WatchState
    nights: int
    found: tuple[Found, ...]
    absent: int


@dataclass
class _Followed:
    scenario: str
    watch: Watch
    nights: int = 0
    found: list[Found] = field(default_factory=list)
    absent: int = 0


class _Cells:
    """All cells of some nights, those that are not run any more too; arguments as ``standings``."""

    def __init__(self, rule: Rule, references: Mapping[CellKey, float], folded: Sequence[FoldedCell]) -> None:
        self._rule, self._references = rule, references
        self.followed = {
            one.key: _Followed(
                one.scenario,
                Watch.restored(one.state, rule, baseline=references.get(one.key)),
                one.nights,
                list(one.found),
                one.absent,
            )
            for one in folded
        }
        self.newest = [(one.scenario, one.key) for one in folded if not one.absent]

    def add(self, night: PastNight) -> None:
        summary, fresh, part = night
        if not (part and self.newest):
            self.newest = [(cell.scenario_name, _key(cell)) for cell in summary.cells]
            for one in self.followed.values():
                one.absent += 1
        newest = {key for _, key in self.newest}
        for cell in summary.cells:
            key = _key(cell)
            if key in self.followed and key in newest:
                self.followed[key].absent = 0
            if _is_cut_short(cell):
                continue  # who was quick before it was cut short is no fair sample
            if key not in self.followed:
                watch = Watch(self._rule, baseline=self._references.get(key))
                absent = 0 if key in newest else 1
                self.followed[key] = _Followed(cell.scenario_name, watch, absent=absent)
            self._follow(self.followed[key], summary.run_id, cell, fresh=fresh)

    def _follow(self, one: _Followed, run_id: str, cell: CellSummary, *, fresh: bool) -> None:
        night = Night(cell.counts.get("passed", 0), cell.scored, confirmation=fresh)
        measured_by = one.watch.reference
        event = one.watch.add(night)
        one.scenario = cell.scenario_name
        one.nights += night.n > 0  # a night on which all was infrastructure tells nothing
        if event is not None:
            one.found.append(Found(run_id, event, one.watch.decisive, measured_by, night.passed, night.n))


def standings(
    nights: Iterable[PastNight],
    rule: Rule = DEFAULT,
    references: Mapping[CellKey, float] | None = None,
    folded: Sequence[FoldedCell] = (),
) -> list[Standing]:
    """Return where each cell of the newest whole night stands.

    A scenario that was edited is another one, and is learned anew. A cell of a run that was cut short
    (cancelled, or out of budget) tells nothing.

    Args:
        nights: Sealed, oldest first; a confirmation behind the night that it is of.
        rule: The bounds.
        references: Pass rates that are given instead of learned (``references_of``); cells without one
            are learned.
        folded: What the nights before these come to, by the same rule and references.
    """
    cells = _followed(nights, rule, references, folded)
    return [
        Standing(
            scenario,
            key.model,
            one.nights,
            one.watch.phase,
            one.watch.evidence,
            one.watch.reference,
            tuple(one.found),
            key,
        )
        for scenario, key in cells.newest
        if (one := cells.followed.get(key)) is not None
    ]


def fold(
    nights: Iterable[PastNight],
    rule: Rule = DEFAULT,
    references: Mapping[CellKey, float] | None = None,
    folded: Sequence[FoldedCell] = (),
    *,
    absent_max: int,
) -> list[FoldedCell]:
    """Return what nights come to, for ``standings`` of later ones; cells that were run last come first.

    Args:
        nights: As for ``standings``, and so are the next three.
        rule: The bounds.
        references: Given pass rates.
        folded: What the nights before came to.
        absent_max: Cells that were in none of the newest so many whole nights are forgotten.
    """
    cells = _followed(nights, rule, references, folded)
    newest = {key: place for place, (_, key) in enumerate(cells.newest)}
    order = sorted(cells.followed, key=lambda key: (cells.followed[key].absent, newest.get(key, 0)))
    return [
        FoldedCell(key, one.scenario, one.watch.state, one.nights, _newest_of_each(one.found), one.absent)
        for key in order
        if (one := cells.followed[key]).absent < absent_max
    ]


def _followed(
    nights: Iterable[PastNight],
    rule: Rule,
    references: Mapping[CellKey, float] | None,
    folded: Sequence[FoldedCell],
) -> _Cells:
    cells = _Cells(rule, references or {}, folded)
    for night in nights:
        cells.add(night)
    return cells


def _newest_of_each(found: Sequence[Found]) -> tuple[Found, ...]:
    last = {one.event: place for place, one in enumerate(found)}
    return tuple(found[place] for place in sorted(last.values()))


def _key(cell: CellSummary) -> CellKey:
    return CellKey(cell.scenario_digest, cell.model)


def _is_cut_short(cell: CellSummary) -> bool:
    return bool(cell.counts.get("cancelled") or cell.counts.get("skipped"))
