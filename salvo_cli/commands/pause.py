"""``salvo pause``: hold a run up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import DryRun, Json, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.pause import Paused

EPILOG = epilog(
    ["salvo pause latest", "salvo pause 0199c2f4 --dry-run", "salvo resume 0199c2f4     lets it go on"],
    "0 paused, or there was nothing to pause (says so)",
    exits.SERVER_CODES,
)


def pause(run: RunNamed, dry_run: DryRun = False, as_json: Json = False) -> int:
    """Hold a run up, on every machine: no more trials begin, those under way go on to their end.

    `salvo resume` lets it go on. Pausing twice changes nothing the second time.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_core.pause import Paused
        from salvo_core.pause import pause as hold_up

        run_id = await site.observer.resolve(run)
        counts = await site.observer.status(run_id)  # of runs that Redis has forgotten the store tells
        if counts.state == "sealed":
            done = Paused(False, "sealed", 0, 0)
        else:
            done = await hold_up(
                run_id,
                store=site.store,
                manifest=site.manifest,
                signer=site.dispatcher.signer,
                dry_run=dry_run,
            )
        _tell(run_id, done, dry_run=dry_run, as_json=as_json)
        return exits.OK

    return in_site(act)


def _tell(run_id: str, done: Paused, *, dry_run: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short

    if as_json:
        told = {"changed": done.changed, "state": done.state, "running": done.running, "left": done.left}
        print_json({"schema": "salvo.cli.pause/1", "run_id": run_id, "dry_run": dry_run, **told})
        return
    if done.changed:
        line = (
            f"{'would pause' if dry_run else 'paused'} {run_id}: {plural(done.left, 'trial')} left, "
            f"{done.running:,} under way and not stopped; `salvo resume {short(run_id)}` lets it go on"
        )
    else:
        line = f"{run_id} is {done.state}: nothing to pause"
    console().print(plain(line), soft_wrap=True)
