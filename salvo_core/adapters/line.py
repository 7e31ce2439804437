"""What carries one request at a time: a connection of ours, or an httpx client where a proxy is between.

Proxies and certificates are found the way every HTTP tool finds them (``HTTPS_PROXY``, ``NO_PROXY``,
``SSL_CERT_FILE``). httpx knows the manners of proxies, and costs five times the CPU of a connection; so it
is used where this process is told of one. Nothing of httpx leaves this file, neither a class nor an error.
This machine's own addresses never go through a proxy.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from salvo_core.adapters.connection import (
    Answer,
    BodyTooLarge,
    ConnectFailed,
    Connection,
    ConnectionBroken,
    ConnectTimedOut,
    DecodingError,
    ReadTimedOut,
    RemoteProtocolError,
    WriteTimedOut,
    dial,
)
from salvo_core.adapters.failures import Peer
from salvo_core.adapters.profile import Timeouts, header_value
from salvo_core.errors import ProviderError, ProviderPermanent, ProviderTransient

_IDLE_S_MAX = 30.0  # below the idle limit of common load balancers (60 s), above a slow tool

_BASE_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "user-agent": "salvo",
}


class Line(Protocol):
    """What carries one request at a time."""

    async def post(
        self, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts, *, bytes_max: int
    ) -> Answer:
        """Return the answer, read to its end; raise anything, which ``translated`` has a word for.

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
    """Return what all lines share: reading the certificates costs more than a hundred requests."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


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
    """A connection of ours to one origin, made anew when the other side has closed it."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._connection: Connection | None = None

    async def post(
        self, url: str, headers: Mapping[str, str], payload: bytes, timeouts: Timeouts, *, bytes_max: int
    ) -> Answer:
        """Return the answer, read to its end."""
        target = _target(url)
        request = _head(target, headers, len(payload)) + payload
        connection = self._connection
        if connection is None or not connection.is_usable(_IDLE_S_MAX):
            await self.aclose()
            tls = self._tls if target.tls else None
            self._connection = connection = await dial(target.host, target.port, tls, timeouts.connect_s)
        return await connection.exchange(
            request, read_s=timeouts.read_s, write_s=timeouts.write_s, bytes_max=bytes_max
        )

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    tls: bool
    path: str
    authority: str
    basic: str
    """What a name and a password in the address come to, as a header; else empty."""


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Return where a URL leads; read by httpx, so that hosts and paths are written its way everywhere."""
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol("an address begins with http:// or https:// and a host")
    tls = parsed.scheme == "https"
    basic = ""
    if parsed.userinfo:
        both = f"{parsed.username}:{parsed.password}".encode()
        basic = f"Basic {base64.b64encode(both).decode()}"
    return _Target(
        parsed.raw_host.decode("ascii"),
        parsed.port or (443 if tls else 80),
        tls,
        parsed.raw_path.decode("ascii"),
        parsed.netloc.decode("ascii"),
        basic,
    )


_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})


def _head(target: _Target, headers: Mapping[str, str], length: int) -> bytes:
    """Return a request's head.

    Raises:
        ValueError: A header cannot be sent: it is none, or it says how long the request is, which we know.
    """
    given = {name.lower(): value for name, value in headers.items()}
    merged = {**_BASE_HEADERS, "host": target.authority, **given}
    if target.basic:
        merged["authorization"] = target.basic
    lines = [f"POST {target.path} HTTP/1.1"]
    for name, value in merged.items():
        if not _TOKEN.fullmatch(name) or name in _FRAMING:
            raise ValueError("a header's name cannot be sent")
        lines.append(f"{name}: {header_value(value)}")
    lines.append(f"content-length: {length}\r\n\r\n")
    return "\r\n".join(lines).encode("ascii")


class _Proxied:
    """An httpx client of one connection, for a process that is told of a proxy."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._client = httpx.AsyncClient(
            headers=_BASE_HEADERS,
            verify=tls,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_S_MAX),
            # A cookie from one trial must not steer the next: trials are independent.
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
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
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > bytes_max:
                    raise BodyTooLarge
                chunks.append(chunk)
            return Answer(response.status_code, dict(response.headers), b"".join(chunks))

    async def aclose(self) -> None:
        """Close the client and its connection."""
        await self._client.aclose()


_BROKEN = WriteTimedOut | ConnectionBroken | RemoteProtocolError | DecodingError


def translated(peer: Peer, error: Exception, timeouts: Timeouts, *, bytes_max: int) -> ProviderError:
    """Return our word for what a line raised; of its arguments, what the request was given."""
    said = f"{type(error).__name__} {peer.quote(str(error))}".strip()
    if isinstance(error, httpx.ConnectTimeout | ConnectTimedOut):
        return ProviderTransient(
            f"{peer.where} could not be connected within {timeouts.connect_s:g} s", unsent=True
        )
    if isinstance(error, httpx.ReadTimeout | ReadTimedOut):
        return ProviderTransient(f"{peer.where} sent nothing for {timeouts.read_s:g} s")
    if isinstance(error, BodyTooLarge):
        return ProviderPermanent(f"{peer.where} answered with more than {bytes_max >> 20} MiB")
    if isinstance(
        error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError | ValueError
    ):
        return ProviderPermanent(
            f"{peer.where} cannot be asked: {said}", hint="Check base_url, the key and the headers."
        )
    if _caused_by(error, ssl.SSLCertVerificationError):
        return ProviderPermanent(
            f"{peer.where} has a certificate that this worker does not trust: {said}",
            hint="Set SSL_CERT_FILE to your organisation's certificates, or correct base_url.",
        )
    if isinstance(error, httpx.ConnectError | ConnectFailed):
        return ProviderTransient(
            f"{peer.where} cannot be connected: {said}",
            hint="Is the server running, and is base_url right?",
            unsent=True,
        )
    if isinstance(error, httpx.HTTPError | OSError | _BROKEN):
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
