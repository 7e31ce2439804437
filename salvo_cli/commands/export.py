"""``salvo export``: a run as a table, for a notebook, a spreadsheet or a warehouse."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Quiet, RunNamed
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.tables import Format
    from salvo_cli.wiring import Site
    from salvo_core.export import Export
    from salvo_core.run.columns import What

EPILOG = epilog(
    [
        "salvo export latest -o trials.csv",
        "salvo export 0199c2f4 -o findings.parquet --what findings",
        "salvo export latest -o - | jq -r 'select(.status==\"failed\").trace_id'",
        "salvo export latest -o - --format csv --what turns > turns.csv",
    ],
    "0 written · 1 written, but traces were missing or damaged (says which)",
    exits.SERVER_CODES,
)
LEFT_OUT = 1
SHOWN = 20


def export(
    run: RunNamed,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to: .jsonl, .csv or .parquet; - for stdout."
        ),
    ],
    what: Annotated[
        str,
        typer.Option("--what", metavar="WHAT", help="What a line is about: trials, turns or findings."),
    ] = "trials",
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="F", help="jsonl, csv or parquet [by the file's ending; jsonl for -]."
        ),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Write a run as a table: its trials, or every turn or finding of them.

    Trials are told by their rows, at once; turns and findings are read from traces, however many there
    are. A file is there when it is whole, replaces the one before, and is yours alone. Parquet
    needs `pip install 'salvo[parquet]'`.
    """
    from salvo_cli.wiring import in_site

    asked = _what(what)

    async def act(site: Site) -> int:
        from salvo_cli.tables import format_of
        from salvo_core.export import export as exported

        kind = format_of(output, form)
        run_id = await site.observer.resolve(run)
        table = await exported(run_id, asked, observer=site.observer)
        lines = await _write(table, output, kind)
        if not quiet:
            _tell(run_id, table, lines, output, asked)
        return LEFT_OUT if table.left_out else exits.OK

    return in_site(act)


async def _write(table: Export, output: str, kind: Format) -> int:
    """Write the table; return how many lines it has."""
    import asyncio

    from salvo_cli.tables import STDOUT, opened, writer

    if output == STDOUT and kind == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal", hint="name a file with -o, or pipe it")
    lines = 0
    with opened(output) as file:
        into = writer(kind, file, table.columns)
        async for batch in table.batches():
            lines += len(batch)
            await asyncio.to_thread(into.write, batch)
        await asyncio.to_thread(into.finish)
    return lines


def _tell(run_id: str, table: Export, lines: int, output: str, what: What) -> None:
    from salvo_cli.render.console import console, one_line, plain
    from salvo_cli.render.numbers import plural

    screen = console(stderr=True)
    of = "" if what == "trials" else f" of {plural(table.trials, 'trial')}"
    screen.print(plain(f"{plural(lines, what[:-1])}{of}, run {run_id}: {output}"), soft_wrap=True)
    for trace_id, why in table.left_out[:SHOWN]:
        screen.print(plain(f"left out: {trace_id}: {one_line(why, 200)}", "yellow"), soft_wrap=True)
    if len(table.left_out) > SHOWN:
        screen.print(plain(f"and {len(table.left_out) - SHOWN:,} more", "yellow"))


def _what(word: str) -> What:
    from salvo_core.run.columns import What  # after --help

    known: tuple[What, ...] = get_args(What)
    for one in known:
        if one == word.strip().lower():
            return one
    raise UsageError(f"{word[:40]!r} is nothing that a run has a table of", hint=f"one of {', '.join(known)}")
