"""What every store promises. Subclass ``StoreContract`` and give it a ``store`` fixture."""

from __future__ import annotations

import asyncio

import pytest

from salvo_core.errors import ObjectCorrupt, ObjectMissing, StoreRefused, UsageError
from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.store import keys
from salvo_core.store.protocol import OBJECT_BYTES_MAX, Store

RUN = "01970000-0000-7000-8000-000000000001"
OTHER_RUN = "01970000-0000-7000-8000-000000000002"
LATER_RUN = "01980000-0000-7000-8000-000000000003"

AWKWARD = [
    "a%20b",
    "a+b",
    "a&b=c;d,e",
    "'quoted'\"",
    "(x)[y]{z}",
    "~tilde!bang$dollar@at^caret|bar`tick",
    "<xml>&amp;",
    "what?#fragment",
    "%2e%2e",
    "x..y",
    "ends.",
    "CON",
    "-rf",
    "*",
    "s" * 255,
]


async def keys_of(store: Store, prefix: str) -> list[str]:
    """Return all that ``list`` yields."""
    return [key async for key in store.list(prefix)]


async def folders_of(store: Store, prefix: str) -> list[str]:
    """Return all that ``list_folders`` yields."""
    return [name async for name in store.list_folders(prefix)]


class StoreContract:
    """The tests."""

    async def test_what_was_put_is_what_is_got(self, store: Store) -> None:
        body = bytes(range(256)) * 4
        assert await store.put_if_absent(keys.trace(RUN, trace_id_for(RUN, 0), 1), body)
        assert await store.get(keys.trace(RUN, trace_id_for(RUN, 0), 1)) == body

    async def test_nothing_under_a_key_is_said_so(self, store: Store) -> None:
        with pytest.raises(ObjectMissing, match=r"plan\.json"):
            await store.get(keys.plan(RUN))
        assert await keys_of(store, "") == []
        assert await folders_of(store, "runs/") == []

    async def test_a_folder_of_keys_is_not_an_object(self, store: Store) -> None:
        await store.put(keys.plan(RUN), b"plan")
        with pytest.raises(ObjectMissing):
            await store.get(f"runs/{RUN}")
        await store.delete(f"runs/{RUN}")
        assert await store.get(keys.plan(RUN)) == b"plan"

    async def test_a_second_put_of_a_taken_key_changes_nothing(self, store: Store) -> None:
        assert await store.put_if_absent(keys.plan(RUN), b"first")
        assert not await store.put_if_absent(keys.plan(RUN), b"second")
        assert not await store.put_if_absent(keys.plan(RUN), b"first")
        assert await store.get(keys.plan(RUN)) == b"first"

    async def test_of_sixteen_writers_at_once_exactly_one_wins(self, store: Store) -> None:
        for index in range(5):
            key = keys.trace(RUN, trace_id_for(RUN, index), 1)
            bodies = [f"writer {writer}".encode() * 500 for writer in range(16)]
            won = await asyncio.gather(*(store.put_if_absent(key, body) for body in bodies))
            assert sorted(won) == [False] * 15 + [True]
            assert await store.get(key) == bodies[won.index(True)]

    async def test_a_part_is_exactly_the_bytes_asked_for(self, store: Store) -> None:
        body = bytes(range(256)) * 4
        await store.put(keys.plan(RUN), body)
        for start, length in ((0, 1), (0, 1024), (1, 1), (255, 2), (1000, 24), (1023, 1)):
            assert await store.get_range(keys.plan(RUN), start, length) == body[start : start + length]

    async def test_a_part_that_the_object_does_not_reach_is_damage(self, store: Store) -> None:
        await store.put(keys.plan(RUN), b"x" * 10)
        for start, length in ((0, 11), (5, 6), (9, 2), (10, 1), (500, 1)):
            with pytest.raises(ObjectCorrupt, match=r"plan\.json ends before byte"):
                await store.get_range(keys.plan(RUN), start, length)

    async def test_a_part_of_nothing_is_said_so(self, store: Store) -> None:
        with pytest.raises(ObjectMissing, match=r"plan\.json"):
            await store.get_range(keys.plan(RUN), 0, 1)

    @pytest.mark.parametrize(
        ("start", "length"),
        [(-1, 1), (0, 0), (0, -1), (0, OBJECT_BYTES_MAX + 1)],
        ids=["before", "empty", "negative", "too large"],
    )
    async def test_a_part_that_no_object_has_is_refused(self, store: Store, start: int, length: int) -> None:
        await store.put(keys.plan(RUN), b"x")
        with pytest.raises(ValueError, match="no object has a part"):
            await store.get_range(keys.plan(RUN), start, length)

    async def test_parts_read_at_once_are_each_their_own(self, store: Store) -> None:
        body = b"".join(b"%08d" % number for number in range(2000))
        await store.put(keys.plan(RUN), body)
        parts = await asyncio.gather(*(store.get_range(keys.plan(RUN), 8 * n, 8) for n in range(0, 2000, 20)))
        assert parts == [b"%08d" % number for number in range(0, 2000, 20)]

    async def test_put_replaces(self, store: Store) -> None:
        await store.put(keys.summary(RUN), b"a long first version")
        await store.put(keys.summary(RUN), b"short")
        assert await store.get(keys.summary(RUN)) == b"short"

    async def test_a_reader_never_sees_half_a_replacement(self, store: Store) -> None:
        versions = [b"a" * 200_000, b"b" * 300_000]
        await store.put(keys.summary(RUN), versions[0])

        async def write() -> None:
            for turn in range(8):
                await store.put(keys.summary(RUN), versions[turn % 2])

        async def read() -> None:
            for _ in range(16):
                assert await store.get(keys.summary(RUN)) in versions

        await asyncio.gather(write(), read(), read())

    async def test_an_empty_body_is_a_body(self, store: Store) -> None:
        assert await store.put_if_absent(keys.plan(RUN), b"")
        assert not await store.put_if_absent(keys.plan(RUN), b"x")
        assert await store.get(keys.plan(RUN)) == b""

    async def test_a_body_of_five_megabytes_comes_back_whole(self, store: Store) -> None:
        body = bytes(range(256)) * (5 * 1024 * 4)
        assert await store.put_if_absent(keys.plan(RUN), body)
        assert await store.get(keys.plan(RUN)) == body

    async def test_a_body_above_the_limit_is_refused_and_nothing_is_stored(self, store: Store) -> None:
        body = bytes(OBJECT_BYTES_MAX + 1)
        with pytest.raises(StoreRefused, match="67,108,865 bytes"):
            await store.put_if_absent(keys.plan(RUN), body)
        with pytest.raises(StoreRefused):
            await store.put(keys.plan(RUN), body)
        assert await keys_of(store, "") == []

    async def test_a_list_is_in_order_and_holds_its_prefix_alone(self, store: Store) -> None:
        stored = [
            "a",
            "a-b/x",
            "a.b",
            "aa/x",
            "b/a-c",
            "b/a/x",
            "b/a/y/z",
            "b/a0",
            "b0/x",
            "c",
        ]
        for key in reversed(stored):
            await store.put_if_absent(key, b"x")
        assert await keys_of(store, "") == sorted(stored)
        assert await keys_of(store, "b/") == ["b/a-c", "b/a/x", "b/a/y/z", "b/a0"]
        assert await keys_of(store, "b/a") == ["b/a-c", "b/a/x", "b/a/y/z", "b/a0"]
        assert await keys_of(store, "b/a/") == ["b/a/x", "b/a/y/z"]
        assert await keys_of(store, "b/a/y") == ["b/a/y/z"]
        assert await keys_of(store, "c") == ["c"]
        assert await keys_of(store, "z") == []
        assert await keys_of(store, "z/y") == []

    async def test_a_list_longer_than_a_page_is_whole(self, store: Store) -> None:
        expected = [keys.trace(RUN, trace_id_for(RUN, index), 1) for index in range(1050)]
        await asyncio.gather(*(store.put(key, b"x") for key in expected))
        assert await keys_of(store, keys.traces(RUN)) == expected

    async def test_a_list_may_be_left_half_way(self, store: Store) -> None:
        for run_id in (RUN, OTHER_RUN):
            await store.put(keys.plan(run_id), b"x")
        async for key in store.list("runs/"):
            assert key == keys.plan(RUN)
            break
        assert await store.get(keys.plan(RUN)) == b"x"

    async def test_folders_are_the_next_segments_and_each_comes_once(self, store: Store) -> None:
        for run_id in (LATER_RUN, OTHER_RUN, RUN):
            await store.put(keys.plan(run_id), b"x")
            await store.put(keys.trace(run_id, trace_id_for(run_id, 0), 1), b"x")
        await store.put("runs/readme", b"an object is no folder")
        await store.put("top", b"x")
        assert await folders_of(store, "") == ["runs"]
        assert await folders_of(store, keys.RUNS) == [RUN, OTHER_RUN, LATER_RUN]
        assert await folders_of(store, f"runs/{RUN}/") == ["traces"]

    async def test_folders_are_found_by_the_beginning_of_their_name(self, store: Store) -> None:
        for run_id in (LATER_RUN, OTHER_RUN, RUN):
            await store.put(keys.plan(run_id), b"x")
        assert await folders_of(store, "runs/0197") == [RUN, OTHER_RUN]
        assert await folders_of(store, f"runs/{RUN}") == [RUN]
        assert await folders_of(store, "runs/0196") == []
        assert await folders_of(store, "ru") == ["runs"]

    async def test_a_folder_whose_objects_are_gone_is_gone(self, store: Store) -> None:
        await store.put(keys.trace(RUN, trace_id_for(RUN, 0), 1), b"x")
        await store.delete(keys.trace(RUN, trace_id_for(RUN, 0), 1))
        assert await folders_of(store, keys.RUNS) == []
        assert await folders_of(store, "") == []

    async def test_delete_removes_once_and_then_does_nothing(self, store: Store) -> None:
        await store.put(keys.plan(RUN), b"x")
        await store.delete(keys.plan(RUN))
        await store.delete(keys.plan(RUN))
        await store.delete(keys.plan(OTHER_RUN))
        with pytest.raises(ObjectMissing):
            await store.get(keys.plan(RUN))
        assert await store.put_if_absent(keys.plan(RUN), b"again")

    @pytest.mark.parametrize("name", AWKWARD)
    async def test_an_awkward_name_is_a_name_like_any_other(self, store: Store, name: str) -> None:
        key = f"{name}/{name}"
        assert await store.put_if_absent(key, name.encode())
        assert not await store.put_if_absent(key, b"second")
        assert await store.get(key) == name.encode()
        assert await keys_of(store, "") == [key]
        assert await keys_of(store, name) == [key]
        assert await folders_of(store, "") == [name]
        await store.delete(key)
        assert await keys_of(store, "") == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "./a",
            "a//b",
            "a/",
            ".hidden",
            "a/.b",
            "a\\b",
            "a\0b",
            "a\nb",
            "a b",
            "käse",
            "\ud800",
            "s" * 256,
            "/".join(["s" * 200] * 5),
        ],
    )
    async def test_a_key_that_is_none_is_refused_by_every_verb(self, store: Store, key: str) -> None:
        for attempt in (
            store.put_if_absent(key, b"x"),
            store.put(key, b"x"),
            store.get(key),
            store.get_range(key, 0, 1),
            store.delete(key),
        ):
            with pytest.raises(UsageError, match="is not a key"):
                await attempt

    @pytest.mark.parametrize("prefix", ["/", "..", "a/../", "a//", ".", "a/.", "a b", "ä"])
    async def test_a_prefix_that_no_key_has_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(UsageError, match="is not a prefix"):
            await keys_of(store, prefix)
        with pytest.raises(UsageError, match="is not a prefix"):
            await folders_of(store, prefix)

    async def test_a_probe_finds_a_good_store_and_leaves_nothing_behind(self, store: Store) -> None:
        found = await store.probe()
        assert (found.wrote, found.read_back, found.conditional_writes) == (True, True, True)
        assert await keys_of(store, "") == []
        assert await folders_of(store, "") == []

    async def test_a_closed_store_is_not_used_and_may_be_closed_again(self, store: Store) -> None:
        await store.put(keys.plan(RUN), b"x")
        await store.aclose()
        await store.aclose()
        with pytest.raises(RuntimeError):
            await store.get(keys.plan(RUN))

    async def test_many_callers_at_once_each_get_their_own(self, store: Store) -> None:
        run_ids = [new_run_id() for _ in range(64)]
        await asyncio.gather(*(store.put(keys.plan(run_id), run_id.encode()) for run_id in run_ids))
        bodies = await asyncio.gather(*(store.get(keys.plan(run_id)) for run_id in run_ids))
        assert bodies == [run_id.encode() for run_id in run_ids]
