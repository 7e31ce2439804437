"""The door of comparison: a run against another, which changes neither."""

from __future__ import annotations

import asyncio

from salvo_core.errors import NotFound, UsageError
from salvo_core.observe import Observer
from salvo_core.run.baselines import Baseline, find_baseline
from salvo_core.run.change import Demands, RunChange, Side, change
from salvo_core.run.pairing import pairs_of, unlike
from salvo_core.run.plan import Plan

DIFFERENCES_TOLD = 5


async def resolve_side(ref: str, observer: Observer) -> tuple[str, Baseline | None]:
    """Return the id of the run that a word of a comparison means, and the baseline if it names one.

    Args:
        ref: A baseline's name, else as ``Observer.resolve``: no baseline's name is either.
        observer: Where both are looked up.

    Raises:
        NotFound: It is neither.
    """
    if (baseline := await find_baseline(ref, observer.store)) is not None:
        return baseline.run_id, baseline
    try:
        return await observer.resolve(ref), None
    except NotFound as error:
        hint = f"{error.hint}; `salvo baseline list` shows the baselines"
        raise NotFound(f"{error.message}, nor is there a baseline of that name", hint=hint) from None


async def compare(
    candidate: str, baseline: str, observer: Observer, demands: Demands, *, force: bool = False
) -> RunChange:
    """Return what changed from the baseline to the candidate, from what is committed of both.

    Args:
        candidate: Id of a run or a re-evaluation.
        baseline: As candidate.
        observer: Where both are looked up. A sealed run is two objects read.
        demands: What a difference must be to count.
        force: Compare also what was not asked or graded alike; the answer says what differs.

    Raises:
        NotFound: Nobody knows one of them.
        UsageError: They are one run; they have no cell in common; or cells differ in what was asked or how
            it was graded.
    """
    if candidate == baseline:
        raise UsageError(
            f"both are run {candidate}: there is nothing to compare",
            hint="name another run or a baseline: see `salvo list` and `salvo baseline list`",
        )
    now, before = await observer.plan(candidate), await observer.plan(baseline)
    if not pairs_of(now, before):
        raise UsageError(
            f"runs {candidate} and {baseline} have no scenario in common: {_names(now)} and {_names(before)}",
            hint="cells are paired by scenario and model; `salvo list` shows runs",
        )
    if (differences := unlike(now, before)) and not force:
        told = "; ".join(differences[:DIFFERENCES_TOLD])
        more = len(differences) - DIFFERENCES_TOLD
        raise UsageError(
            f"runs {candidate} and {baseline} cannot be compared: {told}"
            + (f"; and {more} more" if more > 0 else ""),
            hint="`salvo reeval` grades an earlier run by today's assertions; --force compares all the same",
        )
    sides = (
        Side(now, [row async for row in observer.rows(candidate)]),
        Side(before, [row async for row in observer.rows(baseline)]),
    )
    # Bootstraps and exact tails of many cells take seconds.
    return await asyncio.to_thread(change, *sides, demands)


def _names(plan: Plan) -> str:
    names = sorted({cell.scenario_name for cell in plan.cells})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
