"""What ``salvo doctor`` says of providers: which of them no worker asks now, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator

from salvo_cli.checkup import Finding
from salvo_cli.render.limits import waiting
from salvo_cli.wiring import Site
from salvo_core.errors import SalvoError


async def provider_findings(site: Site) -> AsyncIterator[Finding]:
    """Yield each provider whose breaker is open; nothing while all are well."""
    try:
        troubles = await site.breakers.troubles()
    except SalvoError as error:
        yield Finding("fail", "providers", error.message, error.hint, server=True)
        return
    for trouble in troubles:
        refused = trouble.kind == "authentication"
        yield Finding(
            "warn",
            "providers",
            f"{waiting([trouble])}: {trouble.reason}",
            "fix the key or the account, then `salvo resume` the runs that were paused for it"
            if refused
            else "its trials wait and go on by themselves when it answers again",
        )
