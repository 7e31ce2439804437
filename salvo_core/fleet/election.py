"""One of many: a lock that expires with its holder."""

from __future__ import annotations

from redis.asyncio import Redis

from salvo_core.manifest.connection import translated

SWEEPER = "salvo:sweeper"
BEAT = "salvo:beat"


async def elected(redis: Redis, address: str, office: str, name: str, *, term_ms: int) -> bool:
    """Take an office, or keep it; return whether it is ours.

    It saves work and decides nothing: for a moment, two may hold it.

    Args:
        redis: A client with ``decode_responses`` on.
        address: The server for people.
        office: SWEEPER or BEAT.
        name: Ours; nobody else's.
        term_ms: How long it is ours if we say nothing more, milliseconds.
    """
    with translated(address):
        if await redis.set(office, name, nx=True, px=term_ms):
            return True
        if await redis.get(office) != name:
            return False
        await redis.pexpire(office, term_ms)
    return True
