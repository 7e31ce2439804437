"""What judges were asked about one trial, vote by vote: scores, reasons, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import plural, score, seconds, tokens, usd
from salvo_core.trace.model import Judged, Judgement, Trace, Vote

INDENT = 2
NAME_LENGTH_MAX = 60


def judgements(trace: Trace, *, signs: Marks, mark: str = "") -> Iterator[RenderableType]:
    """Yield each judgement with its votes; nothing for a trial that no judge was asked about.

    All text of judges is shown verbatim, with control characters made visible.

    Args:
        trace: The record.
        signs: Marks that the terminal can show.
        mark: What stands behind times and costs that are not of now.
    """
    for judgement in trace.judgements:
        yield _head(judgement)
        for judged in trace.judged:
            if judged.request == judgement.request:
                yield Padding.indent(_counted(judged), INDENT)
        for vote in judgement.votes:
            yield from _vote(vote, signs, mark)
        yield Text("")


def _head(judgement: Judgement) -> Text:
    line = Text("judge ", style="bold cyan").append_text(plain(judgement.model, "bold cyan"))
    line.append_text(plain(f" via {judgement.adapter}", "cyan"))
    places = ", ".join(str(place + 1) for place in judgement.assertions)
    noun = "assertion" if len(judgement.assertions) == 1 else "assertions"
    return line.append_text(
        plain(f"  asked {plural(len(judgement.votes), 'time')} for {noun} {places}", "dim")
    )


def _counted(judged: Judged) -> Text:
    told = (
        f"assertion {judged.assertion + 1}: {judged.heard} of {plural(judged.k, 'vote')} heard, "
        f"{judged.in_favour} in favour (from {score(judged.threshold)})"
    )
    return Text(told, style="dim")


def _vote(vote: Vote, signs: Marks, mark: str) -> Iterator[RenderableType]:
    for retry in vote.retries:
        line = Text(f"{signs.alarm} {retry.kind.replace('_', ' ')}", style="magenta")
        yield Padding.indent(line.append(": ").append_text(plain(retry.message, "dim")), INDENT)
    line = Text(f"vote {vote.number + 1}", style="bold")
    used = vote.billed
    told = [
        f"{tokens(used.input_tokens)} in, {tokens(used.output_tokens)} out",
        f"{seconds(vote.latency_s)}, cost {usd(vote.cost_usd)}{mark}",
    ]
    yield Padding.indent(line.append(f"  {f' {signs.dot} '.join(told)}", style="dim"), INDENT)
    if vote.error is not None:
        failed = Text(f"{signs.alarm} not counted: ", style="bold magenta").append_text(plain(vote.error))
        yield Padding.indent(failed, 2 * INDENT)
        if vote.raw:
            yield Padding.indent(plain(vote.raw, "dim"), 3 * INDENT)
    for name, value in vote.scores.items():
        line = Text(f"{score(value)}  ").append_text(plain(one_line(name, NAME_LENGTH_MAX), "bold"))
        yield Padding.indent(line, 2 * INDENT)
        if reason := vote.reasoning.get(name):
            yield Padding.indent(plain(reason, "dim"), 2 * INDENT + 6)
