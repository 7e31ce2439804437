"""What every store promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

OBJECT_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """What a store turned out to do when it was tried.

    ``conditional_writes`` is False for stores that let a second put-if-absent overwrite
    the first; Salvo stays correct there (the manifest fences), but a defence is missing.
    """

    wrote: bool
    read_back: bool
    conditional_writes: bool


class Store(Protocol):
    """Bytes under names. Safe for concurrent use by many tasks of one event loop.

    All methods raise ``StoreUnavailable`` (may pass, already retried a bounded number of
    times) or ``StoreRefused`` (will not pass: credentials, bucket, policy).
    """

    address: str
    """Where this is, for people, without secrets: ``file:///...`` or ``s3://bucket/prefix``."""

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """Store body under key unless the key is taken.

        The object is durable and whole before this returns; a reader never sees half of it.

        Args:
            key: From ``store.keys``, never built by hand.
            body: At most OBJECT_BYTES_MAX bytes.

        Returns:
            True if this call wrote it, False if the key was taken. Calling again with the same
            body is safe, which makes the whole write path safe to retry.
        """
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Store body under key, replacing what is there: the last writer wins, and no reader sees half.

        Only for documents that can be derived again, and for a baseline, which is one person's choice of a
        run at a time.
        """
        ...

    async def get(self, key: str) -> bytes:
        """Return the bytes under key.

        Raises:
            ObjectMissing: Nothing is there.
        """
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return a part of the bytes under key: exactly ``length`` of them, in one request.

        The digest that a store keeps with the whole object does not cover a part: what is read so
        must carry its own.

        Args:
            key: As for ``get``.
            start: The first byte's place, 0 or more.
            length: Bytes, 1 to OBJECT_BYTES_MAX.

        Raises:
            ObjectMissing: Nothing is there.
            ObjectCorrupt: The object ends before the part does.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with prefix, in lexicographic order. Never used for status."""
        ...

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """Yield the distinct next path segments below prefix (which may end mid-segment), in order.

        ``list_folders("runs/0199")`` yields the run ids that begin with 0199, without reading
        what lies below them.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove key; nothing happens when it is not there."""
        ...

    async def probe(self) -> Probe:
        """Write, read, write again if absent, remove: what ``salvo doctor`` prints."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads."""
        ...
