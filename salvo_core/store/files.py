"""Objects as files below one folder (POSIX): the store of a laptop, or of machines that share a disk.

A body is written to a draft beside its place, synced, and then linked into place, which
fails if the name is taken: atomic, and the first writer wins. The folder is synced before
anybody hears of it. Drafts begin with a dot, as no key does, so what a killed writer leaves
behind is never listed or read. No symbolic link below the root is followed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from salvo_core.errors import ObjectMissing, SalvoError, StoreRefused, StoreUnavailable
from salvo_core.store.checked import (
    is_key,
    probe_by_trying,
    require_key,
    require_part,
    require_prefix,
    require_reached,
    require_readable,
    require_storable,
)
from salvo_core.store.protocol import Probe
from salvo_core.store.threads import Threads

_FOLDER_MODE = 0o700  # traces quote what people said to an agent: nobody else's business
_FILE_MODE = 0o600

_FOLDERS_MAX = 64
"""Folders that are kept open for writing; a worker writes to one for each run it works on."""

_RIGHTS = "give the user that runs Salvo the right to write there, or set SALVO_STORE_URL to another place"
_PLACE = "set SALVO_STORE_URL to a folder of its own, such as file:///var/lib/salvo"
_REFUSALS = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: f"a file lies where a folder is needed; {_PLACE}",
    errno.EEXIST: f"a file lies where a folder is needed; {_PLACE}",
    errno.EISDIR: f"a folder lies where a file is needed; {_PLACE}",
    errno.ELOOP: f"no symbolic link inside the store is followed; {_PLACE}",
    errno.ENAMETOOLONG: "choose a shorter path for the store",
    errno.EOPNOTSUPP: f"this file system has no hard links, which make a write happen once; {_PLACE}",
}
_FAILURES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space, or raise it",
    errno.EIO: "the disk reports errors: look at the kernel's log",
}


class _Entry(NamedTuple):
    key: str
    is_folder: bool


class FileStore:
    """Keeps the promises of ``Store`` in a folder. Any number of processes may share it.

    Args:
        root: The folder; made with mode 0700 by the first write. Reading a store whose folder
            does not exist finds nothing, and makes nothing.
        pool_size: Threads for the blocking calls, 1 or more.
    """

    def __init__(self, root: Path, *, pool_size: int = 8) -> None:
        self._root = Path(os.path.realpath(root))
        self.address = self._root.as_uri()
        self._threads = Threads(pool_size, "salvo-files")
        self._open: dict[Path, _Folder] = {}  # whose names this process knows to be on the disk
        self._books = threading.Lock()  # over _open, which many threads write

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """See ``Store.put_if_absent``."""
        path = self._path(key)
        require_storable(key, body)
        return await self._threads.run(partial(self._write, path, body, _link_into_place))

    async def put(self, key: str, body: bytes) -> None:
        """See ``Store.put``."""
        path = self._path(key)
        require_storable(key, body)
        await self._threads.run(partial(self._write, path, body, _move_into_place))

    async def get(self, key: str) -> bytes:
        """See ``Store.get``.

        Raises:
            ObjectMissing: Nothing is there.
            ObjectCorrupt: What is there is larger than any object.
        """
        return await self._threads.run(partial(self._read, key, self._path(key)))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ``Store.get_range``."""
        path = self._path(key)
        require_part(start, length)
        part = await self._threads.run(partial(self._read, key, path, start, length))
        return require_reached(key, part, start, length)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list``. The names of one folder at a time are held in memory."""
        folder, _, start = require_prefix(prefix).rpartition("/")
        async for key in self._threads.each(self._walk(folder, start)):
            yield key

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list_folders``. A folder that holds no object is none, as on S3."""
        folder, _, start = require_prefix(prefix).rpartition("/")
        async for name in self._threads.each(self._folders(folder, start)):
            yield name

    async def delete(self, key: str) -> None:
        """See ``Store.delete``. Folders stay: removing one could hit a writer that just made it."""
        await self._threads.run(partial(self._remove, self._path(key)))

    async def probe(self) -> Probe:
        """See ``Store.probe``."""
        return await probe_by_trying(self)

    async def aclose(self) -> None:
        """See ``Store.aclose``. Writes in hand are completed first."""
        await self._threads.aclose()
        self._open.clear()

    def _path(self, key: str) -> Path:
        return self._root / require_key(key)

    def _write(self, path: Path, body: bytes, into_place: Callable[[str, str, int], bool]) -> bool:
        """Write a body; every call of the system here is a moment when some other thread takes over.

        So there are few of them: a path that was looked at once is not looked at again, name by name.
        """
        with _translated(path):
            folder = self._opened(path.parent)
            draft, inside = f".draft-{uuid4().hex}", folder.descriptor
            try:
                _write_synced(draft, body, inside)
                placed = into_place(draft, path.name, inside)
            except BaseException:
                _discard(draft, inside)
                raise
            # Also when the name was taken: its writer may not have come this far yet.
            _sync(inside)
        return placed

    def _opened(self, path: Path) -> _Folder:
        """Return a folder to write into, open: made if need be, and no link on its way when it was opened."""
        folder = self._open.get(path)
        if folder is None or not folder.is_in_place():
            self._make_folder(path)
            folder = _Folder(path)
            with self._books:
                self._open.pop(path, None)
                self._open[path] = folder
                while len(self._open) > _FOLDERS_MAX:
                    del self._open[next(iter(self._open))]  # whoever writes there keeps it open
        return folder

    def _make_folder(self, folder: Path) -> None:
        """Make folder and all above it, each name on the disk before anything is put inside.

        Somebody else may have made a folder below the root a moment ago and not have synced it
        yet, so this process syncs each one once, whoever made it.
        """
        self._refuse_links(folder)
        for level in reversed((folder, *folder.parents)):
            made = not level.is_dir()
            if made:
                level.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            if made or (level != self._root and level.is_relative_to(self._root)):
                _sync_folder(level.parent)

    def _read(self, key: str, path: Path, start: int = 0, length: int = -1) -> bytes:
        with _translated(path):
            self._refuse_links(path.parent)
            try:
                with open(path, "rb", opener=_open_no_link) as file:
                    require_readable(key, os.fstat(file.fileno()).st_size)
                    file.seek(start)
                    return file.read(length)
            except (FileNotFoundError, IsADirectoryError):
                raise ObjectMissing(f"nothing is stored under {key} in {self.address}") from None

    def _remove(self, path: Path) -> None:
        with _translated(path):
            self._refuse_links(path.parent)
            try:
                path.unlink()
            except (FileNotFoundError, IsADirectoryError):
                return
            _sync_folder(path.parent)

    def _walk(self, folder: str, start: str = "") -> Iterator[str]:
        for entry in sorted(self._entries(folder, start), key=_place_in_list):
            if entry.is_folder:
                yield from self._walk(entry.key)
            else:
                yield entry.key

    def _folders(self, folder: str, start: str) -> Iterator[str]:
        for entry in sorted(self._entries(folder, start), key=_place_in_list):
            if entry.is_folder and self._holds_objects(entry.key):
                yield entry.key.rpartition("/")[2]

    def _holds_objects(self, folder: str) -> bool:
        below = []
        for entry in self._entries(folder):
            if not entry.is_folder:
                return True
            below.append(entry.key)
        return any(self._holds_objects(inner) for inner in below)

    def _entries(self, folder: str, start: str = "") -> Iterator[_Entry]:
        """Yield what lies in a folder and begins with start, in no order; drafts and strangers left out."""
        path = self._root / folder
        with _translated(path):
            self._refuse_links(path)
            try:
                found = os.scandir(path)
            except FileNotFoundError:
                return
        with found, _translated(path):
            for item in found:
                key = f"{folder}/{item.name}" if folder else item.name
                if not item.name.startswith(start) or not is_key(key):
                    continue
                if item.is_dir(follow_symlinks=False):
                    yield _Entry(key, True)
                elif item.is_file(follow_symlinks=False):
                    yield _Entry(key, False)

    def _refuse_links(self, folder: Path) -> None:
        """Refuse a folder whose path below the root holds a symbolic link: it may lead anywhere."""
        if os.path.realpath(folder) != str(folder):
            raise StoreRefused(f"{folder} leads through a symbolic link", hint=_REFUSALS[errno.ELOOP])


