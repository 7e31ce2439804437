"""A trace as a conversation: who said what, with which tools, how long it took, what we think of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from salvo_cli.render.console import Marks, plain
from salvo_cli.render.judgements import judgements
from salvo_cli.render.numbers import moment, moment_ms, plural, score, seconds, tokens, usd
from salvo_cli.render.tables import Cell, facts
from salvo_core.trace.model import EarlierAttempt, Finding, Message, Retry, ToolCall, Trace, Turn
from salvo_core.trace.redaction import MARKER

INDENT = 2
_STATUS_STYLES = {"passed": "bold green", "failed": "bold red", "hard_fail": "bold red"}


RECORDED = " (recorded)"
"""Stands behind times and costs that are not of now."""

EARLIER_SHOWN = 10
"""Earlier attempts that are told of, the last ones."""


def conversation(trace: Trace, *, signs: Marks, recorded: bool = False) -> RenderableType:
    """Return a trial's record for a person, whole: nothing is cut.

    All text of models, tools and providers is shown verbatim, with control characters
    made visible.

    Args:
        trace: The record.
        signs: Marks that the terminal can show.
        recorded: Whether it is shown in a replay: times and costs are marked as recorded.
    """
    return Group(*steps(trace, signs=signs, recorded=recorded))


def steps(trace: Trace, *, signs: Marks, recorded: bool = False) -> list[RenderableType]:
    """Return what ``conversation`` shows in the order it happened: the question, each turn, the end."""
    mark = RECORDED if recorded else ""
    question, *turns = _dialogue(trace, signs, mark)
    end: list[RenderableType] = []
    if trace.error is not None:
        end += [*_error(trace, signs), Text("")]
    end += _findings(trace, signs)
    end += judgements(trace, signs=signs, mark=mark)
    end.append(_recorded_result(trace) if recorded else _result(trace, signs))
    opening = Group(_head(trace, signs), Text(""), *question)
    return [opening, *(Group(*turn) for turn in turns), Group(*end)]


def _head(trace: Trace, signs: Marks) -> RenderableType:
    title = Text(_status_mark(trace.status, signs), style=_STATUS_STYLES.get(trace.status, "bold magenta"))
    title.append("  ").append_text(plain(trace.scenario.name, "bold"))
    who = trace.provenance
    pairs: list[tuple[str, Cell]] = [
        ("trace", trace.trace_id),
        ("run", f"{trace.run_id}  cell {trace.cell + 1}, trial {trace.trial}, attempt {trace.attempt}"),
        ("model", f"{trace.model} via {trace.adapter}"),
        ("when", f"{moment(trace.started_at)} on {who.host} by {who.worker}, Salvo {who.salvo_version}"),
    ]
    pairs += [("before", _earlier(one)) for one in trace.earlier[-EARLIER_SHOWN:]]
    return Group(title, facts(pairs), *_notices(trace))


def _earlier(one: EarlierAttempt) -> str:
    """Return a line on an attempt that another one followed: who, until when, what it had paid."""
    at = moment_ms(one.at_ms)
    if one.how == "lost":
        end = f"vanished, missed at {at}"
    else:
        end = f"ended as {one.error or 'it did'}, retried at {at}"
    kept = f"{plural(one.turns, 'turn')} kept, {usd(one.cost_usd)}" if one.turns else "no turn kept"
    return f"attempt {one.attempt} on {one.worker} {end}: {kept}"


def _notices(trace: Trace) -> Iterator[Text]:
    """Yield what a reader must know of the record itself: what is missing from it."""
    if trace.recording == "metadata_only":
        yield Text(
            "recorded as metadata_only: what was said is not kept, only what it was like", style="yellow"
        )
    elif trace.redacted:
        yield Text(f"something in what was said is struck out: {MARKER} stands in its place", style="yellow")


def _status_mark(status: str, signs: Marks) -> str:
    mark = {"passed": signs.passed, "failed": signs.failed}.get(status, signs.alarm)
    return f"{mark} {status.replace('_', ' ').upper()}"


def _dialogue(trace: Trace, signs: Marks, mark: str) -> Iterator[list[RenderableType]]:
    """Yield the question, then each assistant's message with its failed exchanges before and tools after."""
    turns = iter(trace.turns)
    parts: list[RenderableType] = []
    for message in trace.messages:
        turn = None
        if message.role == "assistant":
            yield parts
            turn = next(turns, None)
            parts = [*_retries(turn.retries, signs)] if turn else []
        parts += [_role(message, turn, signs, mark), *_body(message), Text("")]
    yield parts


