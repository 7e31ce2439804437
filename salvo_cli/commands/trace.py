"""``salvo trace``: one trial as a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    [
        "salvo trace 0199c2f4-7b1e-7000-8000-1d520a4be1f0",
        "salvo trace $ID --json | jq .trace.turns",
        "salvo trials latest --status failed       where the ids are",
    ],
    "0 shown, whatever the grade · 65 the stored object is damaged",
    exits.SERVER_CODES,
)


def trace(
    trace_id: Annotated[
        str, typer.Argument(metavar="TRACE_ID", help="Of a trial that has ended, or a unique beginning.")
    ],
    as_json: Json = False,
) -> int:
    """Show a trial's conversation: roles, tool calls, results, timings, retries, findings."""
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, marks, print_json
        from salvo_cli.render.conversation import conversation

        found = await site.observer.trace(await site.observer.resolve_trial(trace_id))
        if as_json:
            print_json({"schema": "salvo.cli.trace/1", "trace": found.model_dump(mode="json")})
            return exits.OK
        screen = console()
        screen.print(conversation(found, signs=marks(screen)))
        return exits.OK

    return in_site(act)
