"""What tokens cost, in US dollars; an unknown price is unknown, never zero.

Rates come from the ``genai-prices`` table, unless the project states its own. A turn
is priced unrounded, by its own size (some models cost more per token beyond a
threshold of input); the trial adds its turns up and rounds once, with ``rounded_usd``.
Cached input counts at the full input rate, because a ``Usage`` does not tell it apart:
the figure is then an upper bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from salvo_core.trace.frozen import Frozen

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

    from salvo_core.trace.model import Usage

_PER_MTOK = 1_000_000

_MODELS_MAX = 1024  # names come out of answers too, so the memory of them is bounded

# What may follow a prefix of the table and still be the same model: a snapshot's date
# or "latest". So claude-haiku-4-5-20251001 has a price, and claude-haiku-4-5-turbo, of
# which nobody said anything, has none. The leading digits finish a prefix such as
# claude-sonnet-4-2025.
_SNAPSHOT = re.compile(r"(?:\d{4})?(?:[-@](?:\d{4}(?:-\d\d-\d\d)?|\d{8}|latest))?")


class ModelRates(Frozen):
    """A project's own price of a model, US dollars per million tokens."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)

    def price_usd(self, usage: Usage) -> float:
        """Return what the tokens cost, unrounded."""
        return _spent_usd(usage, self.input_usd_per_mtok, self.output_usd_per_mtok)


def _spent_usd(usage: Usage, input_usd_per_mtok: float, output_usd_per_mtok: float) -> float:
    # In this order of operations, because the predecessor's figures at the 6th decimal hang on it.
    return (
        usage.input_tokens / _PER_MTOK * input_usd_per_mtok
        + usage.output_tokens / _PER_MTOK * output_usd_per_mtok
    )


def rounded_usd(amount: float | None) -> float | None:
    """Return an amount with 6 decimals, as stored and shown; None stays None."""
    return None if amount is None else round(amount, 6)


class PriceTable:
    """Prices of the models behind one adapter.

    Args:
        overrides: By model name, exact. They go before the maintained table.
        provider_id: Whose price list: an id of the maintained table (``openai``, ``anthropic``,
            ``openrouter``, ...). None lets the table find the model's maker by the name's form
            (``gpt-...`` is OpenAI's), which suits adapters that do not say whom they ask.
        base_url: Where requests go. If the maintained table knows the host, its list is
            used instead of ``provider_id``'s.
    """

    def __init__(
        self,
        overrides: Mapping[str, ModelRates] | None = None,
        *,
        provider_id: str | None = None,
        base_url: str = "",
    ) -> None:
        self._overrides = dict(overrides or {})
        self._provider_id = provider_id
        self._base_url = base_url
        self._listed = lru_cache(maxsize=_MODELS_MAX)(self._find)

    def price_usd(self, model: str, usage: Usage) -> float | None:
        """Return what the tokens of one exchange cost, US dollars, unrounded; None if no price is known.

        Args:
            model: As sent to the provider, or as it says it answered.
            usage: Of one exchange, not of a conversation: see the module's docstring.
        """
        if model in self._overrides:
            return self._overrides[model].price_usd(usage)
        found = self._listed(model)
        return None if found is None else _listed_price_usd(found, usage)

    def context_tokens(self, model: str) -> int | None:
        """Return how many tokens the model can read and write in all; None if the list does not say."""
        found = self._listed(model)
        return None if found is None else found.context_window

    def _find(self, model: str) -> ModelInfo | None:
        # Deferred: importing the table takes about 0.15 s, and `salvo --help` needs no prices.
        from genai_prices.data_snapshot import get_snapshot

        snapshot = get_snapshot()
        provider_id = self._provider_id
        if self._base_url:
            with suppress(LookupError):  # a gateway or a server of one's own: the adapter's provider stands
                provider_id = snapshot.find_provider(None, None, self._base_url).id
        try:
            _, found = snapshot.find_provider_model(model, None, provider_id, None)
        except LookupError:
            return None
        return found if _names(found.match, model.lower()) else None


def _names(clause: Any, name: str) -> bool:
    """Tell whether a matching rule of the table means this very model, not just one that sounds alike."""
    kind = type(clause).__name__
    if kind == "ClauseOr":
        return any(_names(part, name) for part in clause.or_)
    if kind == "ClauseAnd":
        return all(_names(part, name) for part in clause.and_)
    if kind == "ClauseRegex":
        return bool(clause.is_match(name))
    if kind == "ClauseEquals":
        exact: str = clause.equals.lower()
        return name.startswith(exact) and _is_snapshot(name[len(exact) :])
    if kind == "ClauseStartsWith":
        prefix: str = clause.starts_with.lower()
        fine_tune = prefix.startswith("ft:")  # the rest is the customer's name for it; the rate is the base's
        return name.startswith(prefix) and (fine_tune or _is_snapshot(name[len(prefix) :]))
    return False  # "contains" and "ends with" are guesses


def _is_snapshot(rest: str) -> bool:
    return _SNAPSHOT.fullmatch(rest) is not None


def _listed_price_usd(found: ModelInfo, usage: Usage) -> float | None:
    # Asked each time, because some lists change by the hour; it is a scan of a few constraints.
    listed = found.get_prices(datetime.now(UTC))
    if listed.requests_kcount is not None:
        return None  # a fee per request, which tokens do not tell
    rates = [_rate(price, usage.input_tokens) for price in (listed.input_mtok, listed.output_mtok)]
    if rates[0] is None or rates[1] is None:
        return None
    return _spent_usd(usage, rates[0], rates[1])


def _rate(price: Any, input_tokens: int) -> float | None:
    """One rate of the list, US dollars per million tokens; past a tier's start it holds for all tokens."""
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return float(price)
    reached = [tier.price for tier in tiers if input_tokens > tier.start]  # sorted by start
    return float(reached[-1] if reached else price.base)
