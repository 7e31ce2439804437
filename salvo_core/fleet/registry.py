"""Which workers are there."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from salvo_core.manifest.connection import translated

WORKERS = "salvo:workers"
SILENT_AFTER_S = 30
"""A worker that has not beaten for so long is gone."""


class WorkerCard(BaseModel):
    """What a worker says of itself; holds no secret."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)  # a newer worker may say more

    name: str
    host: str
    pid: int
    concurrency: int
    running: int
    started_ms: int
    salvo_version: str
    keys_present: tuple[str, ...] = ()
    """Names of the environment variables of provider keys that are set there, never their values."""
    signing: tuple[str, ...] = ()
    """Fingerprints of the keys whose signature it accepts; without any it takes unsigned work."""
    shut: str = ""
    """Why it takes no new trials at present; empty while it does."""
    conditional_writes: bool | None = None
    """Whether its store honours them; None while it could not be asked."""
    stalls: int = 0
    """Steps of its loop that took more than 5 ms while everything else on it waited, since it began."""
    stall_s_longest: float = 0.0
    """The longest of them, seconds."""


class WorkerRegistry:
    """Cards of live workers: one key each, which expires when its worker falls silent.

    Args:
        redis: As the manifest's.
        address: The server for people.
    """

    def __init__(self, redis: Redis, address: str) -> None:
        self._redis = redis
        self._address = address

    async def beat(self, card: WorkerCard) -> None:
        """Say that the worker is there."""
        with translated(self._address):
            await self._redis.set(f"{WORKERS}:{card.name}", card.model_dump_json(), ex=SILENT_AFTER_S)

    async def gone(self, name: str) -> None:
        """Say that the worker has left."""
        with translated(self._address):
            await self._redis.delete(f"{WORKERS}:{name}")

    async def workers(self) -> list[WorkerCard]:
        """Return the cards of the workers that are there, by name."""
        with translated(self._address):
            names = [key async for key in self._redis.scan_iter(f"{WORKERS}:*", count=500)]
            # Not one MGET: the cards lie in different slots of a cluster.
            pipe = self._redis.pipeline(transaction=False)
            for name in sorted(names):
                pipe.get(name)
            cards = await pipe.execute()
        return [WorkerCard.model_validate_json(card) for card in cards if card]
