"""One trial of the predecessor as a trace of ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from salvo_core.evaluation.assertion import DETAILS_CHARS_MAX
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.wording import one_line
from salvo_core.predecessor.collection import FoundTrial
from salvo_core.predecessor.documents import Call, RunTrace, Said, Trial
from salvo_core.predecessor.judges import judged_by, judgement_of
from salvo_core.run.plan import Plan
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import (
    ErrorKind,
    Finding,
    Judgement,
    Message,
    Outcome,
    Provenance,
    Retry,
    ScenarioRef,
    ToolCall,
    Trace,
    TrialError,
    Turn,
    Usage,
)
from salvo_core.trace.recording import EXCLUDED, RecordingMode
from salvo_core.trace.redaction import MARKER, Redactor

WHO = "salvo-ai"
_UNKNOWN = "unknown"
_RETRIES_MAX = 100
_SAME = 1e-9
_BARE = frozenset({"tool_sequence", "cost_limit", "latency_limit"})
"""Assertion types of the predecessor that need no content."""

_KINDS: tuple[tuple[str, ErrorKind], ...] = (
    ("ToolMock", "scenario"),
    ("Import", "adapter"),
    ("ModuleNotFound", "adapter"),
    ("RateLimit", "rate_limited"),
    ("Authentication", "authentication"),
    ("PermissionDenied", "authentication"),
    ("Timeout", "transient"),
    ("Connection", "transient"),
    ("InternalServer", "transient"),
    ("ServiceUnavailable", "transient"),
    ("Overloaded", "transient"),
    ("BadRequest", "permanent"),
    ("NotFound", "permanent"),
    ("UnprocessableEntity", "permanent"),
    ("APIStatus", "permanent"),
)
"""What an exception's class says of whose fault it was: the first of these words that is in its name."""


class Surroundings(NamedTuple):
    """What the trials of one run share."""

    plan: Plan
    scenario: Scenario | None
    types: Sequence[str]
    """Of the assertions, by place."""
    labels: Sequence[str]
    mode: RecordingMode
    redactor: Redactor


@dataclass(frozen=True, slots=True)
class _When:
    started_at: datetime
    ended_at: datetime


def trace_of(found: FoundTrial, index: int, where: Surroundings) -> Trace:
    """Return a trial's record, its conversation empty if that is lost.

    Args:
        found: The trial.
        index: Its place in the run, 0-based.
        where: Its run.
    """
    trial, told, plan = found.trial, found.trace, where.plan
    cell = plan.cells[0]
    infra = trial.status == "infra_error"
    when = _when(trial, told, plan)
    messages = tuple(map(_message, told.messages)) if told else ()
    judgements = _judgements(trial, plan.trace_id(index))
    return Trace(
        trace_id=plan.trace_id(index),
        run_id=plan.run_id,
        index=index,
        cell=0,
        trial=index,
        attempt=1,
        scenario=ScenarioRef(digest=cell.scenario_digest, name=cell.scenario_name, file=cell.scenario_file),
        model=cell.model,
        adapter=cell.adapter,
        threshold=cell.threshold,
        started_at=when.started_at,
        ended_at=when.ended_at,
        outcome=_outcome(trial, told),
        error=_error(trial) if infra else None,
        messages=messages,
        turns=_turns(messages, trial, told),
        usage=Usage(input_tokens=told.input_tokens, output_tokens=told.output_tokens) if told else Usage(),
        cost_usd=trial.cost_usd if told is None or trial.cost_usd is not None else told.cost_usd,
        # The placeholder of an infrastructure error holds the time until it was given up: no conversation.
        latency_s=told.latency_seconds if told and not infra else 0.0,
        duration_s=trial.latency_seconds,
        finish_reason=told.finish_reason if told else "",
        extras=told.extras_resolved if told else {},
        findings=_findings(trial, where),
        judgements=judgements,
        judged=tuple(judged_by(one, _judges_threshold(one, where.scenario)) for one in judgements),
        recording=where.mode,
        score=None if infra else min(max(trial.score, 0.0), 1.0),
        grade=None if trial.status == "infra_error" else trial.status,
        provenance=Provenance(
            salvo_version=plan.salvo_version,
            python_version=_UNKNOWN,
            host=_UNKNOWN,
            worker=WHO,
        ),
    )


def marked(trace: Trace, redacted: Trace, scenario: Scenario | None) -> Trace:
    """Return a redacted trace that says so, and which findings are not what checking it would come to.

    What the predecessor struck out counts, too. What a judge would say of the rest cannot be known.

    Args:
        trace: As it was read.
        redacted: As it may be stored, content included.
        scenario: Its own, if that is known.
    """
    said = json.dumps([one.model_dump(mode="json") for one in redacted.messages])
    struck_out = MARKER in said or redacted.messages != trace.messages
    assertions = scenario.assertions if scenario else []
    document = Document(redacted)

    def affected(finding: Finding) -> bool:
        known = finding.assertion < len(assertions)
        if redacted.recording == "metadata_only":
            return assertions[finding.assertion].needs_content() if known else finding.type not in _BARE
        if not struck_out or finding.type == "judge":
            return struck_out
        if not known or not redacted.messages:
            return False
        check = assertions[finding.assertion].tried(document)
        return check.passed != finding.passed or abs(check.score - finding.score) > _SAME

    findings = tuple(
        one.model_copy(update={"redaction_affected": affected(one)}) for one in redacted.findings
    )
    return redacted.model_copy(update={"redacted": struck_out, "findings": findings})


