"""``salvo report``: what a run came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Run

if TYPE_CHECKING:
    from salvo_cli.wiring import Site

EPILOG = epilog(
    ["salvo report", "salvo report 0199c2f4", "salvo report latest --json > summary.json"],
    "0 shown, whatever the verdict: `salvo wait` exits by it",
    exits.SERVER_CODES,
)


def report(run: Run = "latest", as_json: Json = False) -> int:
    """Report a run: verdict and reason, each cell in numbers, what failed most.

    A run that has not ended is reported as it stands.
    """
    from salvo_cli.wiring import in_site

    async def act(site: Site) -> int:
        from salvo_cli.render.console import print_json
        from salvo_cli.reporting import print_report, run_document

        summary = await site.observer.summary(await site.observer.resolve(run))
        if as_json:
            print_json(run_document("report", summary, summary.exit_code))
        else:
            await print_report(site, summary)
        return exits.OK

    return in_site(act)
