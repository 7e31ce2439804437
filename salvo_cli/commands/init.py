"""``salvo init``: a project that runs at once, without a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

EPILOG = epilog(
    ["salvo init                    in the current folder", "salvo init checks --force      overwrite"],
    "0 written · 64 files are in the way (all are named), or cannot be written",
)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if need be.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite what is there.")] = False,
    as_json: Json = False,
) -> int:
    """Write a project that runs at once: salvo.yaml, an example scenario, an example tool."""
    from salvo_cli.render.console import console, plain, print_json
    from salvo_core.scenario.template import FILES, GITIGNORE_LINE

    taken = [name for name in FILES if (folder / name).exists()]
    if taken and not force:
        raise UsageError(
            f"{folder} already has {', '.join(taken)}",
            hint="`salvo init --force` overwrites, or name another folder",
        )
    try:
        written = [_write(folder / name, text) for name, text in FILES.items()]
        ignored = _add_line(folder / ".gitignore", GITIGNORE_LINE)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    if as_json:
        print_json({"schema": "salvo.cli.init/1", "written": [str(file) for file in written + ignored]})
        return exits.OK
    screen = console()
    for file in written + ignored:
        screen.print(plain(f"wrote {file}"), soft_wrap=True)
    there = "" if folder == Path(".") else f"cd {folder} && "
    screen.print(plain(f"\nNext: {there}salvo run scenarios/ -n 10"), soft_wrap=True)
    return exits.OK


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def _add_line(file: Path, line: str) -> list[Path]:
    """Append a line to a file unless it is there; return the file if it was changed."""
    present = file.read_text("utf-8") if file.exists() else ""
    if line.rstrip("/") in {found.strip().rstrip("/") for found in present.splitlines()}:
        return []
    gap = "\n" if present and not present.endswith("\n") else ""
    file.write_text(f"{present}{gap}{line}\n", "utf-8")
    return [file]
