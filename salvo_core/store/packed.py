"""A store in which a trace is found whether it lies by itself or in a pack of its run.

Who reads and lists traces need not know of packs: a packed trace is read under the key that it always had, as
one part of one object. A trace that lies by itself costs nothing more than it did: packs are asked about
only where nothing lies under its key, and first where this process has met the run's packs before.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby

from salvo_core.errors import ObjectMissing
from salvo_core.store import keys
from salvo_core.store.checked import require_part, require_reached
from salvo_core.store.pack import PackName, Part, build, read_index, require_whole
from salvo_core.store.protocol import Probe, Store

RUNS_REMEMBERED = 32
"""Runs whose packs a process keeps in mind; an index of ten thousand traces is some two megabytes."""


class PackedStore:
    """Any store, and what lies in packs there.

    Args:
        objects: Where both are. It knows packs as objects like any other.
    """

    def __init__(self, objects: Store) -> None:
        self.objects = objects
        self.address = objects.address
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._rewriting = asyncio.Lock()

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """See ``Store.put_if_absent``.

        A trace in a pack does not take its key: nobody but who repeats a write writes it again, and what
        they write is the same.
        """
        return await self.objects.put_if_absent(key, body)

    async def put(self, key: str, body: bytes) -> None:
        """See ``Store.put``."""
        await self.objects.put(key, body)

    async def get(self, key: str) -> bytes:
        """See ``Store.get``.

        Raises:
            ObjectMissing: Nothing is there, nor in a pack.
            ObjectCorrupt: What is there, or the pack's index, is damaged.
        """
        place = keys.trace_place(key)
        if place is None:
            return await self.objects.get(key)
        packs, name = place
        known = self._shelves.get(packs)
        if known is not None and (found := await known.read(name)) is not None:
            return found
        try:
            return await self.objects.get(key)
        except ObjectMissing as missing:
            # Listed after the trace was not found: who packs removes it only once its pack is there.
            found = await (await self._shelf(packs)).read(name)
            if found is None:
                raise missing from None
            return found

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ``Store.get_range``."""
        if keys.trace_place(key) is None:
            return await self.objects.get_range(key, start, length)
        require_part(start, length)
        return require_reached(key, (await self.get(key))[start : start + length], start, length)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list``. Among a run's traces are those in packs; elsewhere packs are objects."""
        place = keys.packs_beside(prefix)
        if place is None:
            async for key in self.objects.list(prefix):
                yield key
            return
        packs, traces = place
        # In this order: what a packer removes meanwhile is in a pack by then.
        alone = [key async for key in self.objects.list(prefix)]
        shelf = await self._shelf(packs)
        members = [f"{traces}{name}" for name in await shelf.names()]
        packed = sorted(key for key in members if key.startswith(prefix))
        for key, _ in groupby(heapq.merge(alone, packed)):
            yield key

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list_folders``. Packs are objects here."""
        async for name in self.objects.list_folders(prefix):
            yield name

    async def delete(self, key: str) -> None:
        """See ``Store.delete``. A pack that has the trace is written without it, then the old one removed."""
        await self.objects.delete(key)
        place = keys.trace_place(key)
        if place is None:
            return
        packs, name = place
        async with self._rewriting:
            shelf = self._shelves.get(packs) or await self._shelf(packs)
            for pack in await shelf.holding(name):
                await self._without(shelf, pack, name)
                await self._shelf(packs)

    async def probe(self) -> Probe:
        """See ``Store.probe``."""
        return await self.objects.probe()

    async def aclose(self) -> None:
        """See ``Store.aclose``."""
        await self.objects.aclose()

    # -- for who packs --------------------------------------------------------------------------

    async def packs(self, prefix: str) -> dict[PackName, Mapping[str, Part]]:
        """Return a run's packs, as they are now, and where in each its members lie.

        Args:
            prefix: ``keys.packs`` of the run.

        Raises:
            ObjectCorrupt: An index is damaged.
        """
        shelf = await self._shelf(prefix)
        return {pack: await shelf.index(pack) for pack in shelf.packs}

    async def read_pack(self, prefix: str, pack: PackName) -> bytes:
        """Return a pack's bytes.

        Raises:
            ObjectMissing: It is gone.
            ObjectCorrupt: It is damaged.
        """
        key = f"{prefix}{pack}"
        return await asyncio.to_thread(require_whole, pack, await self.objects.get(key), key)

    async def put_pack(self, prefix: str, members: Sequence[tuple[str, bytes]]) -> tuple[PackName, int]:
        """Store a pack, and return (its name, its bytes) once it has been read back whole.

        Args:
            prefix: ``keys.packs`` of the run.
            members: (name, bytes) in the order of their names, at least one.

        Raises:
            ObjectCorrupt: What is there afterwards is not what was written.
        """
        pack, packed = await asyncio.to_thread(build, members)
        await self.objects.put_if_absent(f"{prefix}{pack}", packed)
        await self.read_pack(prefix, pack)
        return pack, len(packed)

    async def _without(self, shelf: _Shelf, pack: PackName, name: str) -> None:
        packed, parts = await self.read_pack(shelf.prefix, pack), await shelf.index(pack)
        rest = [
            (member, packed[part.start : part.start + part.length])
            for member, part in parts.items()
            if member != name
        ]
        if rest:
            await self.put_pack(shelf.prefix, rest)
        await self.objects.delete(f"{shelf.prefix}{pack}")

    async def _shelf(self, prefix: str) -> _Shelf:
        """Return a run's packs as they are now; indexes that were read are not read again."""
        names = [key.removeprefix(prefix) async for key in self.objects.list(prefix)]
        packs = tuple(pack for name in names if (pack := PackName.parse(name)) is not None)
        before = self._shelves.pop(prefix, None)
        shelf = _Shelf(self.objects, prefix, packs, before)
        if packs:
            self._shelves[prefix] = shelf
            while len(self._shelves) > RUNS_REMEMBERED:
                self._shelves.popitem(last=False)
        return shelf


