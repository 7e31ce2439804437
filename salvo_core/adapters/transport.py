"""The network, behind one call: a JSON object out, a JSON object back or a ``ProviderError``.

One keep-alive line per request in flight, handed out last in, first out. A single
pool is quadratic in its connections where every request scans and polls all of
them; a line of its own for each slot costs a fraction. All share one TLS context:
loading the certificate store is the other expensive thing.

A line whose exchange did not run to its end (timeout, reset, cancellation) is
closed and dropped: what its connection would carry next is anybody's guess, and
a library may keep the place of a cancelled connect for ever.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from salvo_core.adapters import strict_json
from salvo_core.adapters.failures import Peer, failure_from_reply, page_title
from salvo_core.adapters.line import Answer, Line, open_line, tls_context, translated
from salvo_core.adapters.profile import Timeouts
from salvo_core.errors import ProviderError, ProviderPermanent, ProviderTransient
from salvo_core.identity import canonical_json
from salvo_core.trace.redaction import MARKER

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of an answer, decompressed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer.

    Attributes:
        status: 200..299.
        headers: Names in lower case.
        document: The body, a JSON object that can be written again as UTF-8.
        elapsed_s: From asking, connecting included, to the answer's last byte, seconds.
    """

    status: int
    headers: dict[str, str]
    document: dict[str, Any]
    elapsed_s: float


class Transport:
    """Bounded HTTP for one event loop.

    Args:
        concurrency_max: Most requests in flight, and most connections open; more wait
            their turn. 1 or more.
        timeouts: For requests that bring none of their own.
    """

    def __init__(self, concurrency_max: int, timeouts: Timeouts | None = None) -> None:
        if concurrency_max < 1:
            raise ValueError(f"concurrency_max is {concurrency_max}, and must be 1 or more")
        self.concurrency_max = concurrency_max
        self._timeouts = timeouts or Timeouts()
        self._slots = asyncio.Semaphore(concurrency_max)
        self._idle: dict[str, list[Line]] = {}  # by origin: one line, one connection, one host
        self._lines = 0  # idle and busy
        self._closing: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def post_json(
        self,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        *,
        timeouts: Timeouts | None = None,
        key_name: str = "",
        secrets: Iterable[str] = (),
    ) -> Reply:
        """Return what the provider answered.

        Args:
            url: Absolute, http or https.
            headers: On top of content type, accept and user agent.
            body: JSON-able.
            timeouts: Instead of the transport's.
            key_name: Where the key came from, for the hint of an authentication failure.
            secrets: Values that neither an error nor the answer may repeat: struck out before anybody,
                the turn journal included, sees them. A conversation that is resumed is the same one then.

        Raises:
            ProviderError: In every other case. Transient: timeouts, connections, half a body.
                By status: see ``failures.kind_for_status``. Permanent: redirects, web pages,
                JSON that is no object, more than BODY_BYTES_MAX.
        """
        peer = Peer.of(url, key_name=key_name, secrets=secrets)
        payload = _encoded(peer, body)
        async with self._slots:
            started_s = time.perf_counter()
            answer = await self._exchange(peer, url, headers, payload, timeouts or self._timeouts)
            elapsed_s = time.perf_counter() - started_s
        document = _document_of(peer, _without(secrets, answer))
        return Reply(answer.status, answer.headers, document, elapsed_s)

    def prepare(self) -> ssl.SSLContext:
        """Return what all connections share, read at the first call: some 80 ms. Safe in another thread."""
        if self._tls is None:
            self._tls = tls_context()
        return self._tls

    async def aclose(self) -> None:
        """Close every idle connection; those in use close when their request ends."""
        self._closed = True
        for lines in self._idle.values():
            while lines:
                self._discard(lines.pop())
        await asyncio.gather(*self._closing)

    async def _exchange(
        self, peer: Peer, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts
    ) -> Answer:
        """One request on one line; the line goes back only if the answer was read to its end."""
        origin = _origin(url)
        with ExitStack() as unless_finished:
            line = self._take(peer, origin)
            unless_finished.callback(self._discard, line)
            deadline = asyncio.timeout(timeouts.turn_s)
            try:
                async with deadline:
                    answer = await line.post(url, headers, payload, timeouts, bytes_max=BODY_BYTES_MAX)
            except Exception as error:  # wide on purpose: this is the one place where libraries end
                if deadline.expired():
                    raise ProviderTransient(
                        f"{peer.where} did not finish its answer within {timeouts.turn_s:g} s"
                    ) from error
                raise translated(peer, error, timeouts, bytes_max=BODY_BYTES_MAX) from error
            unless_finished.pop_all()
        if self._closed:
            self._discard(line)
        else:
            self._idle.setdefault(origin, []).append(line)
        return answer

    def _take(self, peer: Peer, origin: str) -> Line:
        idle = self._idle.get(origin)
        if idle:
            return idle.pop()
        if self._lines >= self.concurrency_max:
            # We hold a slot, so fewer than all lines are busy: some other origin has an idle one.
            self._discard(next(lines for lines in self._idle.values() if lines).pop(0))
        line = open_line(peer, origin, self.prepare())
        self._lines += 1
        return line

    def _discard(self, line: Line) -> None:
        """Close a line beside the caller, who may be in the middle of being cancelled."""
        self._lines -= 1
        task = asyncio.get_running_loop().create_task(_close(line))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(line: Line) -> None:
    try:
        await line.aclose()
    except Exception as error:  # whatever a broken connection says on its way out, it is gone
        logging.getLogger(__name__).debug("closing a connection: %s", type(error).__name__)


