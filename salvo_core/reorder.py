"""The door of what schedules order: from the project's folder, from the store, or the suspected once more.

Nothing here orders anything: an ``Order`` is what ``fire`` hands to ``submit``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from salvo_core.errors import ObjectMissing, UsageError
from salvo_core.manifest.budget import Budget
from salvo_core.run.orders import Orders
from salvo_core.run.schedule import Firing, Schedule, Stored, StoredScenario
from salvo_core.run.signature import Signer
from salvo_core.scenario.commit import commit_of
from salvo_core.scenario.digest import freeze, thaw
from salvo_core.scenario.loading import Loaded, load_paths
from salvo_core.scenario.project import Project
from salvo_core.scenario.snapshot import is_withheld
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.submit import Order


def order_of(schedule: Schedule, project: Project, secrets: frozenset[str]) -> Order:
    """Return what a schedule orders now, its scenarios read from the project's folder as they are.

    Args:
        schedule: Its paths are taken from the project's folder and must stay inside.
        project: Of whoever fires.
        secrets: As in ``Order``.

    Raises:
        UsageError: A path leads out of the project, or nothing is there.
        ScenarioInvalid: A scenario is invalid.
    """
    root = project.root.resolve()
    paths = [(root / path).resolve() for path in schedule.paths] or [project.scenarios_path]
    for path in paths:
        if not path.is_relative_to(root):
            raise UsageError(f"{path} is not in the project {root}", hint="schedules run what lies in it")
    loaded = load_paths(
        [_as_typed(path) for path in paths],
        project=project,
        default_model=schedule.models[0] if schedule.models else None,
    )
    return Order(
        scenarios=loaded,
        models=schedule.models,
        trials=schedule.trials,
        labels=_labels(schedule, commit_of(root)),
        recording=project.recorded,
        judge=project.judge,
        budget=None if schedule.budget_usd is None else Budget(usd_max=schedule.budget_usd),
        secrets=secrets,
    )


async def kept_in_store(schedule: Schedule, order: Order, store: Store) -> Schedule:
    """Return a schedule that fires what the order has now, from the store, wherever the beat runs.

    Scenarios lie under their digests, as a run's do. Who dies before the schedule itself is stored
    leaves scenarios that nothing names, which are harmless; doing it again stores the same.

    Args:
        schedule: Not stored yet.
        order: What it orders now (``order_of``).
        store: Where to.

    Raises:
        UsageError: The store may not keep one of them.
    """
    for one in order.scenarios:
        if is_withheld(one.scenario, order.recording.mode, order.redactor):
            raise UsageError(
                f"{one.file} may not stay in the store: it holds a secret, or content is not recorded",
                hint="leave --from-store out: then it is read from the project's folder at each firing",
            )
    for one in order.scenarios:
        await store.put_if_absent(keys.scenario(one.digest), freeze(one.scenario)[0])
    scenarios = tuple(
        StoredScenario(scenario_digest=one.digest, file=order.redactor.text(one.file))
        for one in order.scenarios
    )
    stored = Stored(
        scenarios=scenarios,
        recording=order.recording,
        judge=order.judge,
        commit=order.labels.get("commit", ""),
    )
    return schedule.model_copy(update={"stored": stored})


async def stored_order(schedule: Schedule, stored: Stored, store: Store, secrets: frozenset[str]) -> Order:
    """Return what a schedule orders that keeps its scenarios in the store.

    Args:
        schedule: The schedule.
        stored: Its scenarios.
        store: Where they lie.
        secrets: As in ``Order``.

    Raises:
        UsageError: One is gone.
        ObjectCorrupt: One is damaged.
    """
    loaded = []
    for one in stored.scenarios:
        key = keys.scenario(one.scenario_digest)
        try:
            scenario = thaw(await store.get(key), key, one.scenario_digest)
        except ObjectMissing:
            raise UsageError(
                f"{one.file or key}, which the schedule {schedule.name} keeps in the store, is gone",
                hint="add the schedule again with --from-store",
            ) from None
        loaded.append(Loaded(scenario, one.scenario_digest, (), one.file, frozenset()))
    return Order(
        scenarios=loaded,
        models=schedule.models,
        trials=schedule.trials,
        labels=_labels(schedule, stored.commit),
        recording=stored.recording,
        judge=stored.judge,
        budget=None if schedule.budget_usd is None else Budget(usd_max=schedule.budget_usd),
        secrets=secrets,
    )


async def confirmation(
    schedule: Schedule,
    firing: Firing,
    store: Store,
    signer: Signer,
    usual: Callable[[Schedule], Awaitable[Order]],
    secrets: frozenset[str],
) -> Order:
    """Return the run of a firing's suspected cells with fresh trials, as the suspected run had them.

    A scenario that the store could not keep is taken from where the schedule has it now, if it has not
    changed since.

    Args:
        schedule: Whose; trials and budget are its own, because it is signed and a firing is not.
        firing: Names the suspected run and its cells.
        store: Where that run's plan and scenarios lie.
        signer: Whose signature the plan must carry.
        usual: What the schedule orders now.
        secrets: As in ``Order``.

    Raises:
        UsageError: Confirmations are switched off, or nobody has the scenarios any more.
        ObjectMissing, ObjectCorrupt: The suspected run's plan or a scenario cannot be read.
    """
    if not schedule.confirm_trials:
        raise UsageError("confirmations are switched off", hint="`salvo schedule add --confirm-trials`")
    orders = Orders(store, signer)
    plan = await orders.plan(firing.confirms)
    wanted = {(one.scenario_digest, one.model) for one in firing.cells}
    cells = [cell for cell in plan.cells if (cell.scenario_digest, cell.model) in wanted]
    now: dict[str, Loaded] = {}
    if any(cell.withheld for cell in cells):
        now = {one.digest: one for one in (await usual(schedule)).scenarios}
    scenarios: dict[str, Loaded] = {}
    for cell in cells:
        digest = cell.scenario_digest
        if not cell.withheld:
            scenario = await orders.scenario(plan, cell)
            scenarios[digest] = Loaded(scenario, digest, (), cell.scenario_file, frozenset())
        elif digest in now:
            scenarios[digest] = now[digest]
    if not scenarios:
        raise UsageError("what is suspected was edited or removed since, and the store may not keep it")
    limit_usd = schedule.budget_usd if schedule.confirm_budget_usd is None else schedule.confirm_budget_usd
    return Order(
        scenarios=tuple(scenarios.values()),
        models=tuple(dict.fromkeys(cell.model for cell in cells)),
        trials=schedule.confirm_trials,
        labels={**plan.labels, "confirms": firing.confirms},
        recording=plan.recording,
        judge=plan.judge,
        budget=None if limit_usd is None else Budget(usd_max=limit_usd),
        secrets=secrets,
        only=frozenset(wanted),
    )


def _labels(schedule: Schedule, commit: str) -> dict[str, str]:
    return {"schedule": schedule.name} | ({"commit": commit} if commit else {})


def _as_typed(path: Path) -> Path:
    """Return a path as a person in the current folder would type it, where it is below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path
