"""kombu's Redis transport, with a look at each message before Celery is given it.

Whoever can write to the queue's list can put anything there, and what Celery makes of a
message that is none (no JSON, no headers, a date far away) ends in the death of the worker
or in a slot that is never free again. So what has not the shape of the messages that
``dispatch`` sends is dropped here, loudly. Nothing is lost by it: the manifest is the truth,
and a trial that no message stands for is sent again by a sweep (I1).

Source:
    kombu 5.7, ``kombu.transport.redis``; Celery documentation, "Message Protocol", version 2.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Annotated, Any, Literal

from kombu.transport import redis
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from salvo_worker.app import QUEUE

BODY_CHARS_MAX = 4096
"""Ours have about 300."""

logger = logging.getLogger(__name__)
_Name = Annotated[str, Field(max_length=100)]


class _Part(BaseModel):
    """Part of a message. Other keys may be there too: a newer Salvo may send some."""

    model_config = ConfigDict(strict=True)


class _Headers(_Part):
    task: Literal["salvo.trial"]
    id: _Name
    # With these Celery would hold the message back, drop it, unpack it or run something after it.
    eta: None = None
    expires: None = None
    compression: None = None
    group: None = None
    shadow: None = None
    timelimit: list[None] | None = None
    retries: int = 0


class _Properties(_Part):
    delivery_tag: _Name
    delivery_info: dict[str, Any]
    body_encoding: Literal["base64"]


class _Envelope(_Part):
    body: Annotated[str, Field(max_length=BODY_CHARS_MAX)]
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    headers: _Headers
    properties: _Properties


class _Embedded(_Part):
    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


_Body: TypeAdapter[Any] = TypeAdapter(
    tuple[Annotated[list[Any], Field(max_length=0)], dict[str, Any], _Embedded]
)


def require_ours(message: object) -> None:
    """Return if a message has the shape of ours; what it asks for is the task's business.

    Raises:
        ValueError: It has not.
    """
    envelope = _Envelope.model_validate(message)
    _Body.validate_json(base64.b64decode(envelope.body, validate=True))


class Channel(redis.Channel):
    """Survives lines in the list that cannot even be read, and a server that is gone."""

    def close(self) -> None:
        """Close for good, also when the server cannot be asked any more.

        Where a pending BRPOP cannot be read, kombu leaves the channel half open; it closes it
        again once it has dropped the server's address, and that error ends the worker.
        """
        try:
            super().close()  # type: ignore[no-untyped-call]
        except self.connection_errors:
            # The pending BRPOP is forgotten by now.
            super().close()  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as error:  # not text, not JSON, or nested thousands deep
            _dropped(error)
            return True


class Transport(redis.Transport):
    """Delivers from the queue of trials only what has the shape of a trial's message."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        if queue == QUEUE:
            try:
                require_ours(message)
            except (ValidationError, binascii.Error) as error:
                _dropped(error)
                return
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]


def _dropped(error: Exception) -> None:
    # Never what it held: it is somebody else's, and may be long, or an attempt at the log.
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        what = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    else:
        what = type(error).__name__
    logger.error("dropped a message that is not ours: %s", what[:200])
