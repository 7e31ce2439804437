"""What holds a run up: its money, providers that are away, and what may be asked of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from salvo_cli.render.console import one_line, plain
from salvo_cli.render.numbers import plural, seconds, tokens, usd

if TYPE_CHECKING:
    from salvo_core.fleet.breaker import Trouble
    from salvo_core.fleet.limits import Queue
    from salvo_core.manifest.budget import Spending

_REASON_LENGTH_MAX = 160


def budget(spending: Spending) -> str:
    """Return where a budget stands: spent, set aside, of how much, per unit that is limited."""
    told = []
    if spending.usd_max is not None:
        line = f"{usd(spending.spent_usd)} spent of {usd(spending.usd_max)}"
        line += f", {usd(spending.judge_usd)} of it on judges" if spending.judge_usd else ""
        line += f", {usd(spending.reserved_usd)} reserved" if spending.reserved_usd else ""
        told.append(line)
    if spending.tokens_max is not None:
        line = f"{tokens(spending.spent_tokens)} tokens used of {tokens(spending.tokens_max)}"
        line += f", {tokens(spending.judge_tokens)} of it by judges" if spending.judge_tokens else ""
        line += f", {tokens(spending.reserved_tokens)} reserved" if spending.reserved_tokens else ""
        told.append(line)
    return "; ".join(told) + ("; used up" if spending.closed else "")


def waiting(troubles: Sequence[Trouble]) -> str:
    """Return which providers are awaited, ``provider openai (open, probing in 20 s)``; empty if none is."""
    return "; ".join(
        f"provider {one_line(one.provider, 60)} ({one.state}, "
        + (f"probing in {seconds(one.due_s)})" if one.state == "open" and one.due_s else "probing now)")
        for one in troubles
    )


def waiting_lines(troubles: Sequence[Trouble]) -> list[Text]:
    """Return the same for the live display, a line each, with what the provider said."""
    lines = []
    for one in troubles:
        line = Text(f"waiting: {waiting([one])}", style="yellow")
        lines.append(line.append_text(plain(f"  {one_line(one.reason, _REASON_LENGTH_MAX)}", "dim")))
    return lines


def queued(queues: Sequence[Queue], run_id: str) -> str:
    """Return whose turn has not come, ``37 trials for provider openai (600 requests/min)``, else nothing.

    Args:
        queues: Of the providers that trials of the run wait for.
        run_id: The run.
    """
    return "; ".join(
        f"{plural(queue.runs[run_id], 'trial')} for provider {one_line(queue.provider, 60)} ({_limit(queue)})"
        + (f", with {others:,} of other runs" if (others := queue.waiting - queue.runs[run_id]) else "")
        for queue in queues
    )


def queued_lines(queues: Sequence[Queue], run_id: str) -> list[Text]:
    """Return the same for the live display, a line each."""
    return [Text(f"waiting: {queued([queue], run_id)}", style="yellow") for queue in queues]


def _limit(queue: Queue) -> str:
    """Return what the trials of a queue wait for."""
    if queue.pause_s and queue.why == "pause":
        return f"it asks to be left alone for {seconds(queue.pause_s)}"
    if queue.why == "concurrency" and queue.concurrency_max is not None:
        return f"{queue.concurrency_max:,} at once"
    if queue.why == "tokens" and queue.tokens_per_min is not None:
        return f"{queue.tokens_per_min:,.12g} tokens/min"
    if queue.learned_per_min is not None:
        stated = queue.requests_per_min
        of = f" of {stated:,.12g}" if stated is not None else ""
        return f"{queue.learned_per_min:,.0f}{of} requests/min, for it refused more"
    if queue.requests_per_min is not None:
        return f"{queue.requests_per_min:,.12g} requests/min"
    return "its turn"
