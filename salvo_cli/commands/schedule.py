"""``salvo schedule``: runs that order themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commands import alert
from salvo_cli.epilog import epilog
from salvo_cli.options import TRIALS_MAX, BudgetUsd, Json, Models, Paths, Trials
from salvo_cli.wiring import in_site
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.servers import Servers
    from salvo_cli.wiring import Site
    from salvo_core.run.schedule import Firing

EPILOG = epilog(
    [
        'salvo schedule add nightly scenarios/ --cron "0 2 * * *" --timezone Europe/Berlin -n 50',
        "salvo schedule list",
        "salvo schedule history nightly",
        "salvo worker --beat     somebody has to fire them",
    ],
    "0 done",
    exits.SERVER_CODES,
)
app = typer.Typer(
    name="schedule",
    help="Nightlies: runs that order themselves.",
    epilog=EPILOG,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]
_Cron = Annotated[
    str, typer.Option("--cron", metavar="FIELDS", help="Minute, hour, day of month, month, weekday.")
]
_Timezone = Annotated[
    str, typer.Option("--timezone", metavar="ZONE", help="Whose time, such as Europe/Berlin.")
]
_Overlap = Annotated[
    str, typer.Option("--overlap", metavar="skip|queue|cancel", help="While the run before is not over.")
]
_Catchup = Annotated[
    str, typer.Option("--catchup", metavar="6h|none", help="How late a missed due time is still run.")
]
_Baseline = Annotated[
    str,
    typer.Option(
        "--baseline", metavar="NAME|previous|none",
        help="What a night is measured by: a baseline, the nights before, or nothing.",
    ),
]  # fmt: skip
_ConfirmTrials = Annotated[
    int,
    typer.Option(
        "--confirm-trials", min=0, max=TRIALS_MAX, metavar="N",
        help="Fresh trials of a suspected cell; with 0 no fall is ever told.",
    ),
]  # fmt: skip
_ConfirmBudget = Annotated[
    float | None,
    typer.Option(
        "--confirm-budget-usd", min=0.0, max=1_000_000.0, metavar="USD",
        help="Most a confirmation may spend; else as --budget-usd.",
    ),
]  # fmt: skip
_Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify", metavar="NAME|URL", help="Whom to tell: a channel of salvo.yaml, or an https address."
    ),
]
_FromStore = Annotated[
    bool,
    typer.Option("--from-store", help="Keep the scenarios as they are now: a beat needs no folder then."),
]


@app.callback(invoke_without_command=True)
def _top(context: typer.Context) -> int:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return exits.USAGE
    return exits.OK


@app.command("add", short_help="Order a run again and again.", epilog=EPILOG)
def add(
    name: _Name,
    paths: Paths = None,
    cron: _Cron = "0 2 * * *",
    timezone: _Timezone = "UTC",
    trials: Trials = 20,
    models: Models = None,
    baseline: _Baseline = "previous",
    confirm_trials: _ConfirmTrials = 100,
    confirm_budget_usd: _ConfirmBudget = None,
    budget_usd: BudgetUsd = None,
    overlap: _Overlap = "skip",
    catchup: _Catchup = "none",
    notify: _Notify = None,
    from_store: _FromStore = False,
    as_json: Json = False,
) -> int:
    """Order a run at every due time; under a name that is taken, in its place.

    The scenarios are read from the project's folder at each firing, or kept in the store
    (--from-store) until the schedule is added again. A time of day that the clocks leave out is
    due when they change; one that comes twice is due once. After each night, cells that look
    worse than before are run again at once with more trials; only what those bear out is told.
    """

    async def act(site: Site) -> int:
        from salvo_cli.timekeeping import in_project, made_schedule, print_schedule, seconds
        from salvo_core.run.schedule import CATCHUP_S_MAX, keep_schedule

        if overlap not in ("skip", "queue", "cancel"):
            raise UsageError(f"--overlap {overlap[:40]!r} is none of skip, queue and cancel")
        now = site.clock.now().replace(microsecond=0)
        made = await made_schedule(
            site,
            {
                "name": name,
                "paths": tuple(in_project(path, site.here) for path in paths or ()),
                "cron": cron.strip()[:200],
                "timezone": timezone[:100],
                "trials": trials,
                "models": tuple(models or ()),
                "baseline": baseline,
                "confirm_trials": confirm_trials,
                "confirm_budget_usd": confirm_budget_usd,
                "budget_usd": budget_usd,
                "overlap": overlap,
                "catchup_s": seconds(catchup, CATCHUP_S_MAX),
                "notify": tuple(dict.fromkeys(notify or ())),
                "since": now,
            },
            from_store=from_store,
        )
        await keep_schedule(made, site.store, site.dispatcher.signer)
        print_schedule(made, now, as_json=as_json)
        return exits.OK

    return in_site(act)


@app.command("list", short_help="All schedules: next due, last verdicts.", epilog=EPILOG)
def list_schedules(as_json: Json = False) -> int:
    """List all schedules: when each is due next, in its own time, and how its last runs went."""

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, marks, plain, print_json
        from salvo_cli.render.schedules import POINTS, schedule_document, schedules
        from salvo_cli.timekeeping import past_of
        from salvo_core.errors import SalvoError
        from salvo_core.run.schedule import read_schedule, schedule_names

        listed = []
        for name in await schedule_names(site.store):
            try:
                one = await read_schedule(name, site.store, site.dispatcher.signer)
            except SalvoError as error:
                console(stderr=True).print(plain(f"warning: {error.message}", "yellow"), soft_wrap=True)
                continue
            past = [
                (firing, verdict) for firing, verdict in await past_of(site, name, POINTS) if firing.run_id
            ]
            listed.append((one, [verdict for _, verdict in past]))
        now = site.clock.now()
        if as_json:
            shown = [schedule_document(one, now) | {"verdicts": verdicts} for one, verdicts in listed]
            print_json({"schema": "salvo.cli.schedules/1", "schedules": shown})
            return exits.OK
        screen = console()
        if listed:
            screen.print(schedules(listed, now, marks(screen)))
        else:
            screen.print(plain("no schedule yet: `salvo schedule add` makes one"))
        return exits.OK

    return in_site(act)


@app.command("show", short_help="One schedule.", epilog=EPILOG)
def show(name: _Name, as_json: Json = False) -> int:
    """Show a schedule and when it is due next."""
    return in_site(lambda site: _changed(site, name, as_json=as_json))


@app.command("pause", short_help="Fire a schedule no more until it is resumed.", epilog=EPILOG)
def pause(name: _Name, as_json: Json = False) -> int:
    """Fire a schedule no more until it is resumed; what runs goes on."""
    return in_site(lambda site: _changed(site, name, paused=True, as_json=as_json))


@app.command("resume", short_help="Fire a paused schedule again.", epilog=EPILOG)
def resume(name: _Name, as_json: Json = False) -> int:
    """Fire a paused schedule again, from now on: due times that passed meanwhile are not caught up."""
    return in_site(lambda site: _changed(site, name, paused=False, as_json=as_json))


@app.command("trigger", short_help="Order a schedule's run now.", epilog=EPILOG)
def trigger(
    name: _Name,
    trials: Annotated[
        int | None,
        typer.Option("--trials", "-n", min=1, max=TRIALS_MAX, metavar="N", help="Instead of the schedule's."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Order a schedule's run now, whether it is due or paused; its due times stay as they are.

    After a suspicion (`salvo schedule history`), such fresh trials confirm it or dismiss it.
    """
    from salvo_cli.servers import Servers
    from salvo_cli.wiring import open_site, surroundings

    here = surroundings()

    async def act(servers: Servers) -> Firing:
        from salvo_cli.timekeeping import beat_of
        from salvo_core.run.schedule import read_schedule

        async with open_site(here, servers.embedded) as site:
            one = await read_schedule(name, site.store, site.dispatcher.signer)
            now = site.clock.now().replace(microsecond=0)
            firing = await beat_of(site).fire(one, now, by_hand=True, trials=trials)
            if not await site.registry.workers():
                servers.begin_worker()
                servers.leave_worker()
            return firing

    with Servers(here) as servers:
        servers.begin_server()
        firing = asyncio.run(act(servers))
    from salvo_cli.render.console import console, plain, print_json

    if as_json:
        print_json({"schema": "salvo.cli.schedule-trigger/1", "run_id": firing.run_id, "schedule": name})
    else:
        console().print(plain(firing.run_id), soft_wrap=True)
    return exits.OK


