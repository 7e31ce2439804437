"""The entry point: which commands there are, and how each way of failing reaches the shell.

Nothing heavy is imported here or by the command modules, so that ``salvo --help`` is
quick; each command imports what it needs when it runs. Of the modules themselves only that of the
command which is asked for is imported: telling all forty to Typer takes longer than most of them run.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from salvo_cli import exits
from salvo_cli.deciding import with_rule_apart
from salvo_cli.epilog import epilog
from salvo_core.errors import SalvoError

# Typer carries Click inside it or beside it, depending on its version; its BadParameter leads to
# the base of everything a person can get wrong on a command line in both.
_ClickUsageError: type[Exception] = typer.BadParameter.__bases__[0]

COLLECTED_EVERY = 20_000
"""Objects made between two looks for garbage. With many more, a look would hold a worker's loop up."""


def _version(wanted: bool) -> None:
    if wanted:
        from salvo_core.version import VERSION

        typer.echo(f"salvo {VERSION}")
        raise typer.Exit


def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> int:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return exits.USAGE
    return exits.OK


COMMANDS = (
    ("init", "Write a project that runs at once.", "init.init"),
    ("validate", "Check scenario files; report every problem.", "validate.validate"),
    ("run", "Run scenarios N times; exit by the verdict.", "run_scenarios.run"),
    ("plan", "What a run would take, and could show.", "plan_run.plan"),
    ("submit", "Order a run, print its id, return at once.", "submit.submit"),
    ("status", "Where a run stands; --watch follows it.", "status.status"),
    ("wait", "Return when a run ends; exit by its verdict.", "wait.wait"),
    ("list", "The newest runs.", "list_runs.list_runs"),
    ("trials", "A run, trial by trial.", "trials.trials"),
    ("trace", "One trial as a conversation.", "trace.trace"),
    ("report", "What a run came to.", "report.report"),
    ("history", "The last runs, and where pass rates are going.", "history.history"),
    ("compare", "A run against a baseline; a gate for CI.", "compare.compare"),
    ("replay", "A recorded trial or run again; no model asked.", "replay.replay"),
    ("reeval", "Recorded trials judged again; the agent is not asked.", "reeval.reeval"),
    ("import", "Carry over what salvo-ai left.", "import_runs.import_runs"),
    ("cancel", "End a run for good.", "cancel.cancel"),
    ("pause", "Hold a run up; resume lets it go on.", "pause.pause"),
    ("resume", "Let a paused or broken-off run go on.", "resume.resume"),
    ("extend", "Give a run more trials.", "extend.extend"),
    ("retry", "Try trials again that infrastructure ended.", "retry.retry"),
    ("audit", "Does a run's every row match its trace?", "audit.audit"),
    ("export", "A run as a table: JSON lines, CSV, Parquet.", "export.export"),
    ("pack", "A sealed run's traces in a few objects.", "pack.pack"),
    ("rebuild", "Bring back a run that Redis has lost.", "rebuild.rebuild"),
    ("worker", "Be one of those who run trials.", "worker.worker"),
    ("beat", "Fire schedules; needs no worker beside it.", "beat.beat"),
    ("config", "Every setting, and where it came from.", "config.config"),
    ("doctor", "Is everything there that runs need?", "doctor.doctor"),
    ("foreign", "Messages in the queue that are not ours.", "foreign.foreign"),
    ("schema", "Formats: of scenarios, of --json.", "schema.schema"),
    ("simulate", "A pretend provider over real HTTP.", "simulate.simulate"),
    ("baseline", "Names for runs that others are compared with.", "baseline.app"),
    ("schedule", "Nightlies: runs that order themselves.", "schedule.app"),
    ("manifest", "A run's rows: trace ids by trial.", "manifest.app"),
)
"""What ``salvo`` can be told to do: its name, what the list of commands says of it, and whose it is."""


