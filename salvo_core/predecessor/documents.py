"""The predecessor's documents as they stand on disk: what must be in them, and what may.

Keys that nobody knows are no reason to lose a run: they are left out and named. A value of the
wrong kind is: then the document is not what it says it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salvo_core.predecessor.folder import Unreadable

SCHEMA_VERSION = 1
TRIALS_MAX = 100_000
"""Of one run: its whole suite is one file, and a number beyond this is a damaged one."""

_Money = Field(default=None, ge=0, le=1e9)
_Document = TypeVar("_Document", bound=BaseModel)


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class EvalResult(_Loose):
    """One assertion of one trial."""

    assertion_type: str
    score: float
    passed: bool
    weight: float = 1.0
    required: bool = False
    details: str = ""
    metadata: dict[str, Any] | None = None
    """Of judges only."""


class Trial(_Loose):
    """One trial of a suite."""

    trial_number: int = Field(ge=1, le=TRIALS_MAX)
    """Counted from 1."""
    status: Literal["passed", "failed", "hard_fail", "infra_error"]
    score: float
    eval_results: list[EvalResult] = Field(default_factory=list)
    latency_seconds: float = Field(default=0.0, ge=0, le=1e9)
    """Wall time: retries, waits and judges included."""
    cost_usd: float | None = _Money
    retries_used: int = Field(default=0, ge=0)
    transient_error_types: list[str] = Field(default_factory=list)
    error_message: str | None = None
    trace_id: str | None = None
    passed: bool | None = None


class Suite(_Loose):
    """One run: ``runs/<run_id>.json``."""

    run_id: str
    scenario_name: str
    scenario_file: str | None = None
    model: str
    adapter: str
    trials: list[Trial] = Field(max_length=TRIALS_MAX)
    verdict: str
    threshold: float
    n_requested: int | None = Field(default=None, le=TRIALS_MAX)
    early_stopped: bool = False
    early_stop_reason: str | None = None
    score_avg: float | None = None
    score_p95: float | None = None
    # What follows is computed anew from the trials; named here so that it is not taken for unknown.
    trials_total: Any = None
    trials_passed: Any = None
    trials_failed: Any = None
    trials_hard_fail: Any = None
    trials_infra_error: Any = None
    pass_rate: Any = None
    score_min: Any = None
    score_p50: Any = None
    cost_total: Any = None
    cost_avg_per_trial: Any = None
    judge_cost_total: Any = None
    latency_p50: Any = None
    latency_p95: Any = None
    total_retries: Any = None
    trials_with_retries: Any = None
    assertion_failures: Any = None


class Call(_Loose):
    """One call of a tool; ``arguments`` is a mark instead of a map where content was not kept."""

    id: str
    name: str
    arguments: dict[str, Any] | str = Field(default_factory=dict)


class Said(_Loose):
    """One message."""

    role: Literal["system", "user", "assistant", "tool_result"]
    content: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None


class RunTrace(_Loose):
    """One conversation: ``traces/<trace_id>.json``."""

    messages: list[Said]
    turn_count: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    latency_seconds: float = Field(ge=0, le=1e9)
    """The conversation alone."""
    finish_reason: str
    model: str
    provider: str
    timestamp: datetime
    """When it ended, UTC."""
    scenario_hash: str = ""
    cost_usd: float | None = _Money
    extras_resolved: dict[str, Any] = Field(default_factory=dict)
    max_turns_hit: bool = False
    final_content: Any = None
    tool_calls_made: Any = None
    total_tokens: Any = None


class RecordingMetadata(_Loose):
    """About a recording."""

    schema_version: int = Field(ge=0)
    recording_mode: Literal["full", "metadata_only"]
    recorded_at: datetime | None = None
    source_run_id: str = ""
    scenario_hash: str = ""
    salvo_version: Any = None
    scenario_name: Any = None
    scenario_file: Any = None


class Recording(_Loose):
    """A conversation as it was recorded: ``traces/<trace_id>.recorded.json``."""

    metadata: RecordingMetadata
    trace: RunTrace
    scenario_snapshot: dict[str, Any]
    original_trace_id: Any = None


class ManifestEntry(_Loose):
    """One run in the manifest."""

    trace_ids: list[dict[str, Any]] = Field(default_factory=list)
    recorded: bool = False
    scenario_name: Any = None
    created_at: Any = None


class ManifestFile(_Loose):
    """``traces/manifest.json``."""

    schema_version: int = Field(ge=0)
    runs: dict[str, ManifestEntry] = Field(default_factory=dict)


def read_as(kind: type[_Document], value: Any) -> _Document:
    """Return a document of that kind.

    Raises:
        Unreadable: The value is none; says where it is wrong.
    """
    version = value.get("metadata", value) if isinstance(value, Mapping) else {}
    number = version.get("schema_version") if isinstance(version, Mapping) else None
    if isinstance(number, int) and number > SCHEMA_VERSION:
        raise Unreadable(f"was written by a later salvo-ai (schema {number}; {SCHEMA_VERSION} is known)")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        more = f", and {error.error_count() - 1} more like that" if error.error_count() > 1 else ""
        raise Unreadable(f"is not what it should be: {place}: {first['msg'].lower()}{more}") from None
    except RecursionError:
        raise Unreadable("is nested too deep") from None


def unknown_keys(document: BaseModel) -> list[str]:
    """Return the keys of a document that nobody here knows, each once, sorted; lists have no numbers."""
    return sorted(set(_unknown(document, "")))


def _unknown(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            yield f"{path}{name[:80]}"
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for one in value:
            yield from _unknown(one, path)
    elif isinstance(value, Mapping):
        for one in value.values():
            if isinstance(one, BaseModel):
                yield from _unknown(one, path)
