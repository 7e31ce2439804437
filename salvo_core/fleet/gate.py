"""The gate of one attempt: the provider's breaker, its limits, the run's money, then the exchange.

Whoever waits here holds no connection, no permit and no reservation, so nobody waits for one who waits.
The lease is kept alive meanwhile, and the conversation's time stands still (``trial.timer``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from salvo_core.adapters.failures import refuses_us
from salvo_core.adapters.gate import Asking, Barred, Cost, Entry
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, ProviderError, RedisUnavailable
from salvo_core.fleet.bars import refused, spent
from salvo_core.fleet.breaker import Breakers, Wait
from salvo_core.fleet.place import Permit
from salvo_core.fleet.turnstile import Turnstiles
from salvo_core.fleet.worst import Prices, worst_of
from salvo_core.manifest.budget import Budget, Whose, nano_usd
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.leases import HeldTrial
from salvo_core.manifest.ledger import Ledger
from salvo_core.trace.exclusion import what_happened
from salvo_core.trace.model import Usage

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long one attempt waits for a provider; then the trial goes back, and others have its place."""

OUTAGE_S_MAX = 1800.0
"""A provider that has been away for so long is not awaited any more: trials that need it end."""

LIMIT_PATIENCE_S = 600.0
"""How long one attempt waits for its turn within a provider's limits; then the trial goes back."""

LOOKS_AGAIN_S = 0.5
"""Who waited so long for its turn looks again whether the provider is there."""

_REFUSED = "authentication"
_RATE_LIMITED = "rate_limited"
_OUTAGES = ("transient", _RATE_LIMITED)
_ASK_AGAIN_S = (0.1, 1.0)
"""How soon to ask again at least and at most."""


class Desk(Protocol):
    """What a gate needs of a worker; an attempt's bench has it all."""

    @property
    def breakers(self) -> Breakers:
        """Of all providers."""
        ...

    @property
    def turnstiles(self) -> Turnstiles:
        """Of this worker."""
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
        turnstiles: Of this worker.
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
    turnstiles: Turnstiles
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
    _permits: dict[int, Permit] = field(default_factory=dict)
    """Of exchanges under way."""

    def of(self, whose: Whose) -> TrialGate:
        """Return the gate of the same attempt on another account."""
        return replace(self, whose=whose, _sent=0)  # what is owed, probed and let through is the attempt's

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
        permit: Permit | None = None
        name = Ledger.name(self.claim, self._sent, self.whose)
        self._sent += 1  # before anybody else can: votes are asked for side by side
        try:
            while True:
                await self._heed_interruption()
                wait_s = _ASK_AGAIN_S[1]
                try:
                    if leave != "probe":
                        leave = await self._leave(asking.adapter, began_s)
                    if isinstance(leave, Wait):
                        wait_s = leave.due_s
                    elif permit is None:
                        permit = await self._let_through(asking, first=leave == "probe")
                        if permit is not None and permit.waited_s > LOOKS_AGAIN_S:
                            continue  # the provider may be away by now
                    if not isinstance(leave, Wait) and (
                        (reservation := await self._reserve(asking, name)) is not None
                    ):
                        waited_s, probe = self.clock.monotonic_s() - began_s, leave == "probe"
                        kept, permit = self._kept(permit), None  # the exchange has it
                        return Entry(waited_s, asking.adapter, probe, reservation, kept)
                except RedisUnavailable as error:
                    logger.warning("trial %s waits to ask for its next turn: %s", self.claim.trace_id, error)
                    self._owed[name] = 0.0, 0  # it may have been set aside, and nothing was sent
                self._give_back(asking.adapter, permit)
                permit = None
                least_s, most_s = _ASK_AGAIN_S
                # Spread, so that those who wait together do not ask together.
                await self.clock.sleep(random.uniform(least_s, max(least_s, min(wait_s, most_s))))  # noqa: S311
        finally:
            self._give_back(asking.adapter, permit)

    async def _heed_interruption(self) -> None:
        if self.interrupted():
            await self._leave_probes()
            raise Barred("interrupted", "the attempt must not go on")

    async def _let_through(self, asking: Asking, *, first: bool) -> Permit | None:
        """Return the permit once the provider's limits let the exchange through; None where it has none."""
        if not self.prices.reaches_provider(asking.adapter):
            return None
        turnstile = self.turnstiles.of(asking.adapter)
        place = await turnstile.place(self.claim.run_id, self.claim.trace_id, asking, first=first)
        try:
            while (permit := await place.within(_ASK_AGAIN_S[1])) is None:
                await self._heed_interruption()
                if self.clock.monotonic_s() - place.since_s > LIMIT_PATIENCE_S:
                    await self._leave_probes()
                    raise Barred("patience", f"the limits of provider {asking.adapter} leave no room")
        except BaseException:
            place.leave()
            raise
        return permit

    def _kept(self, permit: Permit | None) -> int:
        if permit is None:
            return 0
        self._permits[id(permit)] = permit
        return id(permit)

    def _give_back(self, provider: str, permit: Permit | None) -> None:
        if permit is not None:
            self.turnstiles.of(provider).give_back(permit)

    def broken_off(self, entry: Entry) -> None:
        """Let others have the slot; what was billed is booked by ``close``."""
        if (permit := self._permits.pop(entry.permit, None)) is not None:
            self.turnstiles.of(entry.adapter).failed(permit, None)

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
            raise refused(provider, leave.reason)
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
        try:
            cost_usd, worst_tokens = worst_of(asking, self.budget, self.prices)
        except Barred:
            await self._leave_probes()
            raise
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
        raise spent(self.budget, cost_usd, worst_tokens)

    async def answered(self, entry: Entry, usage: Usage, cost: Cost) -> None:
        """Book what a turn was billed, and that the provider answers."""
        if (permit := self._permits.pop(entry.permit, None)) is not None:
            self.turnstiles.of(entry.adapter).answered(permit, usage)
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
        permit = self._permits.pop(entry.permit, None)
        if permit is not None:
            self.turnstiles.of(entry.adapter).failed(permit, billed.total_tokens if told or unsent else None)
        if unsent:
            await self._settle(entry, billed, cost, unsent=True)
        else:
            await self._settle(entry, billed if told else None, cost)
        if not self.prices.reaches_provider(entry.adapter):
            return False
        refuses = refuses_us(error)
        if not refuses and error.kind not in _OUTAGES:
            # What it said is about this conversation alone; or nobody asked it.
            await (self._leave_probes() if unsent else self._provider_answers(entry))
            return False
        if permit is not None and error.kind == _RATE_LIMITED:
            with suppressed("that a provider refuses more requests was not noted"):
                await self.turnstiles.of(entry.adapter).exceeded(
                    permit, error.retry_after_s, may_cut=not entry.probe
                )
        reason = what_happened(error.kind) if self.discreet else error.message
        state = "closed"
        with suppressed("a provider's failure was not noted"):
            state = await self.breakers.failed(
                entry.adapter,
                self.claim.trace_id,
                error.kind,
                reason,
                probe=entry.probe,
                at_once=refuses,
            )
        self._probed(entry)
        if refuses:
            raise refused(entry.adapter, reason)
        return state != "closed" or (permit is not None and error.kind == _RATE_LIMITED)

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
        desk.turnstiles,
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
