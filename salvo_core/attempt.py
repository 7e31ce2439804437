"""The door of a worker: one try at one trial, from message to committed row.

The order of writes is the promise (I2, I3): each turn reaches the journal before the next
begins, the trace object is durable before the row names it, and the row is written
only by the attempt that still holds the trial. A worker that dies before the claim has
changed nothing; after it, the lease runs out and another worker continues from the
journal; after the PUT, the next attempt stores an object of its own and commits that.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from salvo_core.adapters.gate import Barred
from salvo_core.adapters.protocol import Adapter
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import (
    LeaseLost,
    ObjectCorrupt,
    ObjectMissing,
    RedisUnavailable,
    SalvoError,
    StoreRefused,
    StoreUnavailable,
    UsageError,
)
from salvo_core.evaluation.document import Functions
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.panel import Forms
from salvo_core.fleet.breaker import Breakers
from salvo_core.fleet.gate import TrialGate, gate_of
from salvo_core.fleet.intake import Intake
from salvo_core.fleet.limits import ProviderLimits, Terms
from salvo_core.fleet.turnstile import Turnstiles
from salvo_core.judge import judge
from salvo_core.manifest.claims import Refusal
from salvo_core.manifest.leases import HeldTrial, LeaseKeeper
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.rebuild import Rebuilder
from salvo_core.record import Recorded, StoreClosed, finish, store_patiently
from salvo_core.relinquish import curtail, follow_up, relinquish, seal_or_say
from salvo_core.rescore import Unchanged, rescore, rescoring
from salvo_core.run.curtailer import Curtailer
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan, TrialMessage
from salvo_core.run.records import record_of, timed
from salvo_core.scenario.model import Scenario
from salvo_core.store.protocol import Store
from salvo_core.trace.model import Trace, TrialError, Turn, Usage
from salvo_core.trace.recording import Recording
from salvo_core.trace.redaction import Redactor
from salvo_core.trial.conversation import Conversation, Leaving, Part, converse, opening
from salvo_core.trial.earlier import Mute, added, unread, with_dropped, with_turns
from salvo_core.trial.endings import as_trial_error, internal_error, log_fault, worker_lost
from salvo_core.trial.limits import Limits

logger = logging.getLogger(__name__)

CLOSE_LOST = ("close_lost", "close_unread")
"""Purposes of an attempt that only stores what was said, because workers vanished over the trial."""

UNKNOWN = Recording(mode="metadata_only")
"""How turns are recorded whose plan cannot be read: nobody knows that their words may be kept."""


@dataclass(frozen=True)
class Bench:
    """Everything an attempt needs at the place where it runs; one per worker process."""

    store: Store
    manifest: Manifest
    dispatcher: Dispatcher
    adapters: AdapterRegistry
    leases: LeaseKeeper
    orders: Orders
    clock: Clock
    functions: Functions | None = None
    """What ``custom`` assertions may call here."""
    redaction_patterns: tuple[str, ...] = ()
    """The project's own, besides those that always apply."""
    rebuilder: Rebuilder | None = None
    """Looks for runs that Redis does not know; without it, their messages are dropped."""
    forms: Forms = field(default_factory=Forms)
    """How providers take a judge's question, as this worker finds out."""
    intake: Intake = field(default_factory=Intake)
    """Shut while what a new trial comes to could not be kept."""

    @property
    def worker(self) -> str:
        """This worker's name."""
        return self.leases.worker

    @cached_property
    def curtailer(self) -> Curtailer:
        """What ends decided cells, and knows how far this worker has read them."""
        return Curtailer(self.manifest)

    @cached_property
    def breakers(self) -> Breakers:
        """What all workers know of providers that are away."""
        return Breakers(self.manifest.redis, self.manifest.address, self.adapters.breaker_terms)

    @cached_property
    def turnstiles(self) -> Turnstiles:
        """Where this worker's exchanges wait for their turn within the fleet's limits."""
        terms = Terms(lease_s=self.leases.lease_s)
        limits = ProviderLimits(self.manifest.redis, self.manifest.address, terms)
        return Turnstiles(limits, self.worker, self.adapters.allowance, self.clock)

    @cached_property
    def ledger(self) -> Ledger:
        """The books of runs that have a budget."""
        return Ledger(self.manifest)


