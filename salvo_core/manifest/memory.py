"""Whether Redis keeps what it is given: its eviction policy, and its room for one more run.

A Redis that evicts drops rows of runs that are under way, and one that is full refuses turns that are
paid for. Both are told before anything is ordered, while it still costs nothing.

The sizes below were measured on Valkey 9.1 and Redis 7.0 (rows with a judge's part and a long worker's
name, messages with a signature) and rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salvo_core.errors import NotFound, RedisUnavailable
from salvo_core.manifest.cluster import require_every_slot
from salvo_core.manifest.connection import translated
from salvo_core.manifest.live import Manifest

ROW_BYTES = 350
"""Of a trial that has ended, for a week after its run was sealed."""

GROWTH_BYTES = 220
"""By which a row grows when its trial ends."""

MESSAGE_BYTES = 650
"""Of a trial that is queued: 640 for a signed one with a long index, 90 less for one without a signature."""

SHARE_MAX = 0.9
"""Of maxmemory that rows and messages may fill; the rest is for the journals of trials under way."""

ROWS, MESSAGES = "rows and turns of running trials", "messages of queued trials"
"""What a Redis that evicts drops: the manifest's, and the queue's where that has one of its own."""

RUNS_LOOKED_AT_MAX = 500
"""Open runs whose growth is added up; more are not, for whoever orders a run waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a Redis says of its memory.

    Attributes:
        used_bytes: In use.
        limit_bytes: maxmemory; 0 means none.
        policy: maxmemory-policy.
    """

    used_bytes: int
    limit_bytes: int
    policy: str

    @classmethod
    def told(cls, info: Mapping[str, Any]) -> Memory:
        """Return what the answer to INFO says."""
        return cls(
            used_bytes=int(info.get("used_memory", 0)),
            limit_bytes=int(info.get("maxmemory", 0)),
            policy=str(info.get("maxmemory_policy", "noeviction")),
        )

    @property
    def evicts(self) -> bool:
        """Whether it may drop keys: without a limit, only what expires anyway may have a policy."""
        return self.policy != "noeviction" and not (
            self.policy.startswith("volatile-") and not self.limit_bytes
        )


async def read_memory(redis: Any, address: str) -> Memory:
    """Return what the Redis says of its memory.

    Args:
        redis: A client.
        address: The server, already masked.
    """
    with translated(address):
        return Memory.told(await redis.info("memory"))


def require_lasting(memory: Memory, address: str, *, dropped: str = ROWS) -> None:
    """Refuse a Redis that drops keys when it is full.

    Args:
        memory: Of the Redis.
        address: The server, already masked.
        dropped: What would be lost.

    Raises:
        RedisUnavailable: It does.
    """
    if memory.evicts:
        raise RedisUnavailable(
            f"Redis at {address} has maxmemory-policy {memory.policy}: it would drop {dropped}",
            hint="set `maxmemory-policy noeviction`",
        )


async def require_room(manifest: Manifest, *, trials: int, queued: int) -> None:
    """Refuse a run that Redis would not have room for, beside what is ordered already.

    Where the queue has a Redis of its own, its messages are counted here all the same.

    Args:
        manifest: Of the Redis.
        trials: The run's.
        queued: Messages that are in the queue at once, at most.

    Raises:
        RedisUnavailable: It has too little, evicts, or keeps only some of a cluster's keys.
    """
    await require_every_slot(manifest.redis, manifest.address)
    memory = await read_memory(manifest.redis, manifest.address)
    require_lasting(memory, manifest.address)
    if not memory.limit_bytes:
        return
    needed = trials * ROW_BYTES + queued * MESSAGE_BYTES
    owed = await _owed_bytes(manifest)
    room = round(memory.limit_bytes * SHARE_MAX) - memory.used_bytes - owed
    if needed > room:
        raise RedisUnavailable(
            f"Redis at {manifest.address} has no room for this run: {trials:,} trials take "
            f"{_mib(needed)}, and {_mib(max(room, 0))} are left of {_mib(memory.limit_bytes)} "
            f"({_mib(memory.used_bytes)} used, {_mib(owed)} promised to runs under way, "
            f"a tenth kept for conversations)",
            hint="raise maxmemory, let runs finish, bound what is queued at once (-j), or order less",
        )


async def _owed_bytes(manifest: Manifest) -> int:
    """Return by how much the runs that are open will grow."""
    owed = 0
    for run_id in (await manifest.open_runs())[:RUNS_LOOKED_AT_MAX]:
        try:
            counts = await manifest.counts(run_id)
        except NotFound:  # it ended just now, or Redis lost it
            continue
        owed += (counts.total - counts.ended) * GROWTH_BYTES
        unseeded = counts.total - counts.seeded
        at_once = counts.concurrency_max or unseeded
        owed += unseeded * (ROW_BYTES - GROWTH_BYTES) + min(unseeded, at_once) * MESSAGE_BYTES
    return owed


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
