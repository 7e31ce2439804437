"""The report: a verdict with its reason, each cell in numbers, what failed most, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.details import details
from salvo_cli.render.judges import judges
from salvo_cli.render.limits import budget
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import (
    percent,
    plural,
    score,
    seconds,
    short,
    spent,
    spent_in_all,
    tokens,
    usd,
    verdict_text,
)
from salvo_cli.render.part import Part, in_part, part_told
from salvo_cli.render.reliability import (
    INTERVALS,
    bounds_told,
    reliability_table,
    run_level,
    saved_told,
    score_told,
    tries_beyond,
    tries_told,
)
from salvo_cli.render.tables import Cell, facts, table
from salvo_cli.render.troubles import failures, infrastructure
from salvo_core.manifest.rows import TERMINAL, Status
from salvo_core.run.reliability import TRIES, CellReliability, Reliability, reliability
from salvo_core.run.stopping import DECIDED
from salvo_core.run.summary import CellSummary, Summary
from salvo_core.run.verdict import WORST_FIRST

WIDE = 150
"""Columns from which every figure of a cell stands on one line."""


def report(
    summary: Summary,
    *,
    width: int,
    signs: Marks,
    infra_messages: Mapping[str, str] | None = None,
    part: Part | None = None,
    failures_only: bool = False,
    more: bool = False,
    tries: Sequence[int] = TRIES,
    exact: bool = False,
) -> RenderableType:
    """Return the report of a run, finished or not.

    Args:
        summary: The run in numbers.
        width: Columns to fill.
        signs: Marks that the terminal can show.
        infra_messages: What an infrastructure error said, by the trace id of a sample; only
            for those that the summary does not quote.
        part: The cells to show, at least one; None shows all. The head is the run's.
        failures_only: Leave the table of figures out, and tell all of what failed.
        more: Add how every figure spreads, and tell all of what failed.
        tries: Each k of pass@k and pass^k.
        exact: Take Clopper-Pearson intervals for pass rates.
    """
    parts: list[RenderableType] = [_headline(summary, signs)]
    name = dict(enumerate(cell_names(summary.cells)))
    known = reliability(summary, tries, exact=exact)
    summary = _with_intervals(summary, known)
    together = known
    if part is not None:
        parts.append(plain(part_told(part, summary), "yellow"))
        summary, _ = in_part(summary, part)
        together = reliability(summary, tries, exact=exact)
    parts.append(Text(""))
    if not failures_only:
        parts += _figures(summary.cells, known, name, width, signs, more=more)
        if beyond := tries_beyond(tries, summary.cells):
            parts += [plain(beyond, "yellow"), Text("")]
        parts += run_level(together, signs, more=more)
        parts += judges(summary.cells, name, signs)
    if more:
        parts += details(summary.cells, name, signs)
    troubles = failures(summary, name, signs, whole=failures_only or more)
    troubles += infrastructure(summary, name, infra_messages or {})
    if failures_only and not troubles:
        troubles = [Text("nothing failed", style="bold green"), Text("")]
    parts += troubles
    parts.append(_next(summary))
    return Group(*parts)


def _with_intervals(summary: Summary, known: Reliability) -> Summary:
    """Return the summary with the intervals that were asked for, or that hold, in the stored ones' place."""
    cells = tuple(
        cell.model_copy(update={"pass_rate_low": one.pass_rate_low, "pass_rate_high": one.pass_rate_high})
        for cell, one in zip(summary.cells, known.cells, strict=True)
    )
    return summary.model_copy(update={"cells": cells})


def _figures(
    cells: Sequence[CellSummary],
    known: Reliability,
    name: Mapping[int, str],
    width: int,
    signs: Marks,
    *,
    more: bool,
) -> list[RenderableType]:
    if len(cells) == 1:
        # In a run of several, the head is not about this cell alone.
        ruling = [_ruling(cells[0], signs), Text("")] if len(name) > 1 else []
        return [*ruling, _single(cells[0], known.cells[cells[0].cell], signs, more=more), Text("")]
    trusted = reliability_table(cells, known, signs, more=more)
    if width >= WIDE:
        return [_wide(cells, name, signs), Text(""), *trusted]
    return [_quality(cells, name, signs), Text(""), _effort(cells, signs), Text(""), *trusted]


def _ruling(cell: CellSummary, signs: Marks) -> RenderableType:
    return Group(verdict_text(cell.verdict, signs), plain(cell.reason))


