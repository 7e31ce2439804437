"""A run on its way: the live display on a terminal, and the one line that stands for it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render import limits
from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import plural, score, seconds, spent, spent_in_all, tokens
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.rows import STATUSES, TERMINAL, Status

if TYPE_CHECKING:
    from salvo_core.fleet.breaker import Trouble
    from salvo_core.fleet.limits import Queue

CELLS_SHOWN_MAX = 15
BAR_LENGTH = 24
MOVING = frozenset({"submitting", "running", "cancelling"})
"""States in which trials still end."""

_STYLES: dict[Status, str] = {
    "passed": "green",
    "failed": "red",
    "hard_fail": "bold red",
    "infra_error": "magenta",
    "running": "cyan",
}


def terse(counts: RunCounts, troubles: Sequence[Trouble] = (), queues: Sequence[Queue] = ()) -> str:
    """Return a run's progress on one line, for logs.

    Args:
        counts: The run at this moment.
        troubles: Providers that it waits for.
        queues: Of providers whose limits its trials wait for.
    """
    told = [
        f"{counts.state} {counts.ended:,}/{counts.total:,}",
        *(
            f"{counts.statuses[status]:,} {status.replace('_', ' ')}"
            for status in ("running", "passed", "failed", "hard_fail", "infra_error", "cancelled", "skipped")
            if counts.statuses[status]
        ),
    ]
    if counts.rate_per_s:
        told.append(f"{counts.rate_per_s:.1f}/s")
    if counts.eta_s and counts.state in MOVING:
        told.append(f"eta {seconds(counts.eta_s)}")
    told.append(f"cost {_money(counts)}")
    if counts.budget is not None:
        told.append(f"budget {limits.budget(counts.budget)}")
    if troubles and counts.state in MOVING:
        told.append(f"waiting: {limits.waiting(troubles)}")
    if queues and counts.state in MOVING:
        told.append(f"waiting: {limits.queued(queues, counts.run_id)}")
    if counts.paused_by:
        told.append(one_line(counts.paused_by, 400))
    return " · ".join(told)


def bar(ended: int, total: int, signs: Marks, length: int = BAR_LENGTH) -> Text:
    """Return a bar of which as much is drawn as has ended; full only when all has."""
    drawn = length if ended >= total else min(length - 1, length * ended // max(total, 1))
    made = Text(signs.bar * drawn, style="green")
    return made.append(signs.rest * (length - drawn), style="bright_black")


def live(
    counts: RunCounts,
    labels: Sequence[str],
    *,
    signs: Marks,
    workers: str = "",
    note: str = "",
    troubles: Sequence[Trouble] = (),
    queues: Sequence[Queue] = (),
) -> RenderableType:
    """Return what a person watches while a run goes on.

    Args:
        counts: The run at this moment.
        labels: How to call each cell, by place; empty shows none.
        signs: Marks that the terminal can show.
        workers: Who works on it, in a few words; empty leaves it out.
        note: A last line, such as what Ctrl-C does.
        troubles: Providers that it waits for.
        queues: Of providers whose limits its trials wait for.
    """
    parts: list[RenderableType] = [
        _head(counts, signs),
        _states(counts, signs),
        _pace(counts, signs, workers),
    ]
    if counts.budget is not None:
        parts.append(Text(f"budget: {limits.budget(counts.budget)}", style="dim"))
    if counts.paused_by:
        parts.append(plain(f"paused: {one_line(counts.paused_by, 400)}", "yellow"))
    elif counts.state in MOVING:
        parts += limits.waiting_lines(troubles)
        parts += limits.queued_lines(queues, counts.run_id)
    if 1 < len(labels) <= CELLS_SHOWN_MAX:
        parts += [Text(""), _cells(counts, labels, signs)]
    if note:
        parts.append(Text(note, style="dim"))
    return Group(*parts)


def _head(counts: RunCounts, signs: Marks) -> Text:
    line = bar(counts.ended, counts.total, signs)
    line.append(f"  {counts.ended:,}/{counts.total:,}", style="bold")
    return line.append(f"  {counts.state}")


def _states(counts: RunCounts, signs: Marks) -> Text:
    line = Text()
    for status in STATUSES:
        if counts.statuses[status]:
            line.append(f" {signs.dot} " if line else "")
            name = status.replace("_", " ")
            line.append(f"{counts.statuses[status]:,} {name}", style=_STYLES.get(status, ""))
    return line


def _pace(counts: RunCounts, signs: Marks, workers: str) -> Text:
    rate = f"{counts.rate_per_s:.1f} trials/s" if counts.rate_per_s else "no trial has ended yet"
    told = [rate]
    if counts.eta_s and counts.state in MOVING:
        told.append(f"eta {seconds(counts.eta_s)}")
    told.append(f"cost {_money(counts)}")
    if not counts.reeval:  # a re-evaluation's are those of the conversations that it looks at
        told.append(f"{tokens(counts.input_tokens + counts.output_tokens)} tokens")
    if counts.retries:
        told.append(f"{counts.retries:,} retried")
    if workers:
        told.append(workers)
    return Text(f" {signs.dot} ".join(told), style="dim")


def _money(counts: RunCounts) -> str:
    if counts.reeval:
        return spent(counts.judge_cost_usd, counts.judge_cost_unknown)
    return spent_in_all(
        counts.cost_usd, counts.cost_unknown, counts.judge_cost_usd, counts.judge_cost_unknown
    )


def _cells(counts: RunCounts, labels: Sequence[str], signs: Marks) -> RenderableType:
    of_each = counts.total // max(counts.cells, 1)
    rows: list[list[Cell]] = []
    for cell, label in enumerate(labels):
        found = counts.per_cell.get(cell)
        ended = sum(found.statuses[status] for status in TERMINAL) if found else 0
        passed = found.statuses["passed"] if found else 0
        mean = found.score_sum / found.scored if found and found.scored else None
        rows.append(
            [
                label,
                bar(ended, of_each, signs, 10),
                f"{ended}/{of_each}",
                str(passed),
                score(mean),
            ]
        )
    return table(
        ("cell", "", "ended", "passed", "score"), rows, right=("ended", "passed", "score"), wide="cell"
    )


def status(
    counts: RunCounts,
    labels: Sequence[str],
    *,
    signs: Marks,
    workers: str = "",
    troubles: Sequence[Trouble] = (),
    queues: Sequence[Queue] = (),
) -> RenderableType:
    """Return a run's state at one moment, for ``salvo status``; arguments as ``live``."""
    pairs: list[tuple[str, Cell]] = [("run", f"{counts.run_id}  {counts.name}".rstrip())]
    if counts.verdict:
        pairs.append(("verdict", counts.verdict.replace("_", " ")))
    if counts.concurrency_max:
        pairs.append(("limit", f"{plural(counts.concurrency_max, 'trial')} at once"))
    if counts.expired:
        pairs.append(("taken back", f"{plural(counts.expired, 'trial')} whose worker fell silent"))
    now = live(counts, labels, signs=signs, workers=workers, troubles=troubles, queues=queues)
    return Group(facts(pairs), now)
