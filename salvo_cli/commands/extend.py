"""``salvo extend``: give a run more trials."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commanding import command_run
from salvo_cli.epilog import epilog
from salvo_cli.options import TRIALS_MAX, DryRun, Json, RunNamed
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.extend import Extended
    from salvo_core.manifest.counters import RunCounts

EPILOG = epilog(
    [
        "salvo extend latest -n +50                          fifty more for each cell",
        "salvo extend latest -n 100                          a hundred in all; twice is as good as once",
        "salvo extend 0199c2f4 -n +50 --idempotency-key more",
    ],
    "0 extended, or it had so many (says so)",
    exits.SERVER_CODES,
)


def extend(
    run: RunNamed,
    trials: Annotated[
        str, typer.Option("--trials", "-n", metavar="+N", help="So many more for each cell, or N in all.")
    ],
    idempotency_key: Annotated[
        str, typer.Option("--idempotency-key", metavar="KEY", help="Two requests with one key are one.")
    ] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Give a run more trials of the same cells; one that is over is open again until they have ended.

    Trials that it has stay what they are. Its report and verdict rest on all of them.
    """
    by, to = _meant(trials)

    async def act(site: Site, counts: RunCounts) -> Extended:
        from salvo_core.extend import extend as given_more

        return await given_more(
            counts.run_id,
            store=site.store,
            manifest=site.manifest,
            dispatcher=site.dispatcher,
            clock=site.clock,
            by=by,
            to=to,
            idempotency_key=idempotency_key,
            dry_run=dry_run,
        )

    run_id, done = command_run(run, act, lambda done: bool(done.added) and not dry_run)
    _tell(run_id, done, dry_run=dry_run, as_json=as_json)
    return exits.OK


def _meant(trials: str) -> tuple[int, int]:
    """Return (how many more, how many in all), one of them 0."""
    found = re.fullmatch(r"(\+?)([1-9][0-9]{0,6})", trials.strip(), re.ASCII)
    if found is None or int(found[2]) > TRIALS_MAX:
        raise UsageError(
            f"-n {trials[:40]!r} is no number of trials",
            hint=f"+50 for fifty more, or 100 for a hundred in all; at most {TRIALS_MAX:,}",
        )
    return (int(found[2]), 0) if found[1] else (0, int(found[2]))


def _tell(run_id: str, done: Extended, *, dry_run: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short

    if as_json:
        told = {"added": done.added, "trials": done.trials, "state": done.state}
        print_json({"schema": "salvo.cli.extend/1", "run_id": run_id, "dry_run": dry_run, **told})
        return
    line = f"{run_id} has {plural(done.trials, 'trial')} of each cell: nothing to add"
    if done.added:
        would = "would be added" if dry_run else f"added; `salvo wait {short(run_id)}`"
        line = f"{plural(done.added, 'trial')} of {run_id}, {done.trials:,} of each cell in all: {would}"
    console().print(plain(line), soft_wrap=True)
