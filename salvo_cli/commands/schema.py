"""``salvo schema``: the formats of scenario files, for editors, and of ``--json``, for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

EPILOG = epilog(
    [
        "salvo schema > .salvo-schema.json",
        "# yaml-language-server: $schema=../.salvo-schema.json    a first line",
        "salvo schema --project              that of salvo.yaml",
        "salvo schema --outputs              what --json prints, by name",
        "salvo schema --output status        the JSON Schema of one of them",
    ],
    "0 printed · 64 there is no such document",
)


def schema(
    project: Annotated[bool, typer.Option("--project", help="Of salvo.yaml instead.")] = False,
    output: Annotated[
        str, typer.Option("--output", metavar="NAME", help="Of a document that --json prints, instead.")
    ] = "",
    outputs: Annotated[
        bool, typer.Option("--outputs", help="List the documents that --json prints, instead.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print the JSON Schema of scenario files, so that an editor completes and checks them.

    With --output it is that of a document that a command prints with --json: the one whose field
    `schema` holds NAME. A schema is one JSON document with or without --json.
    """
    from salvo_cli.render.console import print_json

    if project + bool(output) + outputs > 1:
        raise UsageError(
            "--project, --output and --outputs each print another thing", hint="give one of them"
        )
    if outputs:
        _list(as_json=as_json)
    elif output:
        from salvo_cli.outputs import catalogue

        print_json(catalogue.output_schema(catalogue.output(output)))
    else:
        from salvo_core.scenario.schema import project_schema, scenario_schema

        print_json(project_schema() if project else scenario_schema())
    return exits.OK


def _list(*, as_json: bool) -> None:
    from salvo_cli.outputs.catalogue import OUTPUTS
    from salvo_cli.render.console import console, print_json
    from salvo_cli.render.tables import table

    if as_json:
        listed = [{"name": one.schema, "printed_by": one.printed_by, "says": one.says} for one in OUTPUTS]
        print_json({"schema": "salvo.cli.outputs/1", "outputs": listed})
    else:
        rows = [[one.schema, one.printed_by] for one in OUTPUTS]
        console().print(table(("document", "salvo ... --json"), rows, wide="salvo ... --json"))
