"""The door of comparison: a run against another, which changes neither."""

from __future__ import annotations

from salvo_core.errors import UsageError
from salvo_core.observe import Observer
from salvo_core.run.change import Demands, RunChange, Side, change
from salvo_core.run.pairing import pairs_of, unlike
from salvo_core.run.plan import Plan

DIFFERENCES_TOLD = 5


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
        UsageError: They have no cell in common; or cells differ in what was asked or how it was graded.
    """
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
    return change(
        Side(now, [row async for row in observer.rows(candidate)]),
        Side(before, [row async for row in observer.rows(baseline)]),
        demands,
    )


def _names(plan: Plan) -> str:
    names = sorted({cell.scenario_name for cell in plan.cells})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
