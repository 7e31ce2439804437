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
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from salvo_core.adapters.gate import Barred
from salvo_core.adapters.prices import rounded_usd
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
from salvo_core.fleet.gate import TrialGate
from salvo_core.judge import judge
from salvo_core.manifest.leases import HeldTrial, LeaseKeeper
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Claim, Committed, Manifest, Refusal
from salvo_core.record import Recorded, StoreClosed, finish, store_patiently
from salvo_core.relinquish import follow_up, relinquish
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan, TrialMessage
from salvo_core.scenario.model import Scenario
from salvo_core.store.protocol import Store
from salvo_core.trace.model import Provenance, ScenarioRef, Trace, TrialError, Turn, Usage
from salvo_core.trace.redaction import Redactor
from salvo_core.trial.conversation import Conversation, Leaving, Part, converse
from salvo_core.trial.endings import as_trial_error, internal_error, worker_lost
from salvo_core.trial.limits import Limits
from salvo_core.version import VERSION

logger = logging.getLogger(__name__)


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
    forms: Forms = field(default_factory=Forms)
    """How providers take a judge's question, as this worker finds out."""

    @property
    def worker(self) -> str:
        """This worker's name."""
        return self.leases.worker

    @cached_property
    def breakers(self) -> Breakers:
        """What all workers know of providers that are away."""
        return Breakers(self.manifest.redis, self.manifest.address)

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
    if bench.leases.holds(message.run_id, message.index):
        return
    try:
        claim = await bench.manifest.claim(
            message.run_id, message.index, message.trace_id, bench.worker, lease_s=bench.leases.lease_s
        )
    except RedisUnavailable as error:
        # Nothing has begun. The message is used up, and a sweep sends it again once Redis is back.
        logger.warning("trial %s was not begun: %s", message.trace_id, error)
        return
    if isinstance(claim, Refusal):
        logger.debug("trial %s was not begun: %s", message.trace_id, claim.reason)
        await _follow_up(claim, message.run_id, bench)
        return
    held = bench.leases.hold(claim)
    try:
        await _attempt_held(message, held, bench)
    except Barred as bar:
        await _relinquish(message, claim, bar, bench)
    except (LeaseLost, RedisUnavailable) as error:
        # What was paid is in the journal; whoever holds the trial now continues from there.
        logger.warning("trial %s, attempt %d, stopped: %s", claim.trace_id, claim.attempt, error)
    except (Leaving, StoreClosed) as reason:
        logger.info(
            "trial %s, attempt %d, is given back: %s", claim.trace_id, claim.attempt, reason or "leaving"
        )
        if await _give_back(claim, bench) and bench.leases.leaving:
            # This message is used up, and no sweep looks for a trial while others keep the queue filled.
            await bench.dispatcher.publish([message])
    except asyncio.CancelledError:
        # A worker told to leave now: others should not wait for the lease to run out.
        await asyncio.shield(_give_back(claim, bench))
        raise
    finally:
        bench.leases.let_go(held)


async def _relinquish(message: TrialMessage, claim: Claim, bar: Barred, bench: Bench) -> None:
    try:
        skipped = await relinquish(message, claim, bar, manifest=bench.manifest, dispatcher=bench.dispatcher)
    except RedisUnavailable as error:
        logger.warning("trial %s is not given back, its lease runs out instead: %s", claim.trace_id, error)
        return
    if skipped is not None:
        await _follow_up(skipped, claim.run_id, bench)


async def _follow_up(ended: Refusal | Committed, run_id: str, bench: Bench) -> None:
    await follow_up(
        ended,
        run_id,
        store=bench.store,
        manifest=bench.manifest,
        dispatcher=bench.dispatcher,
        orders=bench.orders,
    )


async def _give_back(claim: Claim, bench: Bench) -> bool:
    try:
        return await bench.manifest.give_back(claim)
    except RedisUnavailable as error:
        logger.warning("trial %s is not given back, its lease runs out instead: %s", claim.trace_id, error)
        return False


async def _attempt_held(message: TrialMessage, held: HeldTrial, bench: Bench) -> None:
    began = bench.clock.now(), bench.clock.monotonic_s()
    claim = held.claim
    past = await bench.manifest.journaled(claim.run_id, claim.index) if claim.attempt > 1 else ()
    gate = _gate(held, bench)
    plan, scenario, conversation = await _converse(message, held, past, bench, gate)
    trace = _timed(_trace(claim, plan, scenario, conversation, began[0]), began, bench.clock)
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
        trace = _timed(trace, began, bench.clock)
    await gate.close()
    redactor = Redactor(bench.adapters.known_secrets(), bench.redaction_patterns)
    # Assertions, redaction and compression are work, not waiting: off the loop.
    recorded = await asyncio.to_thread(_finish, trace, scenario, redactor, bench.functions, ballots)
    recorded = await store_patiently(recorded, held, bench.store, bench.clock)
    await _commit(claim, recorded, trace.cell if plan else message.cell, bench)


