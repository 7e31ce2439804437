"""``salvo retry``: have trials tried again that infrastructure ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commanding import command_run
from salvo_cli.epilog import epilog
from salvo_cli.options import DryRun, Json, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.manifest.counters import RunCounts
    from salvo_core.retry import Retried

EPILOG = epilog(
    [
        "salvo retry latest                     every trial that ended as infra_error",
        "salvo retry 0199c2f4 --trial 0199c2f4-7b1e-7c3a",
        "salvo retry latest --dry-run --json",
    ],
    "0 they wait again, or there was nothing to retry (says so)",
    exits.SERVER_CODES,
)


def retry(
    run: RunNamed,
    trial: Annotated[
        list[str] | None,
        typer.Option("--trial", metavar="ID", help="This trial, a cancelled one too; repeat for several."),
    ] = None,
    errors_only: Annotated[
        bool,
        typer.Option("--errors-only", help="No cancelled ones, even if named [default without --trial]."),
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Try trials again that infrastructure ended: in the same run, under their own trace ids.

    They go on from the turns that are paid for. What they had ended as is kept, and told of in the
    new trace and the report. A run that is over is open again until they have ended. Trials with a
    grade are not tried again.
    """

    async def act(site: Site, counts: RunCounts) -> Retried:
        from salvo_core.retry import retry as tried_again

        return await tried_again(
            counts.run_id,
            store=site.store,
            manifest=site.manifest,
            dispatcher=site.dispatcher,
            trace_ids=[await site.observer.resolve_trial(one) for one in trial or ()],
            errors_only=errors_only,
            dry_run=dry_run,
        )

    run_id, done = command_run(run, act, lambda done: bool(done.trials) and not dry_run)
    _tell(run_id, done, dry_run=dry_run, as_json=as_json)
    return exits.OK


def _tell(run_id: str, done: Retried, *, dry_run: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short

    if as_json:
        told = {"trials": done.trials, "continued": done.continued, "state": done.state}
        print_json({"schema": "salvo.cli.retry/1", "run_id": run_id, "dry_run": dry_run, **told})
        return
    line = f"{run_id} is {done.state}: nothing to retry"
    if done.trials:
        again = "would be tried again" if dry_run else f"tried again; `salvo wait {short(run_id)}`"
        paid = f"{done.continued:,} from turns already paid for"
        line = f"{plural(done.trials, 'trial')} of {run_id}, {paid}: {again}"
    console().print(plain(line), soft_wrap=True)
