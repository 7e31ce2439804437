"""``salvo config``: every setting, its value, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from salvo_cli.wiring import Surroundings

EPILOG = epilog(
    ["salvo config", "salvo config --json"],
    "0 shown · 64 salvo.yaml or a variable cannot be used",
)


def config(as_json: Json = False) -> int:
    """Show every setting with its source: flag, environment, salvo.yaml or default.

    Passwords are masked. Keys of providers are not settings and are not shown.
    """
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.tables import facts, table
    from salvo_cli.wiring import surroundings

    here = surroundings()
    document = _document(here)
    if as_json:
        print_json(document)
        return exits.OK
    screen = console()
    screen.print(facts([("project", document["project"]), ("mode", document["mode"])]))
    screen.print()
    rows = [[setting["name"], setting["source"], setting["value"]] for setting in document["settings"]]
    screen.print(table(("setting", "from", "value"), rows, wide="value"))
    if document["channels"]:
        screen.print()
        screen.print(_channels(document["channels"]))
    screen.print(
        plain("\nflag > environment (SALVO_REDIS_URL for redis_url, and so on) > salvo.yaml > default", "dim")
    )
    return exits.OK


def _document(here: Surroundings) -> dict[str, Any]:
    effective = here.effective()
    settings = []
    for name, given in here.settings.resolved.items():
        used = effective.resolved[name]
        settings.append(
            {
                "name": name,
                "variable": given.setting.variable,
                "value": used.shown,
                # The embedded addresses are what the default comes to.
                "source": given.source if given.value is not None else "default",
                "meaning": given.setting.meaning,
            }
        )
    return {
        "schema": "salvo.cli.config/1",
        "project": str(here.root),
        "mode": "embedded" if here.settings.embedded else "fleet",
        "settings": settings,
        "channels": [
            {
                "name": name,
                "kind": terms.kind,
                "leads_to": terms.shown,
                "signed_by": terms.signing_key_env or "",
                "unset": [variable for variable in terms.variables if not here.settings.secret(variable)],
            }
            for name, terms in here.project.notify.items()
        ],
    }


def _channels(channels: list[dict[str, Any]]) -> RenderableType:
    """Return whom schedules may tell, and what this machine lacks to tell them."""
    from salvo_cli.render.console import plain
    from salvo_cli.render.tables import Cell, table

    rows: list[list[Cell]] = []
    for one in channels:
        signed = f"signed with ${one['signed_by']}" if one["signed_by"] else ""
        if one["kind"] == "webhook" and not signed:
            signed = "not signed"
        lacks = "".join(f"; {name} is not set here" for name in one["unset"])
        rows.append([one["name"], one["kind"], one["leads_to"], plain((signed + lacks).strip("; "))])
    return table(("channel", "kind", "leads to", "note"), rows, wide="note")
