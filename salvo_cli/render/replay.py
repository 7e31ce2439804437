"""What a replay adds to the conversation: that it is a recording, and where a live model left it."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.conversation import INDENT, steps, turn_said
from salvo_cli.render.numbers import moment, plural, tokens, usd
from salvo_cli.render.tables import Cell, facts
from salvo_core.trace.model import Trace, Turn
from salvo_core.trace.stored import SCHEMA
from salvo_core.trial.comparison import Comparison
from salvo_core.trial.divergence import Divergence


def pages(trace: Trace, *, signs: Marks) -> list[tuple[str, RenderableType]]:
    """Return a recorded trial page by page, each with its title: the question, every turn, the end."""
    question, *turns, end = steps(trace, signs=signs, recorded=True)
    opening = Group(banner(trace), Text(""), question)
    numbered = [(f"turn {n} of {len(turns)}", turn) for n, turn in enumerate(turns, start=1)]
    return [("question", opening), *numbered, ("end", end)]


def recording(trace: Trace, *, signs: Marks) -> RenderableType:
    """Return a recorded trial, whole."""
    return Group(*(page for _, page in pages(trace, signs=signs)))


def banner(trace: Trace) -> Text:
    """Return the line that says this is a recording."""
    return Text(f"Recorded {moment(trace.ended_at)} as {SCHEMA}; no model was asked.", style="dim")


def comparison(trace: Trace, found: Comparison, *, model: str, adapter: str, signs: Marks) -> RenderableType:
    """Return how far a live model went along with a recording.

    Args:
        trace: The recording.
        found: What the live model said.
        model: Who that was.
        adapter: How it was reached.
        signs: Marks that the terminal can show.
    """
    parts: list[RenderableType] = [_headline(trace, found, signs)]
    parts.append(
        facts(
            [
                ("recorded", f"{trace.model} via {trace.adapter}, trial {trace.trace_id}"),
                ("live", f"{model} via {adapter}"),
            ]
        )
    )
    parts.append(Text(""))
    same = found.turns[:-1] if found.divergence else found.turns
    parts += [_agreed(turn, signs) for turn in same]
    if found.divergence:
        parts += _parted(found.divergence, signs)
    parts += _ended_early(found, signs)
    parts += [Text(""), _spent(found, signs)]
    return Group(*parts)


def _headline(trace: Trace, found: Comparison, signs: Marks) -> Text:
    if found.divergence:
        what = f"{signs.failed} DIVERGED at turn {found.divergence.recorded.index + 1} of {len(trace.turns)}"
        return Text(what, style="bold red")
    if not found.complete:
        compared = f"{len(found.turns)} of {plural(len(trace.turns), 'turn')}"
        return Text(f"{signs.alarm} NOT FINISHED: no difference in {compared}", style="bold magenta")
    return Text(f"{signs.passed} NO DIFFERENCE in {plural(len(trace.turns), 'turn')}", style="bold green")


def _agreed(turn: Turn, signs: Marks) -> Text:
    what = ", ".join(call.name for call in turn.tool_calls)
    line = Text(f"{signs.passed} turn {turn.index + 1}  ", style="green")
    return line.append_text(plain(one_line(f"calls {what}" if what else "answers", 120), "default"))


def _parted(found: Divergence, signs: Marks) -> list[RenderableType]:
    line = Text(f"{signs.failed} turn {found.recorded.index + 1}  ", style="red").append_text(
        plain(found.told)
    )
    return [
        line,
        Text(""),
        Text("recorded", style="bold"),
        turn_said(found.recorded),
        Text("now", style="bold"),
        turn_said(found.live),
    ]


def _ended_early(found: Comparison, signs: Marks) -> list[RenderableType]:
    if found.error is not None:
        line = Text(f"{signs.alarm} turn {len(found.turns) + 1}  ", style="magenta")
        line.append_text(plain(f"did not come back: {found.error.message}"))
        hint = found.error.hint
        return [line, *([Padding.indent(plain(f"hint: {hint}"), INDENT)] if hint else [])]
    if found.limit is not None:
        limit = found.limit.replace("_", " ")
        return [Text(f"{signs.alarm} stopped by a limit of the scenario: {limit}", style="magenta")]
    return []


def _spent(found: Comparison, signs: Marks) -> RenderableType:
    used = found.usage
    told = (
        f"{tokens(used.input_tokens)} tokens in, {tokens(used.output_tokens)} out "
        f"{signs.dot} cost {usd(found.cost_usd)}"
    )
    pairs: list[tuple[str, Cell]] = [("spent", told), ("kept", "nothing: the recording is as it was")]
    return facts(pairs)


def comparison_document(
    trace: Trace, found: Comparison, *, model: str, adapter: str, exit_code: int
) -> dict[str, Any]:
    """Return the document of ``--against --json``."""
    parted = found.divergence
    return {
        "schema": "salvo.cli.replay-against/1",
        "trace_id": trace.trace_id,
        "model": model,
        "adapter": adapter,
        "exit_code": exit_code,
        "complete": found.complete,
        "turns_recorded": len(trace.turns),
        "turns": [turn.model_dump(mode="json") for turn in found.turns],
        "divergence": None
        if parted is None
        else {
            "turn": parted.recorded.index,
            "kind": parted.kind,
            "told": parted.told,
            "recorded": parted.recorded.model_dump(mode="json"),
            "live": parted.live.model_dump(mode="json"),
        },
        "error": found.error.model_dump(mode="json") if found.error else None,
        "limit": found.limit,
        "usage": found.usage.model_dump(mode="json"),
        "cost_usd": found.cost_usd,
    }
