"""What keeps a worker from starting, found out before it does.

The parent of several looks first, so that a mistake is told once. That parent is kept small: nothing
here needs Celery.
"""

from __future__ import annotations

import asyncio
import os

from salvo_core.errors import RedisUnavailable, UsageError
from salvo_core.manifest.cluster import require_every_slot, require_no_cluster
from salvo_core.manifest.connection import connect
from salvo_core.manifest.memory import MESSAGES, ROWS, read_memory, require_lasting
from salvo_core.settings import Settings, without_password
from salvo_worker.container import in_container


def require_readiness(settings: Settings) -> None:
    """Return if a worker with these settings may start; a server that is away is Celery's to wait for.

    Raises:
        UsageError: It would serve a fleet as root of a whole machine.
        RedisUnavailable: Redis drops keys, keeps only some of them, or is a cluster's.
    """
    _require_user(settings)
    asyncio.run(_require_servers(settings))


def _require_user(settings: Settings) -> None:
    """Refuse to serve a fleet as root, unless a container is around it or somebody says so."""
    if os.geteuid() == 0 and not settings.allow_root and not in_container(settings):
        raise UsageError(
            "a worker that serves a fleet does not run as root: custom assertions and adapters would too",
            hint="give it a user of its own (deploy/README.md), "
            "or say --allow-root or SALVO_ALLOW_ROOT=1 if that is what you want",
        )


async def _require_servers(settings: Settings) -> None:
    """Refuse to work for a Redis that drops keys or keeps only some; one that is away is not asked."""
    assert settings.redis_url is not None
    queue = settings.broker_url or settings.redis_url
    for url in dict.fromkeys((settings.redis_url, queue)):
        address, client = without_password(url), connect(url, connections_max=1, retries_max=0)
        try:
            try:
                memory = await read_memory(client, address)
            except RedisUnavailable:
                continue  # Celery says so, and waits
            require_lasting(memory, address, dropped=ROWS if url == settings.redis_url else MESSAGES)
            await (require_no_cluster if url == queue else require_every_slot)(client, address)
        finally:
            await client.aclose()
