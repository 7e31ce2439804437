"""``salvo doctor``: is everything there that runs need?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salvo_cli.checkup import Finding
    from salvo_cli.wiring import Surroundings

EPILOG = epilog(
    ["salvo doctor", "salvo doctor --json | jq '.findings[] | select(.level != \"ok\")'"],
    "0 nothing fails (warnings do not count)",
    "69 Redis or the store cannot be used · 64 anything else fails",
)


def doctor(as_json: Json = False) -> int:
    """Check versions, Redis, the store, workers, provider keys and the project file.

    Each line is ok, warn or fail, and says what to do. Values of keys are never shown.
    """
    from salvo_cli.wiring import surroundings

    here = surroundings()
    findings = asyncio.run(_examine(here))
    failed = [finding for finding in findings if finding.level == "fail"]
    server = exits.UNAVAILABLE if any(finding.server for finding in failed) else exits.USAGE
    code = server if failed else exits.OK
    _tell(findings, code, as_json=as_json)
    return code


async def _examine(here: Surroundings) -> list[Finding]:
    from salvo_cli.checkup import Finding, local_findings, redis_findings, store_findings, worker_findings
    from salvo_cli.guarding import guard_findings
    from salvo_cli.providing import provider_findings
    from salvo_cli.wiring import open_site
    from salvo_core.errors import SalvoError, Unavailable

    findings = list(local_findings(here))
    try:
        async with open_site(here) as site:
            findings += [finding async for finding in redis_findings(site)]
            findings += [finding async for finding in store_findings(site, here)]
            if not any(finding.subject == "redis" and finding.level == "fail" for finding in findings):
                findings += [finding async for finding in worker_findings(site, here)]
                findings += [finding async for finding in guard_findings(site, here)]
                findings += [finding async for finding in provider_findings(site)]
    except SalvoError as error:  # an address that cannot be read, or an embedded server that does not start
        server = isinstance(error, Unavailable)
        findings.append(Finding("fail", "servers", error.message, error.hint, server=server))
    return findings


def _tell(findings: Sequence[Finding], code: int, *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.text import Text

    from salvo_cli.render.console import console, marks, plain, print_json
    from salvo_cli.render.tables import Cell, table

    if as_json:
        shown = [
            {name: value for name, value in asdict(finding).items() if name != "server"}
            for finding in findings
        ]
        print_json({"schema": "salvo.cli.doctor/1", "exit_code": code, "findings": shown})
        return
    screen = console()
    signs = marks(screen)
    looks = {
        "ok": (signs.passed, "green"),
        "warn": (signs.alarm, "yellow"),
        "fail": (signs.failed, "bold red"),
    }
    rows: list[list[Cell]] = []
    for finding in findings:
        sign, style = looks[finding.level]
        said = plain(finding.seen)
        if finding.advice:
            said.append_text(plain(f"\n{finding.advice}", "dim"))
        rows.append([Text(f"{sign} {finding.level}", style=style), finding.subject, said])
    screen.print(table(("result", "what", "found"), rows, wide="found"))
