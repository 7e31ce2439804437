"""``salvo foreign``: what lay in the queue and was not ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

if TYPE_CHECKING:
    from collections import Counter

    from salvo_cli.wiring import Site
    from salvo_core.fleet.foreign import ForeignMessage, Reason

EPILOG = epilog(
    [
        "salvo foreign",
        "salvo foreign -n 100 --json | jq -r '.messages[].reason'",
        "salvo foreign --clear",
    ],
    "0 shown, also if there are none",
    exits.SERVER_CODES,
)
_SHOWN_CHARS = 48


def foreign(
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, max=1000, metavar="N", help="How many, newest first.")
    ] = 20,
    clear: Annotated[bool, typer.Option("--clear", help="Forget them, after showing them.")] = False,
    as_json: Json = False,
) -> int:
    """Show messages that workers took from the queue and set aside, because they are not Salvo's.

    They are counted by reason; of the newest 1,000 the beginning is kept. What they hold is
    somebody else's text: it is shown as plain ASCII, and what looks like a secret is left out.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.guarding import open_foreign

        async with open_foreign(site) as kept:
            counts, newest = await kept.counts(), await kept.newest(count)
            if clear:
                await kept.clear()
        _tell(counts, newest, cleared=clear, as_json=as_json)
        return exits.OK

    return in_site(act)


def _tell(counts: Counter[Reason], newest: list[ForeignMessage], *, cleared: bool, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural
    from salvo_cli.render.tables import table

    if as_json:
        messages: list[dict[str, Any]] = [message.model_dump() for message in newest]
        print_json(
            {
                "schema": "salvo.cli.foreign/1",
                "counts": dict(counts),
                "messages": messages,
                "cleared": cleared,
            }
        )
        return
    screen = console()
    if not counts and not newest:
        screen.print(plain("no foreign messages"))
        return
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in counts.most_common())
    screen.print(plain(f"{plural(counts.total(), 'message')} set aside: {reasons}"), soft_wrap=True)
    rows = [
        [
            f"{datetime.fromtimestamp(message.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            f"{message.reason}\n{message.detail}",
            f"{message.size_bytes:,}",
            message.beginning[:_SHOWN_CHARS],
        ]
        for message in newest
    ]
    if rows:
        screen.print(table(("set aside (UTC)", "reason", "bytes", "begins"), rows, wide="reason"))
    if cleared:
        screen.print(plain("cleared", "dim"))