@app.command("history", short_help="What became of due times.", epilog=EPILOG)
def history(
    name: _Name,
    last: Annotated[
        int, typer.Option("--last", min=1, max=1000, metavar="N", help="Due times at most.")
    ] = 30,
    as_json: Json = False,
) -> int:
    """Print what became of a schedule's due times, what was found, and whether it was told.

    The oldest comes first. Where cells stand is worked out from all nights that are followed.
    """

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, plain, print_json
        from salvo_cli.render.nights import followed_document, nights
        from salvo_cli.render.schedules import cells_standing, firing_document, firings, standing_document
        from salvo_cli.timekeeping import past_of, told_of
        from salvo_core.past_nights import past_decisions, stands_of
        from salvo_core.run.schedule import read_schedule

        one = await read_schedule(name, site.store, site.dispatcher.signer)
        past = await past_of(site, name, last)
        stands, note = await stands_of(one, site.store)
        decided = (await past_decisions(name, site.store))[-last:]
        told = await told_of(site, decided)
        if as_json:
            print_json(
                {
                    "schema": "salvo.cli.schedule-history/1",
                    "schedule": name,
                    "firings": [firing_document(firing, verdict) for firing, verdict in past],
                    "cells": [standing_document(stand) for stand in stands],
                    "followed": [followed_document(one, told) for one in decided],
                    "note": note,
                }
            )
            return exits.OK
        screen = console()
        if past or decided:
            screen.print(firings(past, one))
            if any(one.events or one.alerts or one.note for one in decided):
                screen.print()
                screen.print(nights(decided, told, one))
            screen.print()
            screen.print(cells_standing(stands))
            if note:
                screen.print(plain(f"note: {note}", "yellow"), soft_wrap=True)
        else:
            screen.print(plain("it has not been due yet"))
        return exits.OK

    return in_site(act)


