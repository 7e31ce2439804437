"""Names and digests: who a run and a trial are, and what bytes are called.

A run id is a fresh uuid7. The trace id of its n-th trial is *derived* from it: the
same 48-bit millisecond time stamp, the trial's index, and a salt taken from a hash
of the run id. So every trial has its name before anything can fail, a submission
that dies half way makes the same names when it is continued, the plan of a million
trials stays a few kilobytes, and the runs a trace may belong to are found by the
time stamp the two ids share (``run_prefix``), without an index to keep.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any
from uuid import UUID

from salvo_core.errors import UsageError

INDEX_MAX = 2**32 - 1
_ID_LENGTH = 36
_PREFIX_LENGTH = 13  # the 48-bit time stamp: 8 hex digits, a dash, 4 hex digits


def new_run_id() -> str:
    """Return a fresh uuid7 in its canonical text form (36 characters, lower case)."""
    import uuid6  # looks for its own version in all that is installed: whoever makes no run need not wait

    return str(uuid6.uuid7())


def trace_id_for(run_id: str, index: int) -> str:
    """Return the trace id of a run's trial: a valid uuid7, the same on every call.

    Args:
        run_id: The run's uuid7.
        index: The trial's place in the run, 0 <= index <= INDEX_MAX.

    Returns:
        48 bits of the run's time stamp in ms, then 12 + 20 bits of index, then 42 bits
        of salt: ids of one run sort by index and do not collide between runs.

    Source:
        RFC 9562, section 5.7 (layout of version 7; rand_a and rand_b are ours to fill).
    """
    if not 0 <= index <= INDEX_MAX:
        raise ValueError(f"trial index {index} is outside 0..{INDEX_MAX}")
    stamp, salt = _of_all_trials(run_id)
    low = f"{0b10 << 62 | (index & 0xFFFFF) << 42 | salt:016x}"
    # Written down by hand: a submission makes a hundred thousand of them.
    return f"{stamp}-7{index >> 20:03x}-{low[:4]}-{low[4:]}"


@lru_cache(64)
def _of_all_trials(run_id: str) -> tuple[str, int]:
    """Return what the trace ids of one run share: the time stamp as text, and the salt."""
    run = UUID(run_id)
    salt = int.from_bytes(hashlib.sha256(b"salvo trace id" + run.bytes).digest()[:6], "big") & (2**42 - 1)
    return str(run)[:_PREFIX_LENGTH], salt


def index_in(trace_id: str) -> int:
    """Return the trial index that ``trace_id_for`` put into a trace id; meaningless for other uuid7s."""
    value = UUID(trace_id).int
    return (value >> 64 & 0xFFF) << 20 | (value >> 42 & 0xFFFFF)


def run_prefix(trace_id: str) -> str:
    """Return the leading characters that a trace id shares with its run's id."""
    return trace_id[:_PREFIX_LENGTH]


def created_s(run_id: str) -> float:
    """Return when a uuid7 was made, seconds since the epoch, to the millisecond."""
    return (UUID(run_id).int >> 80) / 1000


def is_uuid7(text: object) -> bool:
    """Tell whether text is a uuid7 in canonical form; the only form that may become a path or a key."""
    if not isinstance(text, str) or len(text) != _ID_LENGTH:
        return False
    try:
        parsed = UUID(text)
    except ValueError:
        return False
    return parsed.version == 7 and str(parsed) == text


def require_uuid7(text: object, what: str) -> str:
    """Return text if it is a canonical uuid7.

    Args:
        text: Untrusted input.
        what: How to call it in the error, for example "run id".

    Raises:
        UsageError: It is not; the message quotes at most 80 characters of it.
    """
    if not is_uuid7(text):
        raise UsageError(f"{str(text)[:80]!r} is not a {what}: a uuid7 such as {_EXAMPLE} is expected")
    return str(text)


_EXAMPLE = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


def canonical_json(document: Any) -> bytes:
    """Return a document as compact UTF-8 JSON in its own key order; equal documents give equal bytes.

    NaN and infinities are refused: no reader of JSON agrees on them.
    """
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(body: bytes) -> str:
    """Return the sha256 of body, 64 lower-case hex digits."""
    return hashlib.sha256(body).hexdigest()
