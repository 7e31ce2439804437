"""What infrastructure errors said: one sample of each kind is quoted in the summary."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.manifest.rows import Lines, Row
from salvo_core.run.failures import MESSAGE_LENGTH_MAX
from salvo_core.run.summary import Summary
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace.stored import read_trace

QUOTED_MAX = 24
"""Infrastructure errors quoted in a summary: one of each kind in each cell, so many at most."""

logger = logging.getLogger(__name__)


async def quoting_infra_errors(
    summary: Summary, rows: Sequence[Row], store: Store, home: str = keys.RUNS
) -> Summary:
    """Return the summary with what a sample of each infrastructure error said, so that reports open no trace.

    Rows carry no free text. Traces are written once, so this too gives the same bytes every time.
    """
    kinds = [(cell.cell, place) for cell in summary.cells for place in range(len(cell.infra_errors))]
    if not kinds:
        return summary
    ended = rows.of_status("infra_error") if isinstance(rows, Lines) else rows
    by_id = {row.trace_id: row for row in ended if row.status == "infra_error" and row.recorded}
    cells = list(summary.cells)
    for number, place in kinds[:QUOTED_MAX]:
        errors = list(cells[number].infra_errors)
        sample = by_id.get(errors[place].trace_ids[0])
        if sample is not None:
            said = await _said(summary.run_id, sample, store, home)
            errors[place] = errors[place].model_copy(update={"message": said})
            cells[number] = cells[number].model_copy(update={"infra_errors": tuple(errors)})
    return summary.model_copy(update={"cells": tuple(cells)})


async def _said(run_id: str, row: Row, store: Store, home: str) -> str:
    from salvo_core.run.rescored import Rescored  # reports of runs need none of it

    key = keys.trace(run_id, row.trace_id, row.attempt, home)
    try:
        stored = await store.get(key)
        reads = Rescored.decode if home == keys.REEVALS else read_trace
        error = reads(stored, key).error
    except (ObjectMissing, ObjectCorrupt) as problem:
        logger.warning("run %s is sealed without what an infrastructure error said: %s", run_id, problem)
        return ""
    if error is None:
        return ""
    said = f"{error.message} ({error.hint})" if error.hint else error.message
    return said[:MESSAGE_LENGTH_MAX]
