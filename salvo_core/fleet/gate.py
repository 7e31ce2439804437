"""The gate of one attempt: first the provider's breaker, then the run's money, then the exchange.

Whoever waits here holds no connection and no reservation, so nobody waits for one who waits. The lease
is kept alive meanwhile, and the conversation's time stands still (``trial.timer``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from salvo_core.adapters.bounds import Declared, worst_usage
from salvo_core.adapters.failures import refuses_us
from salvo_core.adapters.gate import Asking, Barred, Cost, Entry
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, ProviderError, RedisUnavailable
from salvo_core.fleet.breaker import Breakers, Wait
from salvo_core.manifest.budget import BOUND_HINT, Budget, Whose, lack_of_bound, nano_usd
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.ledger import Ledger
from salvo_core.trace.model import Usage
from salvo_core.trace.recording import what_happened

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long one attempt waits for a provider; then the trial goes back, and others have its place."""

OUTAGE_S_MAX = 1800.0
"""A provider that has been away for so long is not awaited any more: trials that need it end."""

_REFUSED = "authentication"
_OUTAGES = ("transient", "rate_limited")
_ASK_AGAIN_S = (0.1, 1.0)
"""How soon to ask again at least and at most."""


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


class Desk(Protocol):
    """What a gate needs of a worker; an attempt's bench has it all."""

    @property
    def breakers(self) -> Breakers:
        """Of all providers."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Of all runs."""
        ...

    @property
    def adapters(self) -> AdapterRegistry:
        """Whom to ask."""
        ...

    @property
    def clock(self) -> Clock:
        """Measures and waits."""
        ...


