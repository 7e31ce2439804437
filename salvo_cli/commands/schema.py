"""``salvo schema``: the scenario format, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

EPILOG = epilog(
    [
        "salvo schema > .salvo-schema.json",
        "salvo schema --project     that of salvo.yaml",
        "# yaml-language-server: $schema=../.salvo-schema.json    a first line",
    ],
    "0 printed",
)


def schema(
    project: Annotated[bool, typer.Option("--project", help="Of salvo.yaml instead.")] = False,
    as_json: Json = False,
) -> int:
    """Print the JSON Schema of scenario files, so that an editor completes and checks them.

    It is one JSON document with or without --json.
    """
    del as_json  # what it asks for is what happens anyway
    from salvo_cli.render.console import print_json
    from salvo_core.scenario.schema import project_schema, scenario_schema

    print_json(project_schema() if project else scenario_schema())
    return exits.OK
