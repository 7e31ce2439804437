"""``salvo cancel``: end a run for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commanding import command_run
from salvo_cli.epilog import epilog
from salvo_cli.options import DryRun, Json, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.cancel import Cancelled
    from salvo_core.manifest.counters import RunCounts

EPILOG = epilog(
    ["salvo cancel 0199c2f4", "salvo cancel latest --now", "salvo cancel latest --dry-run --json"],
    "0 cancelled, or it was over already (says so)",
    exits.SERVER_CODES,
)


def cancel(
    run: RunNamed,
    now: Annotated[
        bool, typer.Option("--now", help="Do not let turns under way end: their cost stays unknown.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Cancel a run: what has not begun never will; what runs ends at its turn and is kept.

    With --now, turns under way are abandoned as soon as their workers hear of it, within a third of
    the lease; turns that were completed are kept. Cancelling twice changes nothing the second time.
    """

    async def act(site: Site, counts: RunCounts) -> Cancelled:
        from salvo_core.cancel import cancel as cancelled
        from salvo_core.cancel import would_cancel

        if dry_run or counts.state == "sealed":
            return would_cancel(counts)
        return await cancelled(
            counts.run_id,
            store=site.store,
            manifest=site.manifest,
            dispatcher=site.dispatcher,
            at_once=now,
        )

    # Trials that were given back half way are closed by a worker: what was paid is kept.
    run_id, done = command_run(run, act, lambda done: not dry_run and done.state == "cancelling")
    _tell(run_id, done, dry_run=dry_run, as_json=as_json)
    return exits.OK


def _tell(run_id: str, done: Cancelled, *, dry_run: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural

    if as_json:
        told = {"changed": done.changed, "state": done.state, "never_begun": done.ended}
        print_json({"schema": "salvo.cli.cancel/1", "run_id": run_id, "dry_run": dry_run, **told})
        return
    if done.changed and dry_run:
        line = f"would cancel {run_id}: {plural(done.ended, 'trial')} would not begin; it is {done.state}"
    elif done.changed:
        line = f"cancelled {run_id}: {plural(done.ended, 'trial')} will not begin; it is {done.state}"
    else:
        line = f"{run_id} is {done.state}: nothing to cancel"
    console().print(plain(line), soft_wrap=True)
