"""What a run may spend, shared by all workers: limits, what is spent, what is set aside.

An exchange is sent only after its worst case was set aside, so what was spent and what is set aside never
exceed the limit together, at whatever concurrency (I8). The two end as one: ``settle.lua`` books what was
billed in place of the reservation. A worker that dies between the two leaves the reservation behind; a
sweep books it at its worst, because what was sent may have been billed. So money is never lost and never
counted twice: a turn whose booking came through and whose journal entry did not is asked for, and paid,
again, and both are booked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from salvo_core.adapters.bounds import Declared

NANO = 1_000_000_000
"""Money is counted in whole nano-dollars: sums of floats drift, and cost must add up."""

USD_MAX = 1_000_000.0
TOKENS_MAX = 10**15

Whose = Literal["agent", "judge"]


class Budget(BaseModel):
    """What a run may spend in all, judges included; None is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    usd_max: float | None = Field(default=None, ge=0, le=USD_MAX, allow_inf_nan=False)
    tokens_max: int | None = Field(default=None, ge=0, le=TOKENS_MAX)
    """Input and output together."""
    allow_unpriced: bool = False
    """Whether models may be asked whose price nobody knows, which count as nothing in US dollars, and agents
    whose exchanges nobody bounds, which may exceed the budget by what they spend behind our back."""

    @property
    def limited(self) -> bool:
        """Whether it limits anything."""
        return self.usd_max is not None or self.tokens_max is not None


def lack_of_bound(budget: Budget, adapter: str, declared: Declared | None) -> str:
    """Return why a budget cannot be kept with an adapter, for people; empty when it can.

    Args:
        budget: The run's.
        adapter: Its name.
        declared: What is said of its exchanges; None where each shows what it takes at most.
    """
    if declared is None or budget.allow_unpriced:
        return ""
    unsaid = []
    if budget.usd_max is not None and declared.cost_usd_max is None:
        unsaid.append("costs")
    if budget.tokens_max is not None and declared.tokens_max is None:
        unsaid.append("takes in tokens")
    if not unsaid:
        return ""
    return f"nobody says what one exchange with {adapter!r} {' and '.join(unsaid)} at most"


BOUND_HINT = (
    "an agent behind http declares `turn_cost_usd_max` (or `turn_tokens_max`) in its profile under "
    "`providers:`; --allow-unpriced lets any agent exceed the budget by what it spends unseen"
)


class Spending(BaseModel):
    """Where a run's budget stands, at one moment."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    usd_max: float | None
    tokens_max: int | None
    agent_usd: float
    """Booked for agents: what was billed, and the worst case of exchanges whose end nobody saw."""
    judge_usd: float
    agent_tokens: int
    judge_tokens: int
    reserved_usd: float
    """Set aside for exchanges under way."""
    reserved_tokens: int
    closed: bool
    """Whether a worst case did not fit any more: trials that had not begun then are skipped."""

    @property
    def spent_usd(self) -> float:
        """Booked in all."""
        return self.agent_usd + self.judge_usd

    @property
    def spent_tokens(self) -> int:
        """Booked in all."""
        return self.agent_tokens + self.judge_tokens


def nano_usd(amount_usd: float, *, up: bool = False) -> int:
    """Return an amount in nano-dollars, rounded, or rounded up."""
    return math.ceil(amount_usd * NANO) if up else round(amount_usd * NANO)


def read_budget(fields: Mapping[str, str], *, closed: bool) -> Spending | None:
    """Return where the budget stands whose hash Redis gives so; None for a run without one."""
    if not fields:
        return None

    def counted(name: str) -> int:
        return int(fields.get(name, 0))

    usd_max, tokens_max = fields.get("nano_usd_max"), fields.get("tokens_max")
    return Spending(
        usd_max=None if usd_max is None else int(usd_max) / NANO,
        tokens_max=None if tokens_max is None else int(tokens_max),
        agent_usd=counted("agent_nano_usd") / NANO,
        judge_usd=counted("judge_nano_usd") / NANO,
        agent_tokens=counted("agent_tokens"),
        judge_tokens=counted("judge_tokens"),
        reserved_usd=counted("reserved_nano_usd") / NANO,
        reserved_tokens=counted("reserved_tokens"),
        closed=closed,
    )
