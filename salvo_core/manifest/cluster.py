"""What a server that belongs to a Redis Cluster can be used for.

All keys of a run lie in one slot, so a server that keeps every slot (a cluster of one, or a proxy in front
of several) carries the manifest. Nobody here follows a redirection to another node, and the queue's
library keeps keys of several slots in one transaction, so it works with no cluster at all.
"""

from __future__ import annotations

from redis.asyncio import Redis

from salvo_core.errors import RedisUnavailable
from salvo_core.manifest.connection import CLUSTER_HINT, translated

PROBES = 32
"""Keys asked for, each in another slot: of two nodes with half the slots, hardly ever one has them all."""


async def is_in_cluster(redis: Redis, address: str) -> bool:
    """Tell whether the server belongs to a cluster, be it one of its own.

    Args:
        redis: A client.
        address: The server, already masked.
    """
    with translated(address):
        return bool(int((await redis.info("cluster")).get("cluster_enabled", 0)))


async def require_every_slot(redis: Redis, address: str) -> None:
    """Refuse a server that keeps only some of a cluster's keys: it would send us elsewhere for the others.

    Args:
        redis: A client.
        address: The server, already masked.

    Raises:
        RedisUnavailable: It is such a one.
    """
    if not await is_in_cluster(redis, address):
        return
    for number in range(PROBES):
        with translated(address):
            await redis.exists(f"salvo:probe:{{{number}}}")


async def require_no_cluster(redis: Redis, address: str) -> None:
    """Refuse a server for the queue that belongs to a cluster.

    Args:
        redis: A client.
        address: The server, already masked.

    Raises:
        RedisUnavailable: It does.
    """
    if await is_in_cluster(redis, address):
        raise RedisUnavailable(
            f"Redis at {address} belongs to a Redis Cluster, which cannot carry the queue", hint=CLUSTER_HINT
        )
