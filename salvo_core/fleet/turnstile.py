"""Where one worker's exchanges wait until the fleet's limits let them begin: a turnstile per provider.

However many trials wait here, Redis is asked once for all (``limits``), as often as it says that it is of
use. Runs take turns. Who waits holds no slot and no connection; who is let through holds a ``Permit``,
and gives it back with what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable

from salvo_core.adapters.bounds import worst_usage
from salvo_core.adapters.gate import Asking
from salvo_core.adapters.profile import Allowance
from salvo_core.clock import Clock
from salvo_core.errors import RedisUnavailable
from salvo_core.fleet.limits import Grant, ProviderLimits
from salvo_core.fleet.meter import Meter
from salvo_core.fleet.place import Permit, Place
from salvo_core.trace.model import Usage

logger = logging.getLogger(__name__)

BATCH_MAX = 64
"""Exchanges that one question asks for, at most."""

LOOK_EVERY_S = 0.25
"""How often a worker looks whether another has met a limit that nobody stated."""

_TELL_AFTER_S = 0.1
"""What was billed, and that nobody waits any more, may be told so late."""

_OUTAGE_S = 1.0
_JITTER_S = 0.02
_BYTES_A_TOKEN = 4
_OUTPUT_TOKENS_FIRST = 500
"""Assumed of an answer before the first has come."""


class Turnstile:
    """One provider's, in one worker.

    Args:
        limits: Of the fleet.
        provider: Name of the adapter.
        worker: This worker's name.
        allowance: What its project states.
        clock: Measures.
    """

    def __init__(
        self, limits: ProviderLimits, provider: str, worker: str, allowance: Allowance, clock: Clock
    ) -> None:
        self._limits = limits
        self._provider = provider
        self._worker = worker
        self._allowance = allowance
        self._clock = clock
        self._known = False
        """Whether Redis knows of a limit that nobody stated."""
        self._looked_s: float | None = None
        self._paused_until_s = 0.0
        self._runs: dict[str, dict[Place, None]] = {}
        """Who waits, by run; the run at the beginning has the next turn."""
        self._front: dict[Place, None] = {}
        """Who goes before all runs."""
        self._held = 0
        self._settled_tokens = 0
        self._unused = 0
        self._told_waiting = False
        self._untold = False
        """Whether Redis believes something of us that is not so any more."""
        self._blocked_by = ""
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._answers = Meter()
        self._output_tokens = float(_OUTPUT_TOKENS_FIRST)

    def now_s(self) -> float:
        """Return the worker's clock, seconds."""
        return self._clock.monotonic_s()

    async def place(self, run_id: str, who: str, asking: Asking, *, first: bool = False) -> Place:
        """Return a place in the queue; where there is no limit its permit is given already.

        Args:
            run_id: Whose trial asks.
            who: Its id.
            asking: What it asks.
            first: Before everybody who waits: a probe, for whose answer all wait.
        """
        if not self._allowance.limited and not await self._met():
            return Place(self, run_id, who, 0, Permit(self.now_s()))
        place = Place(self, run_id, who, self._estimate(asking))
        self._enqueue(place, first=first)
        return place

    def answered(self, permit: Permit, usage: Usage) -> None:
        """Give a permit back whose exchange came to an answer."""
        self._answers.count(self.now_s())
        self._output_tokens += 0.1 * (usage.output_tokens - self._output_tokens)
        self._free(permit, usage.total_tokens)

    def failed(self, permit: Permit, billed_tokens: int | None) -> None:
        """Give a permit back whose exchange came to none; None if nobody knows what it was billed."""
        self._free(permit, permit.tokens if billed_tokens is None else billed_tokens)

    def give_back(self, permit: Permit) -> None:
        """Give a permit back that was not used."""
        if permit.open and permit.counted:
            self._unused += 1
            self._untold = True
        self._free(permit, 0)

    async def exceeded(self, permit: Permit, retry_after_s: float | None, *, may_cut: bool) -> None:
        """Note that the provider refused an exchange as one too many: all workers leave it alone for a while.

        Raises:
            RedisUnavailable: Only this worker knows.
        """
        now_s = self.now_s()
        self._known = True
        self._paused_until_s = max(self._paused_until_s, now_s + self._limits.pause_s(retry_after_s))
        await self._limits.exceeded(
            self._provider,
            self._worker,
            self._allowance,
            age_s=now_s - permit.began_s,
            answered_per_min=self._answers.per_min(now_s),
            retry_after_s=retry_after_s,
            may_cut=may_cut,
        )

    def forget(self, place: Place) -> None:
        """Let a place go."""
        self._front.pop(place, None)
        queue = self._runs.get(place.run_id)
        if queue is not None and place in queue:
            del queue[place]
            if not queue:
                del self._runs[place.run_id]

    async def aclose(self) -> None:
        """Let nobody through any more, and leave what is held to other workers."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            with contextlib.suppress(RedisUnavailable):
                await self._limits.leave(self._provider, self._worker)

    async def _met(self) -> bool:
        """Tell whether the provider has refused anybody of the fleet lately."""
        now_s = self.now_s()
        if not self._known and (self._looked_s is None or now_s - self._looked_s >= LOOK_EVERY_S):
            self._looked_s = now_s  # first: whoever comes meanwhile need not look too
            self._known = await self._limits.known(self._provider)
        return self._known

    def _estimate(self, asking: Asking) -> int:
        if self._allowance.tokens_per_min is None:
            return 0
        worst = worst_usage(asking, output_tokens_max=None)
        return worst.input_tokens // _BYTES_A_TOKEN + min(worst.output_tokens, round(self._output_tokens))

    def _enqueue(self, place: Place, *, first: bool = False) -> None:
        queue = self._front if first else self._runs.setdefault(place.run_id, {})
        queue[place] = None
        if not self._blocked_by:
            self._wake.set()
        self._ensure_pump()

    def _free(self, permit: Permit, billed_tokens: int) -> None:
        if not permit.open:
            return
        permit.open = False
        if not permit.counted:
            return
        self._held -= 1
        if self._allowance.tokens_per_min is not None:
            self._settled_tokens += billed_tokens - permit.tokens
            self._untold = True
        if self._allowance.concurrency_max is not None:
            self._untold = True
            if self._blocked_by in ("", "concurrency"):
                self._wake.set()
        if self._untold:
            self._ensure_pump()

    def _ensure_pump(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._ask_for_all(), name=f"turnstile of {self._provider}")

    async def _ask_for_all(self) -> None:
        """Ask as long as anybody waits, or Redis has to be told anything."""
        while True:
            self._wake.clear()
            batch = self._batch()
            try:
                grant = await self._ask(batch)
            except RedisUnavailable as error:
                logger.warning("trials wait for their turn with provider %s: %s", self._provider, error)
                await asyncio.sleep(_OUTAGE_S)
                continue
            for place, delay_s in zip(batch, grant.delays_s, strict=False):
                self._let_through(place, delay_s, counted=grant.limited)
            if not grant.limited:
                self._known = False
            self._blocked_by = grant.why
            rest_s = self._rest_s(grant)
            if rest_s is None:
                return
            if rest_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), rest_s)

    async def _ask(self, batch: list[Place]) -> Grant:
        settled, self._settled_tokens = self._settled_tokens, 0
        unused, self._unused = self._unused, 0
        self._untold = False
        waiting, others = self._waiting(()), self._waiting(batch)
        try:
            grant = await self._limits.acquire(
                self._provider,
                self._worker,
                self._allowance,
                [place.tokens for place in batch],
                held=self._held,
                waiting=waiting,
                waiting_else=others,
                settled_tokens=settled,
                unused=unused,
            )
        except RedisUnavailable:
            self._settled_tokens += settled
            self._unused += unused
            self._untold = True
            raise
        self._told_waiting = bool(waiting if len(grant.delays_s) < len(batch) else others)
        return grant

    def _rest_s(self, grant: Grant) -> float | None:
        """Return how long nothing need be asked, unless somebody comes; None when nobody is here."""
        if self._runs or self._front:
            if (paused_s := self._paused_until_s - self.now_s()) > 0:  # known here, if not in Redis
                self._blocked_by = "pause"
                return min(paused_s, self._limits.terms.poll_s_max)
            # Spread a little, so that it is not always the same worker who comes first.
            return grant.wait_s + random.uniform(0, _JITTER_S) if grant.why else 0.0  # noqa: S311
        self._blocked_by = ""
        if self._untold or self._told_waiting:
            return _TELL_AFTER_S
        if self._held and self._allowance.concurrency_max is not None:
            return self._limits.terms.lease_s / 3
        return None

    def _batch(self) -> list[Place]:
        """Return who is next, runs in turn; they keep their places."""
        batch = list(self._front)[:BATCH_MAX]
        queues = deque(iter(queue) for queue in self._runs.values())
        while queues and len(batch) < BATCH_MAX:
            queue = queues.popleft()
            if (place := next(queue, None)) is not None:
                batch.append(place)
                queues.append(queue)
        return batch

    def _waiting(self, without: Iterable[Place]) -> dict[str, int]:
        """Return how many trials wait, by run; some places not counted."""
        left = set(without)
        trials: dict[str, set[str]] = {}
        for queue in (self._front, *self._runs.values()):
            for place in queue:
                if place not in left:
                    trials.setdefault(place.run_id, set()).add(place.who)
        return {run_id: len(found) for run_id, found in trials.items()}

    def _let_through(self, place: Place, delay_s: float, *, counted: bool) -> None:
        self.forget(place)
        if place.run_id in self._runs:
            self._runs[place.run_id] = self._runs.pop(place.run_id)  # others have the next turn
        if counted:
            self._held += 1
        permit = Permit(0.0, counted=counted, tokens=place.tokens)
        if delay_s > 0:
            asyncio.get_running_loop().call_later(delay_s, self._hand_over, place, permit)
        else:
            self._hand_over(place, permit)

    def _hand_over(self, place: Place, permit: Permit) -> None:
        permit.began_s = self.now_s()
        permit.waited_s = permit.began_s - place.since_s
        if place.ready.done():
            self.give_back(permit)  # it has left
        elif permit.counted and permit.began_s < self._paused_until_s:
            self.give_back(permit)  # the provider refused somebody meanwhile
            self._enqueue(place, first=True)
        else:
            place.ready.set_result(permit)


class Turnstiles:
    """The turnstiles of one worker.

    Args:
        limits: Of the fleet.
        worker: Its name.
        allowance: What its project states of a provider.
        clock: Measures.
    """

    def __init__(
        self, limits: ProviderLimits, worker: str, allowance: Callable[[str], Allowance], clock: Clock
    ) -> None:
        self._limits = limits
        self._worker = worker
        self._allowance = allowance
        self._clock = clock
        self._found: dict[str, Turnstile] = {}

    def of(self, provider: str) -> Turnstile:
        """Return the turnstile of a provider."""
        if provider not in self._found:
            stated = self._allowance(provider)
            self._found[provider] = Turnstile(self._limits, provider, self._worker, stated, self._clock)
        return self._found[provider]

    async def aclose(self) -> None:
        """Close them all."""
        for turnstile in self._found.values():
            await turnstile.aclose()
