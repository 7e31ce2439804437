"""The door that hands a run out as a table: a line for each trial, turn or finding, in index order.

Trials are told by their rows alone; turns and findings are read from traces, a bounded number at a time,
so that a table of any length needs the memory of a few traces. What a trial has no trace of has no lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from salvo_core.errors import ObjectCorrupt, ObjectMissing, UsageError
from salvo_core.manifest.rows import Row
from salvo_core.observe import Observer
from salvo_core.run.columns import COLUMNS, Columns, Line, What, finding_lines, trial_line, turn_lines
from salvo_core.run.plan import Plan

ROWS_AT_ONCE = 1000
TRACES_AT_ONCE = 32


class Export:
    """A run's table, to be read once.

    Attributes:
        columns: Names and kinds, in order.
        trials: Rows that were read so far.
        left_out: (trace id, why) of the trials so far whose trace is missing or damaged.

    Args:
        plan: Of the run, or re-evaluation.
        what: What a line is about.
        observer: Reads rows and traces.
    """

    def __init__(self, plan: Plan, what: What, observer: Observer) -> None:
        self.columns: Columns = COLUMNS[what]
        self.trials = 0
        self.left_out: list[tuple[str, str]] = []
        self._plan = plan
        self._what = what
        self._observer = observer

    async def batches(self) -> AsyncIterator[Sequence[Line]]:
        """Yield the table's lines, some at a time, none of them empty."""
        size = ROWS_AT_ONCE if self._what == "trials" else TRACES_AT_ONCE
        window: list[Row] = []
        async for row in self._observer.rows(self._plan.run_id):
            window.append(row)
            if len(window) == size:
                if lines := await self._lines(window):
                    yield lines
                window = []
        if lines := await self._lines(window):
            yield lines

    async def _lines(self, rows: Sequence[Row]) -> list[Line]:
        self.trials += len(rows)
        if self._what == "trials":
            return [trial_line(row, self._plan) for row in rows]
        read = await asyncio.gather(*(self._of_trace(row) for row in rows if row.recorded))
        return [line for lines in read for line in lines]

    async def _of_trace(self, row: Row) -> list[Line]:
        run_id = self._plan.run_id
        try:
            if self._plan.rescore is not None:
                return finding_lines(
                    row, self._plan, (await self._observer.rescored(run_id, row)).after.findings
                )
            trace = await self._observer.trace_of(run_id, row)
        except (ObjectMissing, ObjectCorrupt) as error:
            self.left_out.append((row.trace_id, error.message))
            return []
        if self._what == "turns":
            return turn_lines(row, self._plan, trace)
        return finding_lines(row, self._plan, trace.findings)


async def export(run_id: str, what: What, *, observer: Observer) -> Export:
    """Return a run's table. Nothing but its plan is read yet.

    Args:
        run_id: The run, or re-evaluation; one that goes on is told as it stands.
        what: What a line is about.
        observer: Reads rows and traces.

    Raises:
        NotFound: Nobody knows the run.
        UsageError: It is a re-evaluation, and those have no turns.
    """
    plan = await observer.plan(run_id)
    if plan.rescore is not None and what == "turns":
        raise UsageError(
            f"{run_id} is a re-evaluation: it asked its agents nothing, so it has no turns",
            hint=f"export those of the run it looked at: {plan.rescore.run_id}",
        )
    await observer.status(run_id)
    return Export(plan, what, observer)
