"""``salvo import``: what the first Salvo left, carried over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import NotFound

if TYPE_CHECKING:
    from salvo_cli.wiring import Surroundings
    from salvo_core.carry_over import CarriedRun, Porter
    from salvo_core.predecessor.collection import Collection

EPILOG = epilog(
    [
        "salvo import .                       the .salvo folder of this project",
        "salvo import ../old/.salvo --dry-run",
        "salvo import . --run 0199c2f4-7b1e --json",
    ],
    "0 everything that was found is there now · 1 something was skipped",
    exits.SERVER_CODES,
)


def import_runs(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The .salvo folder of salvo-ai, or the project it is in.")
    ],
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Only this run: its id, or a beginning; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything; write nothing, start nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Carry over the runs and recordings of salvo-ai under their own ids; its folder is only read.

    Report, history, replay, trace, trials and reeval work on them then. Secrets are struck out on the
    way, also those that salvo-ai kept. Doing it again adds what is not there yet.
    """
    from salvo_cli.wiring import surroundings
    from salvo_core.predecessor.collection import Collection
    from salvo_core.predecessor.folder import Folder, find_folder

    collection = Collection(Folder(find_folder(path)))
    here = surroundings()
    wanted = _wanted(collection.open(), run or [])
    collection.leave(sorted(set(collection.run_ids) - set(wanted)))
    carried = asyncio.run(_carried(here, collection, wanted, dry_run=dry_run))
    return _tell(collection, carried, dry_run=dry_run, as_json=as_json)


def _wanted(run_ids: list[str], asked: list[str]) -> list[str]:
    """Return the runs that are meant, oldest first.

    Raises:
        NotFound: There is none like that, or more than one.
    """
    if not asked:
        return run_ids
    wanted = set()
    for word in asked:
        found = [run_id for run_id in run_ids if run_id.startswith(word.strip().lower())]
        if len(found) != 1:
            shown = ", ".join((found or run_ids)[-5:])
            many = f"{len(found)} run ids begin with" if found else "no run there begins with"
            raise NotFound(f"{many} {word[:60]!r}", hint=f"there are: {shown}" if shown else "")
        wanted.add(found[0])
    return sorted(wanted)


async def _carried(
    here: Surroundings, collection: Collection, wanted: list[str], *, dry_run: bool
) -> list[CarriedRun]:
    from salvo_cli.wiring import open_adapters, open_only_the_store, open_site
    from salvo_core.carry_over import Porter
    from salvo_core.manifest.traces import TraceManifest
    from salvo_core.trace.redaction import Redactor

    adapters = open_adapters(here)
    redactor = Redactor(adapters.known_secrets(), here.project.recorded.patterns)
    await adapters.aclose()
    mode = here.project.recorded.mode
    if dry_run:
        async with open_only_the_store(here) as store:
            return await _all_of(Porter(store, None, redactor, mode), collection, wanted)
    async with open_site(here) as site:
        manifest = TraceManifest(site.manifest, site.observer.trace)
        return await _all_of(Porter(site.store, manifest, redactor, mode), collection, wanted)


async def _all_of(porter: Porter, collection: Collection, wanted: list[str]) -> list[CarriedRun]:
    return [one async for one in porter.carry(collection, wanted)]


def _tell(collection: Collection, carried: list[CarriedRun], *, dry_run: bool, as_json: bool) -> int:
    from salvo_cli.render.console import console, print_json
    from salvo_cli.render.imports import Imported, document, page

    orphans, reevals = collection.leftovers()
    told = Imported(
        str(collection.folder.path), tuple(carried), tuple(collection.skipped), orphans, reevals, dry_run
    )
    code = exits.OK if told.whole else exits.NOT_ALL
    if as_json:
        shown: dict[str, Any] = document(told)
        print_json({**shown, "exit_code": code})
    else:
        page(told, console(), console(stderr=True))
    return code
