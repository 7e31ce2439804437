"""``salvo rebuild``: bring back a run that Redis has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Quiet, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.rebuild import Rebuilt
    from salvo_core.restore import Restored
    from salvo_core.run.plan import Plan

EPILOG = epilog(
    [
        "salvo rebuild 0199c2f4 --dry-run    how much is stored",
        "salvo rebuild 0199c2f4",
        "salvo wait 0199c2f4                 once workers are at it",
    ],
    "0 rebuilt, or nothing was lost (says so)",
    exits.SERVER_CODES,
)


def rebuild(
    run: RunNamed,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is stored and what would be run; change nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Rebuild a run in a Redis that came back empty, or in another one, from its plan and its traces.

    Trials whose trace is stored are never run again; the others are sent to workers. Workers
    that notice do this by themselves.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.counting import Counting
        from salvo_cli.render.console import console
        from salvo_core.rebuild import rebuild as rebuilt
        from salvo_core.restore import survey
        from salvo_core.resume import is_known
        from salvo_core.submit import is_forgotten

        run_id = await site.observer.resolve(run)
        plan = await site.observer.plan(run_id)
        known = await is_known(run_id, site.manifest)
        if dry_run and not known and not await is_forgotten(run_id, store=site.store, manifest=site.manifest):
            _tell_survey(plan, await survey(plan, store=site.store, manifest=site.manifest), as_json=as_json)
            return exits.OK
        done = await rebuilt(
            run_id,
            store=site.store,
            manifest=site.manifest,
            dispatcher=site.dispatcher,
            on_progress=None if quiet else Counting(console(stderr=True), "stored trials looked at"),
        )
        _tell(site, plan, done, as_json=as_json)
        return exits.OK

    return in_site(act)


def _document(plan: Plan, restored: Restored | None, **more: object) -> dict[str, object]:
    found = None
    if restored is not None:
        found = {
            "rows": restored.rows,
            "missing": restored.missing,
            "journaled": restored.journaled,
            "damaged": list(restored.damaged),
        }
    return {
        "schema": "salvo.cli.rebuild/1",
        "run_id": plan.run_id,
        "total": plan.total,
        "restored": found,
    } | more


def _words(plan: Plan, restored: Restored) -> str:
    from salvo_cli.render.numbers import plural

    text = f"{restored.rows:,} of {plural(plan.total, 'trial')} are stored and kept"
    if anew := restored.missing - restored.journaled:
        # How many turns that were is what the journals knew, and they are gone.
        text += f"; {plural(anew, 'trial')} begin anew: turns of theirs that no trace had yet are lost"
    if restored.journaled:
        text += f"; {plural(restored.journaled, 'trial')} go on from their journal"
    if restored.damaged:
        text += f"; {plural(len(restored.damaged), 'stored attempt')} cannot be used"
    return text


def _tell_survey(plan: Plan, found: Restored, *, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json

    if as_json:
        print_json(_document(plan, found, dry_run=True))
        return
    console().print(plain(f"run {plan.run_id} would be rebuilt: {_words(plan, found)}"), soft_wrap=True)
    _tell_damage(found)


def _tell(site: Site, plan: Plan, done: Rebuilt, *, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short

    if as_json:
        more = {"published": done.published, "state": done.state, "left": done.left}
        print_json(_document(plan, done.restored, dry_run=False, **more))
        return
    screen = console()
    if done.restored is None:
        screen.print(plain(f"run {plan.run_id} is {done.state}: nothing to rebuild"), soft_wrap=True)
        return
    screen.print(plain(f"run {plan.run_id} is rebuilt: {_words(plan, done.restored)}"), soft_wrap=True)
    _tell_damage(done.restored)
    ref = short(plan.run_id)
    if not done.left:
        screen.print(plain(f"it is {done.state}: `salvo report {ref}`"), soft_wrap=True)
    elif site.server is not None:
        screen.print(
            plain(f"`salvo resume {ref}` runs the {plural(done.left, 'trial')} left"), soft_wrap=True
        )
    else:
        text = f"{plural(done.left, 'trial')} left, sent to the workers: `salvo wait {ref}`"
        screen.print(plain(text), soft_wrap=True)


def _tell_damage(found: Restored) -> None:
    from salvo_cli.render.console import console, plain

    for text in found.damaged[:10]:
        console(stderr=True).print(plain(f"warning: {text}", "yellow"), soft_wrap=True)
