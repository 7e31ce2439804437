"""What an import came to: the runs, what was skipped and why, and what can be done with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from salvo_cli.render.console import Marks, marks, one_line, plain
from salvo_cli.render.numbers import plural, short, verdict_text
from salvo_cli.render.tables import Cell, table
from salvo_core.carry_over import CarriedRun
from salvo_core.predecessor.folder import Skipped
from salvo_core.run.verdict import EXIT_CODES

SKIPPED_SHOWN = 50
"""Lines of what was skipped; ``--json`` has all."""

_STATES = {
    "carried": "imported",
    "present": "already there",
    "clash": "not imported",
    "readable": "readable",
}
_CLASH = "another run has this id here: nothing was written"


@dataclass(frozen=True, slots=True)
class Imported:
    """An import, to be told.

    Attributes:
        folder: Of the predecessor.
        runs: Oldest first.
        skipped: Files.
        orphans: Traces that no run names.
        reevals: Re-evaluations, which are not carried over.
        dry_run: Whether nothing was written.
    """

    folder: str
    runs: tuple[CarriedRun, ...]
    skipped: tuple[Skipped, ...]
    orphans: int
    reevals: int
    dry_run: bool

    @property
    def whole(self) -> bool:
        """Whether every run and trace that was looked for is here now, or could be."""
        return not (self.skipped or self.orphans or any(run.state == "clash" for run in self.runs))


def document(told: Imported) -> dict[str, Any]:
    """Return an import for ``--json``."""
    runs = []
    for run in told.runs:
        one = asdict(run)
        del one["skipped"], one["spread_differs"]
        runs.append({**one, "notes": _notes(run)})
    return {
        "schema": "salvo.cli.import/1",
        "folder": told.folder,
        "dry_run": told.dry_run,
        "runs": runs,
        "skipped": [asdict(one) for one in told.skipped],
        "traces_without_a_run": told.orphans,
        "reevaluations_left": told.reevals,
    }


def page(told: Imported, screen: Console, aside: Console) -> None:
    """Print an import for a person: runs on the screen, what was skipped aside."""
    if told.runs:
        screen.print(_runs(told, marks(screen)))
    else:
        screen.print(plain("no run there can be read"))
    for run in told.runs:
        for note in _notes(run):
            aside.print(plain(f"note: run {short(run.run_id)}: {note}", "dim"), soft_wrap=True)
    differing = sum(run.spread_differs for run in told.runs)
    if differing:
        text = f"note: the p95 score of {plural(differing, 'run')} lay above every score; here it does not"
        aside.print(plain(text, "dim"), soft_wrap=True)
    for skipped in told.skipped[:SKIPPED_SHOWN]:
        aside.print(plain(f"skipped {skipped.file}: {skipped.why}", "yellow"), soft_wrap=True)
    if len(told.skipped) > SKIPPED_SHOWN:
        more = len(told.skipped) - SKIPPED_SHOWN
        aside.print(plain(f"skipped {more:,} more: --json names them", "yellow"), soft_wrap=True)
    if told.orphans:
        left = (
            f"skipped {plural(told.orphans, 'trace')} that no readable run names: a run that was broken off, "
            "or one that is skipped above"
        )
        aside.print(plain(left, "yellow"), soft_wrap=True)
    if told.reevals:
        left = (
            f"note: {plural(told.reevals, 're-evaluation')} not carried over: `salvo reeval` makes new ones"
        )
        aside.print(plain(left, "dim"), soft_wrap=True)
    _next(told, aside)


def _runs(told: Imported, signs: Marks) -> Any:
    several = len({run.state for run in told.runs}) > 1
    rows: list[list[Cell]] = []
    for run in told.runs:
        verdict = next((known for known in EXIT_CODES if known == run.verdict), None)
        rows.append(
            [
                short(run.run_id),
                *([_STATES[run.state]] if several else []),
                verdict_text(verdict, signs) if verdict else Text(one_line(run.verdict, 20)),
                f"{run.traces:,}/{run.trials:,}",
                _recorded(run),
                one_line(run.name, 80),
            ]
        )
    heads = ("run", *(["state"] if several else []), "verdict", "traces", "recorded", "scenario")
    return table(heads, rows, right=("traces",), wide="scenario", cut=True)


def _recorded(run: CarriedRun) -> str:
    if run.recording == "metadata_only":
        return "bare"
    return "yes" if run.marked else "no"


def _notes(run: CarriedRun) -> list[str]:
    return [_CLASH, *run.notes] if run.state == "clash" else list(run.notes)


def _next(told: Imported, aside: Console) -> None:
    here = [run for run in told.runs if run.state in ("carried", "present")]
    if told.runs:
        states = Counter(_STATES[run.state] for run in told.runs)
        counts = ", ".join(f"{plural(count, 'run')} {state}" for state, count in states.items())
        aside.print(plain(counts), soft_wrap=True)
    if told.dry_run:
        aside.print(plain("nothing was written: without --dry-run it is", "dim"), soft_wrap=True)
    elif here:
        ref = short(here[-1].run_id)
        hint = f"salvo report {ref} · salvo report --history · salvo replay {ref} · salvo trials {ref}"
        aside.print(plain("hint: ", "bold") + plain(hint), soft_wrap=True)
