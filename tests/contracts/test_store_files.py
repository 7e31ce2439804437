"""The file store keeps the contract, and what only a disk can do to it."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from salvo_core.errors import ObjectCorrupt, ObjectMissing, StoreRefused, StoreUnavailable
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.protocol import OBJECT_BYTES_MAX, Store
from tests.contracts.store_contract import RUN, StoreContract, folders_of, keys_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not made yet" / "store"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[Store]:
    opened = FileStore(root)
    yield opened
    await opened.aclose()


class TestFileStore(StoreContract):
    """The contract."""


async def test_reading_a_store_that_does_not_exist_makes_nothing(store: Store, root: Path) -> None:
    assert await keys_of(store, "runs/") == []
    with pytest.raises(ObjectMissing):
        await store.get(keys.plan(RUN))
    await store.delete(keys.plan(RUN))
    assert not root.parent.exists()


async def test_the_address_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileStore(Path("here/store"))
    monkeypatch.chdir("/")
    await store.put("a", b"x")
    assert store.address == (tmp_path.resolve() / "here" / "store").as_uri()
    assert (tmp_path / "here" / "store" / "a").read_bytes() == b"x"
    await store.aclose()


async def test_folders_and_files_belong_to_their_owner_alone(store: Store, root: Path) -> None:
    await store.put_if_absent(keys.plan(RUN), b"x")
    await store.put(keys.summary(RUN), b"x")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


async def test_two_stores_in_one_folder_agree_on_the_winner(root: Path) -> None:
    stores = [FileStore(root) for _ in range(4)]
    won = await asyncio.gather(*(store.put_if_absent("a/b", b"x") for store in stores for _ in range(4)))
    assert won.count(True) == 1
    for store in stores:
        await store.aclose()


@pytest.mark.parametrize("step", ["link", "fsync"])
def test_a_writer_killed_before_the_link_leaves_nothing_to_see(root: Path, step: str) -> None:
    script = f"""
        import asyncio, os, signal
        from pathlib import Path
        from salvo_core.store.files import FileStore
        real = os.{step}
        def killed(*arguments, **options):
            # fsync runs for folders first; the one that counts is the draft's
            if "{step}" == "link" or list(Path({str(root)!r}).rglob(".draft-*")):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        os.{step} = killed
        asyncio.run(FileStore(Path({str(root)!r})).put_if_absent({keys.plan(RUN)!r}, b"half"))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -9
    assert len(list(root.rglob(".draft-*"))) == 1

    async def look() -> None:
        store = FileStore(root)
        assert await keys_of(store, "") == []
        assert await folders_of(store, "runs/") == []
        with pytest.raises(ObjectMissing):
            await store.get(keys.plan(RUN))
        assert await store.put_if_absent(keys.plan(RUN), b"whole")
        assert await keys_of(store, "") == [keys.plan(RUN)]
        assert await store.get(keys.plan(RUN)) == b"whole"
        await store.aclose()

    asyncio.run(look())


async def test_the_draft_and_the_folder_are_synced_before_the_caller_hears(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("runs/first", b"x")  # makes the folders
    steps: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def sync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        real_sync(descriptor)

    def link(draft: str, name: str, **where: int) -> None:
        steps.append("link")
        real_link(draft, name, **where)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    await store.put_if_absent("runs/second", b"x")
    assert steps == ["sync file", "link", "sync folder"]


async def test_no_draft_stays_after_a_write_won_lost_or_failed(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_if_absent("a", b"x")
    await store.put_if_absent("a", b"y")
    await store.put("a", b"z")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        await store.put_if_absent("b", b"x")
    assert [path.name for path in root.iterdir()] == ["a"]


async def test_a_store_below_a_file_is_refused_by_every_verb(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for root in (tmp_path / "file" / "store", tmp_path / "file"):
        store = FileStore(root)
        for attempt in (
            store.put_if_absent("a/b", b"x"),
            store.put("a/b", b"x"),
            store.get("a/b"),
            store.probe(),
        ):
            with pytest.raises(StoreRefused, match="file") as refused:
                await attempt
            assert "SALVO_STORE_URL" in refused.value.hint
        with pytest.raises(StoreRefused):
            await keys_of(store, "a/")
        await store.aclose()
    assert (tmp_path / "file").read_text() == "not a folder"


async def test_a_link_inside_the_store_leads_nowhere(store: Store, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    await store.put("inside", b"x")
    (root / "folder").symlink_to(outside)
    (root / "object").symlink_to(outside / "secret")
    for attempt in (
        store.get("folder/secret"),
        store.get("object"),
        store.put("folder/new", b"x"),
        store.put_if_absent("folder/deep/new", b"x"),
        store.delete("folder/secret"),
    ):
        with pytest.raises(StoreRefused, match=r"symbolic link"):
            await attempt
    with pytest.raises(StoreRefused):
        await keys_of(store, "folder/")
    assert await keys_of(store, "") == ["inside"]
    assert await folders_of(store, "") == []
    assert not await store.put_if_absent("object", b"x")
    await store.put("object", b"replaces the link")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_root_that_is_itself_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    store = FileStore(tmp_path / "root")
    await store.put("a/b", b"x")
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"
    await store.aclose()


async def test_files_that_are_not_objects_are_not_listed(store: Store, root: Path) -> None:
    await store.put("a/b", b"x")
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "with space").write_bytes(b"x")
    os.mkfifo(root / "a" / "fifo")
    assert await keys_of(store, "") == ["a/b"]


async def test_a_file_larger_than_any_object_is_not_read(store: Store, root: Path) -> None:
    await store.put("a", b"x")
    with open(root / "a", "r+b") as sparse:
        sparse.truncate(OBJECT_BYTES_MAX + 1)
    with pytest.raises(ObjectCorrupt, match="67,108,865 bytes"):
        await store.get("a")


async def test_a_file_system_without_hard_links_is_refused_with_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(draft: str, name: str, **where: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StoreRefused) as refused:
        await store.put_if_absent("a", b"x")
    assert "hard links" in refused.value.hint


async def test_a_folder_that_becomes_a_link_is_refused_although_it_was_written_to(
    store: Store, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    await store.put("a/b", b"x")
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(outside)
    with pytest.raises(StoreRefused, match=r"symbolic link"):
        await store.put_if_absent("a/c", b"x")
    (root / "a").unlink()
    assert await store.put_if_absent("a/c", b"x")
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["b", "c"]
    assert (root / "a" / "c").exists()
    assert not list(outside.iterdir())


async def test_a_store_that_writes_to_many_folders_keeps_few_of_them_open(store: Store) -> None:
    before = len(os.listdir("/dev/fd"))
    for number in range(200):
        assert await store.put_if_absent(f"runs/{number}/plan.json", b"x")
    assert len(os.listdir("/dev/fd")) < before + 100
    await store.aclose()
    assert len(os.listdir("/dev/fd")) <= before


async def test_a_folder_removed_by_hand_is_made_again(store: Store, root: Path) -> None:
    await store.put(keys.plan(RUN), b"x")
    (root / keys.plan(RUN)).unlink()
    (root / "runs" / RUN).rmdir()
    assert await store.put_if_absent(keys.plan(RUN), b"again")
