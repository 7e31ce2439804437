"""How a run comes into the manifest: header, rows, and which messages may go out. ``live`` builds on it.

Every step is safe to do again, by whoever notices that a submission died half way (I4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from salvo_core.manifest import keys
from salvo_core.manifest.connection import translated
from salvo_core.manifest.counters import RunState
from salvo_core.manifest.releases import released
from salvo_core.manifest.scripts import SCRIPTS, script_text

SUBMISSION_KEPT_S = 30 * 24 * 3600


class Submitting:
    """The part of the manifest that a submission writes.

    Args:
        redis: A client with ``decode_responses`` on (``connection.connect``).
        address: The server for people, without a password.
    """

    def __init__(self, redis: Redis, address: str) -> None:
        self.redis = redis
        self.address = address
        self._scripts = {name: redis.register_script(script_text(name)) for name in SCRIPTS}

    async def _run_script(
        self, name: str, run_id: str, *arguments: Any, more_keys: Sequence[str] = ()
    ) -> Any:
        with translated(self.address):
            named = [*keys.scripted(run_id), *more_keys, *keys.behind(run_id)]
            return await self._scripts[name](keys=named, args=list(arguments))

    async def reserve(self, idempotency_key: str, run_id: str) -> str:
        """Return the run id that this key stands for: run_id, or the one an earlier call reserved."""
        key = keys.submission(idempotency_key)
        with translated(self.address):
            if await self.redis.set(key, run_id, nx=True, ex=SUBMISSION_KEPT_S):
                return run_id
            return cast(str, await self.redis.get(key))

    async def open(
        self,
        run_id: str,
        *,
        total: int,
        cells: int,
        attempts_max: int,
        crashes_max: int = 2,
        concurrency_max: int | None,
        name: str,
        reeval: bool = False,
        remembered: Mapping[str, str | int] | None = None,
    ) -> bool:
        """Make the run's header, in state ``submitting``.

        A re-evaluation is looked after like a run and listed apart from them. ``remembered`` is what a
        rebuild knows of the run's past: header fields beside the usual ones.

        Returns:
            False if it was there already, and then it is left as it was.
        """
        made = await self._run_script(
            "open", run_id,
            "total", total, "cells", cells, "attempts_max", attempts_max,
            "crashes_max", crashes_max,
            "concurrency_max", concurrency_max or 0, "name", name, "reeval", int(reeval),
            *(item for pair in (remembered or {}).items() for item in pair),
        )  # fmt: skip
        with translated(self.address):
            created_ms, state = await self.redis.hmget(keys.header(run_id), ["created_ms", "state"])
            pipe = self.redis.pipeline(transaction=False)
            listed = keys.REEVALS if reeval else keys.RUNS
            pipe.zadd(listed, {run_id: int(created_ms or 0)})
            pipe.zremrangebyrank(listed, 0, -keys.RUNS_KEPT - 1)
            # Not only by who made the header: that caller may have died before this line.
            if state not in ("paused", "sealed"):
                pipe.zadd(keys.OPEN, {run_id: int(created_ms or 0)})
            await pipe.execute()
        return bool(made)

    async def seed(self, run_id: str, start: int, trace_ids: Sequence[str]) -> int:
        """Make pending rows from index start on; rows that exist stay.

        Args:
            run_id: The run.
            start: Index of the first.
            trace_ids: One per row, at most ROWS_PER_CALL.

        Returns:
            How many rows were made.
        """
        return int(await self._run_script("seed", run_id, start, " ".join(trace_ids)))

    async def release(self, run_id: str, most: int) -> Sequence[int]:
        """Return the next seeded indices, at most ``most``, whose messages the caller publishes now."""
        return released(*await self._run_script("release", run_id, most))

    async def submitted(self, run_id: str) -> RunState:
        """Note that all rows are seeded; return the run's state."""
        return cast(RunState, await self._run_script("submitted", run_id))
