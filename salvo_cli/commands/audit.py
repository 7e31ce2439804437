"""``salvo audit``: whether a run's rows, traces, counters and documents fit together; and mending them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Quiet, Run
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.repair import Repaired
    from salvo_core.run.discrepancies import Audit

EPILOG = epilog(
    [
        "salvo audit 0199c2f4",
        "salvo audit latest --repair --dry-run",
        "salvo audit latest --repair --prune",
        "salvo audit latest --repair --rerun -y    pay again for lost traces",
    ],
    "0 everything fits, or fits now · 1 something does not",
    exits.SERVER_CODES + " · 130 not confirmed",
)
SHOWN = 50
DIFFERS = 1


@dataclass(frozen=True, slots=True)
class _Asked:
    repair: bool
    dry_run: bool
    rerun: bool
    prune: bool
    yes: bool
    limit: int
    as_json: bool
    quiet: bool


def audit(
    run: Run = "latest",
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be, without asking any model.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --repair: say what it would do, change nothing.")
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="With --repair: run ended trials again whose trace is lost. Costs."),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="With --repair: delete traces of attempts that lost their trial."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --rerun: do not ask me.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=0, metavar="N", help="Lines at most, 0 for all.")
    ] = SHOWN,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Audit a run: read every trace and compare it with its row, and all that is counted from rows.

    Works beside running workers. Nothing is changed without --repair, and nothing is paid
    for without --rerun.
    """
    from salvo_cli.wiring import in_site

    if not repair and (dry_run or rerun or prune or yes):
        given = "--dry-run" if dry_run else "--rerun" if rerun else "--prune" if prune else "--yes"
        raise UsageError(f"{given} is about repairing", hint="add --repair, or leave it out")
    asked = _Asked(repair, dry_run, rerun, prune, yes, limit, as_json, quiet)

    async def act(site: Site) -> int:
        run_id = await site.observer.resolve(run)
        return await _audit(site, run_id, asked)

    return in_site(act)


async def _audit(site: Site, run_id: str, asked: _Asked) -> int:
    from salvo_core.repair import within_reach

    found = await _looked(site, run_id, asked)
    done = None
    mendable = any(within_reach(one, rerun=asked.rerun) for one in found.discrepancies)
    if asked.repair and not asked.dry_run and (mendable or (asked.prune and found.losing)):
        if not asked.as_json:
            _show(found, asked, None)
        if asked.rerun and not asked.yes and not _agrees(found):
            from salvo_cli.render.console import console

            console(stderr=True).print("nothing was changed")
            return exits.INTERRUPTED
        done = await _repaired(site, found, asked)
        found = await _looked(site, run_id, asked)  # what is told is what is so now
    code = exits.OK if found.clean else DIFFERS
    if asked.as_json:
        from salvo_cli.render.audit import audit_document
        from salvo_cli.render.console import print_json

        print_json(audit_document(found, done, exit_code=code))
    else:
        _show(found, asked, done)
    return code


async def _looked(site: Site, run_id: str, asked: _Asked) -> Audit:
    from salvo_cli.counting import Counting
    from salvo_cli.render.console import console
    from salvo_core.audit import audit as audited

    counting = None if asked.quiet else Counting(console(stderr=True), "trials looked at")
    return await audited(run_id, store=site.store, manifest=site.manifest, on_progress=counting)


async def _repaired(site: Site, found: Audit, asked: _Asked) -> Repaired:
    from salvo_core.repair import repair

    doors: dict[str, Any] = {"store": site.store, "manifest": site.manifest, "dispatcher": site.dispatcher}
    return await repair(found, **doors, rerun=asked.rerun, prune=asked.prune)


def _show(found: Audit, asked: _Asked, done: Repaired | None) -> None:
    from salvo_cli.render.audit import audit as drawn
    from salvo_cli.render.audit import repaired
    from salvo_cli.render.console import console, marks

    screen = console()
    if done is not None:
        screen.print(repaired(done))
    would = asked.repair and asked.dry_run
    screen.print(drawn(found, signs=marks(screen), limit=asked.limit or None, rerun=asked.rerun, would=would))


def _agrees(found: Audit) -> bool:
    """Ask whether to spend; True when there is nothing to spend, or a person says so.

    Raises:
        UsageError: Nobody is there to ask.
    """
    from salvo_cli.render.numbers import plural

    count = sum(one.remedy == "rerun" for one in found.discrepancies)
    if not count:
        return True
    text = f"This runs {plural(count, 'trial')} again, which asks models and may cost money"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{text[:1].lower()}{text[1:]}, and nobody can be asked here", hint="-y agrees to it"
        )
    return typer.confirm(f"{text}. Go on?", err=True)
