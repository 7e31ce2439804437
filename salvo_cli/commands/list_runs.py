"""``salvo list``: the newest runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.commands.status import counts_document
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    ["salvo list", "salvo list --limit 50 --json"],
    "0 listed, also when there is no run",
    exits.SERVER_CODES,
)


def list_runs(
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=1000, metavar="N", help="Runs at most.")
    ] = 20,
    as_json: Json = False,
) -> int:
    """List the newest runs, newest first: verdict or state, trials, cost."""
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, marks, plain, print_json
        from salvo_cli.render.listing import runs

        listing = await site.observer.listing(limit)
        if as_json:
            print_json(
                {"schema": "salvo.cli.list/1", "runs": [counts_document(counts) for counts in listing]}
            )
            return exits.OK
        screen = console()
        if not listing:
            screen.print(plain("no run yet: `salvo run PATH` makes one"))
            return exits.OK
        screen.print(runs(listing, signs=marks(screen)))
        return exits.OK

    return in_site(act)
