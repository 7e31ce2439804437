"""``salvo plan``: what a run would take, and what it could show, before anything is paid for."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.deciding import Deciding
from salvo_cli.epilog import epilog
from salvo_cli.options import Confidence, Json, Models, PassRate, Paths, Tags, Threshold, Trials
from salvo_cli.ordering import Asked
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_core.foresee import Foreseen
    from salvo_core.run.plan import Plan

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
    95 % prediction interval; an edited scenario is another one. Nothing is sent or written.
    """
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

    async def look() -> tuple[Plan, list[Foreseen]]:
        from datetime import UTC, datetime

        from salvo_cli.wiring import open_only_the_store
        from salvo_core.foresee import foresee
        from salvo_core.submit import make_plan

        made = make_plan(order, now=datetime.now(UTC))
        async with open_only_the_store(here) as store:
            return made, await foresee(made, store, detect=detect)

    made, cells = asyncio.run(look())
    if as_json:
        told = [cell | {"expected": asdict(one)} for cell, one in zip(document["cells"], cells, strict=True)]
        print_json({"schema": "salvo.cli.plan/1", **document, "cells": told, **foreseen_document(cells)})
    else:
        screen = console()
        screen.print(foreseen(made, cells, document, detect=detect, signs=marks(screen)))
    return exits.OK
