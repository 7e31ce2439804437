"""What a message must look like to be let in: a trial of this site, or a ping of remote control.

Everything here is given bytes that anybody who can write to Redis may have put there.

Source:
    Celery documentation, "Message Protocol", version 2; kombu 5.7, ``kombu.pidbox``.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from salvo_core.fleet.foreign import Reason
from salvo_core.run.plan import TrialMessage
from salvo_core.run.signature import Signer

MESSAGE_BYTES_MAX = 16_384
"""Ours have about 600."""

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
        said = (one["loc"] for one in detail if one["type"] != "missing")
        reasons = (_REASONS[where] for where in said if where in _REASONS)
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


class _Ping(_Part):
    method: Literal["ping"]
    arguments: Annotated[dict[str, Any] | None, Field(max_length=0)] = None
    # A pattern of a stranger's is run over the worker's name, and may never end.
    pattern: None = None
    matcher: None = None


class _Control(_Part):
    body: Annotated[str, Field(max_length=MESSAGE_BYTES_MAX)]
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    headers: dict[str, Any]
    properties: _Properties


def require_ping(raw: bytes) -> None:
    """Return if a message of remote control asks no more than whether somebody is there.

    Celery's remote control stays connected, because that is what wakes a worker that Redis
    forgot; but whoever can publish could stop workers with it, drop trials, or make workers
    read another queue.

    Raises:
        NotOurs: It asks for more, or is none.
    """
    try:
        _Ping.model_validate(_read(_unpacked(_Control.model_validate(_read(raw)).body)))
    except ValidationError as error:
        raise NotOurs("remote control", _first(error)) from None
