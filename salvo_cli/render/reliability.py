"""How far a report's figures can be trusted: tries in a row, intervals over cells, what should not matter."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import percent, plural, score, usd
from salvo_cli.render.tables import Cell, facts, table
from salvo_core.run.reliability import TRIES, CellReliability, MeanRate, Reliability
from salvo_core.run.summary import CellSummary

CELLS_SHOWN_MAX = 24
"""Cells of which a report tells this without being asked for details."""

INTERVALS = {
    "wilson": "95% interval",
    "clopper_pearson": "exact 95% interval",
    "always_valid": "95% interval that allows for stopping early",
}


def score_told(cell: CellSummary, known: CellReliability, signs: Marks) -> str:
    """Return a cell's mean score with its interval, where there is one."""
    if known.score_low is None or known.score_high is None:
        return score(cell.score.mean)
    return f"{score(cell.score.mean)} ({score(known.score_low)}{signs.dash}{score(known.score_high)})"


def bounds_told(known: CellReliability, signs: Marks) -> str:
    """Return between what the pass rate of all trials lies, those without a grade included."""
    return f"{percent(known.all_low)}{signs.dash}{percent(known.all_high)}"


def tries_told(known: CellReliability, *, more: bool, signs: Marks) -> list[tuple[str, Cell]]:
    """Return pass@k and pass^k of one cell as lines for ``facts``; none below two graded trials."""
    if not known.tries or known.tries[-1].k == 1:
        return []
    at = "  ".join(f"k={one.k} {percent(one.at_least_one)}" for one in known.tries)
    every = "  ".join(
        f"k={one.k} {percent(one.every_one)}"
        + (f" ({percent(one.every_one_low)}{signs.dash}{percent(one.every_one_high)})" if more else "")
        for one in known.tries
    )
    return [
        ("pass@k", f"{at}  at least one of k passes"),
        ("pass^k", every if more else f"{every}  all of k pass"),
    ]


def tries_beyond(asked: Sequence[int], cells: Sequence[CellSummary]) -> str:
    """Return which k that somebody asked for no cell has the trials for; empty where all are told.

    Args:
        asked: Each k; the usual ones are not missed.
        cells: Those that are shown.
    """
    most = max((cell.scored for cell in cells), default=0)
    beyond = [k for k in asked if k > most] if tuple(asked) != TRIES else []
    if not beyond:
        return ""
    told = ", ".join(map(str, beyond))
    return (
        f"k = {told}: more tries than any cell here has graded trials ({most:,}), which tell nothing of them"
    )


def saved_told(known: CellReliability) -> str:
    """Return what the trials that an early stop spared would have cost, empty where nobody knows."""
    return f", about {usd(known.saved_usd)} saved" if known.saved_usd else ""


def reliability_table(
    cells: Sequence[CellSummary], known: Reliability, signs: Marks, *, more: bool
) -> list[RenderableType]:
    """Return a line a cell: its label, its score's interval, its tries, its bounds.

    Left out where no cell has two graded trials, and, but for those who ask for more, in a run of
    many cells.
    """
    by_place = {one.cell: one for one in known.cells}
    shown = [(cell, by_place[cell.cell]) for cell in cells]
    most: dict[int, None] = {}
    for _, one in shown:
        most |= dict.fromkeys(tries.k for tries in one.tries)
    ks = sorted(most)
    if not any(cell.scored > 1 for cell in cells):
        return []
    if len(cells) > CELLS_SHOWN_MAX and not more:
        return [Text("pass@k, pass^k and intervals of each cell: --verbose", style="dim"), Text("")]
    over = "/".join(map(str, ks))
    heads = ["#", "label", "score (95%)"]
    rows: list[list[Cell]] = [
        [str(cell.cell + 1), one.label, score_told(cell, one, signs) if cell.scored else signs.dash]
        for cell, one in shown
    ]
    if ks:
        heads += [f"pass@k %\n{over}", f"pass^k %\n{over}"]
        for row, (_, one) in zip(rows, shown, strict=True):
            row.append(_over(ks, {tries.k: tries.at_least_one for tries in one.tries}, signs))
            row.append(_over(ks, {tries.k: tries.every_one for tries in one.tries}, signs))
    if any(one.missing for _, one in shown):
        heads.append("rate\nof all")
        for row, (_, one) in zip(rows, shown, strict=True):
            row.append(bounds_told(one, signs) if one.missing else "")
    return [table(heads, rows, right=[head for head in heads if head != "label"]), Text("")]


def run_level(known: Reliability, signs: Marks, *, more: bool) -> list[RenderableType]:
    """Return the run's mean pass rate by the question it answers, and what should not matter and does."""
    pairs: list[tuple[str, Cell]] = []
    if len(known.cells) > 1:
        if known.these_cells is not None:
            pairs.append(("these cells", f"{_mean(known.these_cells, signs)}  these scenarios, tried again"))
        if known.population is not None:
            pairs.append(("population", f"{_mean(known.population, signs)}  other scenarios of their kind"))
    workers, retries = known.workers, known.retries
    stopped = stopped_means(known) if pairs else ""
    if more and workers is not None:
        told = f"chi-squared {workers.statistic:.1f} on {workers.degrees}, p {workers.p:.2g}"
        pairs.append(("workers", f"{told}: whether it matters who runs a trial"))
    if more and retries is not None:
        pairs.append(("retried", f"{_retried(known)}, p {retries.p:.2g}"))
    lines: list[RenderableType] = [facts(pairs)] if pairs else []
    if stopped:
        lines.append(plain(stopped, "yellow"))
    for odd in workers.odd if workers is not None else ():
        lines.append(
            plain(
                f"warning: on worker {one_line(odd.worker, 60)} {odd.passed:,} of "
                f"{plural(odd.scored, 'trial')} passed where {odd.expected:.1f} are expected "
                f"({odd.residual:+.1f} sd): look at that machine, or leave its trials out",
                "yellow",
            )
        )
    if retries is not None and retries.differs:
        told = f"warning: retried trials come out otherwise: {_retried(known)} (p {retries.p:.2g})"
        lines.append(plain(f"{told}; trials that were lost may have been of that kind", "yellow"))
    return [*lines, Text("")] if lines else []


def stopped_means(known: Reliability) -> str:
    """Return what to think of means over cells where some stopped early; empty where none did."""
    stopped = sum(one.interval == "always_valid" for one in known.cells)
    if not stopped:
        return ""
    if stopped == 1:
        return "1 cell stopped early: its rate leans towards what stopped it, and these means with it"
    return f"{stopped} cells stopped early: their rates lean towards what stopped them, and these means, too"


def _retried(known: Reliability) -> str:
    one = known.retries
    assert one is not None
    return (
        f"{one.passed:,} of {one.scored:,} passed, never retried {one.never_passed:,} of {one.never_scored:,}"
    )


def _mean(rate: MeanRate, signs: Marks) -> str:
    return f"{percent(rate.mean)} ({round(rate.low * 100)}{signs.dash}{round(rate.high * 100)})"


def _over(ks: Sequence[int], shares: dict[int, float], signs: Marks) -> str:
    return "/".join(percent(shares[k])[:-1] if k in shares else signs.dash for k in ks)
