"""The door that packs a sealed run: many small traces become a few objects, and are read as before.

A trace is removed from its own place only after its pack was written, read back and found to be
what was written. Dying before that leaves every trace where it was, dying after it leaves some in both
places, which say the same; packing again removes those and goes on. Two who pack at once write the
same packs, or packs that share members: neither removes what is not in a pack.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from salvo_core.errors import ObjectCorrupt, ObjectMissing, UsageError
from salvo_core.manifest.live import Manifest
from salvo_core.observe import Observer
from salvo_core.run.plan import Plan
from salvo_core.run.rescored import SCHEMA as RESCORED
from salvo_core.store import keys
from salvo_core.store.pack import MEMBER_BYTES_MAX, MEMBERS_MAX, PACK_BYTES_MAX
from salvo_core.store.packed import PackedStore
from salvo_core.trace import codec
from salvo_core.trace.stored import SCHEMA

AT_ONCE = 32
"""Traces that are read, or removed, side by side."""

MEMBERS_MIN = 2
"""A trace by itself is one object, in a pack or not."""

Progress = Callable[[int, int], None]
"""Is told how much of how much is done."""

Member = tuple[str, bytes]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Packed:
    """What packing a run came to, or would.

    Attributes:
        alone: Traces that lay in objects of their own when it began.
        packed: Of those, how many went into new packs.
        packs: New packs.
        bytes: Of them.
        removed: Objects that were removed, because a pack has their trace.
        large: Traces that stay by themselves because they are larger than MEMBER_BYTES_MAX.
        left: (key, why) of what was left alone: damaged, or no trace of this run.
        packs_before: Packs that the run had.
    """

    alone: int = 0
    packed: int = 0
    packs: int = 0
    bytes: int = 0
    removed: int = 0
    large: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)
    packs_before: int = 0


async def pack(
    run_id: str,
    *,
    store: PackedStore,
    manifest: Manifest,
    keep: bool = False,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> Packed:
    """Pack the traces of a sealed run, or re-evaluation, and return what that came to.

    Holds one pack's traces in memory at a time. Packs that exist stay as they are.

    Args:
        run_id: The run.
        store: Its objects.
        manifest: Says whether it is sealed.
        keep: Whether traces stay in objects of their own as well; packing again removes them.
        dry_run: Whether nothing is read, written or removed; ``packed`` counts traces in no pack.
        on_progress: Told of traces that were looked at.

    Raises:
        NotFound: Nobody knows the run.
        UsageError: It is not sealed: traces are still added to it.
        ObjectCorrupt: A pack that it has is damaged; nothing was removed that is in it alone.
    """
    observer = Observer(store, manifest)
    state = (await observer.status(run_id)).state
    if state != "sealed":
        raise UsageError(
            f"run {run_id} is {state}: only a sealed run is packed",
            hint=f"`salvo wait {run_id}` returns when it has ended",
        )
    packer = _Packer(await observer.plan(run_id), store, keep, on_progress)
    await packer.look()
    if dry_run:
        packer.done.packed = len(packer.unpacked)
        return packer.done
    if not keep:
        await packer.remove_what_packs_have()
    await packer.pack()
    return packer.done


class _Packer:
    """One packing under way."""

    def __init__(self, plan: Plan, store: PackedStore, keep: bool, on_progress: Progress | None) -> None:
        self.done = Packed()
        self.unpacked: list[str] = []
        """Names of traces that are in no pack, in order."""
        self._twice: list[str] = []
        self._store = store
        self._keep = keep
        self._on_progress = on_progress
        self._schema = SCHEMA if plan.rescore is None else RESCORED
        self._traces = keys.traces(plan.run_id, plan.home)
        self._packs = keys.packs(plan.run_id, plan.home)

    async def look(self) -> None:
        """Find out by names alone what there is to do."""
        alone = [key async for key in self._store.objects.list(self._traces)]
        packs = await self._store.packs(self._packs)
        members = {name for parts in packs.values() for name in parts}
        self.done.packs_before = len(packs)
        self.done.alone = len(alone)
        for key in alone:
            if keys.trace_place(key) is None:
                self.done.left.append((key, "it is no trace of a run"))
                continue
            name = key.removeprefix(self._traces)
            (self._twice if name in members else self.unpacked).append(name)

    async def remove_what_packs_have(self) -> None:
        """Remove the traces that packs already have, each compared byte by byte with what its pack says."""
        packs = await self._store.packs(self._packs)
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        places = {name: pack for pack, parts in packs.items() for name in parts}
        for name in self._twice:
            wanted[str(places[name])].append(name)
        for pack, parts in packs.items():
            if not (names := wanted[str(pack)]):
                continue
            packed = await self._store.read_pack(self._packs, pack)
            for low in range(0, len(names), AT_ONCE):
                window = names[low : low + AT_ONCE]
                same = []
                for name, stored in await self._read(window):
                    start, length = parts[name].start, parts[name].length
                    if stored == packed[start : start + length]:
                        same.append(name)
                    else:
                        self.done.left.append((self._traces + name, "it is not what a pack has in its place"))
                await self._remove(same)

    async def pack(self) -> None:
        """Pack what is in no pack."""
        members: list[Member] = []
        size = 0
        async for name, stored in self._sound():
            if members and (size + len(stored) > PACK_BYTES_MAX or len(members) == MEMBERS_MAX):
                await self._put(members)
                members, size = [], 0
            members.append((name, stored))
            size += len(stored)
        await self._put(members)

    async def _sound(self) -> AsyncIterator[Member]:
        """Yield the traces that are whole and small enough, in order."""
        for low in range(0, len(self.unpacked), AT_ONCE):
            window = self.unpacked[low : low + AT_ONCE]
            read = await self._read(window)
            for member, wrong in await asyncio.to_thread(self._checked, read):
                key = self._traces + member[0]
                if wrong:
                    logger.warning("%s is not packed: %s", key, wrong)
                    self.done.left.append((key, wrong))
                elif len(member[1]) > MEMBER_BYTES_MAX:
                    self.done.large += 1
                else:
                    yield member
            if self._on_progress is not None:
                self._on_progress(low + len(window), len(self.unpacked))

    def _checked(self, read: Sequence[Member]) -> list[tuple[Member, str]]:
        """Return each with what is wrong with it: a pack holds nothing but documents that are whole."""
        found = []
        for name, stored in read:
            try:
                codec.digest_of(self._schema, stored, where=self._traces + name)
                wrong = ""
            except ObjectCorrupt as error:
                wrong = error.message
            found.append(((name, stored), wrong))
        return found

    async def _read(self, names: Sequence[str]) -> list[Member]:
        """Return what lies in objects of their own; what somebody else removed meanwhile is left out."""

        async def one(name: str) -> Member | None:
            try:
                return name, await self._store.objects.get(self._traces + name)
            except ObjectMissing:
                return None
            except ObjectCorrupt as error:
                self.done.left.append((self._traces + name, error.message))
                return None

        return [found for found in await asyncio.gather(*map(one, names)) if found is not None]

    async def _put(self, members: Sequence[Member]) -> None:
        if len(members) < MEMBERS_MIN:
            return
        _, size = await self._store.put_pack(self._packs, members)
        self.done.packs += 1
        self.done.packed += len(members)
        self.done.bytes += size
        if not self._keep:
            await self._remove([name for name, _ in members])

    async def _remove(self, names: Sequence[str]) -> None:
        for low in range(0, len(names), AT_ONCE):
            window = names[low : low + AT_ONCE]
            await asyncio.gather(*(self._store.objects.delete(self._traces + name) for name in window))
            self.done.removed += len(window)