async def attempt(message: TrialMessage, bench: Bench) -> None:
    """Attempt the trial that a message names, if it still wants attempting.

    A message is a hint: for a trial that has ended, that another worker holds, or that was
    cancelled, this costs one question to Redis and changes nothing else.

    Args:
        message: Validated, but possibly a duplicate, late, or of a run that is gone.
        bench: This worker's.
    """
    try:
        if not await bench.intake.admits():
            await bench.dispatcher.publish(
                [message], bench.orders.route(message.run_id)
            )  # we leave, and whoever can shall have it
            return
        held = await bench.leases.claim(message.run_id, message.index, message.trace_id)
    except RedisUnavailable as error:
        # Nothing has begun. The message is used up, and a sweep sends it again once Redis is back.
        logger.warning("trial %s was not begun: %s", message.trace_id, error)
        return
    if isinstance(held, Refusal):
        logger.debug("trial %s was not begun: %s", message.trace_id, held.reason)
        if held.reason == "unknown" and bench.rebuilder is not None:
            await bench.rebuilder.consider(message.run_id)  # Redis may have lost the run
        if held.reason == "suspect":  # this worker is leaving, and another has room
            await bench.dispatcher.publish([message], bench.orders.route(message.run_id))
        await follow_up(held, message.run_id, bench)
        return
    claim = held.claim
    try:
        await _attempt_held(message, held, bench)
    except Barred as bar:
        await relinquish(message, claim, bar, bench)
    except (LeaseLost, RedisUnavailable) as error:
        # What was paid is in the journal; whoever holds the trial now continues from there.
        logger.warning("trial %s, attempt %d, stopped: %s", claim.trace_id, claim.attempt, error)
    except (Leaving, StoreClosed) as reason:
        logger.info(
            "trial %s, attempt %d, is given back: %s", claim.trace_id, claim.attempt, reason or "leaving"
        )
        if await bench.leases.give_back(claim) and bench.leases.leaving:
            # This message is used up, and no sweep looks for a trial while others keep the queue filled.
            await bench.dispatcher.publish([message], bench.orders.route(message.run_id))
    except asyncio.CancelledError:
        # A worker told to leave now: others should not wait for the lease to run out.
        await asyncio.shield(bench.leases.give_back(claim))
        raise
    finally:
        bench.leases.let_go(held)


async def _attempt_held(message: TrialMessage, held: HeldTrial, bench: Bench) -> None:
    began = bench.clock.now(), bench.clock.monotonic_s()
    claim = held.claim
    if (again := await rescoring(message, bench.orders)) is not None:
        await _commit(held, await rescore(again, held, bench), again, message.cell, bench)
        return
    past: Sequence[Turn] = ()
    if claim.attempt > 1 and claim.purpose != "close_unread":
        past = await held.insist(lambda: bench.manifest.journaled(claim.run_id, claim.index))
    held.turns.extend(past)
    gate = gate_of(held, bench)
    plan, scenario, conversation = await _converse(message, held, past, bench, gate)
    conversation = with_dropped(conversation, claim.past)
    trace = timed(record_of(claim, plan, scenario, conversation, began[0]), began, bench.clock)
    trace = trace.model_copy(update={"earlier": with_turns(claim.past, past)})
    ballots: Mapping[Judge, Ballot] = {}
    if plan is not None and scenario is not None:
        trace, ballots = await judge(
            trace,
            scenario,
            held,
            plan=plan,
            adapters=bench.adapters,
            manifest=bench.manifest,
            clock=bench.clock,
            forms=bench.forms,
            gate=gate.of("judge"),
        )
        trace = timed(trace, began, bench.clock)
    await gate.close()
    recording = plan.recording if plan else UNKNOWN if trace.turns else Recording()
    redactor = Redactor(bench.adapters.known_secrets(), (*bench.redaction_patterns, *recording.patterns))
    labels = plan.cells[trace.cell].assertions if plan else ()
    # What ended its workers may be the checking itself.
    checked = None if claim.purpose in CLOSE_LOST else scenario
    finishing = partial(_finish, trace, checked, redactor, bench.functions, ballots, recording, labels)
    # Assertions, redaction and compression are work, not waiting: off the loop.
    recorded = await asyncio.to_thread(finishing)
    recorded = await store_patiently(recorded, held, bench.store, bench.clock)
    await _commit(held, recorded, plan, trace.cell if plan else message.cell, bench)


