"""A report, printed: the summary, and the messages of sample infrastructure errors from their traces."""

from __future__ import annotations

from typing import Any

from salvo_cli.render.console import console, marks
from salvo_cli.render.report import report
from salvo_cli.wiring import Site
from salvo_core.errors import SalvoError
from salvo_core.run.summary import Summary

SAMPLES_READ_MAX = 8
"""Traces opened to quote an infrastructure error: one for each kind and cell, so many at most."""


async def print_report(site: Site, summary: Summary) -> None:
    """Print a run's report on stdout."""
    screen = console()
    messages = await infra_messages(site, summary)
    screen.print(report(summary, width=screen.width, signs=marks(screen), infra_messages=messages))


async def infra_messages(site: Site, summary: Summary) -> dict[str, str]:
    """Return what sample infrastructure errors said, by trace id; a trace that cannot be read is left out."""
    samples = [errors.trace_ids[0] for cell in summary.cells for errors in cell.infra_errors]
    found: dict[str, str] = {}
    for trace_id in samples[:SAMPLES_READ_MAX]:
        try:
            trace = await site.observer.trace(trace_id)
        except SalvoError:
            continue  # the report stands without the quotation
        if trace.error is not None:
            found[trace_id] = " ".join(part for part in (trace.error.message, trace.error.hint) if part)
    return found


def run_document(command: str, summary: Summary, exit_code: int) -> dict[str, Any]:
    """Return the document of ``--json`` for a run that was reported."""
    return {
        "schema": f"salvo.cli.{command}/1",
        "run_id": summary.run_id,
        "state": summary.state,
        "verdict": summary.verdict,
        "exit_code": exit_code,
        "summary": summary.model_dump(mode="json"),
    }
