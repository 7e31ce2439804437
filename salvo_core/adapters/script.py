"""What a pretend model does: the script that ``scripted`` and ``salvo simulate`` follow.

::

    turns:                                    # what the agent usually does
      - tool_calls: [{name: lookup_order, arguments: {order_id: A-1001}}]
      - error: {kind: rate_limited, retry_after_s: 1, times: 2}    # fails twice, then says:
        text: Done.
    variants:                                 # what it does instead, for a share of the trials
      - weight: 0.15
        turns: [{text: I cannot help with that.}]
    trials: {0: [{text: Exactly this.}]}      # what trial 0 does; a list works too
    errors: {transient: 0.01, hang: 0.001}    # failures drawn for every exchange
    latency_s: {lognormal: {median_s: 0.8, sigma: 0.5}}
    seed: 7

A script holds data only: no template, no expression. What a trial sees depends on the
script, the trial's key, the turn and the exchange, and on nothing else: the same four give
the same step in every process, on every machine, in any order (``draw``).

After its last turn a script goes on saying its last plain text ("" if it has none) and calls
no more tools, so a conversation that outlives its script ends.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from salvo_core.trace.model import Usage

LATENCY_S_MAX = 3600.0
"""No scripted reply takes longer, seconds: a distribution's tail is cut here."""

_Seconds = Annotated[float, Field(ge=0, le=LATENCY_S_MAX)]
_Rate = Annotated[float, Field(ge=0, le=1)]
_SHARES_SLACK = 1e-9  # ten shares of 0.1 add up to a little more than 1

FaultKind = Literal[
    "rate_limited", "transient", "server_error", "overloaded", "timeout", "permanent", "authentication",
    "quota", "half_body", "html", "wrong_json", "error_in_200", "reset", "hang",
]  # fmt: skip
"""How an exchange goes wrong. The second row needs a wire to be seen; without one it is a plain failure."""

Failure = Literal["rate_limited", "transient", "permanent", "authentication"]
"""What a client should make of it; the names of ``ProviderError.kind``."""


@dataclass(frozen=True, slots=True)
class FaultShape:
    """How a fault looks. ``status`` is the HTTP status, None where no status line arrives."""

    failure: Failure
    status: int | None
    message: str


FAULTS: dict[FaultKind, FaultShape] = {
    "rate_limited": FaultShape("rate_limited", 429, "too many requests, slow down"),
    "transient": FaultShape("transient", 503, "the service is unavailable for the moment"),
    "server_error": FaultShape("transient", 500, "the server had an error"),
    "overloaded": FaultShape("transient", 529, "the service is overloaded"),
    "timeout": FaultShape("transient", 504, "the model did not answer in time"),
    "permanent": FaultShape("permanent", 400, "this request cannot be served"),
    "authentication": FaultShape("authentication", 401, "the key is not accepted"),
    "quota": FaultShape("authentication", 429, "the quota is used up, check the plan and its billing"),
    "half_body": FaultShape("transient", 200, "the connection closed in the middle of the reply"),
    "html": FaultShape("permanent", 200, "a web page came back instead of a reply"),
    "wrong_json": FaultShape("transient", 200, "the reply is not JSON"),
    "error_in_200": FaultShape("transient", 200, "the server had an error (inside a 200)"),
    "reset": FaultShape("transient", None, "the connection was reset"),
    "hang": FaultShape("transient", None, "no answer ever came"),
}

_TAKES_STATUS = frozenset(get_args(FaultKind)[:7])


def draw(seed: int, trial_key: str | int, turn: int, exchange: int, purpose: str = "") -> float:
    """Return a number that looks random and depends on nothing but its arguments.

    Args:
        seed: The script's seed.
        trial_key: Which trial; 3 and "3" are the same one.
        turn: Turns that came back before this one, 0-based.
        exchange: Failed exchanges of this turn before this one, 0-based.
        purpose: What the number decides; each purpose has a stream of its own.

    Returns:
        Uniform in [0, 1), 53 bits, dimensionless. Equal in every process and version of Python.
    """
    # The key comes last because it alone is free text: the fields cannot run into each other.
    said = f"{purpose}|{seed}|{turn}|{exchange}|{trial_key}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big") >> 11) * 2.0**-53


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Lognormal(_Part):
    """A right-skewed latency, as providers have: half the draws are below the median."""

    median_s: float = Field(gt=0, le=LATENCY_S_MAX)
    sigma: float = Field(ge=0, le=5)
    """Standard deviation of the logarithm, dimensionless; 0.5 puts the 95th percentile at 2.3 medians."""


