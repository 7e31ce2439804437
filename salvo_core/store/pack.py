"""Many small objects as one: an index in front, then each object's bytes as they were.

::

    <first>.<last>.<digest>.i<bytes>.json.zst  =  index | member | member | ...

The index is a document of its own, compressed like every other, and its length stands in the
pack's name, so that it is one range read, and so is a member. ``first`` and ``last`` are the trace ids
between which all members lie: who looks for one reads no index but that of its pack. ``digest`` is of all
bytes: a pack is written once, two who pack the same traces write the same pack, and what a pack
says cannot be exchanged under its name.

Members are zstd frames, and so is the index: ``zstd -dc PACK | jq .`` shows a pack to whoever has no
Salvo at hand, the index first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salvo_core.errors import ObjectCorrupt
from salvo_core.identity import digest
from salvo_core.trace import codec

SCHEMA = "salvo.pack/1"

PACK_BYTES_MAX = 16 * 1024 * 1024
"""Of a pack's members: what a packer holds in memory at once, and a few requests for a large run."""

MEMBERS_MAX = 10_000
"""In one pack, so that an index stays some tens of kilobytes."""

MEMBER_BYTES_MAX = 1024 * 1024
"""A larger object gains nothing by company: it stays by itself."""

_ID = r"[0-9a-f-]{36}"
_NAME = re.compile(rf"({_ID})\.({_ID})\.([0-9a-f]{{64}})\.i([1-9][0-9]{{0,6}})\.json\.zst")
_MEMBER = re.compile(rf"{_ID}\.a[0-9]{{1,6}}\.json\.zst")
_UNREADABLE = "its traces cannot be found: restore the pack from a backup, or read it with `zstd -dc`"


@dataclass(frozen=True, slots=True)
class PackName:
    """What a pack's name says.

    Attributes:
        first: Trace id that no member's comes before.
        last: Trace id that no member's comes after.
        digest: Sha256 of the pack's bytes.
        index_bytes: How many of them, from the first, are the index.
    """

    first: str
    last: str
    digest: str
    index_bytes: int

    @classmethod
    def parse(cls, name: str) -> PackName | None:
        """Return what a name says, None if it is no pack's."""
        found = _NAME.fullmatch(name)
        return cls(found[1], found[2], found[3], int(found[4])) if found else None

    def __str__(self) -> str:
        return f"{self.first}.{self.last}.{self.digest}.i{self.index_bytes}.json.zst"

    def may_hold(self, member: str) -> bool:
        """Tell whether a member of that name would be in this pack."""
        return self.first <= member[: len(self.first)] <= self.last


@dataclass(frozen=True, slots=True)
class Part:
    """Where a member lies in its pack: bytes from ``start``, ``length`` of them."""

    start: int
    length: int


def build(members: Sequence[tuple[str, bytes]]) -> tuple[PackName, bytes]:
    """Return a pack's name and bytes; equal members give equal packs.

    Args:
        members: (name, bytes) in the order of their names, at least one.
    """
    body = {"members": [[name, len(stored)] for name, stored in members]}
    index, _ = codec.encode(SCHEMA, body, compress=True)
    packed = b"".join([index, *(stored for _, stored in members)])
    first, last = (members[place][0].partition(".")[0] for place in (0, -1))
    return PackName(first, last, digest(packed), len(index)), packed


def read_index(name: PackName, stored: bytes, where: str) -> Mapping[str, Part]:
    """Return where each member of a pack lies.

    Args:
        name: The pack's.
        stored: Its first ``index_bytes`` bytes.
        where: Its key, for the error.

    Raises:
        ObjectCorrupt: They are no index.
    """
    try:
        body = codec.decode(SCHEMA, stored, where=where)
        start, parts = name.index_bytes, {}
        for member, length in body["members"]:
            # A key is made of the name, and a request of the length.
            if (
                not _MEMBER.fullmatch(member)
                or type(length) is not int
                or not 1 <= length <= MEMBER_BYTES_MAX
            ):
                raise ValueError("no member")
            parts[member] = Part(start, length)
            start += length
    except ObjectCorrupt as error:
        raise ObjectCorrupt(error.message, hint=error.hint or _UNREADABLE) from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ObjectCorrupt(f"{where} has an index that Salvo cannot read", hint=_UNREADABLE) from None
    return parts


def require_whole(name: PackName, packed: bytes, where: str) -> bytes:
    """Return a pack's bytes, if they are those that were packed.

    Raises:
        ObjectCorrupt: They are not.
    """
    if digest(packed) != name.digest:
        raise ObjectCorrupt(f"{where} is damaged: its bytes do not match the digest in its name")
    return packed
