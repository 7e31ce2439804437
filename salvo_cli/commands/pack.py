"""``salvo pack``: a sealed run's traces in a few objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import DryRun, Json, Quiet, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.pack import Packed

EPILOG = epilog(
    [
        "salvo pack 0199c2f4",
        "salvo pack latest --dry-run",
        "salvo pack latest --keep        check it first; a second `salvo pack` removes the single objects",
    ],
    "0 packed, or there was nothing to pack · 1 something was left alone (says what)",
    exits.SERVER_CODES,
)
LEFT_ALONE = 1
SHOWN = 20


def pack(
    run: RunNamed,
    dry_run: DryRun = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the single objects as well; packing again removes them."),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Pack a sealed run: its traces move into a few objects, each trace one part of one.

    Every command reads a packed run as before. A trace is removed from its own place only after its pack
    was written and read back. What is retried, extended or added later lies beside the packs, until the
    run is packed again.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.counting import Counting
        from salvo_cli.render.console import console
        from salvo_core.pack import pack as packed

        run_id = await site.observer.resolve(run)
        done = await packed(
            run_id,
            store=site.store,
            manifest=site.manifest,
            keep=keep,
            dry_run=dry_run,
            on_progress=None if quiet else Counting(console(stderr=True), "traces packed"),
        )
        _tell(run_id, done, dry_run=dry_run, as_json=as_json)
        return LEFT_ALONE if done.left else exits.OK

    return in_site(act)


def _tell(run_id: str, done: Packed, *, dry_run: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, one_line, plain, print_json
    from salvo_cli.render.numbers import plural

    if as_json:
        print_json(
            {
                "schema": "salvo.cli.pack/1",
                "run_id": run_id,
                "dry_run": dry_run,
                "alone": done.alone,
                "packed": done.packed,
                "packs": done.packs,
                "bytes": done.bytes,
                "removed": done.removed,
                "large": done.large,
                "packs_before": done.packs_before,
                "left": [{"key": key, "why": why} for key, why in done.left],
            }
        )
        return
    screen = console()
    before = f"; it has {plural(done.packs_before, 'pack')} already" if done.packs_before else ""
    if dry_run:
        line = f"{plural(done.packed, 'trace')} of {run_id} would be packed{before}; nothing was changed"
    elif done.packed or done.removed:
        line = (
            f"{plural(done.packed, 'trace')} of {run_id} are in {plural(done.packs, 'new pack')} of "
            f"{done.bytes:,} bytes; {plural(done.removed, 'single object')} removed"
        )
    else:
        line = f"there is nothing to pack in {run_id}{before}"
    screen.print(plain(line), soft_wrap=True)
    if done.large:
        screen.print(plain(f"{plural(done.large, 'trace')} too large to gain by it", "dim"))
    for key, why in done.left[:SHOWN]:
        screen.print(plain(f"left alone: {key}: {one_line(why, 200)}", "yellow"), soft_wrap=True)
    if len(done.left) > SHOWN:
        screen.print(plain(f"and {len(done.left) - SHOWN:,} more: --json names all", "yellow"))
