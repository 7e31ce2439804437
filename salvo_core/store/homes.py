"""Runs lie under ``runs/``, re-evaluations under ``reevals/``; who has only an id looks in both."""

from __future__ import annotations

from collections.abc import Callable

from salvo_core.errors import ObjectMissing
from salvo_core.identity import is_uuid7
from salvo_core.store import keys
from salvo_core.store.protocol import Store


async def get_from_home(store: Store, place: Callable[[str, str], str], run_id: str) -> tuple[str, bytes]:
    """Return a document of a run, or of a re-evaluation, by id alone: (its key, its bytes).

    An id is one or the other, never both, because each is a fresh uuid7.

    Args:
        store: Where to look.
        place: ``keys.plan``, ``keys.summary`` or ``keys.manifest``.
        run_id: Of either.

    Raises:
        ObjectMissing: Neither home has it.
    """
    key = place(run_id, keys.RUNS)
    try:
        return key, await store.get(key)
    except ObjectMissing as missing:
        key = place(run_id, keys.REEVALS)
        try:
            return key, await store.get(key)
        except ObjectMissing:
            raise missing from None


async def stored_ids(store: Store, prefix: str = "", home: str = keys.RUNS) -> list[str]:
    """Return the ids in a home that begin with prefix, newest first (uuid7 sorts by time)."""
    found = [name async for name in store.list_folders(home + prefix)]
    return sorted((name for name in found if is_uuid7(name)), reverse=True)
