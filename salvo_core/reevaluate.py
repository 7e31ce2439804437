"""The door of whoever wants recorded conversations judged again: from a run to a re-evaluation's order.

A re-evaluation is a run of its own kind. Its plan names the run it looks at and keeps the names of
its trials; it lies under ``reevals/`` with all that becomes of it, and the run it looks at is never
written to. Everything else, claims, leases, sweeps, the seal, is what it is for any run.

What would make the answer wrong is refused before anything is written: an assertion that needs
what the record does not keep, a trial that has nothing to be judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from salvo_core.errors import ObjectCorrupt, ObjectMissing, SalvoError, UsageError
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.grading import UNGRADED
from salvo_core.evaluation.judge.defaults import JudgeDefaults, Judging
from salvo_core.evaluation.judge.panel import judges_in
from salvo_core.identity import new_run_id
from salvo_core.manifest.budget import Budget
from salvo_core.manifest.live import Manifest
from salvo_core.observe import Observer
from salvo_core.replay import find, replay_trial
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.drift import NAMED_MAX, Assertion, Change, change_of, label_of, matched, unanswerable
from salvo_core.run.plan import Cell, Plan, Rescore
from salvo_core.run.withholding import cell_of, keep_scenarios
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.snapshot import Snapshot
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import in_lane, open_run, require_room_for, spread
from salvo_core.trace.recording import RecordingMode
from salvo_core.trace.redaction import Redactor
from salvo_core.version import VERSION


class NotComparable(SalvoError):
    """The recording cannot answer what it is asked: content that is not kept, or another question."""

    exit_code = 1  # the predecessor's, which its users' scripts know


class NothingToJudge(SalvoError):
    """The one trial that was named ended without a conversation to judge."""

    exit_code = 3  # of INFRA_ERROR: that it ended so says nothing about the agent


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        ref: A trace id, a run, ``latest``, or the beginning of an id.
        scenarios: To judge by, instead of the recorded ones; loaded and valid.
        threshold: Instead of the recorded one, 0..1.
        judging: What becomes of judges.
        fresh_votes: Whether judges vote anew on what they have voted on.
        allow_partial: Whether assertions that the record cannot answer are left out.
        strict: Whether to refuse scenarios that ask the agent something else.
        judge: How judges are asked where an assertion does not say.
        concurrency_max: Trials at once; None leaves it to the workers.
        budget: What its judges may cost in all; None is no limit.
        secrets: Exact values that are known here to be secret: struck out of what is stored.
    """

    ref: str
    scenarios: Sequence[Loaded] = ()
    threshold: float | None = None
    judging: Judging = "too"
    fresh_votes: bool = False
    allow_partial: bool = False
    strict: bool = False
    judge: JudgeDefaults = field(default_factory=JudgeDefaults)
    concurrency_max: int | None = None
    budget: Budget | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A re-evaluation that may be ordered.

    Attributes:
        plan: The order; nothing of it is written yet.
        scenarios: Those that were given and must be in the store first, by digest.
        redactor: What is struck out of what is stored of them.
        changes: What is judged by differs from the recording in this, by cell that has any.
        left_out: Labels of assertions that the record cannot answer.
        judges: (adapter, model) of those that may be asked.
    """

    plan: Plan
    scenarios: Mapping[str, Scenario]
    redactor: Redactor
    changes: tuple[Change, ...]
    left_out: tuple[str, ...]
    judges: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Source:
    """What is looked at: a whole run, or one trial of it."""

    plan: Plan
    index: int | None
    mode: RecordingMode

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.plan.cells if self.index is None else (self.plan.cells[self.plan.cell_index(self.index)],)


async def prepare(wish: Wish, observer: Observer, *, now: datetime) -> Prepared:
    """Return the re-evaluation that a wish comes to; nothing is written.

    Raises:
        NotReplayable: There is no such run or trial, or its trace cannot be read.
        NotComparable: The record does not keep what is asked for, or ``strict`` forbids it.
        NothingToJudge: The one trial ended without a conversation.
        UsageError: The run has not ended, or a scenario does not fit.
    """
    source = await _source(wish.ref, observer)
    given = matched(source.cells, wish.scenarios)
    cells, changes, labels, left_out, asked = [], [], [], [], 0
    judges: set[tuple[str, str]] = set()
    for place, cell in enumerate(source.cells):
        recorded = await _recorded(source, place, observer)
        loaded = given.get(place)
        if loaded is None and recorded is None:
            raise NotComparable(
                f"the scenario of {cell.label} is gone from the store, so there is nothing to judge by",
                hint="--scenario FILE gives one",
            )
        cells.append(_cell(cell, loaded, wish, source))
        changes.append(change_of(cell, cells[-1], recorded, loaded))
        by = loaded.scenario.assertions if loaded else recorded.assertions if recorded else ()
        asked += len(by)
        judges |= _judges(by, wish)
        left_out.append(unanswerable(by) if source.mode != "full" else ())
        labels += [label_of(by[number]) for number in left_out[-1]]
    _require_answerable(labels, asked, allow_partial=wish.allow_partial)
    if wish.strict and (drifted := [change for change in changes if change.drifted != ()]):
        raise _drifted(drifted)
    return Prepared(
        plan=_plan(wish, source, cells, tuple(left_out) if labels else (), now),
        scenarios={
            loaded.digest: loaded.scenario
            for place, loaded in given.items()
            if loaded.digest != source.cells[place].scenario_digest
        },
        redactor=_redactor(wish, source),
        changes=tuple(change for change in changes if change.anything),
        left_out=tuple(labels),
        judges=frozenset(judges),
    )


async def reevaluate(prepared: Prepared, *, store: Store, manifest: Manifest, dispatcher: Dispatcher) -> Plan:
    """Order a re-evaluation; return its plan once every message is on its way.

    The order of writes is a submission's: scenarios, the plan, then rows and messages. Until the plan
    is stored nothing has happened; from then on a sweep or ``salvo resume`` finishes it.

    Raises:
        StoreUnavailable, StoreRefused, RedisUnavailable: What is written stays; it can be resumed.
    """
    await require_room_for(prepared.plan, manifest, dispatcher)
    plan = (await in_lane(prepared.plan, dispatcher)).signed(dispatcher.signer)
    await _keep_snapshots(plan, prepared, store)
    await keep_scenarios(plan, prepared.scenarios, prepared.redactor, store)
    await store.put_if_absent(keys.plan(plan.run_id, plan.home), plan.encode()[0])
    await open_run(plan, manifest)
    await spread(plan, manifest=manifest, dispatcher=dispatcher)
    return plan


def _judges(by: Sequence[Assertion], wish: Wish) -> set[tuple[str, str]]:
    if wish.judging == "skip":
        return set()
    readable = [one for one in by if isinstance(one, AssertionSpec)]
    terms = (one.terms(wish.judge) for _, one in judges_in(readable))
    return {(one.adapter, one.model) for one in terms}


async def _source(ref: str, observer: Observer) -> _Source:
    target = await find(ref, observer)
    if target.kind == "trial":
        return await _one_trial(target.id, observer)
    plan = await observer.plan(target.id)
    if plan.rescore is not None:
        raise UsageError(
            f"{target.id} is itself a re-evaluation",
            hint=f"`salvo reeval {plan.rescore.run_id}` looks at the run that it looked at",
        )
    counts = await observer.status(target.id)
    if counts.state not in ("finished", "sealed"):
        raise UsageError(
            f"run {target.id} is {counts.state}: {counts.ended:,} of {counts.total:,} trials have ended",
            hint=f"`salvo wait {target.id}` returns when all have; one trial that has ended can be named",
        )
    return _Source(plan, None, plan.recording.mode)


async def _one_trial(trace_id: str, observer: Observer) -> _Source:
    trace = await replay_trial(trace_id, observer)
    if trace.outcome in UNGRADED:
        why = f": {trace.error.message}" if trace.error else ""
        raise NothingToJudge(
            f"trial {trace_id} ended as {trace.status.replace('_', ' ')}: nothing to judge the agent by{why}",
            hint=f"`salvo trace {trace_id}` shows what there is; `salvo run` makes the trial anew",
        )
    return _Source(await observer.plan(trace.run_id), trace.index, trace.recording)


async def _keep_snapshots(plan: Plan, prepared: Prepared, store: Store) -> None:
    """Store what stays of withheld scenarios that are judged by again beside the re-evaluation too.

    It goes by itself then, like a run. Nothing in them is secret, so what a submitter that dies here
    leaves behind does no harm.
    """
    assert plan.rescore is not None
    for digest in {cell.scenario_digest for cell in plan.cells if cell.withheld} - prepared.scenarios.keys():
        body = await store.get(keys.snapshot(plan.rescore.run_id, digest))
        await store.put_if_absent(keys.snapshot(plan.run_id, digest, plan.home), body)


async def _recorded(source: _Source, place: int, observer: Observer) -> Snapshot | None:
    """Return the scenario that a cell ran with, as far as it is kept; None if it is gone or damaged."""
    cell = place if source.index is None else source.plan.cell_index(source.index)
    try:
        return await observer.snapshot(source.plan.run_id, cell)
    except (ObjectMissing, ObjectCorrupt):
        return None


def _cell(cell: Cell, loaded: Loaded | None, wish: Wish, source: _Source) -> Cell:
    """Return the re-evaluation's cell: the recorded one, judged by what was given."""
    threshold = cell.threshold if loaded is None else loaded.scenario.threshold
    if wish.threshold is not None:
        threshold = wish.threshold
    made = cell
    if loaded is not None and loaded.digest != cell.scenario_digest:
        made = cell_of(loaded, source.plan.recording.mode, _redactor(wish, source))
    return made.model_copy(update={"model": cell.model, "adapter": cell.adapter, "threshold": threshold})


