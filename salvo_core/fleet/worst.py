"""What an exchange takes at most, for a run with a budget: declared, or bounded by what is sent."""

from __future__ import annotations

from typing import Protocol

from salvo_core.adapters.bounds import Declared, worst_usage
from salvo_core.adapters.gate import Asking, Barred
from salvo_core.fleet.bars import unpriced
from salvo_core.manifest.budget import BOUND_HINT, Budget, lack_of_bound


class Prices(Protocol):
    """What the gate asks of the worker's adapters; an ``AdapterRegistry`` answers."""

    def reaches_provider(self, name: str) -> bool:
        """Tell whether an adapter asks a provider that other trials share."""
        ...

    def output_tokens_max(self, name: str, model: str) -> int | None:
        """Return how long an answer may be where the request does not say, tokens; None if nobody knows."""
        ...

    def declared(self, name: str) -> Declared | None:
        """Return what an exchange takes at most by its owner's word; None where it shows that itself."""
        ...


def worst_of(asking: Asking, budget: Budget, prices: Prices) -> tuple[float | None, int]:
    """Return what an exchange takes at most, US dollars (None if no price is known) and tokens.

    Args:
        asking: The exchange.
        budget: The run's.
        prices: The worker's adapters.

    Raises:
        Barred: Nobody knows, and that is not allowed.
    """
    declared = prices.declared(asking.adapter) or Declared()
    model = asking.config.model
    worst = worst_usage(asking, output_tokens_max=prices.output_tokens_max(asking.adapter, model))
    cost_usd = declared.cost_usd_max
    if cost_usd is None:
        cost_usd = asking.price(model, worst)
    if lack := lack_of_bound(budget, asking.adapter, prices.declared(asking.adapter)):
        raise Barred("unpriced", f"the run has a budget, and {lack}", hint=BOUND_HINT)
    if cost_usd is None and budget.usd_max is not None and not budget.allow_unpriced:
        raise unpriced(model)
    return cost_usd, declared.tokens_max or worst.total_tokens
