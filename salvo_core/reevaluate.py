"""The door of whoever wants recorded conversations judged again: from a run to a re-evaluation's order.

A re-evaluation is a run of its own kind. Its plan names the run it looks at and keeps the names of
its trials; it lies under ``reevals/`` with all that becomes of it, and the run it looks at is never
written to. Everything else, claims, leases, sweeps, the seal, is what it is for any run.

What would make the answer wrong is refused before anything is written: an assertion that needs
what the record does not keep, a trial that has nothing to be judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath

from salvo_core.errors import ObjectCorrupt, ObjectMissing, SalvoError, UsageError
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.grading import UNGRADED
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.rescoring import Judging, asks_the_same
from salvo_core.identity import new_run_id
from salvo_core.manifest.live import Manifest
from salvo_core.observe import Observer
from salvo_core.replay import find, replay_trial
from salvo_core.run.dispatch import Dispatcher
from salvo_core.run.plan import Cell, Plan, Rescore
from salvo_core.scenario.digest import agent_digest, differing_fields, freeze
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import Scenario
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import open_run, spread
from salvo_core.trace.recording import RecordingMode
from salvo_core.version import VERSION

NAMED_MAX = 5
"""Cells, or assertions, that a refusal names."""


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


@dataclass(frozen=True, slots=True)
class Change:
    """How a cell's scenario differs from the recorded one.

    Attributes:
        cell: Which, for people.
        drifted: Fields of what the agent sees that differ: its answers are to another question. None
            if they differ and nobody knows in what, because the recorded scenario is gone.
        added: Labels of assertions that were not asked for before.
        removed: Labels of assertions that are not asked for any more.
        reweighed: Labels of assertions that are the same and count differently: weight, required.
        threshold: Then and now, if it is another one.
    """

    cell: str
    drifted: tuple[str, ...] | None = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reweighed: tuple[str, ...] = ()
    threshold: tuple[float, float] | None = None

    @property
    def anything(self) -> bool:
        """Whether there is something to tell."""
        return self.drifted != () or bool(self.added or self.removed or self.reweighed or self.threshold)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A re-evaluation that may be ordered.

    Attributes:
        plan: The order; nothing of it is written yet.
        scenarios: Those that must be in the store first.
        changes: What is judged by differs from the recording in this, by cell that has any.
        left_out: Labels of assertions that the record cannot answer.
    """

    plan: Plan
    scenarios: tuple[Loaded, ...]
    changes: tuple[Change, ...]
    left_out: tuple[str, ...]


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
    given = _matched(source.cells, wish.scenarios)
    cells, changes, labels, left_out, asked = [], [], [], [], 0
    for place, cell in enumerate(source.cells):
        recorded = await _recorded(cell, observer)
        loaded = given.get(place)
        scenario = loaded.scenario if loaded else recorded
        if scenario is None:
            raise NotComparable(
                f"the scenario of {cell.label} is gone from the store, so there is nothing to judge by",
                hint="--scenario FILE gives one",
            )
        cells.append(_cell(cell, loaded, scenario, wish.threshold))
        changes.append(_change(cell, cells[-1], recorded, scenario))
        asked += len(scenario.assertions)
        unkept = [number for number, one in enumerate(scenario.assertions) if one.needs_content()]
        left_out.append(tuple(unkept if source.mode != "full" else ()))
        labels += [scenario.assertions[number].label() for number in left_out[-1]]
    _require_answerable(labels, asked, allow_partial=wish.allow_partial)
    if wish.strict and (drifted := [change for change in changes if change.drifted != ()]):
        raise _drifted(drifted)
    return Prepared(
        plan=_plan(wish, source, cells, tuple(left_out) if labels else (), now),
        scenarios=tuple({loaded.digest: loaded for loaded in given.values()}.values()),
        changes=tuple(change for change in changes if change.anything),
        left_out=tuple(labels),
    )