@dataclass(eq=False)
class TrialGate:
    """What every exchange of one attempt passes; ``of`` makes the gate of its judges.

    Args:
        claim: The attempt's.
        interrupted: Whether the attempt must not go on: it lost the trial, is cancelled, or is leaving.
        breakers: Of all providers.
        ledger: Of all runs.
        budget: The run's; None spends what it takes.
        prices: The worker's adapters.
        clock: Measures and waits.
        discreet: Whether what a provider says may hold what nobody may keep; others are told less then.
        whose: On whose account exchanges are booked.
        opens: Whose exchange a trial begins with: of a re-evaluation, a judge's.
        set_aside: What is not booked yet, at its worst; whoever holds the trial tells a Redis that forgot.
        is_ours_again: Asks for the trial back whose lease ran out unheard; tells whether it is ours.
    """

    claim: Claim
    interrupted: Callable[[], bool]
    breakers: Breakers
    ledger: Ledger
    budget: Budget | None
    prices: Prices
    clock: Clock
    discreet: bool = False
    whose: Whose = "agent"
    opens: Whose = "agent"
    set_aside: dict[str, tuple[int, int]] = field(default_factory=dict)
    is_ours_again: Callable[[], Awaitable[bool]] | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _sent: int = 0
    _begun: bool = False
    _owed: dict[str, tuple[float, int] | None] = field(default_factory=dict)
    """Reservations that are not booked yet, and at what; None is their worst."""
    _probing: dict[str, None] = field(default_factory=dict)
    """Providers that exchanges of this attempt probe, and have not said yet what came of it."""

    def of(self, whose: Whose) -> TrialGate:
        """Return the gate of the same attempt on another account."""
        return replace(self, whose=whose, _sent=0)  # what is owed and probed is the attempt's

    async def enter(self, asking: Asking) -> Entry:
        """Return once the provider may be asked and its worst case is set aside.

        A Redis that is away is waited for, like everything here, as long as the lease lasts.

        Raises:
            Barred: It will not be by this attempt.
        """
        if self._begun or self.whose != self.opens:
            return await self._enter(asking)
        async with self._opening:  # votes are asked for side by side, and a trial begins once
            return await self._enter(asking)

    async def _enter(self, asking: Asking) -> Entry:
        began_s = self.clock.monotonic_s()
        leave: Literal["go", "probe"] | Wait = "go"
        name = Ledger.name(self.claim, self._sent, self.whose)
        self._sent += 1  # before anybody else can: votes are asked for side by side
        while True:
            if self.interrupted():
                await self._leave_probes()
                raise Barred("interrupted", "the attempt must not go on")
            wait_s = _ASK_AGAIN_S[1]
            try:
                if leave != "probe":
                    leave = await self._leave(asking.adapter, began_s)
                if isinstance(leave, Wait):
                    wait_s = leave.due_s
                elif (reservation := await self._reserve(asking, name)) is not None:
                    waited_s = self.clock.monotonic_s() - began_s
                    return Entry(waited_s, asking.adapter, probe=leave == "probe", reservation=reservation)
            except RedisUnavailable as error:
                logger.warning("trial %s waits to ask for its next turn: %s", self.claim.trace_id, error)
                self._owed[name] = 0.0, 0  # it may have been set aside, and nothing was sent
            least_s, most_s = _ASK_AGAIN_S
            # Spread, so that those who wait together do not ask together.
            await self.clock.sleep(random.uniform(least_s, max(least_s, min(wait_s, most_s))))  # noqa: S311

    async def _leave(self, provider: str, began_s: float) -> Literal["go", "probe"] | Wait:
        """Return whether the provider may be asked."""
        if not self.prices.reaches_provider(provider):
            return "go"
        leave = await self.breakers.enter(provider, self.claim.trace_id)
        if leave == "probe":
            self._probing[provider] = None
        if not isinstance(leave, Wait):
            return leave
        if leave.kind == _REFUSED and leave.state == "open":
            raise _refused(provider, leave.reason)
        if leave.kind != _REFUSED and leave.open_s > OUTAGE_S_MAX:
            raise Barred(
                "outage",
                f"provider {provider} has been away for {leave.open_s / 60:.0f} min: {leave.reason}",
                hint="is it down, and is base_url right? `salvo doctor` shows what it said last",
            )
        if self.clock.monotonic_s() - began_s > PATIENCE_S:
            raise Barred("patience", f"provider {provider} is awaited: {leave.reason}")
        return leave

    async def _reserve(self, asking: Asking, name: str) -> str | None:
        """Return the name of what is set aside, empty without a budget, None while others hold it."""
        if self.budget is None or not self.budget.limited:
            return ""
        cost_usd, worst_tokens = await self._worst(asking, self.budget)
        first = self.claim.attempt == 1 and self.whose == self.opens and not self._begun
        granted = await self.ledger.reserve(
            self.claim, self.budget, name, cost_usd or 0.0, worst_tokens, first=first
        )
        if granted == "granted":
            self._begun = True
            self._owed[name] = None
            self.set_aside[name] = nano_usd(cost_usd or 0.0, up=True), worst_tokens
            return name
        if granted == "wait":
            return None
        if granted == "lost" and self.is_ours_again is not None and await self.is_ours_again():
            return None  # nobody else has begun it: it is asked for once more
        await self._leave_probes()
        if granted == "lost":
            raise LeaseLost(f"trial {self.claim.trace_id} is held by another attempt")
        raise _spent(self.budget, cost_usd, worst_tokens)

    async def _worst(self, asking: Asking, budget: Budget) -> tuple[float | None, int]:
        """Return what an exchange takes at most, US dollars and tokens.

        Raises:
            Barred: Nobody knows, and that is not allowed.
        """
        declared = self.prices.declared(asking.adapter) or Declared()
        model = asking.config.model
        output_max = self.prices.output_tokens_max(asking.adapter, model)
        worst = worst_usage(asking, output_tokens_max=output_max)
        cost_usd = declared.cost_usd_max
        if cost_usd is None:
            cost_usd = asking.price(model, worst)
        bar = None
        if lack := lack_of_bound(budget, asking.adapter, self.prices.declared(asking.adapter)):
            bar = Barred("unpriced", f"the run has a budget, and {lack}", hint=BOUND_HINT)
        elif cost_usd is None and budget.usd_max is not None and not budget.allow_unpriced:
            bar = _unpriced(model)
        if bar is not None:
            await self._leave_probes()
            raise bar
        return cost_usd, declared.tokens_max or worst.total_tokens

    async def answered(self, entry: Entry, usage: Usage, cost: Cost) -> None:
        """Book what a turn was billed, and that the provider answers."""
        await self._settle(entry, usage, cost)
        await self._provider_answers(entry)

    async def failed(self, entry: Entry, error: ProviderError, cost: Cost) -> bool:
        """Book what a failure was billed, and what it says of the provider, which may be awaited now.

        Raises:
            Barred: The provider does not accept who we are.
        """
        billed = Usage(input_tokens=error.input_tokens, output_tokens=error.output_tokens)
        unsent = error.unsent or (error.kind == _REFUSED and error.status_code is None)  # no key here
        told = billed.total_tokens > 0 or (error.status_code or 0) >= 300
        if unsent:
            await self._settle(entry, billed, cost, unsent=True)
        else:
            await self._settle(entry, billed if told else None, cost)
        if not self.prices.reaches_provider(entry.adapter):
            return False
        refused = refuses_us(error)
        if not refused and error.kind not in _OUTAGES:
            # What it said is about this conversation alone; or nobody asked it.
            await (self._leave_probes() if unsent else self._provider_answers(entry))
            return False
        reason = what_happened(error.kind) if self.discreet else error.message
        state = "closed"
        with suppressed("a provider's failure was not noted"):
            state = await self.breakers.failed(
                entry.adapter,
                self.claim.trace_id,
                error.kind,
                reason,
                probe=entry.probe,
                at_once=refused,
            )
        self._probed(entry)
        if refused:
            raise _refused(entry.adapter, reason)
        return state != "closed"

    async def close(self) -> None:
        """Book, at its worst, what was sent and whose end nobody saw; leave a probe to others."""
        await self._leave_probes()
        await self._pay()

    async def _provider_answers(self, entry: Entry) -> None:
        if self.prices.reaches_provider(entry.adapter):
            with suppressed("a provider's answer was not noted"):
                await self.breakers.worked(entry.adapter, self.claim.trace_id, probe=entry.probe)
        self._probed(entry)

    def _probed(self, entry: Entry) -> None:
        if entry.probe:
            self._probing.pop(entry.adapter, None)

    async def _leave_probes(self) -> None:
        for provider in tuple(self._probing):
            del self._probing[provider]
            with suppressed("a probe was not left to others"):
                await self.breakers.leave(provider, self.claim.trace_id)

    async def _settle(self, entry: Entry, usage: Usage | None, cost: Cost, *, unsent: bool = False) -> None:
        if not entry.reservation or self.budget is None:
            return
        cost_usd = cost()
        declared = self.prices.declared(entry.adapter)
        if usage is not None and declared is not None and declared.anything and not unsent:
            # An agent that does not say what it took may have taken what its owner declares.
            dearer = cost_usd is None and self.budget.usd_max is not None
            usage = None if dearer or not usage.total_tokens else usage
        self._owed[entry.reservation] = None if usage is None else (cost_usd or 0.0, usage.total_tokens)
        await self._pay(entry.reservation)

    async def _pay(self, name: str = "") -> None:
        """Book what is owed. What Redis does not take now is booked later, or by a sweep at its worst."""
        for one in (name,) if name else tuple(self._owed):
            with suppressed("what an exchange was billed is not booked yet"):
                if await self.ledger.settle(self.claim.run_id, one, self._owed[one]) is None:
                    continue  # Redis may have forgotten it, and be told again: it is booked at the end
                del self._owed[one]
                self.set_aside.pop(one, None)


def gate_of(held: HeldTrial, desk: Desk) -> TrialGate:
    """Return the gate of an attempt; its budget is set once the plan is read."""
    return TrialGate(
        held.claim,
        lambda: held.interruption() is not None,
        desk.breakers,
        desk.ledger,
        None,
        desk.adapters,
        desk.clock,
        set_aside=held.set_aside,
        is_ours_again=held.is_ours_again,
    )


@contextmanager
def suppressed(what: str) -> Iterator[None]:
    """Let a turn that came back not be lost because Redis is away: say so, and go on."""
    try:
        yield
    except RedisUnavailable as error:
        logger.warning("%s: %s", what, error)


def _refused(provider: str, reason: str) -> Barred:
    return Barred(
        "refused",
        f"provider {provider} refuses: {reason}",
        hint="fix the key or the account, then salvo resume",
    )


def _unpriced(model: str) -> Barred:
    return Barred(
        "unpriced",
        f"the run has a budget in US dollars, and the price of {model!r} is not known",
        hint="add the model under `prices:` in salvo.yaml, or submit with --allow-unpriced",
    )


def _spent(budget: Budget, cost_usd: float | None, worst_tokens: int) -> Barred:
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
