"""The door of whoever looks back: which runs there were, and how their cells did from run to run.

History reads summary objects only. One that is damaged or of a newer Salvo is named and
left out; a run that is not sealed has none yet and is counted. Every look back has a
bound, because a store keeps runs for years.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeVar

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.keys import RUNS_KEPT
from salvo_core.observe import Observer
from salvo_core.run.summary import CellSummary, Summary
from salvo_core.run.trends import Trend, trends
from salvo_core.run.verdict import Verdict, worst
from salvo_core.store import keys
from salvo_core.store.homes import stored_ids

LOOKED_AT_MAX = 1_000
"""Runs that one look back opens at most, newest first."""

RUNS_ON_A_PAGE = 30
"""Runs whose pass rates a web page shows, the newest."""

_AT_ONCE = 16
_Item = TypeVar("_Item")


class NamedCell(Protocol):
    """What tells cells apart: a plan's cell and a summary's both have it."""

    @property
    def scenario_name(self) -> str: ...  # noqa: D102

    @property
    def scenario_file(self) -> str: ...  # noqa: D102

    @property
    def model(self) -> str: ...  # noqa: D102


def chosen(cells: Sequence[NamedCell], scenario: str = "", models: Sequence[str] = ()) -> list[int]:
    """Return the places of the cells that a person means.

    Args:
        cells: Of one run.
        scenario: A scenario's name, or else a part of its name or file; upper and lower case
            are one. Empty: every scenario.
        models: Exact names; empty: every model.
    """
    part = scenario.strip().casefold()
    exact = any(cell.scenario_name.casefold() == part for cell in cells)

    def meant(cell: NamedCell) -> bool:
        if models and cell.model not in models:
            return False
        if exact:
            return cell.scenario_name.casefold() == part
        return part in cell.scenario_name.casefold() or part in cell.scenario_file.casefold()

    return [place for place, cell in enumerate(cells) if meant(cell)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for. What is left empty asks for all.

    Attributes:
        scenario: As in ``chosen``; a run with one such cell is wanted.
        models: As in ``chosen``.
        labels: Notes that the run must carry, each with this value.
        verdicts: Any of these; a run that is not sealed has none.
    """

    scenario: str = ""
    models: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    verdicts: frozenset[str] = frozenset()

    @property
    def every_run(self) -> bool:
        """Whether every run will do."""
        return not (self.scenario or self.models or self.labels or self.verdicts)

    @property
    def needs_plan(self) -> bool:
        """Whether a run's counts are not enough to tell."""
        return bool(self.scenario or self.models or self.labels)


@dataclass(frozen=True, slots=True)
class Listing:
    """Runs that were asked for.

    Attributes:
        runs: Newest first.
        unreadable: Runs whose plan is damaged, so that nobody can tell whether they were meant.
        cut_short: Whether LOOKED_AT_MAX ended the search.
    """

    runs: tuple[RunCounts, ...]
    unreadable: tuple[str, ...] = ()
    cut_short: bool = False


async def find_runs(observer: Observer, limit: int, wanted: Wanted) -> Listing:
    """Return the newest runs that are wanted.

    Args:
        observer: Where to look.
        limit: Runs at most, >= 1.
        wanted: Which.
    """
    if wanted.every_run:
        return Listing(tuple(await observer.listing(limit)))
    run_ids = await observer.manifest.recent(RUNS_KEPT) or await stored_ids(observer.store)
    found: list[RunCounts] = []
    unreadable: list[str] = []
    for some in _batches(run_ids[:LOOKED_AT_MAX]):
        for run_id, answer in zip(
            some, await asyncio.gather(*(_if_wanted(observer, one, wanted) for one in some)), strict=True
        ):
            if isinstance(answer, ObjectCorrupt):
                unreadable.append(run_id)
            elif answer is not None:
                found.append(answer)
        if len(found) >= limit:
            return Listing(tuple(found[:limit]), tuple(unreadable))
    return Listing(tuple(found), tuple(unreadable), cut_short=len(run_ids) > LOOKED_AT_MAX)


async def _if_wanted(observer: Observer, run_id: str, wanted: Wanted) -> RunCounts | ObjectCorrupt | None:
    try:
        counts = await observer.status(run_id)
        if wanted.verdicts and counts.verdict not in wanted.verdicts:
            return None
        if wanted.needs_plan:
            plan = await observer.plan(run_id)
            if any(plan.labels.get(name) != value for name, value in wanted.labels.items()):
                return None
            if not chosen(plan.cells, wanted.scenario, wanted.models):
                return None
    except NotFound:  # Redis remembers a run whose objects were deleted
        return None
    except ObjectCorrupt as error:
        return error
    return counts