async def reevaluate(prepared: Prepared, *, store: Store, manifest: Manifest, dispatcher: Dispatcher) -> Plan:
    """Order a re-evaluation; return its plan once every message is on its way.

    The order of writes is a submission's: scenarios, the plan, then rows and messages. Until the plan
    is stored nothing has happened; from then on a sweep or ``salvo resume`` finishes it.

    Raises:
        StoreUnavailable, StoreRefused, RedisUnavailable: What is written stays; it can be resumed.
    """
    plan = prepared.plan
    for loaded in prepared.scenarios:
        await store.put_if_absent(keys.scenario(loaded.digest), freeze(loaded.scenario)[0])
    await store.put_if_absent(keys.plan(plan.run_id, plan.home), plan.encode()[0])
    await open_run(plan, manifest)
    await spread(plan, manifest=manifest, dispatcher=dispatcher)
    return plan


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


async def _recorded(cell: Cell, observer: Observer) -> Scenario | None:
    """Return the scenario that a cell ran with; None if it is gone or damaged."""
    try:
        return await observer.scenario(cell.scenario_digest)
    except (ObjectMissing, ObjectCorrupt):
        return None


def _matched(cells: Sequence[Cell], scenarios: Sequence[Loaded]) -> dict[int, Loaded]:
    """Return the scenario for each cell: that of its file, else of its name, else the only one there is.

    Raises:
        UsageError: A cell has none.
    """
    if not scenarios:
        return {}
    alone = len(scenarios) == 1 and len({cell.scenario_digest for cell in cells}) == 1
    found = {place: _match(cell, scenarios, alone=alone) for place, cell in enumerate(cells)}
    unmatched = [cells[place] for place, loaded in found.items() if loaded is None]
    if unmatched:
        names = dict.fromkeys(f"{cell.scenario_name!r} ({cell.scenario_file})" for cell in unmatched)
        raise UsageError(
            f"no scenario given is one of {', '.join([*names][:NAMED_MAX])}",
            hint="--scenario takes a folder too: scenarios are matched by file, then by description",
        )
    return {place: loaded for place, loaded in found.items() if loaded is not None}


def _match(cell: Cell, scenarios: Sequence[Loaded], *, alone: bool) -> Loaded | None:
    same_file = [one for one in scenarios if PurePath(one.file) == PurePath(cell.scenario_file)]
    same_name = [one for one in scenarios if one.scenario.name == cell.scenario_name]
    for matching in (same_file, same_name):
        if len(matching) == 1:
            return matching[0]
    return scenarios[0] if alone else None


def _cell(cell: Cell, loaded: Loaded | None, scenario: Scenario, threshold: float | None) -> Cell:
    """Return the re-evaluation's cell: the recorded one, judged by the scenario."""
    if loaded is None:
        return cell if threshold is None else cell.model_copy(update={"threshold": threshold})
    return cell.model_copy(
        update={
            "scenario_digest": loaded.digest,
            "scenario_name": scenario.name,
            "scenario_file": loaded.file,
            "assertions": tuple(assertion.label() for assertion in scenario.assertions),
            "tags": scenario.tags,
            "agent_digest": agent_digest(scenario),
            "threshold": scenario.threshold if threshold is None else threshold,
        }
    )


def _change(cell: Cell, now: Cell, recorded: Scenario | None, scenario: Scenario) -> Change:
    thresholds = None if cell.threshold == now.threshold else (cell.threshold, now.threshold)
    if scenario is recorded:
        return Change(cell.label, threshold=thresholds)
    before: Sequence[AssertionSpec] = recorded.assertions if recorded else ()
    after = scenario.assertions
    told = cell.agent_digest or (agent_digest(recorded) if recorded else "")
    drifted: tuple[str, ...] | None = ()
    if told != agent_digest(scenario):
        drifted = differing_fields(recorded, scenario) if recorded else None
    return Change(
        cell.label,
        drifted=drifted,
        added=_unasked(after, before),
        removed=_unasked(before, after),
        reweighed=tuple(one.label() for one in after if one not in before and not _unasked([one], before)),
        threshold=thresholds,
    )


def _unasked(assertions: Sequence[AssertionSpec], by: Sequence[AssertionSpec]) -> tuple[str, ...]:
    """Return the labels of those assertions that are not among others, however much they count there."""
    return tuple(one.label() for one in assertions if not any(asks_the_same(one, other) for other in by))


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
