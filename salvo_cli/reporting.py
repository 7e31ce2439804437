"""A report, printed, and as a document. A sealed run's is all in its summary: no trace is opened for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from salvo_cli.render.console import console, marks, plain, print_json
from salvo_cli.render.numbers import plural
from salvo_cli.render.report import report
from salvo_cli.telling import Telling
from salvo_cli.wiring import Site
from salvo_cli.workflow import tell_of_run
from salvo_core.errors import ObjectCorrupt, ObjectMissing, SalvoError, UsageError
from salvo_core.manifest.rows import Row
from salvo_core.manifest.traces import TraceManifest
from salvo_core.run.plan import Plan
from salvo_core.run.quoting import QUOTED_MAX
from salvo_core.run.reliability import TRIES, reliability
from salvo_core.run.summary import Summary
from salvo_core.trace.model import Trace

if TYPE_CHECKING:
    from salvo_core.submit import Order

TRACES_AT_ONCE = 16


async def print_report(
    site: Site,
    summary: Summary,
    *,
    cells: Sequence[int] | None = None,
    failures_only: bool = False,
    more: bool = False,
    tries: Sequence[int] = TRIES,
    exact: bool = False,
) -> None:
    """Print a run's report on stdout; the arguments are those of ``render.report.report``."""
    screen = console()
    drawn = report(
        summary,
        width=screen.width,
        signs=marks(screen),
        infra_messages=await infra_messages(site, summary),
        cells=cells,
        failures_only=failures_only,
        more=more,
        tries=tries,
        exact=exact,
    )
    screen.print(drawn)


async def infra_messages(site: Site, summary: Summary) -> dict[str, str]:
    """Return what sample infrastructure errors of a run under way said, by trace id.

    A sealed run's summary quotes them itself. A trace that cannot be read is left out.
    """
    if summary.state == "sealed":
        return {}
    samples = [errors.trace_ids[0] for cell in summary.cells for errors in cell.infra_errors]
    found: dict[str, str] = {}
    for trace_id in samples[:QUOTED_MAX]:
        try:
            trace = await site.observer.trace(trace_id)
        except SalvoError:
            continue  # the report stands without the quotation
        if trace.error is not None:
            found[trace_id] = " ".join(part for part in (trace.error.message, trace.error.hint) if part)
    return found


def import_statistics() -> None:
    """Import what intervals are computed with, so that a report made later need not wait for it."""
    import scipy.special  # noqa: F401


async def tell(site: Site, summary: Summary, exit_code: int, command: str, telling: Telling) -> None:
    """Put on stdout what a person asked to be told of a run, or a re-evaluation, that has ended.

    On GitHub the step's summary and annotations are written, too.
    """
    tell_of_run(site.settings, summary, failing=exit_code != 0)
    if await site.observer.is_reeval(summary.run_id):
        plan = await site.observer.plan(summary.run_id)
        return await tell_reevaluation(site, plan, summary, exit_code, command, telling)
    recorded = await mark_recorded(site, summary.run_id) if telling.record else None
    if telling.legacy:
        print_json(await legacy_document(site, summary, only_cell(range(len(summary.cells)), summary)))
    elif telling.as_json:
        more = {} if recorded is None else {"recorded": recorded}
        print_json(run_document(command, summary, exit_code) | more)
    else:
        await print_report(site, summary, more=telling.more)
        if recorded is not None:
            print_recorded(recorded, summary)


async def tell_reevaluation(
    site: Site, plan: Plan, summary: Summary, exit_code: int, command: str, telling: Telling
) -> None:
    """Put on stdout how a re-evaluation that has ended differs from what it looked at."""
    from salvo_cli.comparing import comparison_document, print_comparison  # reports of runs need neither

    if telling.as_json:
        more = await comparison_document(site, plan)
        print_json(run_document(command, summary, exit_code) | more)
        return
    await print_comparison(site, plan, more=telling.more)
    if telling.more:
        console().print()
        await print_report(site, summary, more=True)


def run_document(
    command: str, summary: Summary, exit_code: int, *, tries: Sequence[int] = TRIES, exact: bool = False
) -> dict[str, Any]:
    """Return the document of ``--json`` for a run that was reported; arguments as in ``render.report``."""
    return {
        "schema": f"salvo.cli.{command}/1",
        "run_id": summary.run_id,
        "state": summary.state,
        "verdict": summary.verdict,
        "exit_code": exit_code,
        "summary": summary.model_dump(mode="json"),
        "reliability": reliability(summary, tries, exact=exact).model_dump(mode="json"),
    }


async def mark_recorded(site: Site, run_id: str) -> list[dict[str, Any]]:
    """Mark a run as recorded; return its trials that left a trace, by cell, repetition and trace id."""
    plan = await site.observer.plan(run_id)
    await TraceManifest(site.manifest, site.observer.trace).mark_run_recorded(run_id)
    return [
        {
            "cell": plan.cell_index(row.index),
            "trial": plan.trial_index(row.index),
            "status": row.status,
            "trace_id": row.trace_id,
        }
        async for row in site.observer.rows(run_id)
        if row.recorded
    ]


def print_recorded(recorded: Sequence[dict[str, Any]], summary: Summary) -> None:
    """Print each recorded trial's trace id, as ``salvo trace`` and ``salvo replay`` take it."""
    screen = console()
    screen.print(plain(f"\nRecorded: {plural(len(recorded), 'trial')}", "bold"))
    several = len(summary.cells) > 1
    for one in recorded:
        cell = f"cell {one['cell'] + 1}, " if several else ""
        line = f"  {one['trace_id']}  {cell}trial {one['trial']}, {one['status'].replace('_', ' ')}"
        screen.print(plain(line), soft_wrap=True)


async def legacy_document(site: Site, summary: Summary, place: int) -> dict[str, Any]:
    """Return the predecessor's suite document of one cell; its trials' findings are read from their traces.

    A trace that cannot be read leaves its trial without findings.
    """
    from salvo_cli.render.legacy import suite  # with it come judges: other reports need none

    plan = await site.observer.plan(summary.run_id)
    rows = [row async for row in site.observer.rows(summary.run_id) if plan.cell_index(row.index) == place]
    gate = asyncio.Semaphore(TRACES_AT_ONCE)

    async def read(row: Row) -> Trace | None:
        async with gate:
            try:
                return await site.observer.trace_of(summary.run_id, row)
            except (ObjectMissing, ObjectCorrupt):
                return None

    found = await asyncio.gather(*(read(row) for row in rows if row.recorded))
    traces = {trace.trace_id: trace for trace in found if trace is not None}
    return suite(summary.run_id, summary.cells[place], plan, rows, traces)


def require_one_cell(order: Order) -> None:
    """Refuse an order whose run the predecessor's document could not hold.

    Raises:
        UsageError: It would have several cells.
    """
    cells = len(order.scenarios) * max(1, len(order.models))
    if cells != 1:
        raise UsageError(
            f"the first Salvo's document holds one cell, and this would be {cells}",
            hint="run one scenario with one model, or use --json",
        )


def only_cell(cells: Sequence[int], summary: Summary) -> int:
    """Return the one cell that the predecessor's document can be about.

    Raises:
        UsageError: There are several.
    """
    if len(cells) != 1:
        raise UsageError(
            f"the first Salvo's document holds one cell, and this run has {len(summary.cells)}",
            hint="pick one with `salvo report RUN --legacy --scenario NAME --model MODEL`",
        )
    return cells[0]
