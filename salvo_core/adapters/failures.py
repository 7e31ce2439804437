"""What went wrong, sorted once into the kinds that the rest of Salvo acts upon.

Owns the table from HTTP status, error body and exception to ``ProviderError``, and
the cleaning of provider text: bounded, printable, without secrets. Nothing else in
the house looks at a status code to decide whether to try again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from salvo_core.adapters.usage import read_usage
from salvo_core.errors import (
    ContextFull,
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)
from salvo_core.trace.redaction import MARKER

QUOTE_CHARS_MAX = 300
"""Most characters of a provider's own words in an error."""

_READ_CHARS_MAX = 20_000

_KEY_SHAPED = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+|\bsk-[\w-]{8,}")
_PAGE_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")

_BILLING = (
    "insufficient_quota",
    "insufficient_credit",
    "insufficient_balance",
    "billing",
    "payment_required",
)
_RATE = ("rate_limit", "too_many_requests", "throttl", "resource_exhausted")
_AUTHENTICATION = (
    "authentication",
    "invalid_api_key",
    "unauthorized",
    "unauthenticated",
    "permission",
    "forbidden",
)
_TRANSIENT = (
    "overloaded",
    "server_error",
    "api_error",
    "internal_error",
    "unavailable",
    "timeout",
    "try_again",
)

_CONTEXT = re.compile(
    r"(?i)context_length_exceeded|prompt is too long|maximum context (?:length|size|window)"
    r"|exceeds? (?:the|this model's) (?:maximum )?(?:context|number of tokens)"
)
"""How providers say that a conversation is too long: OpenAI, llama.cpp, vLLM, Google, Anthropic.
There is no status of its own for it, so this once the prose decides."""

_BILLING_HINT = "The account is out of credit or quota, and waiting does not help: check its billing page."

_CONNECTION_FAILURES = frozenset({
    "APIConnectionError",  # openai, anthropic; their timeouts are subclasses of it
    "TimeoutException", "NetworkError", "RemoteProtocolError",  # httpx
    "ClientConnectionError", "ClientPayloadError",  # aiohttp
    "Timeout", "ConnectionError", "ChunkedEncodingError",  # requests
})  # fmt: skip
"""Classes by which other libraries say "the wire failed". They neither subclass the
builtins nor carry a status, and this room imports none of those libraries."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who was spoken to, and how to speak of it in an error.

    Attributes:
        where: Scheme-less host, port and path; no user, password or query.
        key_name: Where this worker looked for the key, for example ``OPENAI_API_KEY``; may be empty.
        secrets: Values that no error may repeat.
    """

    where: str
    key_name: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, url: str, *, key_name: str = "", secrets: Iterable[str] = ()) -> Peer:
        """Return the peer behind an absolute URL."""
        parts = urlsplit(url)
        return cls(parts.netloc.rpartition("@")[2] + parts.path, key_name, tuple(secrets))

    def quote(self, text: str) -> str:
        """Return a stranger's text fit for an error: see ``clean``."""
        return clean(text, self.secrets)


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text on one line, printable, without secrets, at most QUOTE_CHARS_MAX characters.

    Secrets go first: a cut or a dropped control character must not leave part of one.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MARKER)
    text = _KEY_SHAPED.sub(MARKER, text[:_READ_CHARS_MAX])
    # isprintable also drops escape sequences, direction marks and lone surrogates.
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= QUOTE_CHARS_MAX else text[: QUOTE_CHARS_MAX - 1] + "…"


def refuses_us(error: ProviderError) -> bool:
    """Tell whether a provider does not accept who we are, whatever it is asked.

    The key is not valid any more, or the account is out of credit. That a key may not use one model (403) is
    about that model.
    """
    return isinstance(error, ProviderAuthentication) and (
        error.status_code in (401, 402) or error.hint == _BILLING_HINT
    )


