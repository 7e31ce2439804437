"""Keeps the leases of one worker alive, and learns from Redis when one is gone.

One call per renewal, whatever the number of trials. The keeper judges by its own clock
too: when Redis has not answered for a whole lease, every trial it holds may be somebody
else's by now, so each is taken for lost and its attempt stops (I1).
"""

from __future__ import annotations

import logging
from typing import Literal

from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, RedisUnavailable
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.live import Manifest
from salvo_core.trace.model import Turn, Vote

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""Two renewals may fail in a row before a lease ends."""


class HeldTrial:
    """A claim while its attempt runs: may it go on, and where its turns are kept."""

    def __init__(self, claim: Claim, keeper: LeaseKeeper) -> None:
        self.claim = claim
        self._keeper = keeper
        self.lost = False
        self.cancelled = claim.purpose == "close_cancelled"

    def interruption(self) -> Literal["cancelled", "leaving", "lost"] | None:
        """Return why the trial must not begin another turn, None while it may."""
        if self.lost:
            return "lost"
        if self.cancelled:
            return "cancelled"
        return "leaving" if self._keeper.leaving else None

    async def keep(self, turn: Turn) -> None:
        """Journal a completed turn.

        Raises:
            LeaseLost: Another attempt holds the trial.
        """
        self._heed(await self._keeper.manifest.journal(self.claim, turn))

    async def keep_vote(self, question: str, vote: Vote) -> None:
        """Journal a judge's vote on a question; raises as ``keep``."""
        self._heed(await self._keeper.manifest.vote(self.claim, question, vote))

    def _heed(self, state: str | None) -> None:
        if state is None:
            self.lost = True
            raise LeaseLost(f"trial {self.claim.trace_id} is held by another attempt")
        if state == "cancelling":
            self.cancelled = True  # heard here, a turn after it was said, and not at the next renewal


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
        self._clock = clock
        self._held: dict[tuple[str, int], HeldTrial] = {}
        self._renewed_at_s = clock.monotonic_s()

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, run_id: str, index: int) -> bool:
        """Tell whether this worker is at work on that trial now."""
        return (run_id, index) in self._held

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
                each.lost = True
            if renewal.state == "cancelling":
                each.cancelled = True

    async def run(self) -> None:
        """Renew for ever; cancel the task to end it."""
        while True:
            await self._clock.sleep(self.lease_s / RENEWALS_PER_LEASE)
            await self.renew()
