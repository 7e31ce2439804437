"""A store that tells how it fares: whoever begins work wants to know whether its end can be stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from salvo_core.errors import StoreRefused, StoreUnavailable
from salvo_core.store.protocol import Probe, Store

Answer = TypeVar("Answer")


class WatchedStore:
    """Any store; failures and successful writes are told to whoever watches.

    Args:
        store: Does the work.
        failed: Told each failure, in words.
        worked: Told each write that is durable.
    """

    def __init__(self, store: Store, *, failed: Callable[[str], None], worked: Callable[[], None]) -> None:
        self._store = store
        self._failed = failed
        self._worked = worked
        self.address = store.address

    async def _watched(self, call: Awaitable[Answer], *, writes: bool) -> Answer:
        try:
            answer = await call
        except (StoreUnavailable, StoreRefused) as error:
            self._failed(str(error))
            raise
        if writes:
            self._worked()
        return answer

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """See ``Store.put_if_absent``."""
        return await self._watched(self._store.put_if_absent(key, body), writes=True)

    async def put(self, key: str, body: bytes) -> None:
        """See ``Store.put``."""
        await self._watched(self._store.put(key, body), writes=True)

    async def get(self, key: str) -> bytes:
        """See ``Store.get``."""
        return await self._watched(self._store.get(key), writes=False)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ``Store.get_range``."""
        return await self._watched(self._store.get_range(key, start, length), writes=False)

    def list(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list``."""
        return self._store.list(prefix)

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list_folders``."""
        return self._store.list_folders(prefix)

    async def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        await self._watched(self._store.delete(key), writes=False)

    async def probe(self) -> Probe:
        """See ``Store.probe``."""
        return await self._watched(self._store.probe(), writes=True)

    async def aclose(self) -> None:
        """See ``Store.aclose``."""
        await self._store.aclose()
