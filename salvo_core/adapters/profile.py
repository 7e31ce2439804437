"""How to reach one provider: what a project's configuration says, without any secret.

A profile names the variable or the file that holds the key; the key itself is looked
up on the worker, at first use, through a ``SecretSource``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from salvo_core.adapters.prices import ModelRates
from salvo_core.trace.frozen import Frozen

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class SecretSource(Protocol):
    """Where values that must not travel come from; on a worker, its environment."""

    def secret(self, name: str) -> str | None:
        """Return the value called name, None if this worker has none."""
        ...


def checked_base_url(text: str) -> str:
    """Return an absolute http or https address without its trailing slash; empty stays empty.

    Raises:
        ValueError: It is something else; the message does not repeat it, for it may hold a password.
    """
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(char.isspace() for char in text):
        raise ValueError("an address such as https://host/v1 is expected")
    if parts.query or parts.fragment:
        raise ValueError("an address without ?query and #fragment is expected; put parameters under `query`")
    return text.rstrip("/")


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("a header's name is letters, digits and dashes")
    return text


def header_value(text: str) -> str:
    """Return text if a header can carry it.

    Raises:
        ValueError: It holds a control character or one beyond ASCII; the message does not repeat it.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a header's value is printable ASCII on one line")
    return text


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be asked of a provider by all workers together; None is no limit.

    Attributes:
        requests_per_min: Exchanges that begin, evenly spread.
        tokens_per_min: Tokens of requests and answers.
        concurrency_max: Exchanges under way at once.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    concurrency_max: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return not (self.requests_per_min is self.tokens_per_min is self.concurrency_max is None)


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(header_value)]


class Timeouts(Frozen):
    """How long to wait, seconds, each for its own part of an exchange."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    connect_s: float = Field(default=10.0, gt=0)
    """To be connected, TLS included."""
    read_s: float = Field(default=120.0, gt=0)
    """For the next byte of the answer; a model that thinks long sends none meanwhile."""
    write_s: float = Field(default=30.0, gt=0)
    """To be rid of the next part of the request."""
    turn_s: float = Field(default=180.0, gt=0)
    """For the whole exchange, whatever trickles in."""


class BreakerTerms(Frozen):
    """When all workers stop asking a provider that fails, and how they find out that it is back."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    failures: int = Field(default=20, ge=1, le=10_000)
    """In a row, of one kind, that open it; that a key or an account is refused opens it at once."""
    trials: int = Field(default=5, ge=1, le=1000)
    """At least so many different trials among them: one conversation that always fails is its own trouble."""
    window_s: float = Field(default=60.0, gt=0, le=3600)
    """A failure so long after the last begins a new streak."""
    wait_first_s: float = Field(default=1.0, gt=0, le=600)
    """To the first probe; it doubles with each that fails."""
    wait_s_max: float = Field(default=60.0, gt=0, le=600)
    """Where the doubling ends."""
    probe_s: float = Field(default=60.0, gt=0, le=3600)
    """A probe that has said nothing for so long is made again by another trial."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.trials > self.failures:
            raise ValueError(f"so few failures ({self.failures}) cannot be of so many trials ({self.trials})")
        if self.wait_first_s > self.wait_s_max:
            raise ValueError(
                f"the first wait ({self.wait_first_s:g} s) is longer than the longest ({self.wait_s_max:g} s)"
            )
        return self


class Profile(Frozen):
    """A provider under a name of the project's choosing.

    Attributes:
        adapter: Which wire format it speaks.
        base_url: Where. Empty means the variable ``OPENAI_BASE_URL``, ``ANTHROPIC_BASE_URL`` or
            ``SALVO_AGENT_URL`` of the worker, else the vendor's own address.
        key_env: The worker's variable that holds the key. Without a ``base_url`` it is
            ``OPENAI_API_KEY`` or ``ANTHROPIC_API_KEY``; with one there is no key unless it is named.
        key_file: A file on the worker that holds the key, and nothing else; goes before ``key_env``.
        headers: Sent with every request.
        query: Added to the address, for example ``api-version`` of Azure.
        auth_header: The header that carries the key; ``Authorization`` or, for anthropic, ``x-api-key``.
        auth_scheme: The word before the key; by default ``Bearer`` in ``Authorization``, else none.
        timeouts: Instead of the worker's.
        retries_max: Most retries of a turn; None leaves it to the worker.
        breaker: When workers stop asking it for a while.
        requests_per_min: Most exchanges a minute of all workers together, evenly spread; None finds out by
            being refused.
        tokens_per_min: Most tokens a minute, requests and answers, of all workers together.
        concurrency_max: Most exchanges under way at once, of all workers together.
        trace_header: Send the trial's id as ``X-Salvo-Trace-Id``.
        prices: By model name, before the maintained price table.
        turn_cost_usd_max: Of an agent behind ``http``: what one exchange with it costs at most, US dollars,
            whatever it does behind our back. A budget in dollars needs it.
        turn_tokens_max: The same in tokens, input and output, for a budget in tokens.
    """

    # An error of validation must not print a header that holds a token.
    model_config = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False, defer_build=True)

    adapter: Literal["openai", "anthropic", "http"]
    base_url: Annotated[str, AfterValidator(checked_base_url)] = Field(default="", repr=False)
    key_env: str = ""
    key_file: str = ""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, repr=False)
    query: dict[str, str] = Field(default_factory=dict, repr=False)
    auth_header: HeaderName | None = None
    auth_scheme: HeaderValue | None = None
    timeouts: Timeouts | None = None
    retries_max: int | None = Field(default=None, ge=0, le=20)
    breaker: BreakerTerms = BreakerTerms.model_construct()  # what we say ourselves needs no checking
    requests_per_min: float | None = Field(default=None, ge=0.1, le=1e7)
    tokens_per_min: float | None = Field(default=None, ge=1, le=1e12)
    concurrency_max: int | None = Field(default=None, ge=1, le=100_000)
    trace_header: bool = True
    prices: dict[str, ModelRates] = Field(default_factory=dict)
    turn_cost_usd_max: float | None = Field(default=None, gt=0, le=1_000_000, allow_inf_nan=False)
    turn_tokens_max: int | None = Field(default=None, gt=0, le=10**9)

    @model_validator(mode="after")
    def _bounds_are_of_agents(self) -> Profile:
        if self.adapter != "http" and (self.turn_cost_usd_max or self.turn_tokens_max):
            raise ValueError(
                "turn_cost_usd_max and turn_tokens_max are for adapter http: "
                "elsewhere the request itself bounds an exchange, by max_tokens"
            )
        return self

    @property
    def allowance(self) -> Allowance:
        """What all workers together may ask of it."""
        return Allowance(self.requests_per_min, self.tokens_per_min, self.concurrency_max)
