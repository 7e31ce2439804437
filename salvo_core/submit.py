"""The door of whoever orders a run: from loaded scenarios to messages on the queue.

The order of writes is the promise (I4): scenarios, then the plan, then the run's header,
then rows and messages window by window. Until the plan is stored nothing has happened;
from then on everything else can be made again from it, so a submission killed half way is
finished by whoever notices: ``salvo resume``, or a worker's sweep. Scenarios that the store may
not keep, and what holds for them, are the business of ``run.withholding``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from salvo_core.clock import Clock
from salvo_core.errors import NotFound, ObjectMissing, UsageError
from salvo_core.evaluation.gate import Gate
from salvo_core.evaluation.judge.assertion import Terms
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.panel import judges_in
from salvo_core.identity import new_run_id
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.memory import require_room
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.extension import extended
from salvo_core.run.forgetting import forget_orders, is_sealed
from salvo_core.run.plan import CELLS_MAX, RUN_TRIALS_MAX, TRIALS_MAX, Cell, Plan
from salvo_core.run.route import Priority, lanes_open_to
from salvo_core.run.sequential import Sequential
from salvo_core.run.withholding import cell_of, keep_scenarios
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import Scenario
from salvo_core.store import keys
from salvo_core.store.homes import get_from_home
from salvo_core.store.protocol import Store
from salvo_core.trace.recording import Recording
from salvo_core.trace.redaction import Redactor
from salvo_core.version import VERSION

LET_IN_ALWAYS = 5000
"""Messages of each run: what a fleet takes, at a thousand trials a second, between two sweeps."""


@dataclass(frozen=True)
class Order:
    """What a person asked for.

    Attributes:
        scenarios: Loaded and valid, at least one.
        models: Each scenario runs with each; empty means the scenario's own.
        trials: Repetitions of each cell, 1..TRIALS_MAX.
        threshold: Overrides the scenarios'; 0..1.
        gate: As ``threshold``: judge every cell by its pass rate.
        concurrency_max: Trials of this run queued or running at once; None leaves it to the workers.
        labels: Free notes kept in the plan.
        idempotency_key: Two orders with one key are one run.
        recording: What traces keep.
        judge: How judges are asked where an assertion does not say.
        priority: Against other runs.
        early_stop: Skip a cell's remaining trials once its verdict is decided.
        sequential: With ``early_stop``: the rule that decides; every cell must have a gate it fits.
        budget: What the run may spend in all; None is no limit.
        secrets: Exact values that the submitter knows to be secret: struck out of what is stored.
        only: Of scenarios x models, the cells to be run, by digest and model; None: all.
    """

    scenarios: Sequence[Loaded]
    models: Sequence[str] = ()
    trials: int = 3
    threshold: float | None = None
    gate: Gate | None = None
    concurrency_max: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    recording: Recording = field(default_factory=Recording)
    judge: JudgeDefaults = field(default_factory=JudgeDefaults)
    priority: Priority = "normal"
    early_stop: bool = False
    sequential: Sequential | None = None
    budget: Budget | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    only: frozenset[tuple[str, str]] | None = None

    @cached_property
    def redactor(self) -> Redactor:
        """What is struck out of everything that ordering stores."""
        return Redactor(self.secrets, self.recording.patterns)


def make_plan(order: Order, *, now: datetime, run_id: str | None = None) -> Plan:
    """Return the plan that an order comes to; nothing is written.

    Raises:
        UsageError: There is nothing to run, or too much.
    """
    if not order.scenarios:
        raise UsageError(
            "there is no scenario to run", hint="give a scenario file, or a folder that holds some"
        )
    if not 1 <= order.trials <= TRIALS_MAX:
        raise UsageError(
            f"{order.trials} trials cannot be run: a number from 1 to {TRIALS_MAX:,} is expected"
        )
    if order.threshold is not None and not 0 <= order.threshold <= 1:
        raise UsageError(f"a threshold of {order.threshold} cannot be met or missed: it is between 0 and 1")
    if order.concurrency_max is not None and order.concurrency_max < 1:
        raise UsageError(f"{order.concurrency_max} trials at once would never end: at least 1 is expected")
    models = tuple(dict.fromkeys(order.models))
    given = {"threshold": order.threshold, "gate": order.gate}
    overridden = {name: value for name, value in given.items() if value is not None}
    own = [cell_of(loaded, order.recording.mode, order.redactor) for loaded in order.scenarios]
    cells = tuple(
        cell.model_copy(update={"model": model, **overridden})
        for cell in own
        for model in models or (cell.model,)
        if order.only is None or (cell.scenario_digest, model) in order.only
    )
    if len(cells) > CELLS_MAX:
        raise UsageError(
            f"{len(cells):,} cells (scenarios x models) are more than {CELLS_MAX:,}", hint="split the run"
        )
    if len(cells) * order.trials > RUN_TRIALS_MAX:
        raise UsageError(
            f"{len(cells):,} cells of {order.trials:,} trials are more than {RUN_TRIALS_MAX:,} trials",
            hint="split the run",
        )
    _require_decidable(order.sequential, cells)
    return Plan(
        run_id=run_id or new_run_id(),
        created_at=now,
        cells=cells,
        trials=order.trials,
        concurrency_max=order.concurrency_max,
        priority=order.priority,
        labels=order.redactor.document(dict(order.labels)),
        salvo_version=VERSION,
        recording=order.recording,
        judge=order.judge,
        early_stop=order.early_stop,
        sequential=order.sequential,
        budget=order.budget,
    )


def _require_decidable(rule: Sequential | None, cells: Sequence[Cell]) -> None:
    """Refuse a stop rule that some cell could not be decided by, before anything is written."""
    for cell in cells if rule is not None else ():
        assert rule is not None
        if problem := rule.problem(cell.gate):
            hint = (
                "give --pass-rate 0.9, or the scenario a `gate:`"
                if cell.gate is None
                else "give a smaller --indifference, or --early-stop confidence"
            )
            where = f"{cell.scenario_file}: " if cell.scenario_file else ""
            raise UsageError(f"{where}cell {cell.label!r} cannot be decided early: {problem}", hint=hint)


def calls_max(plan: Plan, scenarios: Mapping[str, Scenario], retries_max: Callable[[str], int]) -> int:
    """Return how many provider calls the run makes at most, its judges' included.

    Args:
        plan: The run.
        scenarios: By digest.
        retries_max: Retries of one turn, by adapter name.
    """
    return plan.trials * sum(
        scenarios[cell.scenario_digest].max_turns * (1 + retries_max(cell.adapter)) for cell in plan.cells
    ) + judge_calls_max(plan, scenarios, retries_max)


def judge_calls_max(plan: Plan, scenarios: Mapping[str, Scenario], retries_max: Callable[[str], int]) -> int:
    """Return how many calls the run's judges make at most; arguments as in ``calls_max``.

    Judges that are asked the same thing share their votes; only those that are alike to the letter
    are known to before anything was said. Not counted is what a provider refuses that takes no tools: a
    worker learns that from its first votes.
    """
    return plan.trials * sum(
        terms.k * (1 + retries_max(terms.adapter))
        for cell in plan.cells
        for terms in judge_terms(scenarios[cell.scenario_digest], plan)
    )


def judge_terms(scenario: Scenario, plan: Plan) -> list[Terms]:
    """Return how each different judge of a scenario is asked in this run."""
    asked = {one: one.terms(plan.judge) for _, one in judges_in(scenario.assertions)}
    return list(asked.values())


async def submit(
    order: Order, *, store: Store, manifest: Manifest, dispatcher: Dispatcher, clock: Clock
) -> Plan:
    """Order a run; return its plan once every message is on its way.

    With an idempotency key that was used before, the earlier run is returned, and finished
    being submitted if it was not.

    Raises:
        UsageError: As ``make_plan``.
        StoreUnavailable, StoreRefused, RedisUnavailable: What is written stays; the run can be resumed.
    """
    plan = make_plan(order, now=clock.now())
    if order.idempotency_key:
        run_id = await manifest.reserve(order.idempotency_key, plan.run_id)
        if run_id != plan.run_id and await is_forgotten(run_id, store=store, manifest=manifest):
            return await read_plan(run_id, store)
        plan = plan.model_copy(update={"run_id": run_id})
    await require_room_for(plan, manifest, dispatcher)
    plan = (await in_lane(plan, dispatcher)).signed(dispatcher.signer)
    plan = await _settled(plan, order, store)
    await open_run(plan, manifest)
    await spread(plan, manifest=manifest, dispatcher=dispatcher)
    return plan


async def in_lane(plan: Plan, dispatcher: Dispatcher) -> Plan:
    """Return the plan with that lane of the queue, of those open to it, in which the fewest messages wait."""
    waiting = (await dispatcher.lanes())[: lanes_open_to(plan.total)]
    return plan.model_copy(update={"lane": waiting.index(min(waiting))})


async def require_room_for(plan: Plan, manifest: Manifest, dispatcher: Dispatcher) -> None:
    """Refuse a run that Redis could not keep, before anything is written.

    Raises:
        RedisUnavailable: It evicts, or would be full.
    """
    queued = min(plan.total, plan.concurrency_max or plan.total, dispatcher.queued_max)
    await require_room(manifest, trials=plan.total, queued=queued)


async def open_run(plan: Plan, manifest: Manifest, remembered: Mapping[str, str | int] | None = None) -> bool:
    """Make the run's header unless it is there; return whether this call made it.

    Args:
        plan: The run.
        manifest: Where the header will be.
        remembered: What is known of the run's past, by header field.
    """
    if plan.budget is not None:
        await Ledger(manifest).open(plan.run_id, plan.budget, reeval=plan.rescore is not None)
    return await manifest.open(
        plan.run_id,
        total=plan.total,
        cells=len(plan.cells),
        attempts_max=plan.attempts_max,
        crashes_max=plan.crashes_max,
        concurrency_max=plan.concurrency_max,
        name=plan.name,
        remembered=remembered,
        reeval=plan.rescore is not None,
    )


async def spread(plan: Plan, *, manifest: Manifest, dispatcher: Dispatcher) -> tuple[int, int]:
    """Seed the rows that are missing and publish what may run; return (rows made, messages sent).

    Each window's rows exist before its messages do, so no worker meets a message without a row. What the
    queue has no room for is sent by sweeps as it empties: rows and release cursor say what that is.
    """
    counts = await manifest.counts(plan.run_id)
    unsent = (counts.released < plan.total or counts.again) and counts.state in ("submitting", "running")
    room = await room_for(counts, dispatcher) if unsent else 0
    seeded = sent = 0
    for start in range(counts.seeded, plan.total, ROWS_PER_CALL):
        stop = min(start + ROWS_PER_CALL, plan.total)
        seeded += await manifest.seed(
            plan.run_id, start, [plan.trace_id(index) for index in range(start, stop)]
        )
        sent += await release(plan, min(ROWS_PER_CALL, room - sent), manifest, dispatcher)
    await manifest.submitted(plan.run_id)
    sent += await release(plan, room - sent, manifest, dispatcher)
    return seeded, sent


async def room_for(counts: RunCounts, dispatcher: Dispatcher) -> int:
    """Return how many messages of a run the queue should take now; some, however full others have made it."""
    always = min(LET_IN_ALWAYS, dispatcher.queued_max) - counts.waiting
    return max(dispatcher.queued_max - await dispatcher.queued(), always)


async def release(plan: Plan, most: int, manifest: Manifest, dispatcher: Dispatcher) -> int:
    """Publish the next trials that may run, at most so many; return how many.

    Who dies between the two leaves released trials that no message stands for: a sweep sends them.
    """
    sent = 0
    while sent < most:
        released = await manifest.release(plan.run_id, min(ROWS_PER_CALL, most - sent))
        if not released:
            break
        sent += await publish(plan, released, dispatcher)
    return sent


async def publish(plan: Plan, indices: Iterable[int], dispatcher: Dispatcher) -> int:
    """Send the messages of these trials; return how many."""
    return await dispatcher.publish((plan.message(index) for index in indices), plan.route)


async def read_plan(run_id: str, store: Store) -> Plan:
    """Return the plan of a run, or of a re-evaluation, from the store.

    Raises:
        UsageError: There is none.
    """
    try:
        key, stored = await get_from_home(store, keys.plan, run_id)
        return (await extended(Plan.decode(stored, key), store))[0]
    except ObjectMissing:
        raise UsageError(
            f"run {run_id} has no plan in {store.address}",
            hint="is SALVO_STORE_URL the one that the run was submitted with?",
        ) from None


async def is_forgotten(run_id: str, *, store: Store, manifest: Manifest) -> bool:
    """Tell whether the run is over and Redis has forgotten it: opening it again would run it again."""
    try:
        await manifest.counts(run_id)
    except NotFound:
        pass
    else:
        return False
    try:
        await get_from_home(store, keys.summary, run_id)
    except ObjectMissing:
        return False
    return True


async def _settled(plan: Plan, order: Order, store: Store) -> Plan:
    """Return the plan that holds under this run id: this one, stored now, or the one that was first."""
    if order.idempotency_key:
        with suppress(ObjectMissing):  # no scenario is written for a run that may be over
            return Plan.decode(await store.get(keys.plan(plan.run_id)), keys.plan(plan.run_id))
    scenarios = {loaded.digest: loaded.scenario for loaded in order.scenarios}
    await keep_scenarios(plan, scenarios, order.redactor, store)
    if await store.put_if_absent(keys.plan(plan.run_id), plan.encode()[0]):
        if any(cell.withheld for cell in plan.cells):
            # A submitter that slept may have been taken for dead; from now on nobody does.
            await keep_scenarios(plan, scenarios, order.redactor, store)
        return plan
    if await is_sealed(plan.run_id, store):
        await forget_orders(plan.run_id, store)  # whoever was first has run it while we wrote
    return await read_plan(plan.run_id, store)
