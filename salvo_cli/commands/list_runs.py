"""``salvo list``: the newest runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commands.status import counts_document
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, ModelsShown, ScenarioShown, pairs, verdicts
from salvo_core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    [
        "salvo list",
        "salvo list --scenario refund --verdict FAIL --verdict HARD_FAIL",
        "salvo list --label commit=3f2a --json",
        "salvo list --reevals               re-evaluations, which are no runs",
    ],
    "0 listed, also when there is no run",
    exits.SERVER_CODES,
)


def list_runs(
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=1000, metavar="N", help="Runs at most.")
    ] = 20,
    scenario: ScenarioShown = "",
    models: ModelsShown = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="K=V", help="Only runs that carry this note; repeat to narrow."),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option("--verdict", metavar="V", help="Only runs that came to this, such as FAIL; repeatable."),
    ] = None,
    reevals: Annotated[
        bool, typer.Option("--reevals", help="List re-evaluations instead, with the run each looked at.")
    ] = False,
    as_json: Json = False,
) -> int:
    """List the newest runs, newest first: verdict or state, trials, cost."""
    from salvo_cli.wiring import in_site

    came_to, noted = verdicts(verdict), pairs(labels, "--label")
    if reevals:
        if scenario or models or noted or came_to:
            raise UsageError("--reevals lists all re-evaluations", hint="leave the filters out")
        return in_site(lambda site: _reevaluations(site, limit, as_json=as_json))

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, marks, plain, print_json
        from salvo_cli.render.listing import runs
        from salvo_core.history import LOOKED_AT_MAX, Wanted, find_runs

        wanted = Wanted(scenario, tuple(models or ()), noted, came_to)
        listing = await find_runs(site.observer, limit, wanted)
        told = console(stderr=True)
        for run_id in listing.unreadable:
            told.print(plain(f"warning: left out: run {run_id} is damaged", "yellow"), soft_wrap=True)
        if listing.cut_short:
            told.print(plain(f"warning: only the newest {LOOKED_AT_MAX:,} runs were looked at", "yellow"))
        for run_id in await site.observer.lost_runs(limit):
            text = f"warning: run {run_id} is not over, and Redis has lost it: `salvo rebuild {run_id}`"
            told.print(plain(text, "yellow"), soft_wrap=True)
        if as_json:
            shown = [counts_document(counts) for counts in listing.runs]
            print_json({"schema": "salvo.cli.list/1", "runs": shown})
            return exits.OK
        screen = console()
        if listing.runs:
            now_ms = round(site.clock.now().timestamp() * 1000)
            screen.print(runs(listing.runs, signs=marks(screen), width=screen.width, now_ms=now_ms))
        elif wanted.every_run:
            screen.print(plain("no run yet: `salvo run PATH` makes one"))
        else:
            screen.print(plain("no run is like that: `salvo list` shows all"))
        return exits.OK

    return in_site(act)


async def _reevaluations(site: Site, limit: int, *, as_json: bool) -> int:
    from salvo_cli.render.console import console, marks, plain, print_json
    from salvo_cli.render.listing import runs
    from salvo_core.errors import ObjectCorrupt

    listed = await site.observer.listing(limit, reevals=True)
    of: dict[str, str] = {}
    for counts in listed:
        try:
            rescore = (await site.observer.plan(counts.run_id)).rescore
        except (NotFound, ObjectCorrupt):  # it is listed for what Redis knows of it
            continue
        of[counts.run_id] = rescore.run_id if rescore else ""
    if as_json:
        shown = [counts_document(counts) | {"of": of.get(counts.run_id, "")} for counts in listed]
        print_json({"schema": "salvo.cli.list/1", "reevals": shown})
        return exits.OK
    screen = console()
    if listed:
        screen.print(runs(listed, signs=marks(screen), width=screen.width, of=of))
    else:
        screen.print(plain("no re-evaluation yet: `salvo reeval RUN` makes one"))
    return exits.OK
