"""``salvo beat``: fire schedules."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_core.errors import SalvoError, UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    [
        "SALVO_REDIS_URL=rediss://... SALVO_STORE_URL=s3://... salvo beat",
        "salvo worker --beat     a worker that does it beside its trials",
    ],
    "0 left after SIGTERM or Ctrl-C; a Redis or store that is away is waited for",
    "64 usage",
)
TICK_S = 10.0


def beat() -> int:
    """Order what schedules say when it is due, and see to what comes of it; workers run it.

    Call it in the project's folder: scenarios are read from there at each firing, unless the schedule
    keeps them (`salvo schedule add --from-store`). After each night a suspicion is confirmed and an alert
    told. Several beats are safe: one at a time is elected, and each due time is one run whoever fires it.
    """
    from salvo_cli.wiring import open_site, surroundings

    here = surroundings()
    if here.settings.embedded:
        raise UsageError("without a fleet nobody would run what is fired", hint="salvo worker --beat")

    async def act() -> int:
        leaving = asyncio.Event()
        for word in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(word, leaving.set)
        async with open_site(here) as site:
            await _fire_until(leaving, site)
        return exits.OK

    return asyncio.run(act())


async def _fire_until(leaving: asyncio.Event, site: Site) -> None:
    from salvo_cli.render.console import console, plain
    from salvo_cli.timekeeping import beat_of, follower_of
    from salvo_core.alerts.incident import Followed
    from salvo_core.fleet.election import BEAT, elected
    from salvo_core.run.schedule import Firing

    told, name = console(stderr=True), f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
    fires = beat_of(site)
    follows = follower_of(site, fires)

    def tell(firing: Firing) -> None:
        became = f"run {firing.run_id}" if firing.run_id else firing.why
        told.print(plain(f"{firing.schedule} {firing.due_at.isoformat()}: {became}"), soft_wrap=True)

    def tell_decided(one: Followed) -> None:
        said = [f"{event.event}: {event.scenario} · {event.model}" for event in one.events]
        for line in (*said, *filter(None, [one.note]), *(alert.title for alert in one.alerts)):
            told.print(plain(f"{one.schedule} {one.due_at.isoformat()}: {line}"), soft_wrap=True)

    told.print(plain("firing schedules"), soft_wrap=True)
    while not leaving.is_set():
        try:
            address = site.manifest.address
            if await elected(site.manifest.redis, address, BEAT, name, term_ms=round(TICK_S * 3000)):
                for firing in await fires.tick():
                    tell(firing)
                for decided in await follows.tick():
                    tell_decided(decided)
        except SalvoError as error:  # a server that is away comes back; due times wait as long as they count
            told.print(plain(f"warning: {error.message}", "yellow"), soft_wrap=True)
        try:
            await asyncio.wait_for(leaving.wait(), TICK_S)
        except TimeoutError:
            continue
