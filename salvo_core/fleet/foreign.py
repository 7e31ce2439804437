"""What lay in the queue and was not ours: set aside, counted by reason, shown on request.

The list lies on the broker, beside the queue. A message is taken off the queue before it is
set aside: if the worker dies in between, a stranger's message is gone and uncounted, which
harms nobody. Only a beginning of each is kept, without what looks like a secret.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.asyncio import Redis

from salvo_core.manifest.connection import translated
from salvo_core.trace.redaction import Redactor

FOREIGN = "salvo.foreign"
"""List of ForeignMessage, newest first."""
COUNTS = "salvo.foreign.counts"
"""Hash: reason -> how many since they were last cleared."""

KEPT = 1000
"""Of the newest; at most about 3 KB each."""
BEGINNING_CHARS_MAX = 2000
DETAIL_CHARS_MAX = 200

Reason = Literal[
    "too large",
    "unreadable",
    "wrong shape",
    "another content type",
    "another task",
    "wrong arguments",
    "unsigned",
    "bad signature",
    "remote control",
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class ForeignMessage(BaseModel):
    """One message that was set aside. All of its text is printable ASCII."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    at_ms: int = Field(ge=0, lt=2**47)
    """When, by the worker's clock."""
    reason: Reason
    detail: str = Field(max_length=DETAIL_CHARS_MAX)
    """What exactly was wrong; nothing of what it held but names of fields."""
    size_bytes: int = Field(ge=0)
    beginning: str = Field(max_length=BEGINNING_CHARS_MAX)
    """How it began: somebody else's text, not to be trusted."""

    @classmethod
    def of(cls, raw: bytes, reason: Reason, detail: str, *, at_ms: int) -> ForeignMessage:
        """Return what is kept of a message, which may be any bytes."""
        # More is looked at than is kept, so that a secret at the cut is recognised.
        text = Redactor().text(raw[: 2 * BEGINNING_CHARS_MAX].decode("utf-8", "backslashreplace"))
        return cls(
            at_ms=at_ms,
            reason=reason,
            detail=_printable(detail)[:DETAIL_CHARS_MAX],
            size_bytes=len(raw),
            beginning=_printable(text)[:BEGINNING_CHARS_MAX],
        )


def set_aside(pipeline: Any, message: ForeignMessage) -> None:
    """Add to a transaction of the broker what keeps and counts one message; bounded whatever comes.

    Args:
        pipeline: Of any Redis client, synchronous or not; not executed here.
        message: From ``ForeignMessage.of``.
    """
    pipeline.lpush(FOREIGN, message.model_dump_json())
    pipeline.ltrim(FOREIGN, 0, KEPT - 1)
    pipeline.hincrby(COUNTS, message.reason, 1)


class ForeignMessages:
    """Looks at what was set aside.

    Args:
        redis: The broker.
        address: The server for people.
    """

    def __init__(self, redis: Redis, address: str) -> None:
        self._redis = redis
        self._address = address

    async def counts(self) -> Counter[Reason]:
        """Return how many were set aside, by reason, since they were last cleared."""
        with translated(self._address):
            found = await self._as_bytes("HMGET", COUNTS, *REASONS)
        told = zip(REASONS, found, strict=True)
        return Counter({reason: int(count) for reason, count in told if count and count.isdigit()})

    async def newest(self, count: int) -> list[ForeignMessage]:
        """Return the last ones, newest first, at most so many; what is no record of ours is left out."""
        with translated(self._address):
            found = await self._as_bytes("LRANGE", FOREIGN, 0, count - 1)
        messages = []
        for raw in filter(None, found):
            try:
                messages.append(ForeignMessage.model_validate_json(raw))
            except ValidationError:
                continue
        return messages

    async def clear(self) -> None:
        """Forget them all, counts included."""
        with translated(self._address):
            await self._redis.delete(FOREIGN, COUNTS)

    async def _as_bytes(self, *command: Any) -> list[bytes | None]:
        """Return a reply undecoded: whoever can write to the queue can write here too, and not only text."""
        redis: Any = self._redis
        reply: list[bytes | None] = await redis.execute_command(*command, NEVER_DECODE=True)
        return reply


def _printable(text: str) -> str:
    """Return text with all but printable ASCII spelt as escapes."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
