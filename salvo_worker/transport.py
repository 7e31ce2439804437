"""kombu's Redis transport, with a look at each message before anything is made of it.

Whoever can write to the queue's list can put anything there, and what kombu and Celery make
of a message that is none (no JSON, no headers, a date far away) ends in the death of the
worker or in a slot that is never free again. So each reply is looked at as the bytes that
came, in the client that received it: what has not the shape of the messages that ``dispatch``
sends, names no trial, or is not signed where the site has a key, is set aside and counted
(``fleet.foreign``), and kombu is told that nothing came. Nothing is lost by it: the manifest is
the truth, and a trial that no message stands for is sent again by a sweep (I1).

Source:
    kombu 5.7, ``kombu.transport.redis``; Celery documentation, "Message Protocol", version 2.
"""

from __future__ import annotations

import base64
import functools
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import redis as redis_client
from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from salvo_core.fleet.foreign import ForeignMessage, Reason, set_aside
from salvo_core.run.plan import TrialMessage
from salvo_core.run.signature import UNSIGNED, Signer

MESSAGE_BYTES_MAX = 16_384
"""Ours have about 900."""

LOG_EVERY_S = 1.0
"""A flood of messages is no flood of lines in the log."""

logger = logging.getLogger(__name__)
_Name = Annotated[str, Field(max_length=100)]


class NotOurs(Exception):
    """A message that a worker has no business with.

    Args:
        reason: What it is counted under.
        detail: What exactly is wrong; not what it held.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class _Part(BaseModel):
    """Part of a message. Other keys may be there too: a newer Salvo may send some."""

    model_config = ConfigDict(strict=True)


class _Headers(_Part):
    task: Literal["salvo.trial"]
    id: _Name
    signature: _Name = ""
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
    body: str
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
_REASONS: dict[tuple[int | str, ...], Reason] = {
    ("headers", "task"): "another task",
    ("content-type",): "another content type",
    ("content-encoding",): "another content type",
}


def require_ours(raw: bytes, signer: Signer) -> TrialMessage:
    """Return what a message asks for, if it is one that a producer of this site sends.

    Args:
        raw: As it lay in the list; untrusted.
        signer: Whose signature it must carry; without keys, none.

    Raises:
        NotOurs: It is not.
    """
    if len(raw) > MESSAGE_BYTES_MAX:
        raise NotOurs("too large", f"{len(raw):,} bytes, where {MESSAGE_BYTES_MAX:,} are allowed")
    try:
        envelope = _Envelope.model_validate(_read(raw))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)
        reasons = (_REASONS[one["loc"]] for one in detail if one["loc"] in _REASONS)
        raise NotOurs(next(reasons, "wrong shape"), _first(error)) from None
    try:
        _, arguments, _ = _Body.validate_python(_read(_unpacked(envelope.body)))
    except ValidationError as error:
        raise NotOurs("wrong shape", f"body: {_first(error)}") from None
    try:
        message = TrialMessage.model_validate(arguments)
    except ValidationError as error:
        raise NotOurs("wrong arguments", _first(error)) from None
    if lack := message.lack(envelope.headers.signature, signer):
        raise NotOurs(lack, "SALVO_SIGNING_KEY of whoever sent it is not one of this worker's")
    return message


def _read(raw: bytes) -> Any:
    """Return what kombu will read: with its own reader, so that nothing is new to it afterwards."""
    try:
        return loads(bytes_to_str(raw))  # type: ignore[no-untyped-call]
    except (
        Exception
    ) as error:  # no text, no JSON, nested thousands deep, or a type kombu knows and cannot make
        raise NotOurs("unreadable", type(error).__name__) from None


def _unpacked(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise NotOurs("wrong shape", "body: no base64") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


class Client(redis_client.Redis):
    """A client of the broker that looks at what BRPOP brings before it hands it on.

    Args:
        admits: Told the bytes of each message; False keeps it from whoever asked.
        options: Of the client.
    """

    def __init__(self, *, admits: Callable[[Client, bytes], bool], **options: Any) -> None:
        super().__init__(**options)
        self._admits = admits

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Return the reply, or None, as if BRPOP had waited in vain, in place of a message to be kept out."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name == "BRPOP" and reply and not self._admits(self, reply[1]):
            return None
        return reply


class QoS(redis.QoS):
    """Restores messages of dead workers; entries of its books that are none do not stop it."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put one unacknowledged message back into the queue, where it is looked at like any other."""
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except redis_client.RedisError:
            raise
        except Exception as error:  # somebody else wrote it, so reading it may fail in any way
            with self.channel.conn_or_acquire(client) as connection:
                raw = connection.hget(self.unacked_key, tag) or b""
                self._remove_from_indices(tag, connection.pipeline()).execute()  # type: ignore[no-untyped-call]
                lack = NotOurs("wrong shape", f"unacknowledged: {type(error).__name__}")
                self.channel.keep_out(connection, raw, lack)


class Channel(redis.Channel):
    """Lets in only trials of this site; survives a server that is gone."""

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "signer")  # type: ignore[assignment]
    signer: Signer = UNSIGNED
    _told_s = float("-inf")
    _untold = 0

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

    def keep_out(self, client: Any, raw: bytes, lack: NotOurs) -> None:
        """Set a message aside, count it and say so; a broker that takes no note of it changes nothing."""
        kept = ForeignMessage.of(raw, lack.reason, lack.detail, at_ms=round(time.time() * 1000))
        pipeline = client.pipeline()
        set_aside(pipeline, kept)
        try:
            pipeline.execute()
        except (redis_client.RedisError, OSError) as error:
            logger.warning("a message that is not ours could not be set aside: %s", type(error).__name__)
        self._tell(f"{kept.reason}: {kept.detail}")

    def _tell(self, what: str) -> None:
        """Log a line, at most one each LOG_EVERY_S; never what a message held: it may aim at the log."""
        now_s = time.monotonic()
        if now_s - self._told_s < LOG_EVERY_S:
            self._untold += 1
            return
        more = f" (and {self._untold:,} others before it)" if self._untold else ""
        logger.error("set aside a message that is not ours: %s%s", what, more)
        self._told_s, self._untold = now_s, 0

    def _admits(self, client: Client, raw: bytes) -> bool:
        try:
            require_ours(raw, self.signer)
        except NotOurs as lack:
            self.keep_out(client, raw, lack)
            return False
        return True

    def _get_client(self) -> Any:
        super()._get_client()  # type: ignore[no-untyped-call] # refuses a redis-py that is too old
        return functools.partial(Client, admits=self._admits)

    def _receive_one(self, listener: Any) -> Any:
        """Take in one remote-control message; what is none is left, as an unknown command would be."""
        try:
            return super()._receive_one(listener)  # type: ignore[no-untyped-call]
        except self.connection_errors:
            raise
        except Exception as error:  # anybody who may publish may publish anything
            self._tell(f"on the channel of remote control: {type(error).__name__}")
            return False


class Transport(redis.Transport):
    """Delivers from the queue of trials only what this site's producers send."""

    Channel = Channel
