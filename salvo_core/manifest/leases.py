"""Keeps the leases of one worker alive, and learns from Redis when one is gone.

One call per renewal, whatever the number of trials. Only Redis says what is lost: while it
cannot be reached a trial waits at its next write, with all it has in hand, and so asks for
no further turn. When Redis is back, a lease that ran out meanwhile is taken back, unless somebody else
has begun the trial since (I1).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal, TypeVar

from salvo_core.clock import Clock
from salvo_core.errors import LeaseLost, RedisUnavailable, SalvoError
from salvo_core.manifest.claims import Claim, Refusal
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.patience import patiently
from salvo_core.trace.model import Turn, Vote

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""Two renewals may fail in a row before a lease ends."""

AGAIN_AFTER_S = 1.0
"""How soon a renewal that failed is tried again, at most: once Redis is back, others wait for our word."""

GIVE_BACK_PATIENCE_S = 10.0
"""How long a trial that is given back waits for Redis: who leaves has not much time."""

LOOK_UP_S = 0.5
"""How soon a trial that waits for its turn as a suspect sees that its worker is leaving."""

Answer = TypeVar("Answer")


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
        self.set_aside: dict[str, tuple[int, int]] = {}
        """What exchanges that are not booked take at most, by name: nano-dollars and tokens."""

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
        """Journal a completed turn, however long Redis is away.

        Raises:
            LeaseLost: Another attempt holds the trial.
            RedisUnavailable: Patience ran out.
        """
        self._heed(await self.insist(lambda: self._keeper.manifest.journal(self.claim, turn), _is_state))
        self.turns.append(turn)

    async def keep_vote(self, question: str, vote: Vote) -> None:
        """Journal a judge's vote on a question; raises as ``keep``."""
        self._heed(
            await self.insist(lambda: self._keeper.manifest.vote(self.claim, question, vote), _is_state)
        )

    async def insist(
        self, ask: Callable[[], Awaitable[Answer]], is_heard: Callable[[Answer], bool] = lambda _: True
    ) -> Answer:
        """Return what Redis answers, waiting for it if it is away; refused, ask again if the trial is ours.

        Args:
            ask: Asks once; must be safe to do twice.
            is_heard: Tells an answer from the refusal of an attempt that does not hold the trial.

        Raises:
            RedisUnavailable: Patience ran out.
        """
        what = f"trial {self.claim.trace_id}"
        answer = await self._keeper.patiently(ask, what)
        if is_heard(answer) or not await self.is_ours_again():
            return answer
        return await self._keeper.patiently(ask, what)

    async def is_ours_again(self) -> bool:
        """Tell, having asked for it back, whether a trial is ours although we were refused as strangers.

        Raises:
            RedisUnavailable: Patience ran out.
        """
        return not self.lost and await self._keeper.is_ours_again(self)

    def _heed(self, state: str | None) -> None:
        if state is None:
            self.lost = True
            raise LeaseLost(f"trial {self.claim.trace_id} is held by another attempt")
        self.heed(state)  # heard here, a turn after it was said, and not at the next renewal
        if self.suspect:  # something of it was kept: the manifest acquits it, and another may have its turn
            self.suspect = False
            self._keeper.make_room()


def _is_state(answer: object) -> bool:
    return answer is not None


class LeaseKeeper:
    """All trials one worker holds.

    Args:
        manifest: Where the leases are.
        worker: This worker's name.
        lease_s: How long a lease lasts, seconds; renewed three times in that span.
        clock: Measures silence, and waits.
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
        self._asked_for: set[tuple[str, int]] = set()
        self._room = asyncio.Event()
        self._renewed_at_s = clock.monotonic_s()

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, run_id: str, index: int) -> bool:
        """Tell whether this worker is at work on that trial now, or asks for it."""
        return (run_id, index) in self._held or (run_id, index) in self._asked_for

    async def give_back(self, claim: Claim) -> bool:
        """Return the trial unfinished; False when it was lost, or Redis does not answer for too long."""
        try:
            return await patiently(
                lambda: self.manifest.give_back(claim),
                self._clock,
                f"trial {claim.trace_id}, to be given back,",
                patience_s=GIVE_BACK_PATIENCE_S,
            )
        except RedisUnavailable as error:
            logger.warning(
                "trial %s is not given back, its lease runs out instead: %s", claim.trace_id, error
            )
            return False

    async def patiently(
        self, ask: Callable[[], Awaitable[Answer]], what: str, *, may_wait: Callable[[], bool] = lambda: True
    ) -> Answer:
        """Return what Redis answers, as ``patience.patiently`` does, by this keeper's clock."""
        return await patiently(ask, self._clock, what, may_wait=may_wait)

    async def claim(self, run_id: str, index: int, trace_id: str) -> HeldTrial | Refusal:
        """Return the trial, claimed and kept alive from now on, or why it may not be attempted.

        A trial over which a worker vanished is held beside no other such trial, so that the next
        crash tells which of them it was: it waits here, unclaimed, until there is room for it.

        A Redis that is away is waited for: a claim whose answer was lost holds the trial all the same,
        and asking again is how to know of it.

        Raises:
            RedisUnavailable: Patience ran out, or the worker is leaving.
        """
        if self.holds(run_id, index):
            return Refusal("held")  # Redis would take a second question for one whose answer was lost
        self._asked_for.add((run_id, index))
        try:
            return await self._claim(run_id, index, trace_id)
        finally:
            self._asked_for.discard((run_id, index))

    async def _claim(self, run_id: str, index: int, trace_id: str) -> HeldTrial | Refusal:
        while True:
            claim = await self.patiently(
                lambda: self.manifest.claim(run_id, index, trace_id, self.worker, lease_s=self.lease_s),
                f"trial {trace_id}",
                may_wait=lambda: not self.leaving,
            )
            if isinstance(claim, Claim):
                others = (one for one in self._held.values() if one.suspect)
                # Of its own run the manifest sees to it; of other runs nobody else knows.
                if not claim.suspect or all(one.claim.run_id == run_id for one in others):
                    return self.hold(claim)
                await self.give_back(claim)
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

    async def renew(self) -> bool:
        """Prolong every lease once; mark what is lost or cancelled. Tell whether Redis answered."""
        held = [each for each in self._held.values() if not each.lost]
        try:
            renewals = await self.manifest.renew(self.worker, [h.claim for h in held], lease_s=self.lease_s)
        except RedisUnavailable as error:
            silent_s = self._clock.monotonic_s() - self._renewed_at_s
            logger.warning("leases were not renewed for %.1f s: %s", silent_s, error)
            return False
        self._renewed_at_s = self._clock.monotonic_s()
        for each in held:
            renewal = renewals[each.claim.run_id]
            if each.claim.index in renewal.lost:
                self._reseat_or_lose(each)
            each.heed(renewal.state)
        return True

    async def is_ours_again(self, held: HeldTrial) -> bool:
        """Tell whether a trial that refused us is ours all the same, having asked for it back.

        Its lease may have run out only because nobody could be told that we are there, or Redis forgot it.
        """
        claim, what = held.claim, f"trial {held.claim.trace_id}"
        renewals = await self.patiently(
            lambda: self.manifest.renew(self.worker, [claim], lease_s=self.lease_s), what
        )
        if claim.index not in renewals[claim.run_id].lost:
            return True
        return await self.patiently(lambda: self.reseated(claim), what)

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
        usual_s = wait_s = self.lease_s / RENEWALS_PER_LEASE
        while True:
            await self._clock.sleep(wait_s)
            wait_s = usual_s if await self.renew() else min(usual_s, AGAIN_AFTER_S)