def kind_for_status(status: int) -> type[ProviderError]:
    """Return the class of failure that an HTTP status stands for.

    Source:
        RFC 9110 section 15 and RFC 6585 section 4; 529 is Anthropic's "overloaded".
    """
    if status == 429:
        return RateLimited
    if status in (401, 402, 403):
        return ProviderAuthentication
    if status in (408, 409, 425) or status >= 500:
        return ProviderTransient
    return ProviderPermanent


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return how long the provider asks to be left alone, seconds >= 0, or None if it does not say.

    Args:
        headers: Of the response, names in lower case.
        now: Wall time, UTC; the response's own ``date`` goes first, so that clocks may disagree.

    Source:
        RFC 9110 section 10.2.3 (seconds or a date); ``retry-after-ms`` is OpenAI's and Azure's.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    until = _date(headers.get("retry-after"))
    if until is None:
        return None
    seconds = (until - (_date(headers.get("date")) or now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0)


def _date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def failure_from_reply(
    peer: Peer, status: int, headers: Mapping[str, str], document: Any, text: str
) -> ProviderError:
    """Return the error that an answer stands for, to be raised by the caller.

    Args:
        peer: Who answered.
        status: 100..599. Of a success (2xx) the error body decides the kind, else the status does.
        headers: Names in lower case.
        document: The parsed body, None if it was not JSON.
        text: The body as text, for answers that were not JSON.
    """
    body = document.get("error", document) if isinstance(document, dict) else document
    words = _words(body)
    billing = any(word in words for word in _BILLING) or status == 402
    kind = ProviderAuthentication if billing else _kind(status, body, words)
    if kind is ProviderPermanent and _CONTEXT.search(f"{words} {_said(body, text)[:_READ_CHARS_MAX]}"):
        kind = ContextFull
    said = peer.quote(_said(body, text) or _redirect(headers)) or "no explanation"
    verb = f"answered {status}" if status >= 300 else f"answered {status} with an error inside"
    usage = read_usage(document)
    return kind(
        f"{peer.where} {verb}: {said}",
        hint=_BILLING_HINT if billing else _hint(kind, status, peer),
        status_code=status,
        retry_after_s=retry_after_s(headers) if kind.retryable else None,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )


def _kind(status: int, body: Any, words: str) -> type[ProviderError]:
    if status >= 300:
        return kind_for_status(status)
    code = body.get("code", body.get("status")) if isinstance(body, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code)
    if isinstance(code, int) and 400 <= code <= 599:  # gateways put the upstream's status here
        return kind_for_status(code)
    table = ((_RATE, RateLimited), (_AUTHENTICATION, ProviderAuthentication), (_TRANSIENT, ProviderTransient))
    return next((kind for marks, kind in table if any(mark in words for mark in marks)), ProviderPermanent)


def _words(body: Any) -> str:
    """The machine-readable names in an error body; its prose is for people and decides nothing."""
    if not isinstance(body, dict):
        return ""
    return (
        " ".join(str(body[key]) for key in ("type", "code", "status") if body.get(key))
        .lower()
        .replace(" ", "_")
    )


def _redirect(headers: Mapping[str, str]) -> str:
    location = headers.get("location", "")
    return f"moved to {Peer.of(location).where}" if location else ""


def _said(body: Any, text: str) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, dict):
        for key in ("message", "detail", "error", "title", "type", "code"):
            if body.get(key):
                return str(body[key])
    title = page_title(text)
    return f'a web page titled "{title}"' if title else text


def page_title(text: str) -> str:
    """Return the title of a web page; empty for one without, and for anything else."""
    found = _PAGE_TITLE.search(text[:_READ_CHARS_MAX])
    return found.group(1).strip() if found else ""


def _hint(kind: type[ProviderError], status: int, peer: Peer) -> str:
    if kind is ProviderAuthentication:
        held = f"in {peer.key_name} " if peer.key_name else ""
        return f"Check the key {held}on the worker, and that it may use this model."
    if 300 <= status < 400:
        return "Redirects are not followed, so that no key goes astray: set base_url to the final address."
    if status in (404, 405):
        return "Check base_url and the model's name."
    if status == 413:
        return "The conversation is larger than this provider accepts."
    return ""


def failure_from_exception(error: Exception, secrets: Iterable[str] = ()) -> ProviderError:
    """Return the error that an exception out of anybody's adapter stands for.

    Retryable are the builtin timeouts and connection errors, those of the well-known
    HTTP libraries, and anything whose ``status_code`` (else ``status``) is an integer
    that says so. Everything else is permanent and named by its class.
    """
    if isinstance(error, ProviderError):
        return error
    message = clean(f"{type(error).__name__}: {error}", secrets)
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(error, "status", None)
    if isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599:
        kind = kind_for_status(status)
        return kind(message, status_code=status, retry_after_s=_wait_in(error) if kind.retryable else None)
    lineage = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, TimeoutError | ConnectionError) or lineage & _CONNECTION_FAILURES:
        return ProviderTransient(message)
    return ProviderPermanent(message, hint="This came out of the adapter's own code.")


def _wait_in(error: Exception) -> float | None:
    """The Retry-After that the SDKs of OpenAI and Anthropic keep on ``error.response.headers``."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    return retry_after_s({str(name).lower(): str(value) for name, value in headers.items()})