async def _converse(
    message: TrialMessage, held: HeldTrial, past: Sequence[Turn], bench: Bench, gate: TrialGate
) -> tuple[Plan | None, Scenario | None, Conversation]:
    """Return the order and the conversation; an order that cannot be had ends the trial before it speaks."""
    plan: Plan | None = None
    scenario: Scenario | None = None
    try:
        plan = await bench.orders.plan(message.run_id, message.index)
        if message.index >= plan.total or plan.message(message.index) != message:
            raise UsageError(f"the message is not one that the plan of run {message.run_id} would send")
        gate.budget = plan.budget
        gate.discreet = bool(
            plan.recording.mode != "full" or plan.recording.patterns or bench.redaction_patterns
        )
        cell = plan.cells[message.cell]
        scenario = await bench.orders.scenario(plan, cell)
        mute = held.claim.purpose in CLOSE_LOST
        adapter = Mute() if mute else bench.adapters.get(cell.adapter, scenario.script)
        backoff = bench.adapters.backoff_for(cell.adapter)
        await bench.adapters.prepare(cell.adapter, cell.model)
    except (ObjectMissing, ObjectCorrupt) as error:
        return plan, scenario, _unspoken(as_trial_error("store", error), past)
    except (StoreUnavailable, StoreRefused) as error:
        raise StoreClosed(f"its plan could not be read: {error}") from error
    except UsageError as error:
        return plan, scenario, _unspoken(as_trial_error("adapter", error), past, scenario)
    part = Part(
        scenario=scenario,
        model=cell.model,
        adapter=adapter,
        limits=Limits(scenario.max_turns, scenario.timeout_s, scenario.max_tokens, scenario.max_cost_usd),
        backoff=backoff,
        price=lambda model, usage: bench.adapters.price_usd(cell.adapter, model, usage),
        trace_id=message.trace_id,
        trial=plan.trial_index(message.index),
        attempt=held.claim.attempt,
        worker=bench.worker,
        gate=gate,
        retried=any(one.how == "retried" for one in held.claim.past),
    )
    try:
        return plan, scenario, await _said(part, past, held, bench.clock)
    except (SalvoError, Leaving):
        raise
    except Exception as error:  # a fault of ours must end in a row that says so, not in a worker "lost"
        log_fault(logger, f"trial {message.trace_id} failed on a fault of Salvo's own", error, plan.recording)
        return plan, scenario, _unspoken(internal_error(error), past, scenario)
    finally:
        await _let_go(adapter, message.trace_id, plan.recording)


async def _let_go(adapter: Adapter, trace_id: str, recording: Recording) -> None:
    try:
        await adapter.aclose()  # a team's own class is made for one trial and may hold connections
    except Exception as error:  # its code may raise anything, and nothing is lost by it: all is said
        log_fault(logger, f"trial {trace_id}: adapter {adapter.name} could not be closed", error, recording)


async def _said(part: Part, past: Sequence[Turn], held: HeldTrial, clock: Clock) -> Conversation:
    if held.claim.purpose not in CLOSE_LOST:
        return await converse(part, past, held, clock)
    error = worker_lost(with_turns(held.claim.past, past))
    if held.claim.purpose == "close_unread":
        return unread(error, opening(part.scenario))
    held.cancelled = True  # ends the loop at its first boundary, after the past was said again
    said = await converse(part, past, held, clock)
    # Where the journal held the end of the conversation, that stands; it is graded by nobody, though.
    return replace(said, outcome="infra_error" if said.outcome == "cancelled" else said.outcome, error=error)


def _unspoken(error: TrialError, past: Sequence[Turn], scenario: Scenario | None = None) -> Conversation:
    """Return what is known when nobody can speak: the prompt, what earlier attempts paid for, the error."""
    return Conversation(
        messages=tuple(opening(scenario)) if scenario else (),
        turns=tuple(past),
        outcome="infra_error",
        error=error,
        usage=sum((turn.billed for turn in past), Usage()),
        cost_usd=added([turn.cost_usd for turn in past]),
        latency_s=round(math.fsum(turn.latency_s for turn in past), 6),
    )


def _finish(
    trace: Trace,
    scenario: Scenario | None,
    redactor: Redactor,
    functions: Functions | None,
    ballots: Mapping[Judge, Ballot],
    recording: Recording,
    labels: Sequence[str],
) -> Recorded:
    try:
        assertions = scenario.assertions if scenario else ()
        return finish(trace, assertions, redactor, functions, ballots, mode=recording.mode, labels=labels)
    except Exception as error:  # what cannot be graded or written down must still end in a row
        log_fault(logger, f"trace {trace.trace_id} cannot be stored as it is", error, recording)
        unsaid = {
            "messages": (),
            "turns": (),
            "judgements": (),
            "judged": (),
            "extras": {},
            "outcome": "infra_error",
            "error": internal_error(error),
            "finish_reason": "error",
        }
        return finish(trace.model_copy(update=unsaid), (), redactor, mode=recording.mode)


async def _commit(
    held: HeldTrial, recorded: Recorded | Unchanged, plan: Plan | None, cell: int, bench: Bench
) -> None:
    claim = held.claim
    committed = await held.insist(
        lambda: bench.manifest.commit(claim, cell, recorded.status, recorded.result), lambda told: told.won
    )
    if not committed.won:
        logger.warning(
            "trial %s: attempt %d came too late and counts for nothing", claim.trace_id, claim.attempt
        )
        return
    logger.info("trial %s %s, attempt %d", claim.trace_id, recorded.status, claim.attempt)
    # Before the trials are sent that this one made room for: they may be of no use any more.
    curtailed = await curtail(plan, cell, bench)
    if plan is not None:
        wanted = [
            index for index in committed.release if not (curtailed.decided and plan.cell_index(index) == cell)
        ] + list(curtailed.release)
        if wanted:
            await bench.dispatcher.publish((plan.message(index) for index in wanted), plan.route)
    if committed.run_finished or curtailed.run_finished:
        await seal_or_say(claim.run_id, bench)
