"""What holds a run up: its money, and providers that are away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from salvo_cli.render.console import one_line, plain
from salvo_cli.render.numbers import seconds, tokens, usd

if TYPE_CHECKING:
    from salvo_core.fleet.breaker import Trouble
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