async def _converse(
    message: TrialMessage, held: HeldTrial, past: Sequence[Turn], bench: Bench, gate: TrialGate
) -> tuple[Plan | None, Scenario | None, Conversation]:
    """Return the order and the conversation; an order that cannot be had ends the trial before it speaks."""
    plan: Plan | None = None
    scenario: Scenario | None = None
    try:
        plan = await bench.orders.plan(message.run_id)
        if message.index >= plan.total or plan.message(message.index) != message:
            raise UsageError(f"the message is not one that the plan of run {message.run_id} would send")
        gate.budget = plan.budget
        cell = plan.cells[message.cell]
        scenario = await bench.orders.scenario(cell.scenario_digest)
        adapter = bench.adapters.get(cell.adapter, scenario.script)
        backoff = bench.adapters.backoff_for(cell.adapter)
    except (ObjectMissing, ObjectCorrupt) as error:
        return plan, scenario, _unspoken(as_trial_error("store", error), past)
    except (StoreUnavailable, StoreRefused) as error:
        raise StoreClosed(f"its plan could not be read: {error}") from error
    except UsageError as error:
        return plan, scenario, _unspoken(as_trial_error("adapter", error), past)
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
    )
    try:
        return plan, scenario, await _said(part, past, held, plan, bench.clock)
    except (SalvoError, Leaving):
        raise
    except Exception as error:  # a fault of ours must end in a row that says so, not in a worker "lost"
        logger.exception("trial %s failed on a fault of Salvo's own", message.trace_id)
        return plan, scenario, _unspoken(internal_error(error), past)
    finally:
        await _let_go(adapter)


def _gate(held: HeldTrial, bench: Bench) -> TrialGate:
    return TrialGate(
        held.claim,
        lambda: held.interruption() is not None,
        bench.breakers,
        bench.ledger,
        None,  # until the plan is read
        bench.adapters,
        bench.clock,
    )


async def _let_go(adapter: Adapter) -> None:
    try:
        await adapter.aclose()  # a team's own class is made for one trial and may hold connections
    except Exception:  # its code may raise anything, and the conversation is over: nothing is lost by it
        logger.exception("adapter %s could not be closed", adapter.name)


async def _said(part: Part, past: Sequence[Turn], held: HeldTrial, plan: Plan, clock: Clock) -> Conversation:
    if held.claim.purpose == "close_lost":
        return await _closed(part, past, held, clock, worker_lost(plan.attempts_max))
    return await converse(part, past, held, clock)


async def _closed(
    part: Part, past: Sequence[Turn], held: HeldTrial, clock: Clock, error: TrialError
) -> Conversation:
    """Return what earlier attempts journaled, ended by error; no turn is asked for."""
    held.cancelled = True  # ends the loop at its first boundary, after the past was said again
    said = await converse(part, past, held, clock)
    if said.outcome != "cancelled":
        return said  # the journal already held the end of the conversation
    return Conversation(
        said.messages, said.turns, "infra_error", error, said.usage, said.cost_usd, said.latency_s
    )


def _unspoken(error: TrialError, past: Sequence[Turn]) -> Conversation:
    """Return what is known when nobody can speak: what earlier attempts paid for, and the error."""
    costs_usd = [turn.cost_usd for turn in past]
    known = [cost for cost in costs_usd if cost is not None]
    return Conversation(
        messages=(),
        turns=tuple(past),
        outcome="infra_error",
        error=error,
        usage=sum((turn.billed for turn in past), Usage()),
        cost_usd=rounded_usd(math.fsum(known)) if len(known) == len(costs_usd) else None,
        latency_s=round(math.fsum(turn.latency_s for turn in past), 6),
    )


def _finish(
    trace: Trace,
    scenario: Scenario | None,
    redactor: Redactor,
    functions: Functions | None,
    ballots: Mapping[Judge, Ballot],
) -> Recorded:
    try:
        return finish(trace, scenario.assertions if scenario else (), redactor, functions, ballots)
    except Exception as error:  # what cannot be graded or written down must still end in a row
        logger.exception("trace %s cannot be stored as it is", trace.trace_id)
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
        return finish(trace.model_copy(update=unsaid), (), redactor)


async def _commit(claim: Claim, recorded: Recorded, cell: int, bench: Bench) -> None:
    committed = await bench.manifest.commit(claim, cell, recorded.status, recorded.result)
    if not committed.won:
        logger.warning(
            "trial %s: attempt %d came too late and counts for nothing", claim.trace_id, claim.attempt
        )
        return
    logger.info("trial %s %s, attempt %d", claim.trace_id, recorded.status, claim.attempt)
    await _follow_up(committed, claim.run_id, bench)


def _timed(trace: Trace, began: tuple[datetime, float], clock: Clock) -> Trace:
    """Return the trace as one that ends now, by the clock that nobody can set back."""
    started_at, started_s = began
    duration = timedelta(seconds=clock.monotonic_s() - started_s)
    return trace.model_copy(
        update={"ended_at": started_at + duration, "duration_s": round(duration.total_seconds(), 6)}
    )


def _trace(
    claim: Claim,
    plan: Plan | None,
    scenario: Scenario | None,
    said: Conversation,
    started_at: datetime,
) -> Trace:
    """Return the record of a conversation; ``_timed`` says when it ended."""
    cell_index = plan.cell_index(claim.index) if plan else 0
    cell = plan.cells[cell_index] if plan else None
    return Trace(
        trace_id=claim.trace_id,
        run_id=claim.run_id,
        index=claim.index,
        cell=cell_index,
        trial=plan.trial_index(claim.index) if plan else 0,
        attempt=claim.attempt,
        scenario=ScenarioRef(
            digest=cell.scenario_digest if cell else "",
            name=cell.scenario_name if cell else "",
            file=cell.scenario_file if cell else "",
        ),
        model=cell.model if cell else "",
        adapter=cell.adapter if cell else "",
        threshold=cell.threshold if cell else 0.0,
        started_at=started_at,
        ended_at=started_at,
        outcome=said.outcome,
        error=said.error,
        messages=said.messages,
        turns=said.turns,
        usage=said.usage,
        cost_usd=said.cost_usd,
        latency_s=said.latency_s,
        duration_s=0.0,
        finish_reason=said.finish_reason,
        extras=scenario.extras if scenario else {},
        provenance=Provenance(
            salvo_version=VERSION,
            python_version=platform.python_version(),
            host=socket.gethostname(),
            worker=claim.worker,
        ),
    )
