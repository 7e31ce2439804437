"""A command about one run that may leave work to do: the frame of ``cancel``, ``retry`` and ``extend``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.manifest.counters import RunCounts

Done = TypeVar("Done")


def command_run(
    ref: str,
    act: Callable[[Site, RunCounts], Awaitable[Done]],
    leaves_work: Callable[[Done], bool],
) -> tuple[str, Done]:
    """Return (run id, what it came to) of something done to a run; somebody does the work that this leaves.

    In the embedded mode a worker is started for that where there is none, and goes when all is done.

    Args:
        ref: A person's word for the run.
        act: Given the site and where the run stands; of runs that Redis has forgotten the store tells.
        leaves_work: Whether trials wait for a worker now.
    """
    from salvo_cli.servers import Servers
    from salvo_cli.wiring import open_site, surroundings

    here = surroundings()

    async def acted(servers: Servers) -> tuple[str, Done]:
        async with open_site(here, servers.embedded) as site:
            run_id = await site.observer.resolve(ref)
            done = await act(site, await site.observer.status(run_id))
            if leaves_work(done) and not await site.registry.workers():
                servers.begin_worker()
                servers.leave_worker()
            return run_id, done

    with Servers(here) as servers:
        servers.begin_server()
        return asyncio.run(acted(servers))
