"""What carries one request at a time: an aiohttp session, or an httpx client where a proxy is between.

Both are keep-alive connections to one origin. aiohttp costs a third of httpx a request; httpx knows the
manners of proxies, found the way every HTTP tool finds them (``HTTPS_PROXY``, ``NO_PROXY``), so it is used
where this process is told of one. Nothing of either leaves this file, neither a class nor an error. This
machine's own addresses never go through a proxy.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import httpx
from yarl import URL

from salvo_core.adapters.failures import Peer
from salvo_core.adapters.profile import Timeouts, header_value
from salvo_core.errors import ProviderError, ProviderPermanent, ProviderTransient

_IDLE_S_MAX = 30.0  # below the idle limit of common load balancers (60 s), above a slow tool

_HEADER_BYTES_MAX = 64 * 1024
"""Most bytes of one header of an answer."""

_CHUNK_BYTES = 64 * 1024

_BASE_HEADERS = {"content-type": "application/json", "accept": "application/json", "user-agent": "salvo"}

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read to its end: names of headers in lower case, the body unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


class BodyTooLarge(Exception):
    """The answer went past its bound; the rest of it was not read."""


class Line(Protocol):
    """One request at a time to one origin."""

    async def post(
        self, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts, *, bytes_max: int
    ) -> Answer:
        """Return the answer; whatever else it raises, ``translated`` has our word for.

        Args:
            url: Absolute, of the line's one origin.
            headers: On top of content type, accept and user agent.
            payload: The body.
            timeouts: Of this request.
            bytes_max: Of the answer's body, unpacked.
        """
        ...

    async def aclose(self) -> None:
        """Close it, whatever is under way."""
        ...


def tls_context() -> ssl.SSLContext:
    """Return what all lines share: reading the certificates (``SSL_CERT_FILE``) is what costs."""
    return httpx.create_ssl_context()


def open_line(peer: Peer, origin: str, tls: ssl.SSLContext) -> Line:
    """Return a line to an origin; nothing is connected yet.

    Raises:
        ProviderPermanent: The proxy that this process is told of cannot be used.
    """
    # A proxy of the company's cannot reach a server on this machine (local model, simulator).
    if _on_this_machine(origin) or not getproxies().keys() - {"no"}:
        return _Direct(tls)
    try:
        return _Proxied(tls)
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # all of them about a proxy variable
        raise ProviderPermanent(
            f"the proxy set in this worker's environment cannot be used: {peer.quote(str(error))}",
            hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; SOCKS needs the package httpx[socks].",
        ) from error


class _Direct:
    """An aiohttp session of one connection: no cookies, nothing from the environment."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=tls, keepalive_timeout=_IDLE_S_MAX),
            # A cookie from one trial must not steer the next: trials are independent.
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
        )

    async def post(
        self, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts, *, bytes_max: int
    ) -> Answer:
        """Return the answer, read to its end."""
        bare, auth = _without_userinfo(url)
        limits = aiohttp.ClientTimeout(sock_connect=timeouts.connect_s, sock_read=timeouts.read_s)
        sent = _sendable(headers) | ({"authorization": auth} if auth else {})
        async with self._session.post(
            bare, data=payload, headers=sent, timeout=limits, allow_redirects=False
        ) as response:
            body = await _bounded(response.content.iter_chunked(_CHUNK_BYTES), bytes_max)
            return Answer(response.status, {n.lower(): v for n, v in response.headers.items()}, body)

    async def aclose(self) -> None:
        """Close the session and its connection."""
        await self._session.close()


@lru_cache(maxsize=256)
def _without_userinfo(url: str) -> tuple[URL, str]:
    """Return an address without the name and password in it, and these as a header's value, else nothing.

    Read by httpx, so that an address means the same with a proxy and without.
    """
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol("an address begins with http:// or https:// and a host")
    auth = aiohttp.encode_basic_auth(parsed.username, parsed.password) if parsed.userinfo else ""
    return URL(str(parsed.copy_with(userinfo=b"")), encoded=True), auth


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a request's headers.

    Raises:
        ValueError: A header cannot be sent.
    """
    sent = dict(_BASE_HEADERS)
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("a header's name cannot be sent")
        sent[name.lower()] = header_value(value)
    return sent


async def _bounded(chunks: AsyncIterator[bytes], bytes_max: int) -> bytes:
    found: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge
        found.append(chunk)
    return b"".join(found)


class _Proxied:
    """An httpx client of one connection, for a process that is told of a proxy."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        # At INFO, httpx logs each address with its query, which may hold a key (I7).
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            headers=_BASE_HEADERS,
            verify=tls,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_S_MAX),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),  # as above
            follow_redirects=False,
        )

    async def post(
        self, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts, *, bytes_max: int
    ) -> Answer:
        """Return the answer, read to its end."""
        limits = httpx.Timeout(
            connect=timeouts.connect_s, read=timeouts.read_s, write=timeouts.write_s, pool=timeouts.connect_s
        )
        sending = self._client.stream("POST", url, content=payload, headers=dict(headers), timeout=limits)
        async with sending as response:
            body = await _bounded(response.aiter_bytes(), bytes_max)
            return Answer(response.status_code, dict(response.headers), body)

    async def aclose(self) -> None:
        """Close the client and its connection."""
        await self._client.aclose()


def translated(peer: Peer, error: Exception, timeouts: Timeouts, *, bytes_max: int) -> ProviderError:
    """Return our word for what a line raised; of its arguments, what the request was given."""
    said = f"{type(error).__name__} {peer.quote(str(error))}".strip()
    if isinstance(error, httpx.ConnectTimeout | aiohttp.ConnectionTimeoutError):
        return ProviderTransient(
            f"{peer.where} could not be connected within {timeouts.connect_s:g} s", unsent=True
        )
    if isinstance(error, httpx.ReadTimeout | aiohttp.ServerTimeoutError):
        return ProviderTransient(f"{peer.where} sent nothing for {timeouts.read_s:g} s")
    if isinstance(error, BodyTooLarge):
        return ProviderPermanent(f"{peer.where} answered with more than {bytes_max >> 20} MiB")
    if isinstance(
        error,
        httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError | ValueError,
    ):
        return ProviderPermanent(
            f"{peer.where} cannot be asked: {said}", hint="Check base_url, the key and the headers."
        )
    if _caused_by(error, ssl.SSLCertVerificationError):
        return ProviderPermanent(
            f"{peer.where} has a certificate that this worker does not trust: {said}",
            hint="Set SSL_CERT_FILE to your organisation's certificates, or correct base_url.",
        )
    if isinstance(error, httpx.ConnectError | aiohttp.ClientConnectorError):
        return ProviderTransient(
            f"{peer.where} cannot be connected: {said}",
            hint="Is the server running, and is base_url right?",
            unsent=True,
        )
    if isinstance(error, httpx.HTTPError | aiohttp.ClientError | OSError):
        return ProviderTransient(f"{peer.where} broke off: {said}")
    if isinstance(error, RuntimeError) and "closed" in str(error):
        # uvloop says so when the other side closed a kept connection under our write (uvloop issue 506).
        return ProviderTransient(f"{peer.where} closed the connection")
    return ProviderPermanent(f"{peer.where} cannot be asked: {said}")


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _on_this_machine(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
