"""One way to reach Redis, and one place where its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from salvo_core.errors import RedisUnavailable, UsageError
from salvo_core.manifest.address import SENTINEL_SCHEMES, scheme_of, sentinel_address, tls_of
from salvo_core.manifest.batching import BatchingRedis
from salvo_core.manifest.sentinel import SentinelPool
from salvo_core.settings import without_password

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 15.0
RETRIES_MAX = 2
SCHEMES = ("redis", "rediss", "unix")
CLUSTER_HINT = "use a Redis of its own, Sentinel for failover, or a proxy that speaks plain Redis"


def connect(url: str, *, connections_max: int = 64, retries_max: int = RETRIES_MAX) -> Redis:
    """Return a client for url; nothing is sent before its first command.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix:///path/to/socket`` or, for sentinels,
            ``redis+sentinel://`` (see ``address``).
        connections_max: Connections held at most; a command beyond them waits, REPLY_TIMEOUT_S at most.
        retries_max: Times a command is sent again after a lost connection. Every script of
            the manifest is safe to send twice.

    Raises:
        UsageError: The URL is of no known form.
    """
    scheme = scheme_of(url)
    if scheme not in (*SCHEMES, *SENTINEL_SCHEMES):
        raise UsageError(
            f"the Redis URL {without_password(url)!r} has the scheme {scheme!r}",
            hint="use redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///path/to/socket, "
            "or redis+sentinel://host1:26379,host2:26379/0?master=NAME",
        )
    options: dict[str, Any] = {
        "decode_responses": True,
        "max_connections": connections_max,
        "timeout": REPLY_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": REPLY_TIMEOUT_S,
        "client_name": "salvo",
        "health_check_interval": 10,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.05), retries_max),
        "retry_on_error": [exceptions.ConnectionError, exceptions.TimeoutError],
    }
    pool: BlockingConnectionPool
    try:
        if address := sentinel_address(url):
            pool = SentinelPool(address, **options)
        else:
            tls_of(url)  # refuses what redis-py would accept: a certificate that nobody checks
            pool = BlockingConnectionPool.from_url(url, **options)
    except ValueError:  # its text may quote a piece of the password
        raise UsageError(
            f"the Redis URL {without_password(url)!r} cannot be read",
            hint="is the port a number? In a password, write / as %2F, # as %23, ? as %3F and @ as %40",
        ) from None
    return BatchingRedis.from_pool(pool)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn what redis-py raises inside the block into ``RedisUnavailable``, saying what to do.

    Args:
        address: The server, already masked.
    """
    try:
        yield
    except exceptions.RedisError as error:
        raise explain(error, address) from error
    except OSError as error:
        raise RedisUnavailable(f"Redis at {address} cannot be reached: {error}", hint=_START_HINT) from error


_START_HINT = "is the server running, and is SALVO_REDIS_URL right? `salvo doctor` checks both"


def explain(error: exceptions.RedisError, address: str) -> RedisUnavailable:
    """Return the error a person can act on for one that redis-py raised."""
    text = str(error)
    for condition, what, hint in (
        (
            isinstance(error, exceptions.AuthenticationError)
            or text.startswith(("WRONGPASS", "NOAUTH"))
            or "invalid username-password" in text,
            "refuses the user name or password",
            "put the right ones into SALVO_REDIS_URL (redis://user:password@host:6379/0)",
        ),
        (
            isinstance(error, exceptions.NoPermissionError) or text.startswith("NOPERM"),
            f"does not permit a command: {text}",
            "give Salvo's ACL user the commands that the deployment guide lists",
        ),
        (
            isinstance(error, exceptions.ReadOnlyError) or text.startswith("READONLY"),
            "is a read-only replica",
            "point SALVO_REDIS_URL at the primary",
        ),
        (
            isinstance(error, exceptions.OutOfMemoryError) or text.startswith("OOM") or "OOM command" in text,
            "is out of memory and refuses writes",
            "raise maxmemory or let runs finish; never set an evicting maxmemory-policy: it would drop rows",
        ),
        (
            isinstance(error, exceptions.BusyLoadingError) or text.startswith("LOADING"),
            "is still loading its data",
            "try again in a moment",
        ),
        (
            # (What redis-py makes of MOVED says no more than slot and node.)
            isinstance(error, exceptions.AskError | exceptions.ClusterDownError | exceptions.TryAgainError),
            "is a node of a Redis Cluster and sends us to another one, where Salvo does not follow",
            CLUSTER_HINT,
        ),
        (
            text.startswith("MISCONF"),
            "cannot write to its disk and refuses writes",
            "free disk space on its host",
        ),
        (
            isinstance(error, exceptions.TimeoutError | exceptions.ConnectionError),
            f"cannot be reached: {text}",
            _START_HINT,
        ),
    ):
        if condition:
            return RedisUnavailable(f"Redis at {address} {what}", hint=hint)
    return RedisUnavailable(
        f"Redis at {address} answered with an error: {text[:300]}",
        hint="is it Redis 6.2 or Valkey 7.2 or later, and does nobody else use its database? "
        "`salvo doctor` looks closer",
    )
