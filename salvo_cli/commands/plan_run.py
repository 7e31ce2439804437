"""``salvo plan``: what a run would take, and what it could show, before anything is paid for."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from salvo_cli import exits
from salvo_cli.deciding import Deciding
from salvo_cli.epilog import epilog
from salvo_cli.options import Confidence, Json, Models, PassRate, Paths, Tags, Threshold, Trials
from salvo_cli.ordering import Asked
from salvo_core.errors import UsageError

EPILOG = epilog(
    [
        "salvo plan scenarios/ -n 50",
        "salvo plan scenarios/ -n 50 -m gpt-4o --detect 0.1",
        "salvo plan scenarios/ -n 200 --pass-rate 0.9   how many to pass",
    ],
    "0 told; nothing was sent · 64 usage · 69 the store is unavailable",
)


def plan(
    paths: Paths = None,
    trials: Trials = 3,
    models: Models = None,
    threshold: Threshold = None,
    pass_rate: PassRate = None,
    confidence: Confidence = None,
    tags: Tags = None,
    detect: Annotated[
        float | None,
        typer.Option(
            "--detect", metavar="D", help="A fall of the pass rate to find: how many trials it needs."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Tell what a run would take, by past runs, and which difference it could show.

    Calls, tokens and cost are what past runs of the very same scenarios and models used, with a
    95 % prediction interval; an edited scenario is another one. Of cells that past runs do not know the
    worst case is told, and called so. Nothing is sent or written.
    """
    from salvo_cli.foreseeing import look_ahead
    from salvo_cli.ordering import forecast
    from salvo_cli.render.console import console, marks, print_json
    from salvo_cli.render.foreseen import foreseen, foreseen_document
    from salvo_cli.wiring import surroundings

    if detect is not None and not 0 < detect < 1:
        raise UsageError(f"--detect {detect:g} is not between 0 and 1", hint="0.1 is ten points")
    here = surroundings()
    asked = Asked(
        paths=paths or (), trials=trials, models=models or (), threshold=threshold, tags=tags or [],
        deciding=Deciding(pass_rate, confidence),
    )  # fmt: skip
    order = asked.order(here)
    document = forecast(here, order)

    made, cells = asyncio.run(look_ahead(here, order, detect=detect))
    if as_json:
        print_json({"schema": "salvo.cli.plan/1", **document, **foreseen_document(cells, document)})
    else:
        screen = console()
        screen.print(foreseen(made, cells, document, detect=detect, signs=marks(screen)))
    return exits.OK
