"""What every store checks, in one place: names, sizes, and whether a store really works.

A key is one to ``KEY_LENGTH_MAX`` visible ASCII characters, in segments parted by single
slashes; no segment is empty, begins with a dot, or is longer than a file name may be. So a
key can neither climb out of a folder nor meet a store's own draft files, and every store
takes exactly the same keys. No key may be a folder of another one.
"""

from __future__ import annotations

import re

from salvo_core.errors import ObjectCorrupt, StoreRefused, UsageError
from salvo_core.identity import digest, new_run_id
from salvo_core.store.protocol import OBJECT_BYTES_MAX, Probe, Store

KEY_LENGTH_MAX = 900
"""Characters in a key: S3 allows 1024 bytes, and the store's own prefix needs some of them."""

_SEGMENT = r"[!-\-0-\[\]-~][!-.0-\[\]-~]{0,254}"  # visible ASCII but / and \; no dot to begin with
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def is_key(text: str) -> bool:
    """Tell whether text is a key a store would take."""
    return len(text) <= KEY_LENGTH_MAX and _KEY.fullmatch(text) is not None


def require_key(key: str) -> str:
    """Return key if it is one.

    Raises:
        UsageError: It is not; the message quotes at most 80 characters of it.
    """
    if not is_key(key):
        raise UsageError(
            f"{key[:80]!r} is not a key of the store", hint="build keys with salvo_core.store.keys"
        )
    return key


def require_prefix(prefix: str) -> str:
    """Return prefix if some key could begin with it; the empty prefix begins them all.

    Raises:
        UsageError: None could; the message quotes at most 80 characters of it.
    """
    if not is_key(prefix) and not is_key(prefix + "x"):
        raise UsageError(
            f"{prefix[:80]!r} is not a prefix of keys of the store",
            hint="build keys with salvo_core.store.keys",
        )
    return prefix


def require_storable(key: str, body: bytes) -> None:
    """Refuse a body that no store takes.

    Raises:
        StoreRefused: It is larger than OBJECT_BYTES_MAX.
    """
    if len(body) > OBJECT_BYTES_MAX:
        raise StoreRefused(
            f"{key} would be {len(body):,} bytes, and an object may have {OBJECT_BYTES_MAX:,} at most",
            hint="bound what a trial may produce: limits.max_turns, limits.max_tokens",
        )


def require_readable(key: str, size_bytes: int) -> None:
    """Refuse to read what no store would have written; asked before the bytes are read.

    Raises:
        ObjectCorrupt: It is larger than OBJECT_BYTES_MAX.
    """
    if size_bytes > OBJECT_BYTES_MAX:
        raise ObjectCorrupt(
            f"{key} has {size_bytes:,} bytes; Salvo writes {OBJECT_BYTES_MAX:,} at most, so it is not ours",
            hint="find out who else writes to this store",
        )


def require_part(start: int, length: int) -> None:
    """Refuse a part that no object can have.

    Raises:
        ValueError: It begins before the object, or is empty or larger than OBJECT_BYTES_MAX.
    """
    if start < 0 or not 1 <= length <= OBJECT_BYTES_MAX:
        raise ValueError(f"no object has a part of {length} bytes at {start}")


def require_reached(key: str, part: bytes, start: int, length: int) -> bytes:
    """Return a part that was read, if it is all there.

    Raises:
        ObjectCorrupt: The object ended before it.
    """
    if len(part) != length:
        raise ObjectCorrupt(
            f"{key} ends before byte {start + length:,}: it is not the object that was written",
            hint="`salvo audit` names the trials concerned",
        )
    return part


def require_digest(key: str, body: bytes, expected: str) -> None:
    """Refuse bytes that are not those that were written.

    Raises:
        ObjectCorrupt: The sha256 of body is not the expected one.
    """
    if digest(body) != expected:
        raise ObjectCorrupt(
            f"{key} does not match the digest stored with it: its bytes changed after they were written",
            hint="check the disks or the proxy in between; `salvo audit` names all objects concerned",
        )


async def probe_by_trying(store: Store) -> Probe:
    """Return what the store did with an object of our own, which is removed again.

    Writes, reads, writes once more if absent, and removes, under a fresh name below ``probes/``.

    Raises:
        StoreUnavailable: See ``Store``.
        StoreRefused: See ``Store``.
    """
    key = f"probes/{new_run_id()}"
    first, second = b"written by a probe of this store", b"must not be written"
    wrote = await store.put_if_absent(key, first)
    try:
        read_back = await store.get(key) == first
        overwritten = await store.put_if_absent(key, second)
    finally:
        await store.delete(key)
    return Probe(wrote=wrote, read_back=read_back, conditional_writes=not overwritten)
