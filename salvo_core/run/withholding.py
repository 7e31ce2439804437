"""Scenarios that the store may not keep: how a plan speaks of them, and where they lie meanwhile.

Workers need a scenario whole, secrets and all, and read it from the store. One that holds what the
run's recording strikes out is *withheld*: the order goes under ``orders/<run_id>/`` and is deleted
when the run is sealed, and what may stay of it goes into the run's folder.

What holds if the process dies, at each write:

- A submitter, before the plan is stored: there is no run. What it left under ``orders/`` is deleted
  by a worker's sweep once it is an hour old (``run.forgetting``).
- A submitter, after it: the orders were written before, so the run can be carried out by anybody.
- Whoever seals, before or while it deletes: the run is not marked as sealed yet, so a sweep seals it
  again and deletes what is left. Deleting twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import PurePath

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.run.plan import Cell, Plan
from salvo_core.scenario.digest import agent_digest, freeze
from salvo_core.scenario.loading import Loaded
from salvo_core.scenario.model import NAME_CHARACTERS_MAX, Scenario
from salvo_core.scenario.snapshot import freeze_snapshot, is_withheld, snapshot_of
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace.recording import RecordingMode
from salvo_core.trace.redaction import Redactor


def cell_of(loaded: Loaded, mode: RecordingMode, redactor: Redactor) -> Cell:
    """Return a scenario's cell with its own model and threshold, in words that may be kept.

    Args:
        loaded: The scenario.
        mode: What the run keeps. ``metadata_only`` names a scenario by its description, or else by its
            file, never by its prompt, and assertions by their types.
        redactor: What is struck out of names, tags and labels.
    """
    scenario = loaded.scenario
    withheld = is_withheld(scenario, mode, redactor)
    return Cell(
        scenario_digest=loaded.digest,
        scenario_name=_name(loaded, mode, redactor),
        scenario_file=redactor.text(loaded.file),
        model=scenario.model,
        adapter=scenario.adapter,
        threshold=scenario.threshold,
        gate=scenario.gate,
        assertions=_labels(scenario, mode, redactor, withheld=withheld),
        tags=redactor.document(scenario.tags),
        agent_digest=agent_digest(scenario),
        withheld=withheld,
    )


def _name(loaded: Loaded, mode: RecordingMode, redactor: Redactor) -> str:
    scenario = loaded.scenario
    if scenario.description:
        return redactor.text(scenario.description)
    if mode == "metadata_only":
        return redactor.text(PurePath(loaded.file).stem) or f"scenario {loaded.digest[:12]}"
    # Redacted before it is cut: half of a key would match no pattern.
    return redactor.text(scenario.prompt)[:NAME_CHARACTERS_MAX]


def _labels(
    scenario: Scenario, mode: RecordingMode, redactor: Redactor, *, withheld: bool
) -> tuple[str, ...]:
    if mode == "metadata_only":
        return tuple(one.type for one in scenario.assertions)
    # Labels are cut too, so they are made of what is redacted already.
    clean = snapshot_of(scenario, mode, redactor).assertions if withheld else scenario.assertions
    return tuple(redactor.text(one.label()) if isinstance(one, AssertionSpec) else one.type for one in clean)


async def keep_scenarios(
    plan: Plan, scenarios: Mapping[str, Scenario], redactor: Redactor, store: Store
) -> None:
    """Store every scenario of a plan where its trials look for it, and what stays of those withheld.

    Args:
        plan: Not stored yet.
        scenarios: By digest.
        redactor: The one that the plan's cells were made with.
        store: Where to.

    Raises:
        StoreUnavailable, StoreRefused: What is written stays; writing again is harmless.
    """
    withheld = {cell.scenario_digest for cell in plan.cells if cell.withheld}
    orders, snapshots = {}, {}
    for digest, scenario in scenarios.items():
        if digest in withheld:
            orders[keys.order(plan.run_id, digest)] = freeze(scenario)[0]
            kept = freeze_snapshot(scenario, plan.recording.mode, redactor)
            snapshots[keys.snapshot(plan.run_id, digest, plan.home)] = kept
        else:
            orders[keys.scenario(digest)] = freeze(scenario)[0]
    # In this order: what was abandoned is found by its orders.
    for objects in (orders, snapshots):
        await asyncio.gather(*(store.put_if_absent(key, body) for key, body in objects.items()))
