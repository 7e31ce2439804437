"""What a re-evaluation judges by, beside what was recorded: which scenario is whose, and how they differ.

What the agent saw and how it is judged are told apart. A recording can be judged by other
assertions, that is what a re-evaluation is for; by a scenario that asks the agent something else it
is judged for answers to another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from salvo_core.errors import UsageError
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.rescoring import asks_the_same
from salvo_core.run.plan import Cell
from salvo_core.scenario.digest import agent_digest, differing_fields
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.snapshot import ExcludedAssertion, Snapshot

NAMED_MAX = 5
"""Cells that a refusal names."""

Assertion = AssertionSpec | ExcludedAssertion
"""An assertion, or what a record has kept of one."""


@dataclass(frozen=True, slots=True)
class Change:
    """How a cell's scenario differs from the recorded one.

    Attributes:
        cell: Which, for people.
        drifted: Fields of what the agent sees that differ: its answers are to another question. None
            if they differ and nobody knows in what, because the recorded scenario is gone.
        added: Labels of assertions that were not asked for before.
        removed: Labels of assertions that are not asked for any more.
        reweighed: Labels of assertions that are the same and count differently: weight, required.
        threshold: Then and now, if it is another one.
    """

    cell: str
    drifted: tuple[str, ...] | None = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reweighed: tuple[str, ...] = ()
    threshold: tuple[float, float] | None = None

    @property
    def anything(self) -> bool:
        """Whether there is something to tell."""
        return self.drifted != () or bool(self.added or self.removed or self.reweighed or self.threshold)


def matched(cells: Sequence[Cell], scenarios: Sequence[Loaded]) -> dict[int, Loaded]:
    """Return the scenario for each cell: that of its file, else of its name, else the only one there is.

    Raises:
        UsageError: A cell has none.
    """
    if not scenarios:
        return {}
    alone = len(scenarios) == 1 and len({cell.scenario_digest for cell in cells}) == 1
    found = {place: _match(cell, scenarios, alone=alone) for place, cell in enumerate(cells)}
    unmatched = [cells[place] for place, loaded in found.items() if loaded is None]
    if unmatched:
        names = dict.fromkeys(f"{cell.scenario_name!r} ({cell.scenario_file})" for cell in unmatched)
        raise UsageError(
            f"no scenario given is one of {', '.join([*names][:NAMED_MAX])}",
            hint="--scenario takes a folder too: scenarios are matched by file, then by description",
        )
    return {place: loaded for place, loaded in found.items() if loaded is not None}


def _match(cell: Cell, scenarios: Sequence[Loaded], *, alone: bool) -> Loaded | None:
    same_file = [one for one in scenarios if PurePath(one.file) == PurePath(cell.scenario_file)]
    same_name = [one for one in scenarios if one.scenario.name == cell.scenario_name]
    for matching in (same_file, same_name):
        if len(matching) == 1:
            return matching[0]
    return scenarios[0] if alone else None


def change_of(cell: Cell, now: Cell, recorded: Snapshot | None, loaded: Loaded | None) -> Change:
    """Return how a cell is judged otherwise than it was.

    Args:
        cell: The recorded one.
        now: The re-evaluation's.
        recorded: What is kept of its scenario; None if that is gone.
        loaded: What was given to judge by, if anything was.
    """
    thresholds = None if cell.threshold == now.threshold else (cell.threshold, now.threshold)
    if loaded is None or loaded.digest == cell.scenario_digest:
        return Change(cell.label, threshold=thresholds)
    before = _checkable(recorded.assertions) if recorded else []
    after = loaded.scenario.assertions
    return Change(
        cell.label,
        drifted=_drift(cell, recorded, loaded.scenario),
        added=_unasked(after, before),
        removed=_unasked(before, after),
        reweighed=tuple(one.label() for one in after if one not in before and not _unasked([one], before)),
        threshold=thresholds,
    )


def _drift(cell: Cell, recorded: Snapshot | None, scenario: Scenario) -> tuple[str, ...] | None:
    told = cell.agent_digest or (recorded.agent_digest if recorded else "")
    if told == agent_digest(scenario):
        return ()
    return differing_fields(recorded.scenario, scenario) if recorded and recorded.whole else None


def _checkable(assertions: Sequence[Assertion]) -> list[AssertionSpec]:
    return [one for one in assertions if isinstance(one, AssertionSpec)]


def _unasked(assertions: Sequence[AssertionSpec], by: Sequence[AssertionSpec]) -> tuple[str, ...]:
    """Return the labels of those assertions that are not among others, however much they count there."""
    return tuple(one.label() for one in assertions if not any(asks_the_same(one, other) for other in by))


def unanswerable(by: Sequence[Assertion]) -> tuple[int, ...]:
    """Return the places of the assertions that a record without content cannot answer."""
    return tuple(
        place for place, one in enumerate(by) if isinstance(one, ExcludedAssertion) or one.needs_content()
    )


def label_of(assertion: Assertion) -> str:
    """Return an assertion in a few words; of one that is not kept its type."""
    return assertion.type if isinstance(assertion, ExcludedAssertion) else assertion.label()
