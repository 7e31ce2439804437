"""``salvo simulate``: a pretend provider over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.simulator.book import ScriptBook

EPILOG = epilog(
    [
        "salvo simulate --port 8900",
        "salvo simulate --port 8900 --script examples/providers/demo.yaml",
        "salvo simulate --script load.yaml --log requests.jsonl",
        "SIM_KEY=secret salvo simulate --script demo.yaml --api-key-env SIM_KEY",
    ],
    "0 stopped by Ctrl-C or SIGTERM · 64 usage, script or address",
)


def simulate(
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")] = 0,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script", metavar="FILE", help="What the models say: a script or a book; else a short answer."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    api_key_env: Annotated[
        str,
        typer.Option("--api-key-env", metavar="NAME", help="Variable with the key that callers must send."),
    ] = "",
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Append one JSON line per request.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Serve a simulated provider that speaks the OpenAI and Anthropic APIs.

    Prints the two variables that point Salvo, or anything else, at it.

    It follows a script: which tools in which order, which text, how often it fails, how
    long it takes. Load-test a fleet or a CI job with it at no cost.
    """
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.simulator.server import run_simulator
    from salvo_cli.wiring import environment

    key = None
    if api_key_env:
        key = environment().get(api_key_env) or None
        if key is None:
            raise UsageError(
                f"the variable {api_key_env} is not set", hint=f"export {api_key_env}=... and try again"
            )
    book = _book(script)
    out, screen = console(), console(stderr=True)

    def ready(real_port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        base = f"http://{shown}:{real_port}"
        variables = {"OPENAI_BASE_URL": f"{base}/v1", "ANTHROPIC_BASE_URL": base}
        if as_json:
            print_json({"schema": "salvo.cli.simulate/1", "port": real_port, "variables": variables})
        else:
            for name, value in variables.items():  # lines that a shell can read
                out.print(plain(f"export {name}={value}"), soft_wrap=True)
            out.file.flush()
        named = ", ".join(sorted(book.scripts)[:20])
        screen.print(plain(f"simulating {named}; Ctrl-C stops", "dim"), soft_wrap=True)

    run_simulator(book, host=host, port=port, api_key=key, request_log=log, ready=ready)
    return exits.OK


def _book(file: Path | None) -> ScriptBook:
    """Return the scripts in a file, or the small book that comes with Salvo.

    Raises:
        ScenarioInvalid: The file cannot be read, or is no script; located.
    """
    from salvo_cli.simulator.book import ScriptBook
    from salvo_core.scenario.checking import checked_document
    from salvo_core.scenario.source import parse_file

    file = file or Path(__file__).with_name("simulate.yaml")
    parsed = parse_file(file, boundary=file.resolve().parent)
    return checked_document(
        ScriptBook, parsed, str(file), wanted="a script or a book of scripts", validate=ScriptBook.read
    )
