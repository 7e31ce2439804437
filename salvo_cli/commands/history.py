"""``salvo history``: how the last runs went, and each cell's pass rate from run to run."""

from __future__ import annotations

from typing import Annotated

import typer

from salvo_cli.epilog import epilog
from salvo_cli.looking_back import Look, look_back
from salvo_cli.options import Html, Json, ModelsShown, ScenarioShown

EPILOG = epilog(
    [
        "salvo history",
        "salvo history --scenario refund --last 60",
        "salvo history --schedule nightly --html nights.html",
        "salvo history --failures                 hide runs that passed",
        "salvo history --json > history.json",
    ],
    "0 shown, also when there is no such run yet · 64 usage",
    "69 Redis or store unavailable",
)
LAST_SHOWN = 30


def history(
    scenario: ScenarioShown = "",
    models: ModelsShown = None,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="NAME", help="Only runs that this schedule ordered.")
    ] = "",
    last: Annotated[
        int, typer.Option("--last", min=0, metavar="N", help="Runs at most, 0 for the last 1,000.")
    ] = LAST_SHOWN,
    failures: Annotated[
        bool, typer.Option("--failures", help="Hide runs that passed; trends are of all runs all the same.")
    ] = False,
    html: Html = None,
    as_json: Json = False,
) -> int:
    """Show the last runs that have ended, oldest first, and each cell's pass rate over them.

    Read from summaries alone. `by chance` is how probable differences from run to run as large as these
    are if nothing changed since the scenario was last edited: below 0.01 something did.
    """
    from salvo_cli.wiring import in_site

    look = Look(last, scenario, models or [], schedule, failures, html, as_json)
    return in_site(lambda site: look_back(site, look))