class _Shelf:
    """The packs of one run, as they were when they were listed; an index is read when it is first needed."""

    def __init__(
        self, objects: Store, prefix: str, packs: Sequence[PackName], before: _Shelf | None = None
    ) -> None:
        self.prefix = prefix
        self.packs = packs
        self._objects = objects
        self._indexes: dict[PackName, asyncio.Task[Mapping[str, Part]]] = {}
        if before is not None:
            self._indexes = {pack: task for pack, task in before._indexes.items() if pack in packs}

    async def index(self, pack: PackName) -> Mapping[str, Part]:
        """Return where the members of a pack lie; who asks at the same moment shares one read."""
        task = self._indexes.get(pack)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._indexes[pack] = asyncio.ensure_future(self._read_index(pack))
        return await asyncio.shield(task)

    async def _read_index(self, pack: PackName) -> Mapping[str, Part]:
        key = f"{self.prefix}{pack}"
        stored = await self._objects.get_range(key, 0, pack.index_bytes)
        return await asyncio.to_thread(read_index, pack, stored, key)

    async def holding(self, name: str) -> Sequence[PackName]:
        """Return the packs that have that member: more than one if two packed at the same time."""
        return [pack for pack in self.packs if pack.may_hold(name) and name in await self.index(pack)]

    async def names(self) -> set[str]:
        """Return the names of all members of all packs."""
        return {name for pack in self.packs for name in await self.index(pack)}

    async def read(self, name: str) -> bytes | None:
        """Return a member's bytes; None if no pack has it, or has it any more."""
        for pack in self.packs:
            if not pack.may_hold(name):
                continue
            try:
                part = (await self.index(pack)).get(name)
                if part is not None:
                    return await self._objects.get_range(f"{self.prefix}{pack}", part.start, part.length)
            except ObjectMissing:
                continue  # written anew without one of its members since it was listed
        return None
