"""The door that closes a run: rows to verdict, and both to the store for good.

Sealing reads only what is settled, so doing it again, or twice at once, writes the same
bytes. The order is archive, summary, then the verdict in Redis: a run that says it is sealed
has its numbers in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing
from salvo_core.manifest.archive import encode_rows
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Row
from salvo_core.record import read_trace
from salvo_core.run.failures import MESSAGE_LENGTH_MAX, AssertionFacts
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.run.summary import Summary, summarise
from salvo_core.scenario.model import Scenario
from salvo_core.store import keys
from salvo_core.store.protocol import Store

QUOTED_MAX = 24
"""Infrastructure errors quoted in a summary: one of each kind in each cell, so many at most."""

logger = logging.getLogger(__name__)


async def seal(run_id: str, *, store: Store, manifest: Manifest) -> Summary | None:
    """Return the summary of a finished run, stored; None when the run is not finished.

    Raises:
        StoreUnavailable, StoreRefused: Nothing is lost; a later sweep seals it.
    """
    try:
        counts = await manifest.counts(run_id)
    except NotFound:
        return None
    if counts.state not in ("finished", "sealed"):
        return None
    orders = Orders(store)
    plan = await orders.plan(run_id)
    if counts.budget is not None:
        await Ledger(manifest).settle_lost(run_id)  # nobody holds a trial any more: the books are final
        counts = await manifest.counts(run_id)
    rows = [row async for row in manifest.rows(run_id)]
    facts = await assertion_facts(plan, orders)
    # Folding and packing 100,000 rows is seconds of work: off the loop.
    summary, archive = await asyncio.to_thread(_fold, plan, rows, facts, counts)
    summary = await quoting_infra_errors(summary, rows, store)
    await store.put(keys.manifest(run_id), archive)
    await store.put(keys.summary(run_id), summary.encode()[0])
    if counts.budget is not None:
        await Ledger(manifest).close(run_id)
    if await manifest.sealed(run_id, summary.verdict, summary.exit_code):
        logger.info("run %s is sealed: %s", run_id, summary.verdict)
    return summary


async def assertion_facts(plan: Plan, orders: Orders) -> dict[int, tuple[AssertionFacts, ...]]:
    """Return, per cell, what ranking failures needs to know of its assertions.

    A cell whose scenario is gone or damaged is left out.
    """
    scenarios: dict[str, Scenario] = {}
    for digest in {cell.scenario_digest for cell in plan.cells}:
        try:
            scenarios[digest] = await orders.scenario(digest)
        except (ObjectMissing, ObjectCorrupt) as error:
            # Its trials said so already. The labels in the plan must do: a run that is over can be sealed.
            logger.warning("failures of scenario %s are ranked with equal weights: %s", digest[:12], error)
    return {
        number: tuple(AssertionFacts.of(a, plan.judge) for a in scenarios[cell.scenario_digest].assertions)
        for number, cell in enumerate(plan.cells)
        if cell.scenario_digest in scenarios
    }


async def quoting_infra_errors(summary: Summary, rows: Sequence[Row], store: Store) -> Summary:
    """Return the summary with what a sample of each infrastructure error said, so that reports open no trace.

    Rows carry no free text. Traces are written once, so this too gives the same bytes every time.
    """
    kinds = [(cell.cell, place) for cell in summary.cells for place in range(len(cell.infra_errors))]
    if not kinds:
        return summary
    by_id = {row.trace_id: row for row in rows if row.status == "infra_error" and row.recorded}
    cells = list(summary.cells)
    for number, place in kinds[:QUOTED_MAX]:
        errors = list(cells[number].infra_errors)
        sample = by_id.get(errors[place].trace_ids[0])
        if sample is not None:
            said = await _said(summary.run_id, sample, store)
            errors[place] = errors[place].model_copy(update={"message": said})
            cells[number] = cells[number].model_copy(update={"infra_errors": tuple(errors)})
    return summary.model_copy(update={"cells": tuple(cells)})


async def _said(run_id: str, row: Row, store: Store) -> str:
    key = keys.trace(run_id, row.trace_id, row.attempt)
    try:
        error = read_trace(await store.get(key), key).error
    except (ObjectMissing, ObjectCorrupt) as problem:
        logger.warning("run %s is sealed without what an infrastructure error said: %s", run_id, problem)
        return ""
    return "" if error is None else " ".join(filter(None, (error.message, error.hint)))[:MESSAGE_LENGTH_MAX]


def _fold(
    plan: Plan, rows: Sequence[Row], facts: dict[int, tuple[AssertionFacts, ...]], counts: RunCounts
) -> tuple[Summary, bytes]:
    summary = summarise(
        plan,
        rows,
        facts,
        started_ms=counts.started_ms,
        finished_ms=counts.finished_ms,
        state="sealed",
        budget=counts.budget,
    )
    return summary, encode_rows(plan.run_id, rows)
