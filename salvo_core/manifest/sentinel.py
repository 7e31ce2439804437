"""Connections to whichever server the sentinels call the primary.

After a failover the connections break, and each asks the sentinels again as it reconnects.
"""

from __future__ import annotations

import weakref
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff

from salvo_core.manifest.address import SentinelAddress

SENTINEL_TIMEOUT_S = 2.0
"""A sentinel that is gone must not keep us from the next one."""


class SentinelPool(BlockingConnectionPool):
    """A bounded pool whose connections find the primary by themselves.

    Args:
        address: Of the sentinels.
        options: Of the pool and its connections.
    """

    is_master = True
    check_connection = False

    def __init__(self, address: SentinelAddress, **options: Any) -> None:
        tls: dict[str, Any] | None = dict(address.tls) if address.tls is not None else None
        super().__init__(
            connection_class=SentinelManagedConnection if tls is None else SentinelManagedSSLConnection,
            connection_pool=weakref.proxy(self),
            db=address.db,
            username=address.username,
            password=address.password,
            **(tls or {}),
            **options,
        )
        self._master = address.master
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            address.sentinels,
            sentinel_kwargs={
                "username": address.sentinel_username,
                "password": address.sentinel_password,
                "socket_timeout": SENTINEL_TIMEOUT_S,
                "socket_connect_timeout": SENTINEL_TIMEOUT_S,
                "retry": Retry(NoBackoff(), 0),  # the next sentinel is asked instead
                **({"ssl": True, **tls} if tls is not None else {}),
            },
        )

    async def get_master_address(self) -> Any:
        """Return host and port of the primary; each connection asks before it connects."""
        return await self._sentinel.discover_master(self._master)

    async def aclose(self) -> None:
        """Close the connections, those to the sentinels too."""
        await super().aclose()
        await self._sentinel.aclose()