def _headline(summary: Summary, signs: Marks) -> RenderableType:
    ended = sum(summary.counts[status] for status in TERMINAL)
    cells = len(summary.cells)
    first = verdict_text(summary.verdict, signs)
    first.append(
        f"   {plural(cells, 'cell')} {signs.dot} {ended:,} of {plural(summary.total, 'trial')} ended"
    )
    if ended < summary.total:
        first.append(f"   {summary.state}: these figures will change", style="yellow")
    lines = [first, plain(summary.reason)]
    agent, judge = summary.cost, summary.judge_cost
    money = spent_in_all(agent.total_usd, agent.unknown, judge.total_usd, judge.unknown)
    told = [
        *([seconds(summary.wall_s)] if summary.wall_s is not None else []),
        *([f"{summary.trials_per_s:.1f} trials/s"] if summary.trials_per_s else []),
        f"cost {money}",
        f"{tokens(summary.input_tokens + summary.output_tokens)} tokens",
        *([f"{summary.retries:,} retried"] if summary.retries else []),
        *([f"{plural(summary.retried, 'trial')} tried again by hand"] if summary.retried else []),
    ]
    lines.append(Text(f" {signs.dot} ".join(told), style="dim"))
    if summary.budget is not None:
        lines.append(Text(f"budget {budget(summary.budget)}", style="dim"))
    models = {cell.model for cell in summary.cells}
    model = f" {signs.dot} model {one_line(models.pop(), 60)}" if len(models) == 1 < cells else ""
    lines.append(Text(f"run {summary.run_id}{model}", style="dim"))
    return Group(*lines)


def _passed(cell: CellSummary) -> str:
    return f"{cell.counts['passed']:,}/{cell.trials:,}"


def _failed(cell: CellSummary) -> str:
    """Return how many graded trials did not pass, and how many of them failed a required assertion."""
    hard = cell.counts["hard_fail"]
    failed = plural(cell.counts["failed"] + hard, "trial")
    return failed + (f"  {hard:,} of them hard" if hard else "")


def _rate(cell: CellSummary, signs: Marks) -> str:
    if not cell.scored:
        return signs.dash
    low, high = round(cell.pass_rate_low * 100), round(cell.pass_rate_high * 100)
    return f"{percent(cell.pass_rate)} ({low}{signs.dash}{high})"


def _other_counts(cell: CellSummary) -> str:
    """Return the trials that say nothing about the agent, apart from the rest (I6)."""
    shown: tuple[tuple[Status, str], ...] = (
        ("infra_error", "infra"),
        ("cancelled", "cancelled"),
        ("skipped", "skipped"),
    )
    told = [f"{cell.counts[status]:,} {word}" for status, word in shown if cell.counts[status]]
    unfinished = cell.counts["pending"] + cell.counts["running"]
    return ", ".join([*told, *([f"{unfinished:,} to come"] if unfinished else [])]) or "0"


def _early_stop(cell: CellSummary, known: CellReliability) -> str:
    """Return where the cell stopped, why, and what that spared."""
    assert cell.early_stop is not None
    stop, skipped = cell.early_stop, cell.skipped.get(DECIDED, 0)
    saved = saved_told(known)
    return (
        f"after {stop.after:,} of {plural(cell.trials, 'trial')}: {stop.reason}; {skipped:,} skipped{saved}"
    )


def _single(cell: CellSummary, known: CellReliability, signs: Marks, *, more: bool) -> RenderableType:
    spread = cell.score
    label = f" {signs.dot} {known.label}" if cell.scored > 1 else ""
    bounds = f"; the pass rate of all is {bounds_told(known, signs)}" if known.missing and cell.scored else ""
    pairs: list[tuple[str, Cell]] = [
        ("scenario", cell.scenario_name),
        ("model", f"{cell.model} via {cell.adapter}"),
        ("passed", f"{_passed(cell)} trials"),
        *([("failed", _failed(cell))] if cell.counts["failed"] + cell.counts["hard_fail"] else []),
        (
            "pass rate",
            f"{_rate(cell, signs)}  of {plural(cell.scored, 'graded trial')}, "
            f"{INTERVALS[known.interval]}{label}",
        ),
        *tries_told(known, more=more, signs=signs),
        (
            "score",
            f"mean {score_told(cell, known, signs)}  min {score(spread.min)}  p50 {score(spread.p50)}  "
            f"p95 {score(spread.p95)}  threshold {score(cell.threshold)}",
        ),
        ("not graded", _other_counts(cell) + bounds),
        *([("early stop", _early_stop(cell, known))] if cell.early_stop else []),
    ]
    if cell.latency_s is not None:
        pairs.append(("latency", f"p50 {seconds(cell.latency_s.p50)}  p95 {seconds(cell.latency_s.p95)}"))
    if cell.tokens is not None:
        pairs.append(("tokens", f"p50 {tokens(cell.tokens.p50)}  p95 {tokens(cell.tokens.p95)} a trial"))
    judge = cell.judge_cost
    cost = spent_in_all(cell.cost.total_usd, cell.cost.unknown, judge.total_usd, judge.unknown)
    per_pass = cell.cost.per_pass_usd
    pairs.append(("cost", cost + (f"  {usd(per_pass)} a pass" if per_pass is not None else "")))
    pairs.append(("retries", f"{cell.retries:,} in {plural(cell.trials_with_retries, 'trial')}"))
    return facts(pairs)