def command_line(wanted: str = "") -> typer.Typer:
    """Return the command line, whole or with one command alone.

    Args:
        wanted: That command; if there is no such one, all are there and the person is told.
    """
    app = typer.Typer(
        name="salvo",
        help="Does the agent still work, every time? N trials per scenario, on a laptop or a fleet.",
        epilog="Start with `salvo init`, then `salvo run scenarios/`. Each command has --help with examples."
        "\n\n" + epilog([], *(f"{code:>3} {means.briefly}" for code, means in exits.CODES.items())),
        rich_markup_mode=None,  # plain help: it wraps well, pipes well and costs no import
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_top)
    chosen = [command for command in COMMANDS if command[0] == wanted] or COMMANDS
    for name, does, place in chosen:
        module, _, function = place.partition(".")
        found = import_module(f"salvo_cli.commands.{module}")
        what = getattr(found, function)
        if isinstance(what, typer.Typer):
            app.add_typer(what, short_help=does)
        else:
            app.command(name, short_help=does, epilog=found.EPILOG)(what)
    return app


def run() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    # What a command makes while it imports it keeps: looking for garbage among it again and again took a
    # sixth of the CPU of a start.
    gc.set_threshold(COLLECTED_EVERY)
    for stream in (sys.stdout, sys.stderr):
        # What a model said may hold anything: never fail because a terminal lacks a character.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:])
    gc.freeze()  # nor among it all when Python ends, several times: another sixth of a short command
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every failure has been told to the person by then.

    Args:
        arguments: The command line without the program's name.
    """
    as_json = any(option in arguments for option in ("--json", "--format-json", "--legacy"))
    try:
        given = with_rule_apart(arguments)
        # None of the options before it takes a value.
        wanted = next((argument for argument in given if not argument.startswith("-")), "")
        command = typer.main.get_command(command_line(wanted))
        code = command(args=given, prog_name="salvo", standalone_mode=False)
    except SalvoError as error:
        return _fail(as_json, exits.kind_of(error), error.message, error.hint, error.exit_code, error)
    except _ClickUsageError as error:
        return _fail(as_json, "usage_error", _spoken(error), _help_hint(error), exits.USAGE)
    except exits.OutputClosed:
        # Python flushes stdout once more when it ends: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OUTPUT_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return _fail(as_json, "interrupted", "interrupted", "", exits.INTERRUPTED)
    except Exception as error:  # the last net: a person gets one line and a file to send, whatever broke
        return _crashed(as_json, error)
    return code if isinstance(code, int) else exits.OK


def _spoken(error: Any) -> str:
    return str(error.format_message()).rstrip(".")


def _help_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path if context else 'salvo'} --help`"


def _fail(
    as_json: bool, kind: str, message: str, hint: str, code: int, error: SalvoError | None = None
) -> int:
    # rich: only when there is something to say.
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.problems import print_problems, problems_of

    screen = console(stderr=True)
    ci, patterns = _told_how() if getattr(error, "problems", ()) else (False, ())
    problems = problems_of(error, patterns=patterns)
    if as_json:
        more = {"problems": problems} if problems else {}
        print_json(exits.error_document(kind, message, hint, code, **more))
    if problems:
        print_problems(screen, getattr(error, "problems", ()), ci=ci, patterns=patterns)
        screen.print()
    screen.print(plain("error: ", "bold red") + plain(message), soft_wrap=True)
    if hint:
        screen.print(plain("hint: ", "bold") + plain(hint), soft_wrap=True)
    return code


def _told_how() -> tuple[bool, Sequence[str]]:
    """Return whether problems are told one per line, and what of the project is struck out of them.

    It may be the project's own file that has them, and then it says neither.
    """
    from salvo_cli.wiring import environment, surroundings
    from salvo_core.settings import resolve

    try:
        here = surroundings()
    except SalvoError:
        return bool(resolve({"CI": environment().get("CI", "")}).ci_mode), ()
    return bool(here.settings.ci_mode), here.project.recording.custom_redaction_patterns


def _crashed(as_json: bool, error: Exception) -> int:
    import traceback  # nothing of this is needed until something breaks

    from salvo_cli.crash import keep_report, wants_traceback

    text = "".join(traceback.format_exception(error))
    if wants_traceback():
        sys.stderr.write(text)
    kept = keep_report(text)
    return _fail(
        as_json,
        "internal",
        f"Salvo broke: {type(error).__name__}: {str(error)[:300]}",
        f"this is a bug of ours; please report it with {kept}"
        if kept
        else "run again with SALVO_TRACEBACK=1",
        exits.INTERNAL,
    )
