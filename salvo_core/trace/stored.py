"""A trial's record as it lies in the store."""

from __future__ import annotations

from salvo_core.trace import codec
from salvo_core.trace.model import Trace

SCHEMA = "salvo.trace/1"


def read_trace(stored: bytes, where: str, expected_digest: str | None = None) -> Trace:
    """Return the trace that was stored.

    Raises:
        ObjectCorrupt: Damaged, not a trace, or not the one that expected_digest names.
    """
    body = codec.decode(SCHEMA, stored, where=where, expected_digest=expected_digest)
    return codec.validated(Trace, body, where=where, what="a trace")
