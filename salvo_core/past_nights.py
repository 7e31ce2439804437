"""What a schedule's nights come to: read from the store, those of long ago folded.

Evidence goes on from night to night, and so do alerts that stand. ``fold`` keeps what the oldest nights
come to in one object (``alerts.folded``); what came after is read each time. So what is read stays bounded
however old a schedule is, and no evidence is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple, TypeVar

from salvo_core.alerts.folded import Folded, read_folded, still_open
from salvo_core.alerts.incident import Followed
from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing
from salvo_core.identity import canonical_json, digest
from salvo_core.run.baselines import baseline
from salvo_core.run.plan import CELLS_MAX
from salvo_core.run.schedule import NOTHING, PREVIOUS, Firing, Schedule, firing_keys, read_firing
from salvo_core.run.standings import CellKey, PastNight, Standing, fold, references_of, standings
from salvo_core.run.summary import Summary
from salvo_core.stats.nights import DEFAULT
from salvo_core.store import keys
from salvo_core.store.protocol import Store

logger = logging.getLogger(__name__)

NIGHTS_MAX = 200
"""Firings that are read, the newest; and what was decided of so many."""
UNFOLDED_MIN, UNFOLDED_MAX = 100, 150
"""Where more than so many firings are not folded, all but the newest UNFOLDED_MIN are."""
FOLDED_CELLS_MAX = 2 * CELLS_MAX
"""Cells that are kept, first those that were run last: of scenarios that are edited every night."""
_AT_ONCE = 16
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


class Measure(NamedTuple):
    """What nights are measured by.

    Attributes:
        references: Pass rates of a baseline; cells without one learn theirs from the nights before.
        mark: Of all that folded evidence depends on besides the nights.
        note: What a person should know about it.
    """

    references: dict[CellKey, float]
    mark: str
    note: str


async def past_decisions(
    name: str, store: Store, *, before: str = "", folded: Folded | None = None
) -> list[Followed]:
    """Return what was decided after a schedule's newest firings, NIGHTS_MAX at most, oldest first.

    Args:
        name: The schedule's.
        store: Where it lies.
        before: The key of one; only what comes before it.
        folded: What stands for the older ones: what of it is open comes first.

    Raises:
        ObjectCorrupt: One is damaged: what was told is not known then, and nothing is told on a guess.
    """
    found = sorted([key async for key in store.list(keys.followeds(name))], key=keys.firing_place)
    if before:
        found = [key for key in found if keys.firing_place(key) < keys.firing_place(before)]
    decided = await _each(_after(found, folded)[-NIGHTS_MAX:], lambda key: _read_followed(key, store))
    return [folded.decided(), *decided] if folded else decided


async def past_firings(name: str, store: Store, *, folded: Folded | None = None) -> list[Firing]:
    """Return a schedule's newest firings, NIGHTS_MAX at most, oldest first; confirmations after nights.

    Args:
        name: The schedule's.
        store: Where it lies.
        folded: Only what came after it.
    """
    found = _after(await firing_keys(name, store), folded)[-NIGHTS_MAX:]
    return [one for one in await _each(found, lambda key: firing_or_none(key, store)) if one is not None]


async def stands_of(
    schedule: Schedule, store: Store, counts: Callable[[Firing], bool] = lambda firing: True
) -> tuple[list[Standing], str]:
    """Return where a schedule's cells stand, and what a person should know about it.

    Args:
        schedule: Says what its nights are measured by.
        store: Where they lie.
        counts: Whether a firing is to count; those whose run is not sealed, or cannot be read, never do.
    """
    if schedule.baseline == NOTHING:
        return [], ""
    measure = await _measure(schedule, store)
    folded = await _folded_by(measure, schedule.name, store)
    past = [one for one in await past_firings(schedule.name, store, folded=folded) if counts(one)]
    nights = await _nights(past, store)
    known = folded.cells if folded else ()
    stands = await asyncio.to_thread(standings, nights, references=measure.references, folded=known)
    return stands, measure.note


async def fold_nights(schedule: Schedule, store: Store, settled: Callable[[str], bool]) -> Folded | None:
    """Fold a schedule's oldest nights, if there are many since it was last done; return what was stored.

    Two that do it at once store the same, or one of them what the other had before: what is read after
    it is then more, and comes to the same.

    Args:
        schedule: Whose.
        store: Where they lie.
        settled: Whether nothing will be decided any more of the firing of that key.
    """
    measure = await _measure(schedule, store)
    newest = await read_folded(schedule.name, store)
    same = newest if newest is not None and newest.measured_by == measure.mark else None
    found = _after(await firing_keys(schedule.name, store), same)
    found = found if same else found[-NIGHTS_MAX:]
    if len(found) <= UNFOLDED_MAX:
        return None
    old = found[:-UNFOLDED_MIN]
    old = old[: next((place for place, key in enumerate(old) if not settled(key)), len(old))]
    if not old or len(found) - len(old) > UNFOLDED_MAX or (newest and not _after(old[-1:], newest)):
        return None  # a run among the oldest is not over: it will be, or it is told of
    firings = [one for one in await _each(old, lambda key: firing_or_none(key, store)) if one is not None]
    nights = [] if schedule.baseline == NOTHING else await _nights(firings, store)
    before = [
        one
        for one in await past_decisions(schedule.name, store, folded=newest)
        if keys.firing_place(keys.followed(one.schedule, one.due_at, one.kind)) <= keys.firing_place(old[-1])
    ]
    events, trouble = still_open(before)
    cells = await asyncio.to_thread(
        fold,
        nights,
        references=measure.references,
        folded=same.cells if same else (),
        absent_max=NIGHTS_MAX,
    )
    due_at, kind = keys.parse_firing(old[-1])
    folded = Folded(
        schedule=schedule.name,
        due_at=due_at,
        kind=kind,
        firings=len(old) + (same.firings if same else 0),
        measured_by=measure.mark,
        cells=tuple(cells[:FOLDED_CELLS_MAX]),
        events=events,
        trouble=trouble,
    )
    await store.put(keys.folded(schedule.name), folded.encode())
    return folded


async def _folded_by(measure: Measure, name: str, store: Store) -> Folded | None:
    folded = await read_folded(name, store)
    return folded if folded is not None and folded.measured_by == measure.mark else None


def _after(found: Sequence[str], folded: Folded | None) -> list[str]:
    """Return those of keys in order that are not folded."""
    if folded is None:
        return list(found)
    last = keys.firing_place(folded.key)
    return [key for key in found if keys.firing_place(key) > last]


async def _nights(past: Sequence[Firing], store: Store) -> list[PastNight]:
    async def night(firing: Firing) -> PastNight | None:
        found, _ = await summary_of(firing.run_id, store)
        return None if found is None else PastNight(found, firing.fresh, bool(firing.confirms))

    return [one for one in await _each(past, night) if one is not None]


async def _measure(schedule: Schedule, store: Store) -> Measure:
    references: dict[CellKey, float] = {}
    note = ""
    if schedule.baseline not in (PREVIOUS, NOTHING):
        references, note = await _references(schedule.baseline, store)
    given = sorted([*key, rate] for key, rate in references.items())
    what = [schedule.baseline == NOTHING, asdict(DEFAULT), given]
    return Measure(references, digest(canonical_json(what)), note)


async def firing_or_none(key: str, store: Store) -> Firing | None:
    """Return a firing, None if it is damaged: a night less, and the others count."""
    try:
        return await read_firing(key, store)
    except ObjectCorrupt as error:
        logger.warning("%s", error.message)
        return None


async def _read_followed(key: str, store: Store) -> Followed:
    return Followed.decode(await store.get(key), key)


async def _references(name: str, store: Store) -> tuple[dict[CellKey, float], str]:
    """Return what a baseline promises of cells; if it cannot be read, nothing, and what holds instead."""
    instead = "nights are measured by those before"
    try:
        run_id = (await baseline(name, store)).run_id
    except (NotFound, ObjectCorrupt) as error:
        return {}, f"{error.message}: {instead}"
    summary, why = await summary_of(run_id, store)
    if summary is None:
        return {}, f"the baseline {name} cannot be read{f' ({why})' if why else ''}: {instead}"
    return references_of(summary), ""


async def summary_of(run_id: str, store: Store) -> tuple[Summary | None, str]:
    """Return what a run came to; None if it is not over, or, with a note why, if that cannot be read."""
    if not run_id:
        return None, ""
    key = keys.summary(run_id)
    try:
        return Summary.decode(await store.get(key), key), ""
    except ObjectMissing:
        return None, ""
    except ObjectCorrupt as error:
        return None, error.message


async def _each(items: Sequence[_Item], read: Callable[[_Item], Awaitable[_Read]]) -> list[_Read]:
    found: list[_Read] = []
    for start in range(0, len(items), _AT_ONCE):
        found += await asyncio.gather(*(read(one) for one in items[start : start + _AT_ONCE]))
    return found
