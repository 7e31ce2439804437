"""``salvo wait``: return when a run has ended, with its verdict as exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import AllowInfra, Json, Quiet, RunNamed
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.manifest.counters import RunCounts

EPILOG = epilog(
    [
        "salvo wait latest",
        "salvo wait $RUN --timeout 1800 && deploy",
        "salvo wait $RUN --quiet; echo $?",
    ],
    exits.VERDICT_CODES + " · 4 INCONCLUSIVE",
    "75 not ended within --timeout, or paused: the run is as it was",
    exits.SERVER_CODES + " · 130 interrupted",
)


def wait(
    run: RunNamed,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait no longer than this.")
    ] = None,
    allow_infra: AllowInfra = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Wait until a run has ended; exit by its verdict.

    On GitHub the step's summary and annotations are written, too.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.following import Follower, interruptible
        from salvo_cli.render.console import console

        run_id = await site.observer.resolve(run)
        screen = None if quiet else console(stderr=True)
        async with interruptible() as stop:
            counts = await Follower(site, run_id, screen=screen).until_sealed(stop, timeout_s)
        if stop.is_set():
            raise KeyboardInterrupt
        if counts is None or counts.state == "paused":
            return _not_ended(await site.observer.status(run_id), as_json=as_json)
        return await _ended(site, run_id, allow_infra=allow_infra, as_json=as_json)

    return in_site(act)


async def _ended(site: Site, run_id: str, *, allow_infra: bool, as_json: bool) -> int:
    from salvo_cli.render.console import console, marks, plain, print_json
    from salvo_cli.render.numbers import short, verdict_text
    from salvo_cli.reporting import allowed_told
    from salvo_cli.workflow import tell_of_run

    summary = await site.observer.summary(run_id)
    code = summary.exit_code_allow_infra if allow_infra else summary.exit_code
    tell_of_run(site.settings, summary, failing=code != exits.OK)
    if as_json:
        document = {
            "run_id": run_id,
            "state": summary.state,
            "verdict": summary.verdict,
            "reason": summary.reason,
            "exit_code": code,
        }
        print_json({"schema": "salvo.cli.wait/1", **document})
    else:
        screen = console()
        line = verdict_text(summary.verdict, marks(screen)) + plain(f"  {summary.reason}")
        screen.print(line)
        if code != summary.exit_code:
            screen.print(plain(allowed_told(summary, code)), soft_wrap=True)
        screen.print(plain(f"salvo report {short(run_id)}", "dim"))
    return code


def _not_ended(counts: RunCounts, *, as_json: bool) -> int:
    from salvo_cli.render.console import print_json
    from salvo_cli.render.numbers import short

    ref = short(counts.run_id)
    if not as_json:
        paused = counts.state == "paused"
        raise _NotEnded(
            f"run {counts.run_id} is {counts.state}: {counts.ended:,} of {counts.total:,} trials have ended"
            + (f"; {counts.paused_by}" if counts.paused_by else ""),
            hint=f"`salvo resume {ref}` lets it go on" if paused else f"`salvo wait {ref}` waits again",
        )
    document = {
        "run_id": counts.run_id,
        "state": counts.state,
        "verdict": None,
        "reason": counts.paused_by,
        "exit_code": 75,
    }
    print_json({"schema": "salvo.cli.wait/1", **document})
    return exits.TIMED_OUT


class _NotEnded(UsageError):
    """The wait is over and the run is not."""

    exit_code = exits.TIMED_OUT
