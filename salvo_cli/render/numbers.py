"""Numbers as people read them: money, seconds, shares, tokens; each short, none made up."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from salvo_cli.render.console import Marks
from salvo_core.run.verdict import Verdict

STYLES: dict[str, str] = {
    "PASS": "bold green",
    "PARTIAL": "bold yellow",
    "FAIL": "bold red",
    "HARD FAIL": "bold red",
    "INFRA_ERROR": "bold magenta",
    "INCONCLUSIVE": "bold yellow",
}


def verdict_text(verdict: Verdict, signs: Marks) -> Text:
    """Return a verdict with its mark, coloured."""
    mark = {
        "PASS": signs.passed,
        "FAIL": signs.failed,
        "HARD FAIL": signs.alarm,
        "PARTIAL": signs.partial,
        "INFRA_ERROR": signs.alarm,
        "INCONCLUSIVE": "?",
    }[verdict]
    return Text().append(f"{mark} {verdict.replace('_', ' ')}", style=STYLES[verdict])


def short(run_id: str) -> str:
    """Return a beginning of a run id that no other run shares: its time in ms and its random part."""
    return run_id[:18]


def usd(amount: float | None) -> str:
    """Return an amount of US dollars with as many decimals as its size deserves; unknown stays unknown."""
    if amount is None:
        return "unknown"
    if amount == 0:
        return "$0"
    decimals = 5 if amount < 0.01 else 4 if amount < 10 else 2
    return f"${amount:,.{decimals}f}"


def spent(amount: float | None, unknown: int) -> str:
    """Return what is known to be spent, and a plus sign if that is not all of it.

    Args:
        amount: Known US dollars.
        unknown: Trials whose cost is not known.
    """
    if unknown and not amount:
        return "unknown"
    return usd(amount or 0.0) + ("+?" if unknown else "")


def spent_in_all(agent_usd: float | None, unknown: int, judge_usd: float | None, judge_unknown: int) -> str:
    """Return what agents and judges cost together, and what each of them did where there were judges.

    Args:
        agent_usd: Known US dollars, as ``spent``; so are the other three.
        unknown: See there.
        judge_usd: None or 0 where no judge was asked.
        judge_unknown: See ``spent``.
    """
    agent = spent(agent_usd, unknown)
    if not judge_usd and not judge_unknown:
        return agent
    in_all = spent((agent_usd or 0.0) + (judge_usd or 0.0), unknown + judge_unknown)
    return f"{in_all} ({agent} agent + {spent(judge_usd, judge_unknown)} judge)"


def seconds(duration_s: float | None) -> str:
    """Return a duration: ``0.42 s``, ``12.3 s``, ``5m 12s``, ``2h 05m``."""
    if duration_s is None:
        return "-"
    if duration_s < 9.995:
        return f"{duration_s:.2f} s"
    if duration_s < 99.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def tokens(count: float | None) -> str:
    """Return a number of tokens: ``812``, ``9,204``, ``123k``, ``4.5M``."""
    if count is None:
        return "-"
    if count < 99_999.5:
        return f"{count:,.0f}"
    return f"{count / 1000:,.0f}k" if count < 999_500 else f"{count / 1_000_000:,.1f}M"


def percent(share: float) -> str:
    """Return a share as a whole percentage that never rounds a miss away: 0.996 is ``99%``, not ``100%``."""
    rounded = round(share * 100)
    if rounded == 100 and share < 1:
        rounded = 99
    if rounded == 0 and share > 0:
        rounded = 1
    return f"{rounded}%"


def score(value: float | None) -> str:
    """Return a score with two decimals."""
    return "-" if value is None else f"{value:.2f}"


def moment(at: datetime) -> str:
    """Return a time of the day and date, UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def moment_ms(at_ms: int) -> str:
    """Return ``moment`` for Unix time in ms."""
    return moment(datetime.fromtimestamp(at_ms / 1000, UTC))


def ago(then_ms: int, now_ms: int) -> str:
    """Return how long ago something was, roughly: ``12s ago``, ``5m ago``, ``3h ago``, ``2d ago``."""
    past_s = max(0, now_ms - then_ms) // 1000
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if past_s >= unit_s:
            return f"{past_s // unit_s}{unit} ago"
    return f"{past_s}s ago"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
