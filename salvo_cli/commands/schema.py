"""``salvo schema``: the scenario format, for editors."""

from __future__ import annotations

from salvo_cli import exits
from salvo_cli.epilog import epilog

EPILOG = epilog(
    [
        "salvo schema > .salvo-schema.json",
        "# yaml-language-server: $schema=../.salvo-schema.json    first line of a scenario",
    ],
    "0 printed",
)


def schema() -> int:
    """Print the JSON Schema of scenario files, so that an editor completes and checks them."""
    from salvo_cli.render.console import print_json
    from salvo_core.scenario.schema import scenario_schema

    print_json(scenario_schema())
    return exits.OK