class LatencyForm(_Part):
    """How long an exchange takes: exactly one of the three, seconds."""

    fixed: _Seconds | None = None
    uniform: tuple[_Seconds, _Seconds] | None = None
    """The two ends."""
    lognormal: Lognormal | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(form is not None for form in (self.fixed, self.uniform, self.lognormal)) != 1:
            raise ValueError("give a number of seconds, or exactly one of fixed, uniform, lognormal")
        return self

    def at(self, u: float) -> float:
        """Return the latency at quantile u, seconds, 0 <= u < 1; never above ``LATENCY_S_MAX``."""
        if self.uniform is not None:
            one_end, other_end = self.uniform
            return one_end + u * (other_end - one_end)
        if self.lognormal is not None:
            # inv_cdf refuses 0 itself; a draw of exactly 0 happens once in 2**53
            z = NormalDist().inv_cdf(max(u, 2.0**-53))
            return min(self.lognormal.median_s * math.exp(self.lognormal.sigma * z), LATENCY_S_MAX)
        return self.fixed or 0.0


def _number_as_fixed(given: Any) -> Any:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return {"fixed": given} if is_number else given


Latency = Annotated[
    LatencyForm, BeforeValidator(_number_as_fixed, json_schema_input_type=_Seconds | LatencyForm)
]
"""A number of seconds, or a ``LatencyForm``."""


class ScriptedCall(_Part):
    """A tool call the pretend model makes."""

    name: str = Field(min_length=1, max_length=64)
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    malformed: str | None = None
    """Sent in place of the arguments: raw text that is not a JSON object, as real models sometimes send."""

    @field_validator("malformed")
    @classmethod
    def _instead_of_arguments(cls, malformed: str | None, known: ValidationInfo) -> str | None:
        if malformed is not None and known.data.get("arguments"):
            raise ValueError("a call has arguments or malformed, not both")
        return malformed


class ScriptedError(_Part):
    """A failure the pretend provider answers with, instead of a turn."""

    kind: FaultKind
    status: int | None = Field(default=None, ge=400, le=599)
    """HTTP status; null takes the kind's usual one."""
    retry_after_s: _Seconds | None = None
    """The wait the provider asks for, seconds."""
    message: str = ""
    times: int | None = Field(default=None, ge=1)
    """Exchanges of the turn that fail before it comes back. Null: one if the turn also has text or
    tool_calls, else every one."""
    usage: Usage = Usage()
    """Tokens the failed exchange is billed for."""

    @field_validator("status")
    @classmethod
    def _fits_kind(cls, status: int | None, known: ValidationInfo) -> int | None:
        kind = known.data.get("kind")
        if status is None or kind is None:
            return status
        if kind not in _TAKES_STATUS:
            raise ValueError(f"an error of kind {kind} has no status of its own")
        if _failure_of(status) != FAULTS[kind].failure:
            raise ValueError(f"a client takes status {status} for {_failure_of(status)}, not for {kind}")
        return status

    @property
    def shape(self) -> FaultShape:
        """How it looks, with what the script says in place of the usual."""
        usual = FAULTS[self.kind]
        return FaultShape(usual.failure, self.status or usual.status, self.message or usual.message)


def _failure_of(status: int) -> Failure:
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "authentication"
    return "transient" if status >= 500 or status in (408, 409, 425) else "permanent"


class ScriptTurn(_Part):
    """One answer of the pretend model: text, tool calls, an error first, or any of these."""

    text: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    error: ScriptedError | None = None
    finish_reason: str | None = None
    """As the provider would say it; null is its usual word."""
    usage: Usage | None = None
    latency_s: Latency | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.comes_back and self.error is None:
            raise ValueError("a turn needs text, tool_calls or error")
        if not self.comes_back and self.error is not None and self.error.times is not None:
            raise ValueError("error.times needs text or tool_calls: what comes back after the failures?")
        return self

    @property
    def comes_back(self) -> bool:
        """Whether the turn has anything to say, once its errors are over."""
        return self.text is not None or bool(self.tool_calls)

    def error_at(self, exchange: int) -> ScriptedError | None:
        """Return the scripted error of the exchange-th try of this turn, None when it comes back."""
        if self.error is None or (self.comes_back and exchange >= (self.error.times or 1)):
            return None
        return self.error


def _at_least_one(turns: tuple[ScriptTurn, ...]) -> tuple[ScriptTurn, ...]:
    # not min_length: that one complains of an empty list, too, when a turn in it is wrong
    if not turns:
        raise ValueError("at least one turn is needed")
    return turns


Turns = Annotated[
    tuple[ScriptTurn, ...], AfterValidator(_at_least_one), Field(json_schema_extra={"minItems": 1})
]


class Variant(_Part):
    """What a share of the trials sees instead of the script's ``turns``."""

    weight: float = Field(gt=0, le=1)
    """Share of the trials, 0 < weight <= 1; what the weights leave over follows ``turns``."""
    turns: Turns