@dataclass(frozen=True, slots=True)
class PastRun:
    """A sealed run, as far as it is asked for.

    Attributes:
        summary: The whole run.
        cells: Those that are asked for, at least one; every figure here is over these.
    """

    summary: Summary
    cells: tuple[CellSummary, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the cells'."""
        return worst(cell.verdict for cell in self.cells)

    @property
    def passed(self) -> int:
        """Trials that passed."""
        return sum(cell.counts["passed"] for cell in self.cells)

    @property
    def scored(self) -> int:
        """Graded trials."""
        return sum(cell.scored for cell in self.cells)

    @property
    def trials(self) -> int:
        """Trials ordered."""
        return sum(cell.trials for cell in self.cells)

    @property
    def wanted(self) -> int:
        """Trials ordered that should have had a grade: not those that a cell was decided without."""
        return sum(cell.wanted for cell in self.cells)

    @property
    def pass_rate(self) -> float | None:
        """Of the graded trials; None when there are none."""
        return self.passed / self.scored if self.scored else None

    @property
    def score_mean(self) -> float | None:
        """Over graded trials; None when there are none."""
        if not self.scored:
            return None
        return math.fsum(cell.score.mean * cell.scored for cell in self.cells) / self.scored

    @property
    def cost_usd(self) -> float | None:
        """Sum of the known costs; None when none is known."""
        known = [cell.cost.total_usd for cell in self.cells if cell.cost.total_usd is not None]
        return math.fsum(known) if known else None

    @property
    def cost_unknown(self) -> int:
        """Trials of unknown cost."""
        return sum(cell.cost.unknown for cell in self.cells)

    @property
    def judge_cost_usd(self) -> float | None:
        """Sum of the known costs of judges, apart from the agents'; None when none is known."""
        known = [cell.judge_cost.total_usd for cell in self.cells if cell.judge_cost.total_usd is not None]
        return math.fsum(known) if known else None

    @property
    def judge_cost_unknown(self) -> int:
        """Trials whose judges' cost is unknown."""
        return sum(cell.judge_cost.unknown for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A run whose summary cannot be read, and why."""

    run_id: str
    message: str


@dataclass(frozen=True, slots=True)
class History:
    """What summaries tell of the last runs.

    Attributes:
        runs: Oldest first.
        damaged: Passed over, newest first.
        unsealed: Runs met on the way that have no summary yet.
        cut_short: Whether LOOKED_AT_MAX ended the search.
    """

    runs: tuple[PastRun, ...]
    damaged: tuple[Damaged, ...] = ()
    unsealed: int = 0
    cut_short: bool = False

    @property
    def trends(self) -> list[Trend]:
        """How each cell that two runs or more have graded went, in the order of their first run."""
        made = trends([(run.summary, run.cells) for run in self.runs])
        return [one for one in made if len(one.known) > 1]


async def last_runs(
    observer: Observer,
    limit: int,
    *,
    scenario: str = "",
    models: Sequence[str] = (),
    labels: Mapping[str, str] = MappingProxyType({}),
) -> History:
    """Return the last sealed runs that have a cell asked for.

    Args:
        observer: Where to look.
        limit: Runs at most; 0 for all, within LOOKED_AT_MAX.
        scenario: As in ``chosen``.
        models: As in ``chosen``.
        labels: Notes that a run must carry, each with this value.
    """
    run_ids = await stored_ids(observer.store)
    runs: list[PastRun] = []
    damaged: list[Damaged] = []
    unsealed = 0
    for some in _batches(run_ids[:LOOKED_AT_MAX]):
        for answer in await asyncio.gather(*(_summary(observer, run_id) for run_id in some)):
            if limit and len(runs) == limit:
                break
            if answer is None:
                unsealed += 1
            elif isinstance(answer, Damaged):
                damaged.append(answer)
            elif any(answer.labels.get(name) != value for name, value in labels.items()):
                continue
            elif places := chosen(answer.cells, scenario, models):
                runs.append(PastRun(answer, tuple(answer.cells[place] for place in places)))
        if limit and len(runs) == limit:
            break
    full = bool(limit) and len(runs) == limit
    return History(
        tuple(reversed(runs)),
        tuple(damaged),
        unsealed,
        cut_short=not full and len(run_ids) > LOOKED_AT_MAX,
    )


async def _summary(observer: Observer, run_id: str) -> Summary | Damaged | None:
    key = keys.summary(run_id)
    try:
        return Summary.decode(await observer.store.get(key), key)
    except ObjectMissing:
        return None
    except ObjectCorrupt as error:
        return Damaged(run_id, error.message)


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