def _role(message: Message, turn: Turn | None, signs: Marks, mark: str) -> Text:
    if message.role == "tool_result":
        line = Text("tool ", style="bold yellow").append_text(plain(message.tool_name or "?", "bold yellow"))
        if message.tool_error:
            line.append("  error", style="bold red")
        told = [seconds(message.latency_s) + mark] if message.latency_s is not None else []
    else:
        styles = {"system": "bold", "user": "bold blue", "assistant": "bold green"}
        line = Text(message.role, style=styles[message.role])
        told = _turn_figures(turn, mark) if turn else []
    return line.append(f"  {f' {signs.dot} '.join(told)}" if told else "", style="dim")


def _turn_figures(turn: Turn, mark: str) -> list[str]:
    if not (turn.usage.total_tokens or turn.latency_s or turn.cost_usd is not None):
        # Another Salvo kept no figures of single turns: noughts would say something else.
        return [f"turn {turn.index + 1}", *([turn.finish_reason] if turn.finish_reason else [])]
    used = f"{tokens(turn.usage.input_tokens)} in, {tokens(turn.usage.output_tokens)} out"
    latency, cost = seconds(turn.latency_s), f"cost {usd(turn.cost_usd)}"
    finish = [turn.finish_reason] if turn.finish_reason else []
    if not mark:
        return [f"turn {turn.index + 1}", latency, used, cost, *finish]
    # Side by side, so that one mark says it of both and the line still fits a small terminal.
    spent = usd(turn.cost_usd) if turn.cost_usd is not None else cost
    return [f"turn {turn.index + 1}", used, *finish, f"{latency}, {spent}{mark}"]


def turn_said(turn: Turn) -> RenderableType:
    """Return a turn's words and calls without its figures."""
    return Group(*_body(Message(role="assistant", content=turn.content, tool_calls=turn.tool_calls or None)))


def _body(message: Message) -> Iterator[RenderableType]:
    if message.content:
        yield Padding.indent(plain(message.content), INDENT)
    for call in message.tool_calls or ():
        yield Padding.indent(_call(call), INDENT)
    if not message.content and not message.tool_calls:
        yield Padding.indent(Text("(says nothing)", style="dim"), INDENT)


def _call(call: ToolCall) -> Text:
    line = Text("calls ", style="yellow").append_text(plain(call.name, "bold yellow"))
    if call.malformed is not None:
        line.append("  with arguments that are not a JSON object:", style="red")
        return line.append_text(plain(f"\n{call.malformed}"))
    return line.append_text(plain(f" {_json(call.arguments)}"))


def _json(value: Any) -> str:
    compact = json.dumps(value, ensure_ascii=False)
    return compact if len(compact) <= 100 else json.dumps(value, ensure_ascii=False, indent=2)


def _retries(retries: tuple[Retry, ...], signs: Marks) -> Iterator[RenderableType]:
    for retry in retries:
        line = Text(f"{signs.alarm} {retry.kind.replace('_', ' ')}", style="magenta")
        if retry.status_code is not None:
            line.append(f" {retry.status_code}", style="magenta")
        line.append(f", waited {seconds(retry.waited_s)}: ", style="dim")
        yield line.append_text(plain(retry.message, "dim"))


def _error(trace: Trace, signs: Marks) -> Iterator[RenderableType]:
    error = trace.error
    assert error is not None
    yield from _retries(error.retries, signs)
    where = f" in turn {error.turn + 1}" if error.turn is not None else ""
    # A conversation that has an outcome of its own was not ended by what kept it from being graded.
    what = f"ended by an error{where}" if trace.outcome == "infra_error" else "not graded"
    line = Text(f"{signs.alarm} {what}: ", style="bold magenta")
    line.append_text(plain(error.kind.replace("_", " "), "bold magenta"))
    yield line
    yield Padding.indent(plain(error.message), INDENT)
    if error.hint:
        yield Padding.indent(Text("hint: ", style="bold").append_text(plain(error.hint)), INDENT)


