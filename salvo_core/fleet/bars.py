"""Why an exchange may not be sent, for people."""

from __future__ import annotations

from salvo_core.adapters.gate import Barred
from salvo_core.manifest.budget import Budget


def refused(provider: str, reason: str) -> Barred:
    """Return the bar before a provider that does not accept who we are."""
    return Barred(
        "refused",
        f"provider {provider} refuses: {reason}",
        hint="fix the key or the account, then salvo resume",
    )


def unpriced(model: str) -> Barred:
    """Return the bar before a model whose price nobody knows, in a run with a budget of dollars."""
    return Barred(
        "unpriced",
        f"the run has a budget in US dollars, and the price of {model!r} is not known",
        hint="add the model under `prices:` in salvo.yaml, or submit with --allow-unpriced",
    )


def spent(budget: Budget, cost_usd: float | None, worst_tokens: int) -> Barred:
    """Return the bar before an exchange that the budget does not reach for, at worst."""
    limits = [] if budget.usd_max is None else [f"${budget.usd_max:,.6g}"]
    limits += [] if budget.tokens_max is None else [f"{budget.tokens_max:,} tokens"]
    price = "" if cost_usd is None else f" and ${cost_usd:,.6g}"
    return Barred(
        "budget",
        f"the run's budget of {' and '.join(limits)} does not reach for the next exchange: "
        f"at worst it takes {worst_tokens:,} tokens{price}",
        hint="`salvo resume RUN --budget-usd` raises it; "
        "`max_tokens` under `extras:` makes the worst case smaller",
    )
