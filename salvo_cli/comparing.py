"""A re-evaluation told: what it judges by, and how it differs from what it looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from salvo_cli.render.comparison import comparison, trial
from salvo_cli.render.console import console, marks, one_line, plain
from salvo_cli.wiring import Site
from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.run.plan import Plan
from salvo_core.run.rescored import Rescored

if TYPE_CHECKING:
    from salvo_core.reevaluate import Prepared
    from salvo_core.run.drift import Change

LABELS_SHOWN_MAX = 5


def print_changes(screen: Console, prepared: Prepared) -> None:
    """Print what a re-evaluation judges by, where that is not what the recording was judged by.

    What the agent saw is worth a warning if it differs; how it is judged is what a re-evaluation is for.
    """
    for change in prepared.changes:
        cell = one_line(change.cell, 120)
        if change.drifted != ():
            what = ", ".join(change.drifted) if change.drifted else "nobody knows in what"
            text = f"{cell}: the scenario asks the agent something else than the recording did ({what})"
            screen.print(plain("warning: ", "bold yellow") + plain(text), soft_wrap=True)
        for told in _notes(change):
            screen.print(plain("note: ", "bold") + plain(f"{cell}: {told}"), soft_wrap=True)
    if prepared.left_out:
        count = len(prepared.left_out)
        text = f"{count} skipped, since the recording keeps metadata only: {_named(prepared.left_out)}"
        screen.print(plain("warning: ", "bold yellow") + plain(text), soft_wrap=True)


def _notes(change: Change) -> list[str]:
    notes = [
        f"{word} {_named(labels)}"
        for word, labels in (
            ("new:", change.added),
            ("gone:", change.removed),
            ("counted differently:", change.reweighed),
        )
        if labels
    ]
    if change.threshold:
        notes.append(f"threshold {change.threshold[0]:g}, now {change.threshold[1]:g}")
    return notes


def _named(labels: tuple[str, ...]) -> str:
    more = len(labels) - LABELS_SHOWN_MAX
    return ", ".join(labels[:LABELS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


async def print_comparison(site: Site, plan: Plan, *, more: bool = False) -> None:
    """Print a sealed re-evaluation beside what it looked at, from stored objects alone.

    Args:
        site: Where it is.
        plan: Its own.
        more: Whether to name every flip that is stored.
    """
    found = await site.observer.comparison(plan.run_id)
    screen = console()
    if found is None:
        screen.print(plain("what it looked at is gone: there is nothing to compare with"), soft_wrap=True)
        return
    screen.print(comparison(found, signs=marks(screen), more=more))
    record = await _record(site, plan)
    if record is not None:
        screen.print(trial(record, signs=marks(screen)))


async def comparison_document(site: Site, plan: Plan) -> dict[str, Any]:
    """Return what ``--json`` adds for a sealed re-evaluation; of a single trial its record too."""
    found = await site.observer.comparison(plan.run_id)
    record = await _record(site, plan)
    return {
        "of": plan.rescore.run_id if plan.rescore else None,
        "comparison": found.model_dump(mode="json") if found else None,
        "trial": record.model_dump(mode="json") if record else None,
    }


async def _record(site: Site, plan: Plan) -> Rescored | None:
    """Return the record of a re-evaluation of one trial; None for a whole run, or where there is none."""
    if plan.rescore is None or plan.rescore.index is None:
        return None
    row = await anext(site.observer.rows(plan.run_id), None)
    if row is None or not row.recorded:
        return None
    try:
        return await site.observer.rescored(plan.run_id, row)
    except (ObjectMissing, ObjectCorrupt):
        return None
