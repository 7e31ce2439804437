"""The door that closes a run: rows to verdict, and both to the store for good.

Sealing reads only what is settled, so doing it again, or twice at once, writes the same
bytes. The order is archive, summary, deletion of the scenarios that the store may not keep, then the
verdict in Redis: a run that says it is sealed has its numbers in the store, and nothing there that
it should not have. A re-evaluation is sealed like a run; how it differs from what it looked at goes
before its summary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing
from salvo_core.manifest.archive import encode_rows
from salvo_core.manifest.budget import Spending
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Row
from salvo_core.run.comparison import Side, compare
from salvo_core.run.facts import AssertionFacts, assertion_facts
from salvo_core.run.forgetting import forget_orders
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.run.quoting import quoting_infra_errors
from salvo_core.run.summary import Summary, summarise
from salvo_core.store import keys
from salvo_core.store.protocol import Store

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
    plan = await Orders(store).plan(run_id)
    if counts.budget is not None:
        await Ledger(manifest).settle_lost(run_id)  # nobody holds a trial any more: the books are final
        counts = await manifest.counts(run_id)
    rows = await manifest.lines(run_id)
    summary, archive = await fold(
        plan,
        rows,
        store,
        started_ms=counts.started_ms,
        finished_ms=counts.finished_ms,
        budget=counts.budget,
    )
    await store.put(keys.manifest(run_id, plan.home), archive)
    if plan.rescore is not None:
        await _put_comparison(plan, list(rows), Orders(store), manifest, store)
    await store.put(keys.summary(run_id, plan.home), summary.encode()[0])
    if any(cell.withheld for cell in plan.cells):
        await forget_orders(run_id, store)
    if counts.budget is not None:
        await Ledger(manifest).close(run_id)
    if await manifest.sealed(run_id, summary.verdict, summary.exit_code):
        logger.info("run %s is sealed: %s", run_id, summary.verdict)
    return summary


async def fold(
    plan: Plan,
    rows: Sequence[Row],
    store: Store,
    *,
    started_ms: int | None,
    finished_ms: int | None,
    budget: Spending | None = None,
) -> tuple[Summary, bytes]:
    """Return what a finished run's rows come to, the same every time: its summary, and the archive's bytes.

    Args:
        plan: The order.
        rows: All of them, in index order.
        store: Where scenarios, and traces of infrastructure errors, are read.
        started_ms: First claim, Unix time.
        finished_ms: End of the last row, Unix time.
        budget: Where it stands, if there is one.
    """
    facts = await assertion_facts(plan, Orders(store))
    # Folding and packing 100,000 rows is seconds of work: off the loop.
    summary, archive = await asyncio.to_thread(_fold, plan, rows, facts, started_ms, finished_ms, budget)
    return await quoting_infra_errors(summary, rows, store, plan.home), archive


async def _put_comparison(
    plan: Plan,
    rows: Sequence[Row],
    orders: Orders,
    manifest: Manifest,
    store: Store,
) -> None:
    """Store how a re-evaluation differs from what it looked at; nothing if that is gone meanwhile."""
    assert plan.rescore is not None
    source_id, index = plan.rescore.run_id, plan.rescore.index
    try:
        source = await orders.plan(source_id)
        start, stop = (0, source.total) if index is None else (index, index + 1)
        found = [row async for row in manifest.rows(source_id, start, stop)]
        if len(found) != stop - start:  # Redis has forgotten it: it is sealed
            found = list((await orders.rows(source_id))[start:stop])
        after = Side(plan, rows, await assertion_facts(plan, orders))
        before = Side(source, found, await assertion_facts(source, orders))
        # Folding 100,000 pairs of rows is a second of work: off the loop.
        compared = await asyncio.to_thread(compare, before, after)
    except (ObjectMissing, ObjectCorrupt, ValueError) as error:
        # A run that is over can be sealed, whatever became of another one.
        logger.warning("re-evaluation %s is sealed without a comparison: %s", plan.run_id, error)
        return
    await store.put(keys.comparison(plan.run_id), compared.encode())


def _fold(
    plan: Plan,
    rows: Sequence[Row],
    facts: dict[int, tuple[AssertionFacts, ...]],
    started_ms: int | None,
    finished_ms: int | None,
    budget: Spending | None,
) -> tuple[Summary, bytes]:
    summary = summarise(
        plan, rows, facts, started_ms=started_ms, finished_ms=finished_ms, state="sealed", budget=budget
    )
    return summary, encode_rows(plan.run_id, rows)
