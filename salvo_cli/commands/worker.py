"""``salvo worker``: be one of those who run trials."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

EPILOG = epilog(
    [
        "salvo worker -c 200",
        "salvo worker -c 200 --procs auto     a process for each usable core",
        "salvo worker --memory-max-mb 600     replace a process that uses more",
        "SALVO_REDIS_URL=rediss://... SALVO_STORE_URL=s3://... salvo worker",
        "salvo worker --idle-exit-s 60     leave when there is nothing to do",
    ],
    "0 left after SIGTERM, Ctrl-C or idleness",
    exits.SERVER_CODES,
)
LEVELS = ("debug", "info", "warning", "error")
_Procs = Annotated[
    str | None,
    typer.Option("--procs", metavar="N|auto", help="Processes; auto: one for each usable core [1]."),
]
_MemoryMax = Annotated[
    int | None,
    typer.Option("--memory-max-mb", min=100, metavar="MB", help="Replace a process, warmly, that uses more."),
]
_Beat = Annotated[
    bool | None,
    typer.Option("--beat", help="Also fire this project's schedules; several may.", show_default=False),
]


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, max=5000, metavar="N", help="Trials at once, in each process [100]."
        ),
    ] = None,
    procs: _Procs = None,
    memory_max_mb: _MemoryMax = None,
    loglevel: Annotated[
        str, typer.Option("--loglevel", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
    idle_exit_s: Annotated[
        float | None,
        typer.Option("--idle-exit-s", min=1, metavar="SECONDS", help="Leave after so long without a run."),
    ] = None,
    grace_s: Annotated[
        float | None,
        typer.Option(
            "--grace", min=1, max=3600, metavar="SECONDS", help="How long a warm stop may take [25]."
        ),
    ] = None,
    allow_root: Annotated[
        bool | None,
        typer.Option("--allow-root", help="Serve a fleet as root, outside a container.", show_default=False),
    ] = None,
    beat: _Beat = None,
    as_json: Json = False,
    hold: Annotated[int | None, typer.Option("--hold", hidden=True)] = None,
    tether: Annotated[str | None, typer.Option("--tether", hidden=True)] = None,
) -> None:
    """Run trials until told to stop: one process or several, many trials at once in each.

    SIGTERM or Ctrl-C stops it warmly: trials under way are given back after their turn,
    with everything paid for so far kept, and it is gone within --grace; a second signal
    leaves at once. Provider keys are read from this environment.
    With --procs a small parent starts the processes, again when one ends, and stops
    them with itself. -c, --memory-max-mb and --grace are for each of them.
    As root it serves a fleet only inside a container, or with --allow-root.
    """
    from salvo_cli.wiring import leave, surroundings, work

    _require_sense(loglevel, beat, idle_exit_s)
    here = surroundings(
        concurrency=concurrency,
        grace_s=grace_s,
        allow_root=allow_root,
        procs=procs,
        memory_max_mb=memory_max_mb,
        beat=beat,
    )
    with ExitStack() as servers:
        hold_again = None
        if here.settings.embedded:
            from salvo_cli.embedded import EmbeddedServer  # only without a fleet

            held = EmbeddedServer(here.places)
            hold_again = held.hold
            servers.enter_context(held)
            if hold is not None:
                os.close(hold)  # our parent's hold, kept for us until we had our own
        code = work(here, idle_exit_s=idle_exit_s, loglevel=loglevel.lower(), tether=tether, hold=hold_again)
    if as_json:
        from salvo_cli.render.console import print_json

        print_json({"schema": "salvo.cli.worker/1", "exit_code": code})
    leave(code)


def _require_sense(loglevel: str, beat: bool | None, idle_exit_s: float | None) -> None:
    """Raise for options that say nothing, or contradict each other."""
    if loglevel.lower() not in LEVELS:
        raise UsageError(f"{loglevel[:40]!r} is not a log level", hint=f"one of {', '.join(LEVELS)}")
    if beat and idle_exit_s is not None:
        raise UsageError(
            "--beat and --idle-exit-s contradict each other: nothing fires once the worker has left",
            hint="leave one of them out, or run `salvo beat` elsewhere",
        )
