"""``salvo baseline``: names that stand for runs, for comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import NotFound, ObjectCorrupt, UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.run.baselines import Baseline
    from salvo_core.run.summary import Summary


def _epilog(*examples: str, done: str) -> str:
    return epilog(examples, done, exits.SERVER_CODES)


EPILOG = _epilog(
    "salvo baseline set main latest",
    "salvo baseline list",
    "salvo compare main                 the latest run against it",
    done="0 done or shown",
)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Letters a-z, digits, '.', '_' and '-': main, v1.2, feature-x.")
]
app = typer.Typer(
    name="baseline",
    help="Names that stand for runs, so that a comparison can say `main`. They are kept in the store.",
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


@app.command(
    "set",
    short_help="Let a name stand for a run.",
    epilog=_epilog(
        "salvo baseline set main latest",
        "salvo baseline set v1.2 0199c2f4",
        done="0 set",
    ),
)
def set_(
    name: Name,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run that has ended, or another baseline's name.")
    ] = "latest",
    as_json: Json = False,
) -> int:
    """Let NAME stand for RUN from now on; what it stood for before is replaced.

    The run must have ended: what it came to is read from the store, for as long as its objects last.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_core.compare import resolve_side
        from salvo_core.run.baselines import require_name, set_baseline

        require_name(name)
        run_id, _ = await resolve_side(run, site.observer)
        summary = await site.observer.summary(run_id)
        if summary.state != "sealed":
            raise UsageError(
                f"run {run_id} is {summary.state}: a baseline is a run that has ended",
                hint=f"`salvo wait {run_id}` returns when it has",
            )
        made = await set_baseline(name, run_id, site.store, at=site.clock.now())
        return _shown("set", made, summary, as_json=as_json)

    return in_site(act)


@app.command(
    "show",
    short_help="Which run a name stands for.",
    epilog=_epilog(
        "salvo baseline show main", "salvo baseline show main --json | jq -r .run_id", done="0 shown"
    ),
)
def show(name: Name, as_json: Json = False) -> int:
    """Show which run a baseline stands for, and what that run came to."""
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_core.run.baselines import baseline

        found = await baseline(name, site.store)
        return _shown("show", found, await _summary(site, found), as_json=as_json)

    return in_site(act)


@app.command(
    "list",
    short_help="All baselines.",
    epilog=_epilog(
        "salvo baseline list", "salvo baseline list --json", done="0 listed, also when there is none"
    ),
)
def list_(as_json: Json = False) -> int:
    """List all baselines by name, with the runs they stand for."""
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, plain, print_json
        from salvo_cli.render.numbers import short
        from salvo_cli.render.tables import table
        from salvo_core.run.baselines import baseline, baseline_names

        listed: list[tuple[Baseline, Summary | None]] = []
        for name in await baseline_names(site.store):
            try:
                found = await baseline(name, site.store)
                listed.append((found, await _summary(site, found)))
            except NotFound:  # removed since it was listed
                continue
            except ObjectCorrupt as error:
                told = f"warning: left out: {error.message}"
                console(stderr=True).print(plain(told, "yellow"), soft_wrap=True)
        if as_json:
            print_json(
                {"schema": "salvo.cli.baseline.list/1", "baselines": [_document(*one) for one in listed]}
            )
        elif listed:
            rows = [[one.name, short(one.run_id), _came_to(summary), _moment(one)] for one, summary in listed]
            console().print(table(("baseline", "run", "verdict", "set"), rows, wide="baseline"))
        else:
            console().print(plain("no baseline yet: `salvo baseline set main latest` makes one"))
        return exits.OK

    return in_site(act)


@app.command(
    "rm", short_help="Forget a name.", epilog=_epilog("salvo baseline rm feature-x", done="0 removed")
)
def rm(name: Name, as_json: Json = False) -> int:
    """Forget what NAME stands for. The run itself stays as it is."""
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, plain, print_json
        from salvo_core.run.baselines import remove_baseline

        await remove_baseline(name, site.store)
        if as_json:
            print_json({"schema": "salvo.cli.baseline.rm/1", "name": name})
        else:
            console().print(plain(f"removed baseline {name}"))
        return exits.OK

    return in_site(act)


async def _summary(site: Site, found: Baseline) -> Summary | None:
    """Return what the run came to; None if its objects are gone."""
    try:
        return await site.observer.summary(found.run_id)
    except NotFound:
        return None


def _shown(command: str, found: Baseline, summary: Summary | None, *, as_json: bool) -> int:
    from salvo_cli.render.console import console, plain, print_json

    if as_json:
        print_json({"schema": f"salvo.cli.baseline.{command}/1", **_document(found, summary)})
    else:
        line = f"{found.name}  run {found.run_id}  {_came_to(summary)}  set {_moment(found)}"
        console().print(plain(line), soft_wrap=True)
    return exits.OK


def _document(found: Baseline, summary: Summary | None) -> dict[str, Any]:
    return {
        "name": found.name,
        "run_id": found.run_id,
        "set_at": found.set_at.isoformat(),
        "verdict": summary.verdict if summary else None,
        "passed": summary.counts["passed"] if summary else None,
        "trials": summary.total if summary else None,
    }


def _came_to(summary: Summary | None) -> str:
    if summary is None:
        return "gone"
    wanted = sum(cell.wanted for cell in summary.cells)
    return f"{summary.verdict.replace('_', ' ')} {summary.counts['passed']:,}/{wanted:,}"


def _moment(found: Baseline) -> str:
    from salvo_cli.render.numbers import moment

    return moment(found.set_at)
