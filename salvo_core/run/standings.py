"""Where each cell of a schedule stands after its nights: worked out from summaries, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from salvo_core.run.cells import CellSummary
from salvo_core.run.summary import Summary
from salvo_core.stats.intervals import wilson
from salvo_core.stats.nights import DEFAULT, REFERENCE_CONFIDENCE, Event, Night, Phase, Rule, Watch


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


@dataclass
class _Followed:
    watch: Watch
    nights: int = 0
    found: list[Found] = field(default_factory=list)


def standings(
    nights: Iterable[PastNight], rule: Rule = DEFAULT, references: Mapping[CellKey, float] | None = None
) -> list[Standing]:
    """Return where each cell of the newest whole night stands.

    A scenario that was edited is another one, and is learned anew. A cell of a run that was cut short
    (cancelled, or out of budget) tells nothing.

    Args:
        nights: Sealed, oldest first; a confirmation behind the night that it is of.
        rule: The bounds.
        references: Pass rates that are given instead of learned (``references_of``); cells without one
            are learned.
    """
    given = references or {}
    cells: dict[CellKey, _Followed] = {}
    newest: Summary | None = None
    for summary, fresh, part in nights:
        newest = newest if part and newest is not None else summary
        for cell in summary.cells:
            if _is_cut_short(cell):
                continue  # who was quick before it was cut short is no fair sample
            key = _key(cell)
            followed = cells.setdefault(key, _Followed(Watch(rule, baseline=given.get(key))))
            night = Night(cell.counts.get("passed", 0), cell.scored, confirmation=fresh)
            measured_by = followed.watch.reference
            event = followed.watch.add(night)
            followed.nights += night.n > 0  # a night on which all was infrastructure's tells nothing
            if event is not None:
                evidence = followed.watch.decisive
                followed.found.append(
                    Found(summary.run_id, event, evidence, measured_by, night.passed, night.n)
                )
    return [
        Standing(
            cell.scenario_name,
            cell.model,
            one.nights,
            one.watch.phase,
            one.watch.evidence,
            one.watch.reference,
            tuple(one.found),
            key,
        )
        for cell in (newest.cells if newest else ())
        if (one := cells.get(key := _key(cell))) is not None
    ]


def _key(cell: CellSummary) -> CellKey:
    return CellKey(cell.scenario_digest, cell.model)


def _is_cut_short(cell: CellSummary) -> bool:
    return bool(cell.counts.get("cancelled") or cell.counts.get("skipped"))