def _quality_row(cell: CellSummary, name: Mapping[int, str], signs: Marks) -> list[Cell]:
    return [
        str(cell.cell + 1),
        verdict_text(cell.verdict, signs),
        name[cell.cell],
        _passed(cell),
        _rate(cell, signs),
        score(cell.score.mean) if cell.scored else signs.dash,
        _other_counts(cell),
    ]


def _judge_cost(cell: CellSummary) -> str:
    cost = cell.judge_cost
    return spent(cost.total_usd, cost.unknown) if cost.known or cost.unknown else ""


def _effort_row(cell: CellSummary, signs: Marks) -> list[Cell]:
    spread, latency, used = cell.score, cell.latency_s, cell.tokens
    none = signs.dash
    return [
        f"{spread.min:.2f}/{spread.p50:.2f}/{spread.p95:.2f}" if cell.scored else none,
        spent(cell.cost.total_usd, cell.cost.unknown),
        _judge_cost(cell),
        none if cell.cost.per_pass_usd is None else usd(cell.cost.per_pass_usd),
        f"{latency.p50:.1f}/{latency.p95:.1f}" if latency else none,
        f"{tokens(used.p50)}/{tokens(used.p95)}" if used else none,
        f"{cell.retries:,}",
    ]


_JUDGE = "judge\n$"
_QUALITY = ("#", "verdict", "cell", "passed", "rate (95%)", "score", "not graded")
_EFFORT = (
    "score\nmin/p50/p95",
    "cost\n$",
    _JUDGE,
    "cost\na pass",
    "latency s\np50/p95",
    "tokens\np50/p95",
    "retries",
)
_NUMBERS = ("#", "passed", "rate (95%)", "score", *_EFFORT)


def _quality(cells: Sequence[CellSummary], name: Mapping[int, str], signs: Marks) -> RenderableType:
    rows = [_quality_row(cell, name, signs) for cell in cells]
    return table(*_without_idle(_QUALITY, rows), right=_NUMBERS, wide="cell")


def _effort(cells: Sequence[CellSummary], signs: Marks) -> RenderableType:
    rows = [[str(cell.cell + 1), *_effort_row(cell, signs)] for cell in cells]
    heads, rows = _without_idle(("#", *_EFFORT), rows)
    return table(heads, rows, right=heads)


def _wide(cells: Sequence[CellSummary], name: Mapping[int, str], signs: Marks) -> RenderableType:
    rows = [[*_quality_row(cell, name, signs), *_effort_row(cell, signs)] for cell in cells]
    heads, rows = _without_idle((*_QUALITY, *_EFFORT), rows)
    return table(heads, rows, right=[head for head in heads if head not in _TEXTS], wide="cell")


_TEXTS = ("verdict", "cell", "not graded")


def _without_idle(heads: Sequence[str], rows: list[list[Cell]]) -> tuple[Sequence[str], list[list[Cell]]]:
    """Leave out the columns of ungraded trials and of what judges cost when there are none."""
    idle = {
        at
        for at, head in enumerate(heads)
        if head in ("not graded", _JUDGE) and not any(row[at] not in ("0", "") for row in rows)
    }
    kept = [at for at in range(len(heads)) if at not in idle]
    return [heads[at] for at in kept], [[row[at] for at in kept] for row in rows]


def next_commands(summary: Summary) -> list[tuple[str, str]]:
    """Return the three commands that serve best after this report, each with what it shows."""
    worth: tuple[Status, ...] = ("hard_fail", "failed", "infra_error")
    # Of the cells shown: a report may be of some of them.
    status = next((one for one in worth if any(cell.counts[one] for cell in summary.cells)), None)
    worst_first = sorted(summary.cells, key=lambda cell: WORST_FIRST.index(cell.verdict))
    samples = [
        trace_ids[0]
        for cell in worst_first
        for trace_ids in (
            *(found.trace_ids for found in cell.failures),
            *(e.trace_ids for e in cell.infra_errors),
        )
    ]
    run = short(summary.run_id)
    listing = f"salvo trials {run}" + (f" --status {status}" if status else "")
    ended = not summary.counts["pending"] + summary.counts["running"]
    found = [(listing, "trial by trial")]
    if samples:
        found.append((f"salvo trace {samples[0]}", "one conversation"))
    if ended:
        found.append((f"salvo report {run} --json", "the same, for a program"))
    else:
        found.append((f"salvo status {run} --watch", "follow it"))
    if len(found) < 3:
        found.append(("salvo list", "this run among the others"))
    return found


def _next(summary: Summary) -> RenderableType:
    commands = next_commands(summary)
    length = max(len(command) for command, _ in commands)
    parts: list[RenderableType] = [Text("Next", style="bold")]
    for command, shows in commands:
        line = Text("  ").append(command.ljust(length), style="cyan")
        parts.append(line.append(f"  {shows}", style="dim"))
    return Group(*parts)
