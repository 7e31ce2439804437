"""``salvo status``: where a run stands, once or until it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Run

if TYPE_CHECKING:
    from rich.console import Console

    from salvo_cli.wiring import Site
    from salvo_core.fleet.limits import Queue
    from salvo_core.manifest.counters import RunCounts

EPILOG = epilog(
    [
        "salvo status                 the latest run",
        "salvo status 0199c2f4 --watch",
        "salvo status --json",
    ],
    "0 told, whatever the verdict · 130 stopped watching",
    exits.SERVER_CODES,
)


def status(
    run: Run = "latest",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends.")] = False,
    as_json: Json = False,
) -> int:
    """Tell where a run stands: trials by state, rate, time left, cost so far, workers.

    Costs the server two small reads however large the run is.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from dataclasses import asdict

        from salvo_cli.following import awaited, cell_labels
        from salvo_cli.render.console import console, marks, print_json
        from salvo_cli.render.numbers import plural
        from salvo_cli.render.progress import MOVING
        from salvo_cli.render.progress import status as drawn

        run_id = await site.observer.resolve(run)
        counts = await site.observer.status(run_id)
        if watch and counts.state not in ("sealed", "paused"):
            followed = await _watch(site, run_id, console(stderr=True))
            if followed is None:
                return exits.INTERRUPTED
            counts = followed
        workers = await site.registry.workers()
        # A run that stands still waits for nobody; nor does it need its plan read.
        troubles, queues = await awaited(site, run_id) if counts.state in MOVING else ([], [])
        if as_json:
            print_json(
                {
                    "schema": "salvo.cli.status/1",
                    **counts_document(counts),
                    "waiting": [asdict(trouble) for trouble in troubles],
                    "queues": [queue_document(queue, run_id) for queue in queues],
                    "workers": [card.model_dump(mode="json") for card in workers],
                }
            )
            return exits.OK
        screen = console()
        labels = await cell_labels(site, run_id) if counts.cells > 1 else []
        present = plural(len(workers), "worker") if counts.state in MOVING else ""
        if present and (shut := [card for card in workers if card.shut]):
            present += f", {len(shut)} of them taking no new trials: {shut[0].shut}"
        screen.print(
            drawn(counts, labels, signs=marks(screen), workers=present, troubles=troubles, queues=queues)
        )
        return exits.OK

    return in_site(act)


async def _watch(site: Site, run_id: str, screen: Console) -> RunCounts | None:
    from salvo_cli.following import Follower, cell_labels, interruptible

    async with interruptible() as stop:
        follower = Follower(
            site, run_id, screen=screen, labels=await cell_labels(site, run_id), note="Ctrl-C stops watching"
        )
        return await follower.until_sealed(stop)


def counts_document(counts: RunCounts) -> dict[str, object]:
    """Return a run's counts for ``--json``."""
    return {
        "run_id": counts.run_id,
        "kind": "reeval" if counts.reeval else "run",
        "name": counts.name,
        "state": counts.state,
        "verdict": counts.verdict,
        "exit_code": counts.exit_code,
        "total": counts.total,
        "ended": counts.ended,
        "cells": counts.cells,
        "counts": dict(counts.statuses),
        "rate_per_s": counts.rate_per_s,
        "eta_s": counts.eta_s if counts.state not in ("paused", "finished", "sealed") else None,
        "cost_usd": counts.cost_usd,
        "cost_unknown": counts.cost_unknown,
        "judge_cost_usd": counts.judge_cost_usd,
        "judge_cost_unknown": counts.judge_cost_unknown,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "retries": counts.retries,
        "expired": counts.expired,
        "budget": counts.budget.model_dump() if counts.budget else None,
        "paused_by": counts.paused_by,
        "concurrency_max": counts.concurrency_max,
        "created_ms": counts.created_ms,
        "started_ms": counts.started_ms,
        "finished_ms": counts.finished_ms,
        "now_ms": counts.now_ms,
    }


def queue_document(queue: Queue, run_id: str) -> dict[str, object]:
    """Return, for ``--json``, who waits for a provider's limits; of other runs only how many."""
    return {
        "provider": queue.provider,
        "trials": queue.runs[run_id],
        "trials_of_all_runs": queue.waiting,
        "why": queue.why,
        "requests_per_min": queue.requests_per_min,
        "tokens_per_min": queue.tokens_per_min,
        "concurrency_max": queue.concurrency_max,
        "learned_per_min": queue.learned_per_min,
        "pause_s": queue.pause_s,
    }