def _redactor(wish: Wish, source: _Source) -> Redactor:
    return Redactor(wish.secrets, source.plan.recording.patterns)


def _require_answerable(left_out: Sequence[str], asked: int, *, allow_partial: bool) -> None:
    if not left_out or (allow_partial and len(left_out) < asked):
        return
    named = ", ".join(f"`{label}`" for label in [*dict.fromkeys(left_out)][:NAMED_MAX])
    count = (
        f"{len(left_out)} of {asked} assertions need" if len(left_out) < asked else "every assertion needs"
    )
    raise NotComparable(
        f"{count} what was said, and the recording keeps metadata only: {named}",
        hint="no other assertion is left to judge by"
        if len(left_out) == asked
        else "--allow-partial-reeval judges by the others",
    )


def _drifted(changes: Sequence[Change]) -> NotComparable:
    named = "; ".join(
        f"{change.cell}: {', '.join(change.drifted) if change.drifted else 'nobody knows in what'}"
        for change in changes[:NAMED_MAX]
    )
    return NotComparable(
        f"the scenario asks the agent something else than the recording did ({named})",
        hint="without --strict-scenario that is a warning; assertions and the threshold may always differ",
    )


def _plan(
    wish: Wish, source: _Source, cells: Sequence[Cell], left_out: tuple[tuple[int, ...], ...], now: datetime
) -> Plan:
    whole, index = source.plan, source.index
    return Plan(
        run_id=new_run_id(),
        created_at=now,
        cells=tuple(cells),
        trials=whole.trials if index is None else 1,
        concurrency_max=wish.concurrency_max,
        budget=wish.budget,
        labels=whole.labels,
        salvo_version=VERSION,
        recording=whole.recording,
        judge=wish.judge,
        trace_ids=whole.trace_ids if index is None else (whole.trace_id(index),),
        rescore=Rescore(
            run_id=whole.run_id,
            index=index,
            judging=wish.judging,
            fresh_votes=wish.fresh_votes,
            allow_partial=wish.allow_partial,
            left_out=left_out,
        ),
    )
