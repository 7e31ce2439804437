"""Bytes of every document Salvo stores: schema name, digest inside, compression.

A stored document is one line of JSON, ``{"schema":..., "digest":..., "body":{...}}``,
zstd-compressed when its key says so. The digest is the sha256 of the body's bytes as they
stand and travels *inside* the object rather than in the store's metadata, so a bucket
that was copied to another store or to a disk can still be checked.

**The level, and no dictionary**, by ``python -m benchmarks.compression`` (traces of 4 and of 10 turns,
7.4 and 14.5 kB as JSON; bytes are exact, microseconds of CPU of one machine):

=====  ================  ============  ==========================  ==========================
level  bytes, 4 and 10   write, µs     with a dictionary of        with one of the same
       turns                           other scenarios, bytes      scenarios, bytes
=====  ================  ============  ==========================  ==========================
1      2,221  2,742      27   29       1,879  2,035                1,160  1,572
3      2,190  2,692      29   34       1,680  1,930                  994  1,410
6      2,082  2,494      61   80       1,367  1,607                  844  1,193
9      2,081  2,484      117  209      1,326  1,532                  795  1,121
19     2,056  2,451      1,864 3,857   1,280  1,465                  749  1,048
=====  ================  ============  ==========================  ==========================

Level 6 is the last that gains anything to speak of: 5 to 7 % under level 3 for 0.05 ms of a trial's
several. A dictionary that is shipped would take off a third more, less on vocabulary that it was not
trained on; one for each run, more than half. Both are declined: ``zstd -d`` could not read a trace
without exactly that dictionary, so it would have to be kept for ever and lie beside every copy, and what
it saves is small money. A hundred thousand traces are 210 MB; a third of that costs less to store for a
year than the requests that wrote them once. What is dear about small objects is their number: see
``store.pack``.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import zstandard
from pydantic import BaseModel, ValidationError

from salvo_core.errors import ObjectCorrupt, ObjectNewer
from salvo_core.identity import canonical_json, digest

Model = TypeVar("Model", bound=BaseModel)

DOCUMENT_BYTES_MAX = 64 * 1024 * 1024
"""A document larger than this is refused when read: no trace of ours comes near it, a bomb does."""

ZSTD_LEVEL = 6
"""By measurement: see above. Readers do not care, so it may change at any time."""

_DIGEST_LENGTH = 64
_BODY = b'","body":'
_SCHEMA = re.compile(r"(salvo\.[a-z-]{1,40})/([1-9][0-9]{0,5})")


def encode(schema: str, body: Any, *, compress: bool) -> tuple[bytes, str]:
    """Return a document's stored bytes and the digest of its body.

    Args:
        schema: Name and version, for example ``salvo.trace/1``.
        body: JSON-ready document.
        compress: Whether to zstd the line; keys that end in ``.zst`` want it.

    Returns:
        (bytes, 64 hex digits). Equal bodies give equal bytes: zstd at one level is deterministic.
    """
    raw = canonical_json(body)
    mark = digest(raw)
    line = b'{"schema":"%s","digest":"%s","body":%s}' % (schema.encode(), mark.encode(), raw)
    return (zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(line) if compress else line), mark


def decode(
    schema: str,
    stored: bytes,
    *,
    where: str,
    expected_digest: str | None = None,
    bytes_max: int = DOCUMENT_BYTES_MAX,
) -> Any:
    """Return the body of a stored document after checking it.

    Args:
        schema: The name and version the caller can read.
        stored: Bytes as read from the store.
        where: The key, for the error.
        expected_digest: What the row or name that led here says the digest is.
        bytes_max: What it may unpack to.

    Raises:
        ObjectNewer: The same kind of document in a later version.
        ObjectCorrupt: Not ours, another schema, damaged, or not the document that was promised.
    """
    mark, raw = _checked(schema, stored, where, bytes_max)
    if expected_digest is not None and mark != expected_digest:
        raise ObjectCorrupt(
            f"{where} is not the object its manifest row names: "
            f"its digest begins {mark[:12]}, the row's {expected_digest[:12]}"
        )
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # whole, but never written by us: the digest is no signature
        raise ObjectCorrupt(f"{where} holds no JSON that Salvo can read") from None


def validated(
    model: type[Model], body: Any, *, where: str, what: str, hint: str = "a newer Salvo may have written it"
) -> Model:
    """Return a document's body as what it says it is.

    Args:
        model: What it is read as.
        body: From ``decode``.
        where: The key, for the error.
        what: What it should hold, for the error: ``a plan``.
        hint: What to do about one that cannot be read.

    Raises:
        ObjectCorrupt: It is no such thing.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise ObjectCorrupt(
            f"{where} holds {what} that this Salvo cannot read ({error.error_count()} problems)", hint=hint
        ) from None


def digest_of(schema: str, stored: bytes, *, where: str) -> str:
    """Return the digest of a stored document's body; checks and raises as ``decode`` does."""
    return _checked(schema, stored, where)[0]


def _checked(
    schema: str, stored: bytes, where: str, bytes_max: int = DOCUMENT_BYTES_MAX
) -> tuple[str, bytes]:
    """Return the digest and the bytes of the body, which match each other."""
    line = _decompress(stored, where, bytes_max)
    head = b'{"schema":"%s","digest":"' % schema.encode()
    if not line.startswith(head):
        raise _another(schema, line, where)
    mark_end = len(head) + _DIGEST_LENGTH
    start = mark_end + len(_BODY)
    mark, raw = line[len(head) : mark_end].decode("ascii", "replace"), line[start:-1]
    # The frame is compared too: what stands around the body is not covered by its digest.
    if line[mark_end:start] != _BODY or line[-1:] != b"}" or digest(raw) != mark:
        raise ObjectCorrupt(f"{where} is damaged: its bytes do not match the digest it carries")
    return mark, raw


def _decompress(stored: bytes, where: str, bytes_max: int) -> bytes:
    if not stored.startswith(b"\x28\xb5\x2f\xfd"):  # zstd's magic number
        return stored
    try:
        size = zstandard.get_frame_parameters(stored).content_size
        if size > bytes_max:  # also CONTENTSIZE_UNKNOWN, which is 2**64 - 1
            raise ObjectCorrupt(f"{where} unpacks to more than {bytes_max} bytes")
        return zstandard.ZstdDecompressor().decompress(
            stored, max_output_size=bytes_max, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise ObjectCorrupt(f"{where} is damaged: {error}") from None


def _another(schema: str, line: bytes, where: str) -> ObjectCorrupt:
    """Return what to say of a document that is not of the schema."""
    try:
        found = str(json.loads(line).get("schema"))[:60]
    except (ValueError, AttributeError, RecursionError):
        return ObjectCorrupt(f"{where} is not a {schema} document")
    ours, theirs = _SCHEMA.fullmatch(schema), _SCHEMA.fullmatch(found)
    if ours and theirs and ours[1] == theirs[1] and int(theirs[2]) > int(ours[2]):
        return ObjectNewer(
            f"{where} was written by a newer Salvo: it is {found}, and this one reads {schema}",
            hint="upgrade Salvo to read it",
        )
    return ObjectCorrupt(f"{where} is not a {schema} document but {found!r}")
