"""``salvo submit``: order a run and return at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import (
    AllowUnpriced,
    BudgetTokens,
    BudgetUsd,
    Concurrency,
    EarlyStop,
    Epochs,
    IdempotencyKey,
    Json,
    Labels,
    Models,
    Parallel,
    Paths,
    PriorityWord,
    Quiet,
    Recording,
    Tags,
    Threshold,
    Trials,
)
from salvo_cli.ordering import Asked

if TYPE_CHECKING:
    from salvo_core.run.plan import Plan

EPILOG = epilog(
    [
        "RUN=$(salvo submit scenarios/ -n 200 -j 50); salvo wait $RUN",
        "salvo submit scenarios/ -n 5000 --priority low   others go first",
        "salvo submit scenarios/ --idempotency-key nightly-$(date +%F)",
        "salvo submit scenarios/ --label commit=$(git rev-parse --short HEAD)",
    ],
    "0 ordered: the run id is on stdout",
    exits.SERVER_CODES,
)


def submit(
    paths: Paths = None,
    trials: Trials = 3,
    models: Models = None,
    concurrency: Concurrency = None,
    priority: PriorityWord = None,
    threshold: Threshold = None,
    early_stop: EarlyStop = False,
    tags: Tags = None,
    labels: Labels = None,
    idempotency_key: IdempotencyKey = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    allow_unpriced: AllowUnpriced = False,
    recording: Recording = None,
    as_json: Json = False,
    quiet: Quiet = False,
    epochs: Epochs = None,
    parallel: Parallel = None,
) -> int:
    """Order a run, print its id, and return; workers do the rest.

    With no server configured, a worker is left in the background; it leaves by itself when
    there is nothing more to do. Its log is .salvo/worker.log.
    """
    from salvo_cli.ordering import print_warnings, require_prices
    from salvo_cli.render.console import console
    from salvo_cli.servers import Servers
    from salvo_cli.wiring import open_site, surroundings

    asked = Asked(
        paths=paths or (),
        trials=epochs or trials,
        models=models or (),
        concurrency_max=concurrency or parallel,
        threshold=threshold,
        early_stop=early_stop,
        tags=tags or [],
        labels=labels or [],
        idempotency_key=idempotency_key,
        budget_usd=budget_usd,
        budget_tokens=budget_tokens,
        allow_unpriced=allow_unpriced,
        recording=recording,
        priority=priority,
    )
    here = surroundings()
    order = asked.order(here)
    print_warnings(console(stderr=True), here, order)
    require_prices(here, order)

    async def act(servers: Servers) -> Plan:
        from salvo_core.submit import submit as ordered

        async with open_site(here, servers.embedded) as site:
            return await ordered(
                order, store=site.store, manifest=site.manifest, dispatcher=site.dispatcher, clock=site.clock
            )

    with Servers(here) as servers:
        servers.begin()
        plan = asyncio.run(act(servers))
        servers.leave_worker()
    _tell(plan, as_json=as_json, quiet=quiet)
    return exits.OK


def _tell(plan: Plan, *, as_json: bool, quiet: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short

    cells = plural(len(plan.cells), "cell")
    if as_json:
        document = {"run_id": plan.run_id, "cells": len(plan.cells), "trials": plan.total}
        print_json({"schema": "salvo.cli.submit/1", **document})
    else:
        console().print(plain(plan.run_id), soft_wrap=True)
    if not quiet:
        told = f"{cells}, {plural(plan.total, 'trial')}; follow: salvo status {short(plan.run_id)} --watch"
        console(stderr=True).print(plain(told, "dim"), soft_wrap=True)
