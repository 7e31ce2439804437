"""``salvo trials``: a run, trial by trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Run
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.manifest.rows import Row
    from salvo_core.run.plan import Plan

EPILOG = epilog(
    [
        "salvo trials latest --status failed --status hard_fail",
        "salvo trials 0199c2f4 --model gpt-4o --scenario refund",
        "salvo trials latest --json | jq -r '.trials[].trace_id'",
    ],
    "0 listed, also when no trial matches",
    exits.SERVER_CODES,
)
SHOWN = 100


def trials(
    run: Run = "latest",
    statuses: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="S",
            help="pending, running, passed, failed, hard_fail, infra_error, cancelled, skipped; repeatable.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", "-m", metavar="MODEL", help="Only this model; repeatable.")
    ] = None,
    scenario: Annotated[
        str,
        typer.Option("--scenario", "-s", metavar="TEXT", help="Only scenarios whose name or file has it."),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-l", min=0, metavar="N", help=f"Trials at most, 0 for all [{SHOWN}; all with --json]."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the trials of a run with their status, figures and trace ids."""
    from salvo_cli.wiring import in_site

    wanted = _statuses(statuses)

    async def act(site: Site) -> int:
        from salvo_cli.render.console import console, marks, plain, print_json
        from salvo_cli.render.listing import trial_document
        from salvo_cli.render.listing import trials as drawn

        run_id = await site.observer.resolve(run)
        plan = await site.observer.plan(run_id)
        cells = _cells(plan, models or [], scenario)
        most = (None if as_json else SHOWN) if limit is None else limit or None
        shown: list[Row] = []
        matching = 0
        async for row in site.observer.rows(run_id):
            if plan.cell_index(row.index) in cells and (not wanted or row.status in wanted):
                matching += 1
                if most is None or len(shown) < most:
                    shown.append(row)
        if as_json:
            print_json(
                {
                    "schema": "salvo.cli.trials/1",
                    "run_id": run_id,
                    "matching": matching,
                    "truncated": matching > len(shown),
                    "trials": [trial_document(row, plan) for row in shown],
                }
            )
            return exits.OK
        screen = console()
        if shown:
            screen.print(drawn(shown, plan, signs=marks(screen), width=screen.width))
        else:
            screen.print(plain("no trial matches"))
        if matching > len(shown):
            console(stderr=True).print(
                plain(f"{matching - len(shown):,} more match: --limit 0 shows all", "dim")
            )
        return exits.OK

    return in_site(act)


def _statuses(given: list[str] | None) -> frozenset[str]:
    from salvo_core.manifest.rows import STATUSES  # after --help

    found = frozenset(status.strip().lower().replace("-", "_") for status in given or ())
    if unknown := sorted(found - set(STATUSES)):
        raise UsageError(f"{unknown[0][:40]!r} is not a status", hint=f"one of {', '.join(STATUSES)}")
    return found


def _cells(plan: Plan, models: list[str], scenario: str) -> frozenset[int]:
    """Return the places of the cells that are meant.

    Raises:
        UsageError: The run has none like that; the hint says what it has.
    """
    present = sorted({cell.model for cell in plan.cells})
    if unknown := [model for model in models if model not in present]:
        raise UsageError(
            f"the run has no model {unknown[0][:80]!r}", hint=f"its models: {', '.join(present[:20])}"
        )
    part = scenario.casefold()
    found = frozenset(
        place
        for place, cell in enumerate(plan.cells)
        if (not models or cell.model in models)
        and (part in cell.scenario_name.casefold() or part in cell.scenario_file.casefold())
    )
    if not found:
        names = sorted({cell.scenario_name[:60] for cell in plan.cells})
        raise UsageError(
            f"no scenario of the run has {scenario[:80]!r} in its name or file",
            hint=f"its scenarios: {', '.join(names[:10])}",
        )
    return found