def _place_in_list(entry: _Entry) -> str:
    """Return by what to sort one folder's entries so that all keys below them come in order.

    "a-b" comes before "a/b", as it does on S3, although the folder "a" comes before "a-b".
    """
    return f"{entry.key}/" if entry.is_folder else entry.key


class _Folder:
    """A folder that is kept open: what is written through it lands in it, whatever its path becomes.

    Attributes:
        descriptor: Open as long as anybody holds this object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._opened = os.fstat(self.descriptor)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def is_in_place(self) -> bool:
        """Tell whether its path still leads to it: somebody may have removed it, or put a link there."""
        try:
            return os.path.samestat(os.lstat(self._path), self._opened)
        except OSError:
            return False


def _link_into_place(draft: str, name: str, inside: int) -> bool:
    try:
        os.link(draft, name, src_dir_fd=inside, dst_dir_fd=inside, follow_symlinks=False)
    except FileExistsError:
        return False
    except PermissionError as refused:
        if refused.errno == errno.EPERM:  # what Linux says where it means "no hard links on this file system"
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)) from refused
        raise
    finally:
        _discard(draft, inside)
    return True


def _move_into_place(draft: str, name: str, inside: int) -> bool:
    os.replace(draft, name, src_dir_fd=inside, dst_dir_fd=inside)
    return True


def _write_synced(name: str, body: bytes, inside: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE, dir_fd=inside)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(draft: str, inside: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=inside)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as unsupported:
        # Some network file systems cannot sync a folder; they write names through by themselves.
        if unsupported.errno != errno.EINVAL:
            raise


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise store_error(failure, path) from failure


def store_error(failure: OSError, path: Path) -> SalvoError:
    """Return the error of ours for what the operating system said about path."""
    message = f"the file store cannot use {path}: {failure.strerror or type(failure).__name__}"
    if failure.errno in _REFUSALS:
        return StoreRefused(message, hint=_REFUSALS[failure.errno])
    return StoreUnavailable(
        message, hint=_FAILURES.get(failure.errno or 0, "try again; the store is unchanged")
    )
