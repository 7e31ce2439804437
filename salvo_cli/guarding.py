"""What ``salvo doctor`` says of the queue's guard: strangers' messages, and who signs and who verifies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from salvo_cli.checkup import Finding
from salvo_cli.render.numbers import plural
from salvo_cli.wiring import Site, Surroundings
from salvo_core.errors import SalvoError
from salvo_core.fleet.foreign import ForeignMessages, Reason
from salvo_core.fleet.registry import WorkerCard
from salvo_core.manifest.connection import connect
from salvo_core.run.signature import Signer
from salvo_core.settings import without_password

_OF_KEYS: tuple[Reason, ...] = ("unsigned", "bad signature")


@asynccontextmanager
async def open_foreign(site: Site) -> AsyncIterator[ForeignMessages]:
    """Open the list of what was set aside, on the broker, and close it again."""
    url = site.settings.broker_url or site.settings.redis_url
    client = connect(url, connections_max=1)
    try:
        yield ForeignMessages(client, without_password(url))
    finally:
        await client.aclose()


async def guard_findings(site: Site, here: Surroundings) -> AsyncIterator[Finding]:
    """Yield what was set aside, by reason, and whether workers accept what is signed here."""
    try:
        async with open_foreign(site) as foreign:
            counts = await foreign.counts()
        cards = await site.registry.workers()
    except SalvoError as error:
        yield Finding("fail", "foreign messages", error.message, error.hint, server=True)
        return
    if not counts:
        yield Finding("ok", "foreign messages", "none")
    else:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
        theirs = any(counts[reason] for reason in _OF_KEYS)
        advice = "submit with a SALVO_SIGNING_KEY of the workers; " if theirs else ""
        advice += "`salvo foreign` shows them, `salvo foreign --clear` forgets them"
        seen = f"{plural(counts.total(), 'message')} set aside: {reasons}"
        yield Finding("warn", "foreign messages", seen, advice)
    if not here.settings.embedded:
        for finding in signing_findings(site.dispatcher.signer, cards):
            yield finding


def signing_findings(signer: Signer, cards: Sequence[WorkerCard]) -> Iterator[Finding]:
    """Yield whether what is ordered here is accepted there.

    Args:
        signer: Of this command line.
        cards: Of the workers that are there.
    """
    ours = signer.fingerprints[:1]
    deaf = [card.name for card in cards if card.signing and not set(ours) & set(card.signing)]
    trusting = [card.name for card in cards if not card.signing]
    if deaf:
        what = "are signed with a key they do not know" if ours else "are not signed"
        seen = (
            f"{len(deaf)} of {len(cards)} workers, e.g. {deaf[0]}, would set our messages aside: they {what}"
        )
        yield Finding("fail", "signing", seen, "set SALVO_SIGNING_KEY here to one of the workers' keys")
    elif ours and trusting:
        seen = f"{len(trusting)} of {len(cards)} workers take unsigned work, e.g. {trusting[0]}"
        yield Finding("warn", "signing", seen, "set SALVO_SIGNING_KEY where they run")
    elif ours:
        yield Finding("ok", "signing", "orders are signed, and every worker that is there verifies")
    else:
        yield Finding("ok", "signing", "off: whoever can write to Redis can order work")