def _when(trial: Trial, told: RunTrace | None, plan: Plan) -> _When:
    if told is None:
        return _When(plan.created_at, plan.created_at)
    ended = told.timestamp if told.timestamp.tzinfo else told.timestamp.replace(tzinfo=UTC)
    try:
        return _When(ended - timedelta(seconds=told.latency_seconds), ended)
    except OverflowError:
        return _When(plan.created_at, plan.created_at)


def _outcome(trial: Trial, told: RunTrace | None) -> Outcome:
    if trial.status == "infra_error":
        return "infra_error"
    return "max_turns" if told and told.max_turns_hit else "completed"


def _error(trial: Trial) -> TrialError:
    kind = (trial.transient_error_types or [""])[-1]
    message = trial.error_message or "salvo-ai kept no more of it"
    # Its class stands among the transient ones whatever it was; the three retries beside it are none.
    return TrialError(
        kind=_kind(kind, message), message=message, error_class=kind[:200], turn=0 if kind else None
    )


def _kind(error_class: str, message: str = "") -> ErrorKind:
    found = next((kind for word, kind in _KINDS if word in error_class), None)
    if found is None and "api_key" in message:
        return "authentication"  # the provider's own package, which no key was given to
    return found or "internal"


def _message(said: Said) -> Message:
    return Message(
        role=said.role,
        content=said.content,
        tool_calls=tuple(map(_call, said.tool_calls)) if said.tool_calls else None,
        tool_call_id=said.tool_call_id,
        tool_name=said.tool_name,
    )


def _call(call: Call) -> ToolCall:
    # A mark in place of arguments: content was not kept.
    return ToolCall(
        id=call.id, name=call.name, arguments=call.arguments if isinstance(call.arguments, dict) else {}
    )


def _turns(messages: Sequence[Message], trial: Trial, told: RunTrace | None) -> tuple[Turn, ...]:
    """Return the assistant's messages as turns. Only the sums of what they used were kept."""
    if told is None:
        return ()
    said = [message for message in messages if message.role == "assistant"]
    alone = len(said) == 1
    return tuple(
        Turn(
            index=number,
            content=message.content,
            tool_calls=message.tool_calls or (),
            finish_reason=told.finish_reason if number == len(said) - 1 else "",
            usage=Usage(input_tokens=told.input_tokens, output_tokens=told.output_tokens)
            if alone
            else Usage(),
            cost_usd=told.cost_usd if alone else None,
            latency_s=told.latency_seconds if alone else 0.0,
            retries=_retries(trial) if number == 0 else (),
            worker=WHO,
        )
        for number, message in enumerate(said)
    )


def _retries(trial: Trial) -> tuple[Retry, ...]:
    """Return the conversations that failed before this one came back; there the whole was tried again."""
    count = min(trial.retries_used, _RETRIES_MAX) if trial.status != "infra_error" else 0
    classes = [*trial.transient_error_types[:count], *[""] * count][:count]
    return tuple(Retry(kind=_kind(name), message=name[:200] or "not kept") for name in classes)


def _findings(trial: Trial, where: Surroundings) -> tuple[Finding, ...]:
    bare = where.mode == "metadata_only"
    findings = []
    for place, result in enumerate(trial.eval_results):
        details = one_line(where.redactor.text(result.details), DETAILS_CHARS_MAX)
        unheard = result.assertion_type == "judge" and "judge_parse_failed" in result.details
        findings.append(
            Finding(
                assertion=place,
                type=where.types[place],
                label=where.labels[place],
                score=min(max(result.score, 0.0), 1.0),
                passed=result.passed,
                weight=result.weight,
                required=result.required,
                details="" if bare or unheard else details,
                error=(EXCLUDED if bare else details) if unheard else None,
            )
        )
    return tuple(findings)


def _judgements(trial: Trial, trace_id: str) -> tuple[Judgement, ...]:
    told = (
        judgement_of(result.metadata, place=place, trace_id=trace_id)
        for place, result in enumerate(trial.eval_results)
        if result.assertion_type == "judge" and result.metadata
    )
    return tuple(one for one in told if one is not None)


def _judges_threshold(judgement: Judgement, scenario: Scenario | None) -> float:
    """Return the threshold of a judge's own: what the project said of it then was not kept."""
    place = judgement.assertions[0]
    asked = scenario.assertions[place] if scenario and place < len(scenario.assertions) else None
    own = asked.threshold if isinstance(asked, Judge) else None
    return JudgeDefaults().default_threshold if own is None else own
