"""The door to judges: a conversation that has ended is put before them, and what they say is kept.

Each vote reaches the journal as soon as it was given, so that a worker that dies between two of
them costs the one that was under way and no other (I3). A judge that fails never discards the
conversation: what it was needed for stays undecided, and can be decided later from the trace.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from salvo_core.adapters.gate import OPEN_GATE, Gate
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, SalvoError
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.grading import UNGRADED
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.counting import count
from salvo_core.evaluation.judge.panel import Brief, Forms, Heard, Interrupted, hear, judges_in
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.live import Manifest
from salvo_core.run.plan import Plan
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Judged, Trace, Vote
from salvo_core.trial.conversation import Leaving
from salvo_core.trial.endings import barred, internal_error, log_fault

logger = logging.getLogger(__name__)


async def judge(
    trace: Trace,
    scenario: Scenario,
    held: HeldTrial,
    *,
    plan: Plan,
    adapters: AdapterRegistry,
    manifest: Manifest,
    clock: Clock,
    forms: Forms,
    past: Mapping[tuple[str, int], Vote] | None = None,
    gate: Gate = OPEN_GATE,
) -> tuple[Trace, Mapping[Judge, Ballot]]:
    """Return the trace with what the scenario's judges said of it, and their ballots for grading.

    A trial without a grade to come, or without judges, is returned as it is. One whose run was cancelled
    before a judge was asked ends as cancelled, one that lost too many workers without a grade; both
    keep the conversation.

    Args:
        trace: Not graded yet, nothing struck out.
        scenario: Its own.
        held: The right to go on; votes that earlier attempts journaled are not asked for again.
        plan: Of its run.
        adapters: Whom to ask, and what that costs.
        manifest: Where earlier votes are.
        clock: Measures, and waits.
        forms: What this worker knows of how its providers take a question.
        past: Votes that are known besides, by question and number; those in the journal go before them.
        gate: Asked before each exchange.

    Raises:
        LeaseLost: This attempt no longer holds the trial.
        Leaving: The worker is shutting down; every vote that was under way has been journaled.
        RedisUnavailable: A vote could not be journaled.
        Barred: The judge's provider is to be awaited by a later attempt.
    """
    claim = held.claim
    if trace.outcome in UNGRADED or not judges_in(scenario.assertions):
        return trace, {}
    journaled: Mapping[tuple[str, int], Vote] = {}
    if claim.attempt > 1:
        journaled = await held.insist(lambda: manifest.voted(claim.run_id, claim.index))
    try:
        heard = await hear(
            trace,
            scenario.assertions,
            brief_of(scenario),
            defaults=plan.judge,
            bar=adapters,
            clock=clock,
            rng_seed=trace.trace_id,
            attempt=claim.attempt,
            worker=claim.worker,
            past={**(past or {}), **journaled},
            keep=held.keep_vote,
            may_ask=lambda: held.interruption() is None,
            forms=forms,
            gate=gate,
        )
    except Interrupted as stopped:
        return _stopped(trace, held, stopped), {}
    except SalvoError:
        raise
    except Exception as error:  # a fault of ours must not cost the conversation
        what = f"the judges of trial {claim.trace_id} could not be heard for a fault of Salvo's own"
        log_fault(logger, what, error, plan.recording)
        return trace.model_copy(update={"error": internal_error(error)}), {}
    return judged(trace, scenario.assertions, heard), heard.ballots


def brief_of(scenario: Scenario) -> Brief:
    """Return what judges may be told of the task besides the conversation."""
    return Brief(
        system_prompt=scenario.system_prompt or "",
        prompt=scenario.prompt,
        tools=tuple((tool.name, tool.description) for tool in scenario.tools),
    )


def judged(trace: Trace, assertions: Sequence[AssertionSpec], heard: Heard) -> Trace:
    """Return the trace with the judgements, and what they come to for each judge of the scenario."""
    told = []
    for place, asked in judges_in(assertions):
        ballot = heard.ballots[asked]
        counted = count(ballot)
        told.append(
            Judged(
                assertion=place,
                request=ballot.request,
                k=ballot.k,
                threshold=ballot.threshold,
                heard=counted.heard,
                in_favour=counted.in_favour,
            )
        )
    return trace.model_copy(update={"judgements": heard.judgements, "judged": tuple(told)})


def _stopped(trace: Trace, held: HeldTrial, stopped: Interrupted) -> Trace:
    """Return the trace of a trial whose judges are not asked any more; what they did say is kept."""
    if stopped.barred is not None and stopped.barred.bar in ("patience", "refused"):
        raise stopped.barred
    if stopped.barred is not None and stopped.barred.bar != "interrupted":
        return trace.model_copy(update={"judgements": stopped.judgements, "error": barred(stopped.barred)})
    interruption = held.interruption()
    if interruption == "lost":
        raise LeaseLost(f"trial {trace.trace_id} is held by another attempt")
    if interruption != "cancelled":
        raise Leaving
    trace = trace.model_copy(update={"judgements": stopped.judgements})
    if trace.error is not None:  # it lost too many workers, and says so
        return trace
    return trace.model_copy(update={"outcome": "cancelled"})
