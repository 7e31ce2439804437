"""What a Redis URL says beyond host and port: the sentinels that know the primary, and TLS.

::

    redis+sentinel://user:password@host1:26379,host2:26379,host3:26379/0?master=salvo
    rediss://host:6379/0?ssl_ca_certs=/etc/salvo/ca.pem

``rediss+sentinel://`` speaks TLS with sentinels and servers alike; ``sentinel://`` is another name of
``redis+sentinel://``. User and password are the servers'; sentinels that want some of their own are
given ``sentinel_username`` and ``sentinel_password``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from salvo_core.errors import UsageError
from salvo_core.settings import without_password

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel", "sentinel")
SENTINEL_PORT = 26379
_TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_END_OF_AUTHORITY = re.compile(r"[/?#]")
_FORM = "redis+sentinel://user:password@host1:26379,host2:26379/0?master=NAME"


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where sentinels are, and which primary to ask them for.

    Attributes:
        sentinels: Host and port of each, at least one.
        master: The name they know the primary by.
        db: The database's number.
        username: Of the servers.
        password: Of the servers.
        tls: Options of every connection; None without TLS.
        sentinel_username: Of the sentinels.
        sentinel_password: Of the sentinels.
    """

    sentinels: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None
    password: str | None = field(repr=False)
    tls: Mapping[str, str] | None
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)


def scheme_of(url: str) -> str:
    """Return the scheme in small letters, empty where there is none."""
    return url.partition("://")[0].lower() if "://" in url else ""


def parts_of(url: str) -> tuple[str, SplitResult]:
    """Return a URL's hosts as they stand there, and the URL in parts with a single host in their place.

    A list of hosts is no URL to Python: since 2025 (CVE-2025-0938) it refuses one that names an IPv6 address.
    """
    scheme, separator, rest = url.partition("://")
    authority = _END_OF_AUTHORITY.split(rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    return hosts, urlsplit(f"{scheme}{separator}{user}{at}{'host' if hosts else ''}{rest[len(authority) :]}")


def tls_of(url: str) -> dict[str, str] | None:
    """Return the TLS options of a URL, by redis-py's names; None where it asks for no TLS.

    Raises:
        UsageError: It asks for certificates that nobody checks.
    """
    if not scheme_of(url).startswith("rediss"):
        return None
    options = {name: value for name, value in parse_qsl(parts_of(url)[1].query) if name in _TLS}
    if options.pop("ssl_cert_reqs", "required").lower() not in ("required", "cert_required"):
        raise UsageError(
            f"the Redis URL {without_password(url)!r} asks for TLS without a check of the certificate",
            hint="name the certificate authority instead: rediss://host:6379/0?ssl_ca_certs=/path/to/ca.pem",
        )
    return {"ssl_cert_reqs": "required", **options}


def sentinel_address(url: str) -> SentinelAddress | None:
    """Return what a sentinels' URL says; None for a URL of another kind.

    Raises:
        UsageError: It names no sentinel, no primary, or no number where one belongs.
    """
    if scheme_of(url) not in SENTINEL_SCHEMES:
        return None
    try:
        hosts, parts = parts_of(url)
        name, _, password = parts.netloc.rpartition("@")[0].partition(":")
        asked = dict(parse_qsl(parts.query))
        master = asked.get("master", "")
        db = int(parts.path.strip("/") or 0)
        sentinels = tuple(_host_and_port(host) for host in hosts.split(",") if host)
    except ValueError:  # its text may quote a piece of the password
        raise UsageError(
            f"the Redis URL {without_password(url)!r} cannot be read", hint=f"it has the form {_FORM}"
        ) from None
    if not sentinels or not master:
        lacking = "no sentinel" if not sentinels else "no primary"
        raise UsageError(
            f"the Redis URL {without_password(url)!r} names {lacking}", hint=f"it has the form {_FORM}"
        )
    return SentinelAddress(
        sentinels=sentinels,
        master=master,
        db=db,
        username=unquote(name) or None,
        password=unquote(password) or None,
        tls=tls_of(url),
        sentinel_username=asked.get("sentinel_username"),
        sentinel_password=asked.get("sentinel_password"),
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    return host.strip("[]"), int(port or SENTINEL_PORT)
