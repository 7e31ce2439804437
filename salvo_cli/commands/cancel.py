"""``salvo cancel``: end a run for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, RunNamed

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.cancel import Cancelled

EPILOG = epilog(
    ["salvo cancel 0199c2f4", "salvo cancel latest --json"],
    "0 cancelled, or it was over already (says so)",
    exits.SERVER_CODES,
)


def cancel(run: RunNamed, as_json: Json = False) -> int:
    """Cancel a run: what has not begun never will; what runs ends at its turn and is kept.

    Cancelling twice changes nothing the second time.
    """
    from salvo_cli.servers import Servers
    from salvo_cli.wiring import open_site, surroundings

    here = surroundings()

    async def act(servers: Servers) -> int:
        from salvo_core.cancel import cancel as cancelled

        async with open_site(here, servers.embedded) as site:
            run_id = await site.observer.resolve(run)
            await site.observer.status(run_id)  # a full id is not looked up by resolve
            done = await cancelled(
                run_id, store=site.store, manifest=site.manifest, dispatcher=site.dispatcher
            )
            if done.state == "cancelling" and not await site.registry.workers():
                # Trials that were given back half way are closed by a worker: what was paid is kept.
                servers.begin_worker()
                servers.leave_worker()
            _tell(site, run_id, done, as_json=as_json)
            return exits.OK

    with Servers(here) as servers:
        servers.begin_server()
        return asyncio.run(act(servers))


def _tell(site: Site, run_id: str, done: Cancelled, *, as_json: bool) -> None:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural

    if as_json:
        told = {"run_id": run_id, "changed": done.changed, "state": done.state, "never_begun": done.ended}
        print_json({"schema": "salvo.cli.cancel/1", **told})
        return
    if done.changed:
        line = f"cancelled {run_id}: {plural(done.ended, 'trial')} will not begin; it is {done.state}"
    else:
        line = f"{run_id} is {done.state}: nothing to cancel"
    console().print(plain(line), soft_wrap=True)
