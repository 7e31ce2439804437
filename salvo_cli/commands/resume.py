"""``salvo resume``: let a run go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import AllowInfra, BudgetTokens, BudgetUsd, DryRun, Json, Quiet, RunNamed
from salvo_cli.telling import Telling
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    [
        "salvo resume latest               after Ctrl-C: go on and report",
        "salvo resume 0199c2f4 --detach    let it go on and return",
        "salvo resume latest --budget-usd 20",
    ],
    exits.VERDICT_CODES + " · 4 INCONCLUSIVE",
    exits.SERVER_CODES + " · 130 interrupted",
)


def resume(
    run: RunNamed,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once; do not follow.")] = False,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    allow_infra: AllowInfra = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Finish a run that was paused, or whose submission or messages were cut off.

    Trials go on from the last turn that was paid for. Resuming a run that needs nothing
    changes nothing. A higher budget lets trials run that were skipped for want of money.
    """
    if dry_run:
        if budget_usd is not None or budget_tokens is not None:
            raise UsageError(
                "--dry-run does not foretell what a higher budget would let run",
                hint="leave one of them out; `salvo status` shows what is spent and what is skipped",
            )
        return _foretell(run, as_json=as_json)
    from salvo_cli.render.console import console
    from salvo_cli.servers import Servers
    from salvo_cli.session import Session
    from salvo_cli.wiring import surroundings
    from salvo_core.manifest.budget import Budget

    here = surroundings()
    with Servers(here) as servers:
        servers.begin()
        session = Session(
            here,
            servers,
            screen=None if quiet else console(stderr=True),
            telling=Telling(as_json=as_json),
            allow_infra=allow_infra,
        )
        budget = (
            None
            if budget_usd is None and budget_tokens is None
            else Budget(usd_max=budget_usd, tokens_max=budget_tokens)
        )
        return asyncio.run(session.resume_and_follow(run, "resume", detach=detach, budget=budget))


def _foretell(run: str, *, as_json: bool) -> int:
    """Tell what resuming would do; return the exit code."""
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        run_id = await site.observer.resolve(run)
        counts = await site.observer.status(run_id)
        left, unseeded = counts.total - counts.ended, counts.total - counts.seeded
        if as_json:
            told = {"state": counts.state, "left": left, "unseeded": unseeded}
            print_json({"schema": "salvo.cli.resume/1", "run_id": run_id, "dry_run": True, **told})
            return exits.OK
        line = f"{run_id} is {counts.state}: nothing to resume"
        if left:
            line = f"would resume {run_id}, which is {counts.state}: {plural(left, 'trial')} left"
        if unseeded:
            line += f", {unseeded:,} of them not submitted yet"
        console().print(plain(line), soft_wrap=True)
        return exits.OK

    return in_site(act)