app.command("test-alert", short_help="Send a test alert over its channels.", epilog=alert.EPILOG)(
    alert.send_test
)


@app.command("rm", short_help="Forget a schedule; its runs stay.", epilog=EPILOG)
def rm(name: _Name, as_json: Json = False) -> int:
    """Forget a schedule; its runs and what became of its due times stay."""

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, plain, print_json
        from salvo_core.store import keys

        if keys.schedule(name) not in [key async for key in site.store.list(keys.schedule(name))]:
            raise UsageError(f"there is no schedule {name!r}", hint="`salvo schedule list` shows all")
        await site.store.delete(keys.schedule(name))
        if as_json:
            print_json({"schema": "salvo.cli.schedule-rm/1", "name": name, "removed": True})
        else:
            console().print(plain(f"{name} is fired no more"))
        return exits.OK

    return in_site(act)


async def _changed(site: Site, name: str, *, as_json: bool, paused: bool | None = None) -> int:
    """Print a schedule, paused or resumed before if that is asked for."""
    from salvo_cli.timekeeping import print_schedule
    from salvo_core.run.schedule import keep_schedule, read_schedule

    one, now = await read_schedule(name, site.store, site.dispatcher.signer), site.clock.now()
    if paused is not None and paused != one.paused:
        since = one.since if paused else now.replace(microsecond=0)
        one = one.model_copy(update={"paused": paused, "since": since})
        await keep_schedule(one, site.store, site.dispatcher.signer)
    print_schedule(one, now, as_json=as_json)
    return exits.OK
