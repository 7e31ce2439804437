"""The gate that every exchange with a provider passes: may it be sent, and what came of it.

Retries and judges' votes are exchanges too. Whoever owns the money and the provider's state stands
behind the protocol (``fleet.gate``); this room only knows that it must ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from salvo_core.adapters.protocol import ToolSpec, TurnConfig
from salvo_core.errors import ProviderError, SalvoError
from salvo_core.trace.model import Message, Retry, Usage

Price = Callable[[str, Usage], float | None]
"""From a model's name and the tokens of one exchange to US dollars; None if unknown."""

Cost = Callable[[], float | None]
"""Says what an exchange was billed, US dollars; None if no price is known."""

Bar = Literal["budget", "unpriced", "interrupted", "patience", "refused", "outage"]


@dataclass(frozen=True, slots=True)
class Asking:
    """One exchange that is about to be sent."""

    adapter: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] | None
    config: TurnConfig
    price: Price


@dataclass(frozen=True, slots=True)
class Entry:
    """The leave to send one exchange; it is given back with what came of it.

    Attributes:
        waited_s: How long nobody might be asked, seconds: no fault of the agent's.
        adapter: Who is asked.
        probe: Whether this exchange finds out if the provider is back.
        reservation: Names what is set aside for it; empty without a budget.
        permit: Names what the provider's limits let through; 0 where nothing is limited.
    """

    waited_s: float = 0.0
    adapter: str = ""
    probe: bool = False
    reservation: str = ""
    permit: int = 0


class Barred(SalvoError):
    """The exchange may not be sent.

    Args:
        bar: ``budget`` is used up; ``unpriced``: nobody knows what it would cost; ``interrupted``: the trial
            must not go on, its holder knows why; ``patience``: the provider is awaited, but not by this
            attempt any more; ``refused``: the provider does not accept who we are; ``outage``: it has been
            away for too long.
        message: For a person.
        hint: What to do next.

    Attributes:
        retries: Failed exchanges of the same turn before it, oldest first.
        cost_usd: What they were billed, unrounded; None if that is not known.
    """

    def __init__(self, bar: Bar, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.bar = bar
        self.retries: tuple[Retry, ...] = ()
        self.cost_usd: float | None = 0.0


class Gate(Protocol):
    """Whoever says when an exchange may be sent."""

    async def enter(self, asking: Asking) -> Entry:
        """Return once the exchange may be sent.

        Raises:
            Barred: It may not be.
        """
        ...

    async def answered(self, entry: Entry, usage: Usage, cost: Cost) -> None:
        """Note that a turn came back.

        Args:
            entry: From ``enter``.
            usage: What it was billed.
            cost: The same in US dollars.
        """
        ...

    async def failed(self, entry: Entry, error: ProviderError, cost: Cost) -> bool:
        """Note that none came back; return whether ``enter`` will wait, so that the caller need not.

        Args:
            entry: From ``enter``.
            error: Why; it says what was billed, if the provider did.
            cost: Of that, US dollars.

        Raises:
            Barred: Asking again is of no use for this trial now, whatever the kind of error.
        """
        ...

    def broken_off(self, entry: Entry) -> None:
        """Note that the exchange was broken off from here: nobody will say what came of it.

        Args:
            entry: From ``enter``.
        """
        ...


class OpenGate:
    """Lets everything pass."""

    async def enter(self, asking: Asking) -> Entry:
        """Return at once."""
        return Entry()

    async def answered(self, entry: Entry, usage: Usage, cost: Cost) -> None:
        """Do nothing."""

    async def failed(self, entry: Entry, error: ProviderError, cost: Cost) -> bool:
        """Do nothing."""
        return False

    def broken_off(self, entry: Entry) -> None:
        """Do nothing."""


OPEN_GATE = OpenGate()
