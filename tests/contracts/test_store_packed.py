"""A store that has packs keeps the contract, and a packed trace is read like any other."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.identity import trace_id_for
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.memory import MemoryStore
from salvo_core.store.pack import PackName, build, read_index, require_whole
from salvo_core.store.packed import PackedStore
from salvo_core.store.protocol import Store
from salvo_core.store.s3 import S3Store
from salvo_core.trace import codec
from tests.contracts.store_contract import RUN, StoreContract, keys_of
from tests.servers.minio import MinioServer

NAMES = [f"{trace_id_for(RUN, index)}.a1.json.zst" for index in range(6)]
PACKS = keys.packs(RUN)
TRACES = keys.traces(RUN)


def document(index: int) -> bytes:
    """Return what a trace's object looks like."""
    return codec.encode("salvo.trace/1", {"index": index}, compress=True)[0]


MEMBERS = [(name, document(index)) for index, name in enumerate(NAMES)]


class TestPackedStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return PackedStore(MemoryStore())


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.servers)])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each store that runs are kept in."""
    if request.param == "files":
        opened: Store = FileStore(tmp_path / "store")
    else:
        minio: MinioServer = request.getfixturevalue("minio")
        bucket: str = request.getfixturevalue("bucket")
        opened = S3Store(bucket, "deep/prefix", endpoint_url=minio.endpoint_url)
    yield opened
    await opened.aclose()


async def test_a_packed_trace_is_read_listed_and_removed_under_its_own_key(objects: Store) -> None:
    store = PackedStore(objects)
    await store.put_pack(PACKS, MEMBERS[:4])
    await store.put(TRACES + NAMES[4], MEMBERS[4][1])
    assert await keys_of(store, TRACES) == [TRACES + name for name in NAMES[:5]]
    assert await keys_of(store, TRACES + NAMES[2][:36]) == [TRACES + NAMES[2]]
    for name, stored in MEMBERS[:5]:
        assert await store.get(TRACES + name) == stored
        assert await PackedStore(objects).get(TRACES + name) == stored
        assert await store.get_range(TRACES + name, 1, 5) == stored[1:6]
    with pytest.raises(ObjectMissing):
        await store.get(TRACES + NAMES[5])
    await store.delete(TRACES + NAMES[1])
    with pytest.raises(ObjectMissing):
        await store.get(TRACES + NAMES[1])
    assert await keys_of(PackedStore(objects), TRACES) == [TRACES + NAMES[n] for n in (0, 2, 3, 4)]
    for n in (0, 2, 3):
        await store.delete(TRACES + NAMES[n])
    assert await keys_of(objects, PACKS) == []
    assert await store.get(TRACES + NAMES[4]) == MEMBERS[4][1]


async def test_who_knows_an_older_pack_finds_the_trace_in_the_newer_one(objects: Store) -> None:
    reader, other = PackedStore(objects), PackedStore(objects)
    await other.put_pack(PACKS, MEMBERS)
    assert await reader.get(TRACES + NAMES[0]) == MEMBERS[0][1]
    await other.delete(TRACES + NAMES[3])
    assert await reader.get(TRACES + NAMES[5]) == MEMBERS[5][1]
    with pytest.raises(ObjectMissing):
        await reader.get(TRACES + NAMES[3])


async def test_a_trace_that_is_packed_while_it_is_read_is_found_in_its_pack() -> None:
    objects = MemoryStore()
    packer = PackedStore(objects)

    class Slow(MemoryStore):
        """Loses the race: what it looks for by itself is packed and removed before it has looked."""

        async def get(self, key: str) -> bytes:
            if key.startswith(TRACES) and not [key async for key in objects.list(PACKS)]:
                await packer.put_pack(PACKS, MEMBERS)
                await objects.delete(key)
            return await objects.get(key)

        def list(self, prefix: str) -> AsyncIterator[str]:
            return objects.list(prefix)

        async def get_range(self, key: str, start: int, length: int) -> bytes:
            return await objects.get_range(key, start, length)

    await objects.put(TRACES + NAMES[0], MEMBERS[0][1])
    assert await PackedStore(Slow()).get(TRACES + NAMES[0]) == MEMBERS[0][1]


async def test_a_trace_by_itself_is_read_without_asking_for_packs() -> None:
    class Strict(MemoryStore):
        def list(self, prefix: str) -> AsyncIterator[str]:
            raise AssertionError("nobody may list")

    objects = Strict()
    await objects.put(TRACES + NAMES[0], b"x")
    assert await PackedStore(objects).get(TRACES + NAMES[0]) == b"x"
    assert await PackedStore(objects).put_if_absent(TRACES + NAMES[1], b"x")


async def test_of_two_packs_that_have_a_trace_either_will_do() -> None:
    store = PackedStore(MemoryStore())
    await asyncio.gather(store.put_pack(PACKS, MEMBERS[:4]), store.put_pack(PACKS, MEMBERS[2:]))
    assert await keys_of(store, TRACES) == [TRACES + name for name in NAMES]
    await store.delete(TRACES + NAMES[3])
    assert TRACES + NAMES[3] not in await keys_of(store, TRACES)
    assert await store.get(TRACES + NAMES[2]) == MEMBERS[2][1]


async def test_a_damaged_index_is_said_and_a_damaged_pack_is_never_taken_for_whole() -> None:
    objects = MemoryStore()
    store = PackedStore(objects)
    pack, _ = await store.put_pack(PACKS, MEMBERS)
    whole = await objects.get(f"{PACKS}{pack}")
    await objects.put(f"{PACKS}{pack}", whole[:-1] + b"?")
    with pytest.raises(ObjectCorrupt, match="digest in its name"):
        await PackedStore(objects).read_pack(PACKS, pack)
    await objects.put(f"{PACKS}{pack}", b"?" * len(whole))
    with pytest.raises(ObjectCorrupt, match="packs/"):
        await PackedStore(objects).get(TRACES + NAMES[0])
    await objects.put(f"{PACKS}{pack}", whole[:20])
    with pytest.raises(ObjectCorrupt, match="ends before byte"):
        await PackedStore(objects).get(TRACES + NAMES[0])


@pytest.mark.parametrize(
    "members",
    [
        [["../../plan.json", 5]],
        [[NAMES[0], 0]],
        [[NAMES[0], True]],
        [[NAMES[0], 10**9]],
        [[NAMES[0]]],
        [5],
        {"a": 1},
        None,
    ],
    ids=["path", "empty", "bool", "large", "short", "number", "mapping", "none"],
)
def test_an_index_that_somebody_else_made_is_read_with_suspicion(members: object) -> None:
    index, _ = codec.encode("salvo.pack/1", {"members": members}, compress=True)
    with pytest.raises(ObjectCorrupt, match="the pack"):
        read_index(PackName(RUN, RUN, "0" * 64, len(index)), index, "the pack")


def test_a_pack_is_read_by_stock_tools_frame_by_frame() -> None:
    _, packed = build(MEMBERS)
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True)
    text = reader.read().decode()
    decoder, place, found = json.JSONDecoder(), 0, []
    while place < len(text):
        one, place = decoder.raw_decode(text, place)
        found.append(one)
    assert [one["body"].get("index") for one in found] == [None, 0, 1, 2, 3, 4, 5]


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=30))
def test_every_member_of_a_pack_is_where_its_index_says(bodies: list[bytes]) -> None:
    members = [(f"{trace_id_for(RUN, index)}.a1.json.zst", body) for index, body in enumerate(bodies)]
    name, packed = build(members)
    assert PackName.parse(str(name)) == name
    assert build(members) == (name, packed)
    parts = read_index(name, packed[: name.index_bytes], "pack")
    assert [(one, packed[p.start : p.start + p.length]) for one, p in parts.items()] == members
    assert all(name.may_hold(one) for one in parts)
    with pytest.raises(ObjectCorrupt):
        require_whole(name, packed + b"x", "pack")
