"""Where each cell of a schedule stands after its nights: worked out from summaries, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salvo_core.run.summary import Summary
from salvo_core.stats.nights import DEFAULT, Event, Night, Phase, Rule, Watch


@dataclass(frozen=True, slots=True)
class Standing:
    """One cell after its nights.

    Attributes:
        scenario: Its name.
        model: As ordered.
        nights: How many were followed, confirmations included.
        phase: ``learning`` until enough is known; ``fallen`` is an alert that stands.
        evidence: Nats for the fall, >= 0; once fallen, nats for its being over.
        reference: Pass rate that nights are measured by; None while it is learned.
        events: What was found on the way, oldest first: (run id, what).
    """

    scenario: str
    model: str
    nights: int
    phase: Phase
    evidence: float
    reference: float | None
    events: tuple[tuple[str, Event], ...]


def standings(nights: Iterable[tuple[Summary, bool]], rule: Rule = DEFAULT) -> list[Standing]:
    """Return where each cell of the newest night stands.

    A scenario that was edited is another one, and is learned anew. A cell of a run that was cut short
    (cancelled, or out of budget) tells nothing.

    Args:
        nights: Sealed summaries, oldest first; each with whether it is fresh trials that a person asked
            for, which confirm a suspicion or dismiss it.
        rule: The bounds.
    """
    watches: dict[tuple[str, str], Watch] = {}
    events: dict[tuple[str, str], list[tuple[str, Event]]] = {}
    followed: dict[tuple[str, str], int] = {}
    newest: Summary | None = None
    for newest, fresh in nights:
        for cell in newest.cells:
            if cell.counts.get("cancelled") or cell.counts.get("skipped"):
                continue  # who was quick before it was cut short is no fair sample
            key = cell.scenario_digest, cell.model
            watch = watches.setdefault(key, Watch(rule))
            event = watch.add(Night(cell.counts.get("passed", 0), cell.scored, confirmation=fresh))
            followed[key] = followed.get(key, 0) + 1
            if event is not None:
                events.setdefault(key, []).append((newest.run_id, event))
    return [
        Standing(
            cell.scenario_name,
            cell.model,
            followed[key],
            watches[key].phase,
            watches[key].evidence,
            watches[key].reference,
            tuple(events.get(key, ())),
        )
        for cell in (newest.cells if newest else ())
        if (key := (cell.scenario_digest, cell.model)) in watches
    ]