def _without(secrets: Iterable[str], answer: Answer) -> Answer:
    body = answer.body
    for secret in filter(None, secrets):
        if (echoed := secret.encode()) in body:
            body = body.replace(echoed, MARKER.encode())
    return replace(answer, body=body)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _encoded(peer: Peer, body: Mapping[str, Any]) -> bytes:
    try:
        return canonical_json(body)
    except (TypeError, ValueError) as error:
        raise ProviderPermanent(
            f"the request to {peer.where} is not JSON: {peer.quote(str(error))}",
            hint="Look at extras and tool parameters: dates, NaN and broken text cannot be sent.",
        ) from error


def _document_of(peer: Peer, answer: Answer) -> dict[str, Any]:
    """Return the object in a good answer; raise what a bad one stands for."""
    text = answer.body.decode("utf-8-sig", "replace")  # a model may be cut in the middle of a character
    try:
        document = strict_json.parse(text)
    except ValueError as error:
        if answer.status < 300:
            raise _unreadable(peer, answer, text, error) from error
        document = None
    if answer.status >= 300 or (isinstance(document, dict) and document.get("error")):
        raise failure_from_reply(peer, answer.status, answer.headers, document, text)
    if not isinstance(document, dict):
        raise ProviderPermanent(
            f"{peer.where} answered with JSON that is no object: {peer.quote(text)}",
            hint="This address does not speak the expected API: check base_url.",
        )
    return document


def _unreadable(peer: Peer, answer: Answer, text: str, error: ValueError) -> ProviderError:
    """A success that is no JSON: for good if the wrong thing answered, else half a body."""
    content_type = answer.headers.get("content-type", "")
    if "html" in content_type or text.lstrip()[:1] == "<":
        return ProviderPermanent(
            f"{peer.where} answered with a web page: {peer.quote(page_title(text) or text)}",
            hint="Is base_url right? For OpenAI-style servers it usually ends in /v1.",
        )
    if "event-stream" in content_type:
        return ProviderPermanent(
            f"{peer.where} answered with a stream although none was asked for: {peer.quote(text)}"
        )
    return ProviderTransient(
        f"{peer.where} answered {answer.status} with broken JSON ({peer.quote(str(error))}): "
        f"{peer.quote(text) or 'nothing'}",
        status_code=answer.status,
    )
