"""What one trial may use up, and how it is told that it has."""

from __future__ import annotations

from dataclasses import dataclass

from salvo_core.trace.model import Outcome, Usage


@dataclass(frozen=True, slots=True)
class Limits:
    """The scenario's bounds on one trial; None is no bound.

    Attributes:
        turns_max: Exchanges that came back, at least 1.
        time_s_max: The conversation's wall time, earlier attempts' turns included.
        tokens_max: Billed tokens, input and output.
        cost_usd_max: Billed cost; only where the model has a known price.
    """

    turns_max: int
    time_s_max: float | None = None
    tokens_max: int | None = None
    cost_usd_max: float | None = None

    def reached(self, usage: Usage, cost_usd: float | None) -> Outcome | None:
        """Return which spending limit is used up, None while there is something left."""
        if self.tokens_max is not None and usage.total_tokens >= self.tokens_max:
            return "max_tokens"
        if self.cost_usd_max is not None and cost_usd is not None and cost_usd >= self.cost_usd_max:
            return "max_cost"
        return None
