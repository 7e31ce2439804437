"""``salvo run``: order a run, watch it, report, and leave with its verdict."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.deciding import Deciding
from salvo_cli.epilog import epilog
from salvo_cli.options import (
    AllowInfra,
    AllowUnpriced,
    Alpha,
    Beta,
    BudgetTokens,
    BudgetUsd,
    Concurrency,
    Confidence,
    EarlyStop,
    Epochs,
    IdempotencyKey,
    Indifference,
    Labels,
    Legacy,
    Models,
    Parallel,
    PassRate,
    Paths,
    PriorityWord,
    Quiet,
    Recording,
    RunJson,
    StopRule,
    Tags,
    Threshold,
    Trials,
    Verbose,
)
from salvo_cli.ordering import Asked
from salvo_cli.telling import Telling
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Surroundings

EPILOG = epilog(
    [
        "salvo run scenarios/refund.yaml -n 20",
        "salvo run scenarios/ -m gpt-4o -m claude-haiku-4-5   scenarios x models",
        "salvo run scenarios/ --tag team=checkout --threshold 0.9",
        "salvo run scenarios/ -n 50 -j 5 --early-stop         fail with few trials",
        "salvo run scenarios/ -n 200 -j 10 --pass-rate 0.9 --early-stop sprt",
        "salvo run scenarios/ -n 100 --dry-run                what it would take",
        "salvo run scenarios/ -n 200 --budget-usd 5   what does not fit is skipped",
        "salvo run scenarios/ --json > result.json",
    ],
    exits.VERDICT_CODES,
    "4 INCONCLUSIVE: trials are missing and could change the verdict",
    exits.SERVER_CODES + " · 130 interrupted",
)


def run(
    paths: Paths = None,
    trials: Trials = 3,
    models: Models = None,
    concurrency: Concurrency = None,
    priority: PriorityWord = None,
    threshold: Threshold = None,
    pass_rate: PassRate = None,
    confidence: Confidence = None,
    early_stop: EarlyStop = False,
    stop_rule: StopRule = None,
    alpha: Alpha = None,
    beta: Beta = None,
    indifference: Indifference = None,
    tags: Tags = None,
    labels: Labels = None,
    idempotency_key: IdempotencyKey = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    allow_unpriced: AllowUnpriced = False,
    recording: Recording = None,
    allow_infra: AllowInfra = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run and what it would take; send nothing.")
    ] = False,
    more: Verbose = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Mark the run as recorded and print each trial's trace id; traces are stored anyway.",
        ),
    ] = False,
    as_json: RunJson = False,
    legacy: Legacy = False,
    quiet: Quiet = False,
    epochs: Epochs = None,
    parallel: Parallel = None,
) -> int:
    """Run scenarios N times each, watch, report, and exit by the verdict.

    With no server configured, a private Valkey and a worker are started for the run and
    stopped after it; otherwise the run goes to the fleet. Ctrl-C stops watching: a fleet's
    run goes on, an embedded one is paused and `salvo resume` continues it. On GitHub the step's summary
    and annotations are written, too.
    """
    from salvo_cli.wiring import surroundings

    asked = Asked(
        paths=paths or (), trials=epochs or trials, models=models or (),
        concurrency_max=concurrency or parallel, threshold=threshold,
        deciding=Deciding(pass_rate, confidence, early_stop, stop_rule, alpha, beta, indifference),
        tags=tags or [], labels=labels or [], idempotency_key=idempotency_key,
        budget_usd=budget_usd, budget_tokens=budget_tokens, allow_unpriced=allow_unpriced,
        recording=recording, priority=priority,
    )  # fmt: skip
    here = surroundings()
    if dry_run:
        return _dry_run(here, asked, as_json=as_json or legacy)
    if legacy and record:
        raise UsageError(
            "--legacy prints the first Salvo's document alone",
            hint="leave out --record: the document names every trial's trace",
        )
    telling = Telling(as_json=as_json or legacy, legacy=legacy, more=more, record=record)
    return _run(here, asked, telling, allow_infra=allow_infra, quiet=quiet)


def _dry_run(here: Surroundings, asked: Asked, *, as_json: bool) -> int:
    from salvo_cli.foreseeing import look_ahead
    from salvo_cli.ordering import forecast, print_warnings, require_prices
    from salvo_cli.render.console import console, marks, plain, print_json
    from salvo_cli.render.forecast import forecast as drawn
    from salvo_cli.render.foreseen import foreseen_document
    from salvo_core.errors import Unavailable
    from salvo_core.foresee import Foreseen

    order = asked.order(here)
    print_warnings(console(stderr=True), here, order)
    require_prices(here, order)
    document = forecast(here, order)
    screen, cells = console(), list[Foreseen]()
    try:
        _, cells = asyncio.run(look_ahead(here, order))
    except Unavailable as error:  # bounds need no store
        told = f"warning: past runs cannot be read, so the worst case is told: {error.message}"
        console(stderr=True).print(plain(told, "yellow"), soft_wrap=True)
    if as_json:
        more = foreseen_document(cells, document) if cells else {}
        print_json({"schema": "salvo.cli.dry-run/1", **document, **more})
    else:
        screen.print(drawn(document, cells, marks(screen)))
    return exits.OK


def _run(here: Surroundings, asked: Asked, telling: Telling, *, allow_infra: bool, quiet: bool) -> int:
    from salvo_cli.servers import Servers

    with ExitStack() as leaving:
        servers = leaving.enter_context(Servers(here))
        if asked.all_exist(here):
            servers.begin()  # they come up while the scenarios are read
        order = asked.order(here)
        servers.begin()

        from salvo_cli.ordering import print_single_votes, print_warnings, require_prices
        from salvo_cli.render.console import console
        from salvo_cli.reporting import require_one_cell
        from salvo_cli.session import Session

        screen = console(stderr=True)
        print_warnings(screen, here, order)
        if telling.more:
            print_single_votes(screen, order)
        require_prices(here, order)
        if telling.legacy:
            require_one_cell(order)  # before a cent is spent
        session = Session(
            here, servers, screen=None if quiet else screen, telling=telling, allow_infra=allow_infra
        )
        return asyncio.run(session.order_and_follow(order, "run"))