class FaultRates(_Part):
    """How often an exchange fails, by kind: probabilities that add up to at most 1."""

    rate_limited: _Rate = 0.0
    transient: _Rate = 0.0
    server_error: _Rate = 0.0
    overloaded: _Rate = 0.0
    timeout: _Rate = 0.0
    permanent: _Rate = 0.0
    authentication: _Rate = 0.0
    quota: _Rate = 0.0
    half_body: _Rate = 0.0
    html: _Rate = 0.0
    wrong_json: _Rate = 0.0
    error_in_200: _Rate = 0.0
    reset: _Rate = 0.0
    hang: _Rate = 0.0
    retry_after_s: _Seconds = 1.0
    """The wait that drawn rate limits ask for, seconds."""

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if math.fsum(getattr(self, kind) for kind in FAULTS) > 1 + _SHARES_SLACK:
            raise ValueError("the rates add up to more than 1")
        return self

    @cached_property
    def steps(self) -> tuple[tuple[float, ScriptedError], ...]:
        """The errors that can happen, each with the sum of the rates up to and including its own."""
        total, steps = 0.0, []
        for kind in FAULTS:
            if rate := getattr(self, kind):
                total += rate
                wait_s = self.retry_after_s if kind == "rate_limited" else None
                steps.append((total, ScriptedError(kind=kind, retry_after_s=wait_s)))
        return tuple(steps)

    def at(self, u: float) -> ScriptedError | None:
        """Return the error at quantile u, 0 <= u < 1; None for an exchange that goes well."""
        return next((error for bound, error in self.steps if u < bound), None)


@dataclass(frozen=True, slots=True)
class Step:
    """What one exchange comes to, after ``latency_s`` seconds."""

    answer: ScriptTurn | ScriptedError
    latency_s: float
    usage: Usage | None = None
    """Tokens of a turn that comes back, when the script says; else the player counts."""


def _list_by_place(given: Any) -> Any:
    return dict(enumerate(given)) if isinstance(given, list | tuple) else given


_TrialNumber = Annotated[int, Field(ge=0)]
_TurnsByTrial = Annotated[
    dict[_TrialNumber, Turns],
    BeforeValidator(_list_by_place, json_schema_input_type=dict[_TrialNumber, Turns] | list[Turns]),
]


class Script(_Part):
    """A pretend model: what it does, how often it does something else, how it fails, how fast it is.

    A trial follows its entry in ``trials``; else the variant its draw falls on; else ``turns``.
    ``trials`` are numbered from 0 and only apply where a trial is known by its number.
    """

    turns: tuple[ScriptTurn, ...] = ()
    variants: tuple[Variant, ...] = ()
    trials: _TurnsByTrial = Field(default_factory=dict)
    errors: FaultRates = FaultRates()
    latency_s: Latency | None = None
    """Of turns that do not give their own."""
    usage: Usage | None = None
    """Of turns that do not give their own."""
    seed: int = 0

    @field_validator("variants")
    @classmethod
    def _leave_room(cls, variants: tuple[Variant, ...], known: ValidationInfo) -> tuple[Variant, ...]:
        total = math.fsum(variant.weight for variant in variants)
        if total > 1 + _SHARES_SLACK:
            raise ValueError(f"the weights add up to {total:g}; shares of the trials are at most 1 in all")
        if total < 1 - _SHARES_SLACK and variants and known.data.get("turns") == ():
            raise ValueError(f"the weights add up to {total:g}; the other trials need turns of the script")
        return variants

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.turns or self.variants or self.trials):
            raise ValueError("a script needs turns, variants or trials")
        return self

    def plan_for(self, trial_key: str | int) -> tuple[ScriptTurn, ...]:
        """Return the turns that a trial (its number, or any name) sees; empty when there are none for it."""
        if self.trials:
            number = _number(trial_key)
            if number in self.trials:
                return self.trials[number]
        u = draw(self.seed, trial_key, 0, 0, "variant") if self.variants else 0.0
        for variant in self.variants:
            if u < variant.weight:
                return variant.turns
            u -= variant.weight
        return self.turns or (self.variants[-1].turns if self.variants else ())

    def next_step(self, trial_key: str | int, turn: int, exchange: int = 0) -> Step:
        """Return what happens when a turn of a trial is asked for; the arguments are those of ``draw``."""
        turns = self.plan_for(trial_key)
        scripted = turns[turn] if turn < len(turns) else _closing(turns)
        error = scripted.error_at(exchange)
        if error is None and self.errors.steps:
            error = self.errors.at(draw(self.seed, trial_key, turn, exchange, "error"))
        latency = scripted.latency_s or self.latency_s
        latency_s = latency.at(draw(self.seed, trial_key, turn, exchange, "latency")) if latency else 0.0
        return Step(error or scripted, latency_s, scripted.usage or self.usage)


def _number(trial_key: str | int) -> int | None:
    if isinstance(trial_key, int):
        return trial_key
    return int(trial_key) if trial_key.isascii() and trial_key.isdigit() and len(trial_key) < 20 else None


def _closing(turns: tuple[ScriptTurn, ...]) -> ScriptTurn:
    plain = (turn.text for turn in reversed(turns) if turn.text is not None and not turn.tool_calls)
    return ScriptTurn(text=next(plain, ""))
