"""The manifest for good: a finished run's rows as one object in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from salvo_core.errors import ObjectCorrupt
from salvo_core.manifest.rows import Lines, Row
from salvo_core.trace import codec

SCHEMA = "salvo.manifest/1"

ARCHIVE_BYTES_MAX = 512 * 1024 * 1024
"""Unpacked. A row takes some 215 bytes, more with a judge's part and a long worker's name. The largest run
that can be ordered (``plan.RUN_TRIALS_MAX``) has room, so that whatever is sealed can be read later."""


def encode_rows(run_id: str, rows: Sequence[Row]) -> bytes:
    """Return the stored bytes of a run's rows; equal rows give equal bytes.

    Args:
        run_id: The run.
        rows: In index order.
    """
    if isinstance(rows, Lines):
        lines = list(zip(rows.indices, rows.lines, strict=True))
    else:
        lines = [(row.index, row.encode()) for row in rows]
    body = {"run_id": run_id, "rows": lines}
    return codec.encode(SCHEMA, body, compress=True)[0]


def decode_rows(stored: bytes, where: str) -> Iterator[Row]:
    """Yield the rows that were stored, in index order: each is made when it is asked for.

    Raises:
        ObjectCorrupt: Damaged, or not a manifest.
    """
    body = codec.decode(SCHEMA, stored, where=where, bytes_max=ARCHIVE_BYTES_MAX)
    try:
        for index, line in body["rows"]:
            yield Row.decode(index, line)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ObjectCorrupt(
            f"{where} holds rows that this Salvo cannot read", hint="a newer Salvo may have written it"
        ) from None
