"""Trials whose ids do not say which run they belong to: those of runs that another Salvo made.

Our own trace ids share their run's time stamp (``identity``). For the others the store keeps a small
object each, written before the run's plan is. An alias alone proves nothing: the plan that it
names has to have the trial.
"""

from __future__ import annotations

from typing import Any

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.identity import is_uuid7
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec

SCHEMA = "salvo.alias/1"


async def keep_alias(trace_id: str, run_id: str, store: Store) -> str:
    """Store which run a trial belongs to; return the run that its alias names: the first writer's.

    An alias that is damaged is replaced: nothing is lost with it.
    """
    body, _ = codec.encode(SCHEMA, {"run_id": run_id}, compress=False)
    if await store.put_if_absent(keys.alias(trace_id), body):
        return run_id
    try:
        return await run_of(trace_id, store) or run_id
    except ObjectCorrupt:
        await store.put(keys.alias(trace_id), body)
        return run_id


async def run_of(trace_id: str, store: Store) -> str | None:
    """Return the run that a trial belongs to according to its alias, None if it has none.

    Raises:
        ObjectCorrupt: The alias is damaged.
    """
    key = keys.alias(trace_id)
    try:
        stored = await store.get(key)
    except ObjectMissing:
        return None
    document: Any = codec.decode(SCHEMA, stored, where=key)
    run_id = document.get("run_id") if isinstance(document, dict) else None
    if not is_uuid7(run_id):
        raise ObjectCorrupt(f"{key} names no run")
    return str(run_id)


async def aliased(beginning: str, most: int, store: Store) -> list[str]:
    """Return trace ids with an alias that begin so, in order, at most so many.

    Args:
        beginning: Of a trace id, lower case, four characters or more.
        most: Ids at most.
        store: Where the aliases are.
    """
    found: list[str] = []
    async for key in store.list(keys.ALIASES + beginning):
        trace_id = keys.parse_alias(key)
        if trace_id is not None and is_uuid7(trace_id):
            found.append(trace_id)
        if len(found) == most:
            break
    return found
