"""Ends cells early: reads how far each is finished, asks the rule, skips what has not begun.

A cell that is decided stays decided, because rows of a finished prefix never change. So nothing
about it is kept but the skipped rows themselves: whoever died between deciding and skipping, the
next commit in the cell, on any worker, or a sweep comes to the same decision and skips what is left.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import TERMINAL
from salvo_core.run.plan import Plan
from salvo_core.run.stopping import DECIDED, Stop, StopRule, rule_of

RUNS_REMEMBERED = 64
"""Runs whose cells a process keeps its place in; one that was forgotten is read again from its beginning."""


@dataclass(frozen=True, slots=True)
class Curtailed:
    """What looking at a cell led to.

    Attributes:
        decided: The cell is decided: no trial of it is to begin any more.
        run_finished: The run's last row ended by it; seal the run.
        release: Indices whose messages the caller must publish now.
    """

    decided: bool = False
    run_finished: bool = False
    release: tuple[int, ...] = ()


@dataclass(eq=False)
class _Watch:
    """How far one cell was read and skipped, in trials of the cell."""

    rule: StopRule
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    read: int = 0
    stop: Stop | None = None
    skipped: int = 0


class Curtailer:
    """Looks at cells after their trials end; one per process, which remembers how far it has read.

    Args:
        manifest: The truth.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._runs: OrderedDict[str, dict[int, _Watch]] = OrderedDict()

    async def look(self, plan: Plan, cell: int) -> Curtailed:
        """Skip what has not begun of a cell that is decided. Doing it again changes nothing.

        Over all calls each row is read about twice, however many trials end.

        Args:
            plan: Of the run; one that does not stop early is left alone.
            cell: The cell's place in it.
        """
        if not plan.early_stop:
            return Curtailed()
        watch = self._watch(plan, cell)
        async with watch.lock:
            await self._read(plan, cell, watch)
            if watch.stop is None:
                return Curtailed()
            return await self._skip(plan, cell, watch)

    def _watch(self, plan: Plan, cell: int) -> _Watch:
        watches = self._runs.setdefault(plan.run_id, {})
        self._runs.move_to_end(plan.run_id)
        while len(self._runs) > RUNS_REMEMBERED:
            self._runs.popitem(last=False)
        if cell not in watches:
            watches[cell] = _Watch(rule_of(plan, cell))
        return watches[cell]

    async def _read(self, plan: Plan, cell: int, watch: _Watch) -> None:
        """Show the rule the trials that have joined the finished prefix."""
        many = 2  # as a rule: the trial that just ended, and one that has not
        while watch.stop is None and watch.read < plan.trials:
            indices = _indices(plan, cell, watch.read, watch.read + many)
            for row in await self._manifest.rows_at(plan.run_id, indices):
                if row is None or row.status not in TERMINAL:
                    return
                watch.read += 1
                watch.stop = watch.rule.add(row.status, row.result.score if row.result else None)
                if watch.stop is not None:
                    watch.skipped = watch.stop.after
                    return
            many = min(many * 2, ROWS_PER_CALL)

    async def _skip(self, plan: Plan, cell: int, watch: _Watch) -> Curtailed:
        finished, release = False, list[int]()
        while watch.skipped < plan.trials:
            indices = _indices(plan, cell, watch.skipped, watch.skipped + ROWS_PER_CALL)
            found = await self._manifest.skip_rows(plan.run_id, indices, DECIDED)
            finished |= found.run_finished
            release += found.release
            seeded = len(range(cell, found.seeded, len(plan.cells)))
            if seeded < watch.skipped + len(indices):
                # The submission goes on: the next trial that ends in this cell skips the rows to come.
                watch.skipped = max(watch.skipped, seeded)
                break
            watch.skipped += len(indices)
        return Curtailed(True, finished, tuple(release))


def _indices(plan: Plan, cell: int, start: int, stop: int) -> range:
    """Return the run's indices of a cell's trials [start, stop), as far as there are any."""
    cells = len(plan.cells)
    return range(start * cells + cell, min(stop, plan.trials) * cells, cells)
