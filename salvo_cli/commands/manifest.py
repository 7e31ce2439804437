"""``salvo manifest show``: which trace belongs to which trial, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Run

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.manifest.rows import Row

EPILOG = epilog(
    [
        "salvo manifest show",
        "salvo manifest show 0199c2f4",
        "salvo manifest show latest --json | jq -r '.trials[].trace_id'",
    ],
    "0 shown, whatever became of the trials",
    exits.SERVER_CODES,
)
app = typer.Typer(
    name="manifest",
    help="The manifest of a run: each trial's trace id, index, status and attempt.",
    epilog=EPILOG,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(context: typer.Context) -> int:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return exits.USAGE
    return exits.OK


@app.command("show", short_help="Print a run's rows.", epilog=EPILOG)
def show(run: Run = "latest", as_json: Json = False) -> int:
    """Print a run's manifest, a line for each trial, in index order.

    A trial has its row, and its trace id, from the submission on. `salvo trials` shows the
    same trials with their figures.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, one_line, plain, print_json

        run_id = await site.observer.resolve(run)
        if as_json:
            plan = await site.observer.plan(run_id)
            rows = [_document(row) async for row in site.observer.rows(run_id)]
            print_json(
                {
                    "schema": "salvo.cli.manifest/1",
                    "run_id": run_id,
                    "name": plan.name,
                    "created_at": plan.created_at.isoformat(),
                    "cells": len(plan.cells),
                    "trials": rows,
                }
            )
            return exits.OK
        screen = console()
        screen.print(plain(f"run {run_id}", "bold"), soft_wrap=True)
        screen.print(plain(f"{'index':>7}  {'trace':<36}  {'status':<11}  attempt", "dim"), soft_wrap=True)
        # Line by line, not as a table: a run may have a million rows.
        async for row in site.observer.rows(run_id):
            remark = row.reason or (row.result.error if row.result else "")
            remark = f"  {one_line(remark.replace('_', ' '), 24)}" if remark else ""
            status = row.status.replace("_", " ")
            line = f"{row.index:>7}  {row.trace_id}  {status:<11}  {row.attempt:>7}{remark}"
            screen.print(plain(line), soft_wrap=True)
        return exits.OK

    return in_site(act)


def _document(row: Row) -> dict[str, Any]:
    error = {"error": row.result.error or "unknown"} if row.status == "infra_error" and row.result else {}
    reason = {"reason": row.reason} if row.reason else {}
    return {
        "trace_id": row.trace_id,
        "index": row.index,
        "status": row.status,
        "attempt": row.attempt,
        **error,
        **reason,
    }