def _findings(trace: Trace, signs: Marks) -> Iterator[RenderableType]:
    if not trace.findings:
        return
    yield Text("findings", style="bold")
    for finding in trace.findings:
        yield Padding.indent(_finding(finding, signs), INDENT)
    yield Text("")


def _finding(finding: Finding, signs: Marks) -> RenderableType:
    line = Text(signs.passed if finding.passed else signs.failed, style="green" if finding.passed else "red")
    worth = score(finding.score)
    if finding.infra:  # it counts neither way
        line, worth = Text(signs.alarm, style="magenta"), "   -"
    line.append(f" {worth}  ").append_text(plain(finding.label))
    if finding.required:
        line.append("  required", style="bold")
    if finding.weight != 1:
        line.append(f"  weight {finding.weight:g}", style="dim")
    more: list[RenderableType] = [Padding.indent(plain(finding.details, "dim"), 8)] if finding.details else []
    if finding.error is not None:
        said = Text("could not be checked: ", style="bold magenta").append_text(plain(finding.error))
        more.append(Padding.indent(said, 8))
    if finding.redaction_affected:
        told = "made on the whole conversation: on this record, with less in it, it could come out otherwise"
        more.append(Padding.indent(Text(told, style="yellow"), 8))
    return Group(line, *more)


def _ending(trace: Trace) -> list[tuple[str, Cell]]:
    graded = f"{trace.grade.replace('_', ' ')}, score {score(trace.score)}" if trace.grade else "not graded"
    limit = (
        ""
        if trace.outcome in ("completed", "infra_error", "cancelled", "budget")
        else "  (a limit of the scenario)"
    )
    return [
        ("outcome", trace.outcome.replace("_", " ") + limit),
        ("grade", f"{graded}, threshold {score(trace.threshold)}"),
    ]


def _recorded_result(trace: Trace) -> RenderableType:
    """Return the figures in the predecessor's rows: what is of then is marked, an unknown cost is a dash."""
    used = trace.usage
    said = Counter(message.role for message in trace.messages)
    counted = ", ".join(f"{count} {role.replace('_', ' ')}" for role, count in said.items())
    cost = "-" if trace.cost_usd is None else usd(trace.cost_usd) + RECORDED
    times = f"{seconds(trace.latency_s)} talking, {seconds(trace.duration_s)} in all"
    pairs: list[tuple[str, Cell]] = [
        *_ending(trace),
        (
            "turns",
            f"{len(trace.turns)}" + (f", {trace.retries_total} retried" if trace.retries_total else ""),
        ),
        ("messages", counted or "none"),
        (
            "tokens",
            f"{tokens(used.total_tokens)} ({tokens(used.input_tokens)} in, {tokens(used.output_tokens)} out)",
        ),
        ("latency", times + RECORDED),
        ("cost", cost),
        *_judged(trace, RECORDED),
        ("finish", trace.finish_reason or "-"),
    ]
    return facts(pairs)


def _result(trace: Trace, signs: Marks) -> RenderableType:
    pairs: list[tuple[str, Cell]] = [
        *_ending(trace),
        (
            "spent",
            f" {signs.dot} ".join(
                [
                    f"{len(trace.turns)} turns",
                    f"{tokens(trace.usage.input_tokens)} tokens in, {tokens(trace.usage.output_tokens)} out",
                    f"cost {usd(trace.cost_usd)}",
                    f"{seconds(trace.latency_s)} talking, {seconds(trace.duration_s)} in all",
                    *([f"{trace.retries_total} retried"] if trace.retries_total else []),
                ]
            ),
        ),
        *_judged(trace, ""),
    ]
    return facts(pairs)


def _judged(trace: Trace, mark: str) -> list[tuple[str, Cell]]:
    """Return what judging took, apart from the agent's own."""
    if not trace.judgements:
        return []
    used, votes = trace.judge_usage, sum(len(one.votes) for one in trace.judgements)
    told = f"{plural(votes, 'vote')}, {tokens(used.total_tokens)} tokens, cost {usd(trace.judge_cost_usd)}"
    return [("judges", told + mark)]
