"""Assertions on what a trial may cost and how long its conversation may take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from salvo_core.evaluation.assertion import AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import apart

COST_TOLERANCE_USD = 1e-9
"""A cost is a sum of floats over turns: 0.1 + 0.2 must meet a limit of 0.3."""


class CostLimit(AssertionSpec):
    """The trial cost at most so much; an unknown cost does not pass."""

    type: Literal["cost_limit"]
    max_usd: float = Field(ge=0, allow_inf_nan=False)
    """The most it may cost, US dollars, the limit included. The judge's cost is not part of it."""

    def label(self) -> str:
        """Return for example ``cost_limit 0.05 USD``."""
        return f"cost_limit {self.max_usd:g} USD"

    def needs_content(self) -> bool:
        """Return False: what a trial cost is kept by every recording."""
        return False

    def check(self, document: Document) -> Check:
        """Pass if the cost is known and within the limit."""
        if document.cost_usd is None:
            return Check.of(False, "the cost is unknown: the model has no known price")
        cost, limit = apart(document.cost_usd, self.max_usd, 4)
        passed = document.cost_usd <= self.max_usd + COST_TOLERANCE_USD
        return Check.of(passed, f"cost {cost} USD, limit {limit} USD")


class LatencyLimit(AssertionSpec):
    """The conversation took at most so long."""

    type: Literal["latency_limit"]
    max_seconds: float = Field(ge=0, allow_inf_nan=False)
    """The longest it may take, seconds, the limit included. Retries, waits and evaluation do not count."""

    def label(self) -> str:
        """Return for example ``latency_limit 30 s``."""
        return f"latency_limit {self.max_seconds:g} s"

    def needs_content(self) -> bool:
        """Return False: how long it took is kept by every recording."""
        return False

    def check(self, document: Document) -> Check:
        """Pass if the conversation's time is within the limit."""
        took, limit = apart(document.latency_s, self.max_seconds, 3)
        return Check.of(document.latency_s <= self.max_seconds, f"latency {took} s, limit {limit} s")
