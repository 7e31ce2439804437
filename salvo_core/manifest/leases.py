"""Keeps the leases of one worker alive, and learns from Redis when one is gone.

One call per renewal, whatever the number of trials. The keeper judges by its own clock
too: when Redis has not answered for a whole lease, every trial it holds may be somebody
else's by now, so each is taken for lost and its attempt stops (I1).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, RedisUnavailable, SalvoError
from salvo_core.manifest.claims import Claim, Refusal
from salvo_core.manifest.live import Manifest
from salvo_core.trace.model import Turn, Vote

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""Two renewals may fail in a row before a lease ends."""

LOOK_UP_S = 0.5
"""How soon a trial that waits for its turn as a suspect sees that its worker is leaving."""


class HeldTrial:
    """A claim while its attempt runs: may it go on, and where its turns are kept."""

    def __init__(self, claim: Claim, keeper: LeaseKeeper) -> None:
        self.claim = claim
        self._keeper = keeper
        self.lost = False
        self.suspect = claim.suspect
        self.abandoned = False
        """The run was cancelled at once: what is under way is not waited for."""
        self._exchange: asyncio.Timeout | None = None
        self.cancelled = claim.purpose == "close_cancelled"
        self.turns: list[Turn] = []
        """Completed, of this attempt and those before it: what the journal holds."""

    def interruption(self) -> Literal["cancelled", "leaving", "lost"] | None:
        """Return why the trial must not begin another turn, None while it may."""
        if self.lost:
            return "lost"
        if self.cancelled:
            return "cancelled"
        return "leaving" if self._keeper.leaving else None

    @contextlib.contextmanager
    def exchange(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Let the limit end what is under way in this block as soon as the run is cancelled at once."""
        self._exchange = limit
        try:
            if self.abandoned:
                limit.reschedule(0)
            yield
        finally:
            self._exchange = None

    def heed(self, state: str) -> None:
        """Take note of the run's state, as those are told it who hold trials."""
        if state in ("cancelling", "cancelling_at_once"):
            self.cancelled = True
        if state == "cancelling_at_once" and not self.abandoned:
            self.abandoned = True
            if self._exchange is not None:
                self._exchange.reschedule(0)

    async def keep(self, turn: Turn) -> None:
        """Journal a completed turn.

        Raises:
            LeaseLost: Another attempt holds the trial.
        """
        state = await self._keeper.manifest.journal(self.claim, turn)
        if state is None and await self._keeper.reseated(self.claim):
            state = await self._keeper.manifest.journal(self.claim, turn)
        self._heed(state)
        self.turns.append(turn)

    async def keep_vote(self, question: str, vote: Vote) -> None:
        """Journal a judge's vote on a question; raises as ``keep``."""
        state = await self._keeper.manifest.vote(self.claim, question, vote)
        if state is None and await self._keeper.reseated(self.claim):
            state = await self._keeper.manifest.vote(self.claim, question, vote)
        self._heed(state)

    def _heed(self, state: str | None) -> None:
        if state is None:
            self.lost = True
            raise LeaseLost(f"trial {self.claim.trace_id} is held by another attempt")
        self.heed(state)  # heard here, a turn after it was said, and not at the next renewal
        if self.suspect:  # something of it was kept: the manifest acquits it, and another may have its turn
            self.suspect = False
            self._keeper.make_room()


class LeaseKeeper:
    """All trials one worker holds.

    Args:
        manifest: Where the leases are.
        worker: This worker's name.
        lease_s: How long a lease lasts, seconds; renewed three times in that span.
        clock: Measures silence.
    """

    def __init__(self, manifest: Manifest, worker: str, *, lease_s: float, clock: Clock) -> None:
        self.manifest = manifest
        self.worker = worker
        self.lease_s = lease_s
        self.leaving = False
        """Set when the worker shuts down: no trial begins another turn."""
        self.reseat: Callable[[HeldTrial], Awaitable[bool]] | None = None
        """Gives back a trial that Redis only forgot; without it, such a trial is lost."""
        self._clock = clock
        self._reseating: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._held: dict[tuple[str, int], HeldTrial] = {}
        self._room = asyncio.Event()
        self._renewed_at_s = clock.monotonic_s()

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, run_id: str, index: int) -> bool:
        """Tell whether this worker is at work on that trial now."""
        return (run_id, index) in self._held

    async def claim(self, run_id: str, index: int, trace_id: str) -> HeldTrial | Refusal:
        """Return the trial, claimed and kept alive from now on, or why it may not be attempted.

        A trial over which a worker vanished is held beside no other such trial, so that the next
        crash tells which of them it was: it waits here, unclaimed, until there is room for it.

        Raises:
            RedisUnavailable: Nothing was claimed, or the claim runs out.
        """
        while True:
            claim = await self.manifest.claim(run_id, index, trace_id, self.worker, lease_s=self.lease_s)
            if isinstance(claim, Claim):
                others = (one for one in self._held.values() if one.suspect)
                # Of its own run the manifest sees to it; of other runs nobody else knows.
                if not claim.suspect or all(one.claim.run_id == run_id for one in others):
                    return self.hold(claim)
                await self.manifest.give_back(claim)
            elif claim.reason != "suspect":
                return claim
            if self.leaving:
                return Refusal("suspect")
            await self._wait_for_room()

    def make_room(self) -> None:
        """Let trials look again that wait for their turn as suspects."""
        self._room.set()
        self._room = asyncio.Event()

    async def _wait_for_room(self) -> None:
        """Return when a suspect is let go, at the latest after a renewal's time: others may have ended it."""
        room, waited_s = self._room, 0.0
        while not (room.is_set() or self.leaving or waited_s >= self.lease_s / RENEWALS_PER_LEASE):
            waited_s += LOOK_UP_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(room.wait(), LOOK_UP_S)

    def hold(self, claim: Claim) -> HeldTrial:
        """Begin to keep a claim alive."""
        if not self._held:
            self._renewed_at_s = self._clock.monotonic_s()  # nothing was at stake while nothing was held
        held = HeldTrial(claim, self)
        self._held[claim.run_id, claim.index] = held
        return held

    def let_go(self, held: HeldTrial) -> None:
        """Stop keeping a claim: it was committed, given back or lost."""
        key = held.claim.run_id, held.claim.index
        if self._held.get(key) is held:
            del self._held[key]
        if held.suspect:
            held.suspect = False
            self.make_room()

    async def renew(self) -> None:
        """Prolong every lease once; mark what is lost or cancelled."""
        held = list(self._held.values())
        try:
            renewals = await self.manifest.renew(self.worker, [h.claim for h in held], lease_s=self.lease_s)
        except RedisUnavailable as error:
            silent_s = self._clock.monotonic_s() - self._renewed_at_s
            logger.warning("leases were not renewed for %.1f s: %s", silent_s, error)
            if silent_s >= self.lease_s:
                for each in held:
                    each.lost = True
            return
        self._renewed_at_s = self._clock.monotonic_s()
        for each in held:
            renewal = renewals[each.claim.run_id]
            if each.claim.index in renewal.lost:
                self._reseat_or_lose(each)
            each.heed(renewal.state)

    async def reseated(self, claim: Claim) -> bool:
        """Tell whether a trial that is no longer ours had only been forgotten by Redis, and is ours again."""
        held = self._held.get((claim.run_id, claim.index))
        return held is not None and self.reseat is not None and await self.reseat(held)

    def _reseat_or_lose(self, held: HeldTrial) -> None:
        """Mark a trial as lost once that is sure; beside the renewals, which must not wait for it."""
        if self.reseat is None:
            held.lost = True
            return
        key = held.claim.run_id, held.claim.index
        if key not in self._reseating:
            self._reseating[key] = asyncio.create_task(self._try_to_reseat(held))
            self._reseating[key].add_done_callback(lambda _: self._reseating.pop(key, None))

    async def _try_to_reseat(self, held: HeldTrial) -> None:
        try:
            if not await self.reseated(held.claim):
                held.lost = True
        except SalvoError as error:  # no answer: the next renewal asks again
            logger.warning("trial %s may be lost: %s", held.claim.trace_id, error)

    async def run(self) -> None:
        """Renew for ever; cancel the task to end it."""
        while True:
            await self._clock.sleep(self.lease_s / RENEWALS_PER_LEASE)
            await self.renew()
