"""A store in this process's memory, as strict as the others; for tests, ours and our users'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from salvo_core.errors import ObjectMissing
from salvo_core.store.checked import (
    probe_by_trying,
    require_key,
    require_part,
    require_prefix,
    require_reached,
    require_storable,
)
from salvo_core.store.protocol import Probe


class MemoryStore:
    """Keeps the promises of ``Store`` until the process ends.

    Every call lets other tasks run first, as a store on a network would, so that a caller
    that only works undisturbed fails here too.
    """

    def __init__(self) -> None:
        self.address = "memory://"
        self._objects: dict[str, bytes] = {}
        self._closed = False

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """See ``Store.put_if_absent``."""
        require_storable(require_key(key), body)
        await self._turn()
        if key in self._objects:
            return False
        self._objects[key] = body
        return True

    async def put(self, key: str, body: bytes) -> None:
        """See ``Store.put``."""
        require_storable(require_key(key), body)
        await self._turn()
        self._objects[key] = body

    async def get(self, key: str) -> bytes:
        """See ``Store.get``."""
        require_key(key)
        await self._turn()
        if key not in self._objects:
            raise ObjectMissing(f"nothing is stored under {key} in {self.address}")
        return self._objects[key]

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ``Store.get_range``."""
        require_part(start, length)
        return require_reached(key, (await self.get(key))[start : start + length], start, length)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list``."""
        require_prefix(prefix)
        await self._turn()
        for key in sorted(self._objects):
            if key.startswith(prefix):
                yield key

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list_folders``."""
        require_prefix(prefix)
        await self._turn()
        level = prefix.count("/")
        below = (key.split("/") for key in sorted(self._objects) if key.startswith(prefix))
        # A dict, not a set: it keeps the order.
        for name in dict.fromkeys(segments[level] for segments in below if len(segments) > level + 1):
            yield name

    async def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        require_key(key)
        await self._turn()
        self._objects.pop(key, None)

    async def probe(self) -> Probe:
        """See ``Store.probe``."""
        return await probe_by_trying(self)

    async def aclose(self) -> None:
        """See ``Store.aclose``. What was stored is kept; using the store afterwards is an error."""
        self._closed = True

    async def _turn(self) -> None:
        if self._closed:
            raise RuntimeError("this store is closed")
        await asyncio.sleep(0)
