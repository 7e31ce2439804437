"""One document to one address: tried again where that helps, within a bound, its answer never trusted.

The network is that of ``adapters.line``: no redirect is followed, no cookie kept, an answer is read up to
a bound. An address may be a secret as a whole, so an error names the host alone.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

from salvo_core.adapters.failures import Peer, kind_for_status, page_title, retry_after_s
from salvo_core.adapters.line import Answer, open_line, tls_context, translated
from salvo_core.adapters.profile import Timeouts
from salvo_core.adapters.retrying import Backoff
from salvo_core.alerts.channel import ChannelFailed
from salvo_core.clock import Clock
from salvo_core.errors import ProviderError, ProviderTransient

ANSWER_BYTES_MAX = 1024 * 1024
_TIMEOUTS = Timeouts(connect_s=5, read_s=8, write_s=8, turn_s=10)
_BACKOFF = Backoff(retries_max=3, base_s=1, cap_s=8, retry_after_max_s=30)
_READ_CHARS_MAX = 20_000
_SECRET_CHARS_MIN = 4
"""A shorter piece of an address is no secret, and striking it out would leave nothing to read."""


@dataclass(frozen=True)
class Posting:
    """How often and how long a receiver is tried.

    Attributes:
        timeouts: Of each try.
        backoff: Between tries.
        within_s: No try begins later than so long after the first, seconds.
        rng: Draws the waits.
    """

    timeouts: Timeouts = _TIMEOUTS
    backoff: Backoff = _BACKOFF
    within_s: float = 30.0
    rng: random.Random = field(default_factory=random.Random)

    async def post(
        self,
        address: str,
        payload: bytes,
        headers: Callable[[], Mapping[str, str]],
        clock: Clock,
        *,
        secrets: Iterable[str] = (),
    ) -> str:
        """Return what the receiver answered, for a person: it took the document.

        Args:
            address: Checked.
            payload: JSON.
            headers: Called for each try: a signature says when it was made.
            clock: Measures and waits.
            secrets: No error repeats them, nor any piece of the address but its host.

        Raises:
            ChannelFailed: It did not, or nobody knows.
        """
        parts = urlsplit(address)
        peer = Peer(parts.netloc.rpartition("@")[2], secrets=(*secrets, *_pieces(address)))
        tls = await asyncio.to_thread(_tls)
        started_s, tries = clock.monotonic_s(), 0
        while True:
            tries += 1
            try:
                return _taken(peer, await self._once(peer, address, payload, headers(), tls))
            except ProviderError as error:
                asked_s = error.retry_after_s
                wait_s = self.backoff.wait_s(tries - 1, asked_s, self.rng)
                late = clock.monotonic_s() - started_s + max(wait_s, asked_s or 0) > self.within_s
                if not error.retryable or tries > self.backoff.retries_max or late:
                    often = f" (tried {tries} times)" if tries > 1 else ""
                    raise ChannelFailed(
                        error.message + often, hint=error.hint, retry_after_s=asked_s
                    ) from None  # what it was made of may quote the address
            await clock.sleep(wait_s)

    async def _once(
        self, peer: Peer, address: str, payload: bytes, headers: Mapping[str, str], tls: ssl.SSLContext
    ) -> Answer:
        line = open_line(peer, address, tls)
        deadline = asyncio.timeout(self.timeouts.turn_s)
        try:
            async with deadline:
                return await line.post(address, headers, payload, self.timeouts, bytes_max=ANSWER_BYTES_MAX)
        except Exception as error:  # wide on purpose: this is where the libraries end
            if deadline.expired():
                limit_s = self.timeouts.turn_s
                raise ProviderTransient(f"{peer.where} did not answer within {limit_s:g} s") from None
            failed = translated(peer, error, self.timeouts, bytes_max=ANSWER_BYTES_MAX)
            failed.hint = ""  # it speaks of providers
            raise failed from None
        finally:
            await line.aclose()


@lru_cache(1)
def _tls() -> ssl.SSLContext:
    return tls_context()


def _pieces(address: str) -> list[str]:
    """Return all of an address but its host: as a whole, and piece by piece, as written and as meant."""
    parts = urlsplit(address)
    below = address.partition("://")[2].partition("/")[2]
    pieces = [address, below, *parts.path.split("/"), parts.query, parts.username or "", parts.password or ""]
    pieces += [value for _, value in parse_qsl(parts.query)]
    return [one for text in pieces for one in {text, unquote(text)} if len(one) >= _SECRET_CHARS_MIN]


def _taken(peer: Peer, answer: Answer) -> str:
    """Return a good answer in words; raise what another one stands for."""
    text = answer.body.decode("utf-8", "replace")[:_READ_CHARS_MAX]
    title = page_title(text)
    said = peer.quote(f'a web page titled "{title}"' if title else text)
    if 200 <= answer.status < 300:
        return f"{answer.status} {said}".strip()
    hint = ""
    if 300 <= answer.status < 400:
        host = urlsplit(answer.headers.get("location", "")).netloc.rpartition("@")[2]
        said = peer.quote(f"moved to {host}") if host else "moved"
        hint = "redirects are not followed, so that no alert goes astray: use the final address"
    elif answer.status in (401, 403, 404, 410):
        hint = "is the address still the receiver's, and does its key fit ours?"
    kind = kind_for_status(answer.status)
    raise kind(
        f"{peer.where} answered {answer.status}: {said or 'no explanation'}",
        hint=hint,
        status_code=answer.status,
        retry_after_s=retry_after_s(answer.headers) if kind.retryable else None,
    )
