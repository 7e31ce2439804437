"""``salvo schedule test-alert``: does an alert arrive?"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Surroundings
    from salvo_core.alerts.channel import Channel
    from salvo_core.alerts.delivery import Delivery

EPILOG = epilog(
    ["salvo schedule test-alert nightly", "salvo config     which channels this project has"],
    "0 every channel took it · 1 one did not",
    exits.SERVER_CODES,
)


def send_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")], as_json: Json = False
) -> int:
    """Send a test alert at once over each channel that a schedule names; say what each answered.

    It goes out from this machine, with this shell's environment. Real ones go out from the
    machine that fires: its salvo.yaml says what a channel is, its environment holds addresses and keys.
    """
    from salvo_cli.wiring import surroundings

    here = surroundings()
    told = asyncio.run(_told(name, here))
    _print(name, told, as_json=as_json)
    return exits.OK if all(delivery.told for _, delivery in told) else exits.NOT_ALL


async def _told(name: str, here: Surroundings) -> list[tuple[Channel, Delivery]]:
    from salvo_cli.wiring import open_only_the_store
    from salvo_core.alerts.alert import Alert
    from salvo_core.alerts.channels import channels_of
    from salvo_core.alerts.delivery import deliver
    from salvo_core.clock import SystemClock
    from salvo_core.run.schedule import read_schedule
    from salvo_core.run.signature import Signer
    from salvo_core.store.memory import MemoryStore

    async with open_only_the_store(here) as store:
        one = await read_schedule(name, store, Signer(here.settings.signing_keys))
    if not one.notify:
        raise UsageError(
            f"the schedule {name!r} names no channel", hint="`salvo schedule add ... --notify NAME`"
        )
    # What its log says of a channel stands in what this command prints.
    logging.getLogger("salvo_core.alerts").setLevel(logging.ERROR)
    clock, mark = SystemClock(), f"test-{os.urandom(8).hex()}"
    alert = Alert(
        id=mark,
        incident=mark,
        kind="alert",
        schedule=name,
        at=clock.now(),
        title=f"Test: an alert of {name} would look like this",
        lines=("Somebody tries whether alerts arrive. Nothing happened, and no all-clear follows.",),
        test=True,
    )
    channels = channels_of(one.notify, here.project, here.settings)
    # Nothing happened, so the store keeps nothing of it.
    deliveries = await deliver(alert, channels, MemoryStore(), clock)
    return list(zip(channels, deliveries, strict=True))


def _print(name: str, told: list[tuple[Channel, Delivery]], *, as_json: bool) -> None:
    from salvo_cli.render.console import console, marks, one_line, plain, print_json
    from salvo_cli.render.tables import Cell, table

    if as_json:
        shown = [
            {
                "channel": channel.name,
                "leads_to": channel.shown,
                "told": delivery.told,
                "said": delivery.said,
                "hint": delivery.hint,
            }
            for channel, delivery in told
        ]
        print_json({"schema": "salvo.cli.test-alert/1", "schedule": name, "channels": shown})
        return
    screen = console()
    signs = marks(screen)
    rows: list[list[Cell]] = []
    for channel, delivery in told:
        sign = plain(signs.passed, "green") if delivery.told else plain(signs.failed, "red")
        said = delivery.said + (f" — {delivery.hint}" if delivery.hint else "")
        rows.append([sign, channel.name, one_line(channel.shown, 40), one_line(said, 400)])
    screen.print(table(("", "channel", "leads to", "answered"), rows, wide="answered"))
