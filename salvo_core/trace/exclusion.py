"""What a run's records keep of what was said: all of it, or only what it was like.

Without content, a trace still tells who spoke when, which tools were called, how long it took, what
it cost and what it was worth. Of text that people, models, tools or providers wrote, nothing is left
but the names that the scenario gives to tools; a marker stands where something was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from salvo_core.trace.model import (
    ErrorKind,
    Finding,
    Judgement,
    Message,
    Retry,
    ToolCall,
    Trace,
    TrialError,
    Turn,
    Vote,
)
from salvo_core.trace.recording import EXCLUDED

NOT_KEPT_HINT = "the run was recorded as metadata_only; with --recording full it says more"
_CHECK_NOT_KEPT = "the reason is not kept"

_HAPPENED: Mapping[str, str] = {
    "rate_limited": "the provider asked to slow down",
    "transient": "the provider failed for the moment",
    "permanent": "the provider refused the request",
    "context_full": "the conversation was longer than the model takes",
    "authentication": "the provider did not accept the key",
    "adapter": "no such adapter can be used on this worker",
    "judge": "a judge that the grade needs could not be heard",
    "internal": "Salvo could not go on with this trial",
    "unreadable": "the answer could not be read",
}
"""What is said of an error in place of its message, which may repeat the conversation."""

_WORDS_OF_SALVO = frozenset({"scenario", "store", "worker_lost", "abandoned", "budget"})
"""Kinds of errors whose messages name keys, models and counts, and nothing that anybody said."""
assert set(get_args(ErrorKind)) <= _WORDS_OF_SALVO | _HAPPENED.keys()


def what_happened(kind: str) -> str:
    """Return what is said of an error of that kind where its own words may not be kept."""
    return _HAPPENED.get(kind, kind)


_NAME = re.compile(r"[\w.:/@-]{1,128}", re.ASCII)
"""What an id, a tool, a model or a finish reason can be called. Prose has blanks."""


def without_content(trace: Trace) -> Trace:
    """Return a trace as ``metadata_only`` keeps it. Doing it again changes nothing.

    The lengths of all lists stay, and so does whether a message had text at all: what assertions say
    that need no content (``AssertionSpec.needs_content``), they say of this too.
    """
    return trace.model_copy(
        update={
            "recording": "metadata_only",
            "messages": tuple(map(_message, trace.messages)),
            "turns": tuple(map(_turn, trace.turns)),
            "error": None if trace.error is None else _error(trace.error),
            "finish_reason": _name(trace.finish_reason),
            "extras": dict.fromkeys(trace.extras, EXCLUDED),
            "findings": tuple(map(_finding, trace.findings)),
            "judgements": tuple(map(_judgement, trace.judgements)),
        }
    )


def _name(text: str) -> str:
    """Return a name that was chosen by a model or a provider, unless it could be prose."""
    return text if not text or _NAME.fullmatch(text) else EXCLUDED


def _message(message: Message) -> Message:
    update: dict[str, Any] = {
        "content": None if message.content is None else EXCLUDED,
        "tool_calls": None if message.tool_calls is None else tuple(map(_call, message.tool_calls)),
        "tool_call_id": None if message.tool_call_id is None else _name(message.tool_call_id),
        "tool_name": None if message.tool_name is None else _name(message.tool_name),
    }
    return message.model_copy(update=update)


def _call(call: ToolCall) -> ToolCall:
    malformed = None if call.malformed is None else EXCLUDED
    return ToolCall(id=_name(call.id), name=_name(call.name), malformed=malformed)


def _turn(turn: Turn) -> Turn:
    return turn.model_copy(
        update={
            "content": None if turn.content is None else EXCLUDED,
            "tool_calls": tuple(map(_call, turn.tool_calls)),
            "finish_reason": _name(turn.finish_reason),
            "model": _name(turn.model),
            "retries": tuple(map(_retry, turn.retries)),
        }
    )


def _retry(retry: Retry) -> Retry:
    return retry.model_copy(update={"message": what_happened(retry.kind)})


def _error(error: TrialError) -> TrialError:
    update: dict[str, Any] = {
        "error_class": _name(error.error_class),
        "retries": tuple(map(_retry, error.retries)),
    }
    if error.kind not in _WORDS_OF_SALVO:
        update |= {"message": _HAPPENED[error.kind], "hint": NOT_KEPT_HINT}
    return error.model_copy(update=update)


def _finding(finding: Finding) -> Finding:
    error = None if finding.error is None else _CHECK_NOT_KEPT
    return finding.model_copy(update={"label": finding.type, "details": "", "error": error})


def _judgement(judgement: Judgement) -> Judgement:
    """Return the votes with their scores alone; criteria are told apart by number."""
    numbered = {name: f"criterion {number}" for number, name in enumerate(judgement.weights, start=1)}
    return judgement.model_copy(
        update={
            "weights": {numbered[name]: weight for name, weight in judgement.weights.items()},
            "votes": tuple(_vote(vote, numbered) for vote in judgement.votes),
        }
    )


def _vote(vote: Vote, numbered: Mapping[str, str]) -> Vote:
    return vote.model_copy(
        update={
            "scores": {numbered[name]: score for name, score in vote.scores.items() if name in numbered},
            "reasoning": {},
            "raw": "",
            "error": None if vote.error is None else _HAPPENED.get(vote.error_kind or "unreadable", ""),
            "model": _name(vote.model),
            "retries": tuple(map(_retry, vote.retries)),
        }
    )
