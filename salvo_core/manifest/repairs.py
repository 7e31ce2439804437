"""What puts a manifest right after something outside of it went wrong: raw reads, fenced corrections.

Each correction is one script that names what its caller had read and does nothing when that
has changed since, so it may be sent twice, by two repairers at once, or beside working
workers. A process that dies between two corrections has made the first and not the second.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from salvo_core.errors import UsageError
from salvo_core.manifest import keys
from salvo_core.manifest.budget import nano_usd
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.connection import translated
from salvo_core.manifest.counters import HISTORY, difference
from salvo_core.manifest.live import ROWS_PER_CALL, Manifest
from salvo_core.manifest.rows import Row
from salvo_core.manifest.scripts import script_text
from salvo_core.trace.model import EarlierAttempt, Turn, Vote

TIDIED_LEASE_S = 60.0
"""How long a running trial that had no lease is left to a worker that may be at it."""


@dataclass(frozen=True, slots=True)
class Restatement:
    """One row in the place of another.

    Attributes:
        index: The trial's place in the run.
        line: The row as it was read, its own text; empty when there was none.
        before: What that text says, None when it says nothing that can be read.
        after: The row to be.
    """

    index: int
    line: str
    before: Row | None
    after: Row


@dataclass(frozen=True, slots=True)
class Reopening:
    """A trial that has ended and is to be attempted again.

    Attributes:
        change: Its row, and the one that waits in its place.
        earlier: The attempts at it so far that did not count, oldest first.
        turns: What the next attempt goes on from.
        votes: (question, vote) of judges that need not be asked again.
    """

    change: Restatement
    earlier: tuple[EarlierAttempt, ...] = ()
    turns: tuple[Turn, ...] = ()
    votes: tuple[tuple[str, Vote], ...] = ()


@dataclass(frozen=True, slots=True)
class Belongings:
    """What only unfinished trials should have, by index."""

    leases: frozenset[int]
    strikes: frozenset[int]
    journals: Mapping[int, int]
    """Turns and votes in each journal that is there."""


class Repairs:
    """Corrections of one manifest.

    Args:
        manifest: The live manifest.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.redis = manifest.redis
        self._scripts = {
            name: self.redis.register_script(script_text(name))
            for name in ("restate", "recount", "tidy", "reseat", "reopen")
        }

    # -- reading ------------------------------------------------------------------------------

    async def header(self, run_id: str) -> dict[str, str]:
        """Return the run's header as it stands, empty when Redis knows no such run."""
        with translated(self.manifest.address):
            return cast(dict[str, str], await self.redis.hgetall(keys.header(run_id)))

    async def counters(self, run_id: str) -> dict[str, int]:
        """Return the run's counters as they stand, by field."""
        with translated(self.manifest.address):
            found = cast(dict[str, str], await self.redis.hgetall(keys.counters(run_id)))
        return {field: int(number) for field, number in found.items()}

    async def lines(self, run_id: str, total: int) -> AsyncIterator[tuple[int, str]]:
        """Yield (index, row's text) of every index below total, in order; empty where there is no row."""
        async for index, line in self.lines_of(run_id, range(total)):
            yield index, line

    async def lines_of(self, run_id: str, indices: Sequence[int]) -> AsyncIterator[tuple[int, str]]:
        """Yield (index, row's text) of these indices, as ``lines`` does."""
        for low in range(0, len(indices), ROWS_PER_CALL):
            window = indices[low : low + ROWS_PER_CALL]
            with translated(self.manifest.address):
                found = await self.redis.hmget(keys.manifest(run_id), [str(index) for index in window])
            for index, line in zip(window, found, strict=True):
                yield index, cast(str, line or "")

    async def belongings(self, run_id: str, total: int) -> Belongings:
        """Return what unfinished trials have, over all indices below total."""
        with translated(self.manifest.address):
            leases = cast(list[str], await self.redis.zrange(keys.leases(run_id), 0, -1))
            strikes = cast(list[str], await self.redis.hkeys(keys.strikes(run_id)))
        return Belongings(
            frozenset(int(index) for index in leases),
            frozenset(int(index) for index in strikes),
            await self.journals(run_id, range(total)),
        )

    async def journals(self, run_id: str, indices: Sequence[int]) -> dict[int, int]:
        """Return how many turns and votes the journals of these trials have, of those that have any."""
        found: dict[int, int] = {}
        for low in range(0, len(indices), ROWS_PER_CALL):
            window = indices[low : low + ROWS_PER_CALL]
            with translated(self.manifest.address):
                pipe = self.redis.pipeline(transaction=False)
                for index in window:
                    pipe.llen(keys.journal(run_id, index))
                    pipe.hlen(keys.votes(run_id, index))
                sizes = await pipe.execute()
            pairs = zip(sizes[::2], sizes[1::2], strict=True)
            found |= {index: sum(pair) for index, pair in zip(window, pairs, strict=True) if any(pair)}
        return found

    async def is_looked_after(self, run_id: str) -> bool:
        """Tell whether sweeps look after the run."""
        with translated(self.manifest.address):
            return await self.redis.zscore(keys.OPEN, run_id) is not None

    # -- putting right ------------------------------------------------------------------------

    async def restate(self, run_id: str, changes: Sequence[Restatement], cells: int) -> int:
        """Put rows in the place of others, counters included; return how many are as they should be now.

        A row that is no longer the one that was read stays as it is.

        Args:
            run_id: The run. It may have no header yet.
            changes: At most ROWS_PER_CALL.
            cells: In the run.
        """
        if not changes:
            return 0
        with translated(self.manifest.address):
            pipe = self.redis.pipeline(transaction=False)
            for change in changes:
                booked = difference(change.before, change.after, cells)
                await self._scripts["restate"](
                    keys=[*keys.scripted(run_id), *keys.unfinished(run_id, change.index)],
                    args=[change.index, change.line, change.after.encode(), *booked],
                    client=pipe,
                )
            # Of a pipeline that was sent twice, the first half of the work was done by the first.
            pipe.hmget(keys.manifest(run_id), [str(change.index) for change in changes])
            *_, found = await pipe.execute()
        return sum(line == change.after.encode() for line, change in zip(found, changes, strict=True))

    async def reopen(self, run_id: str, again: Reopening, cells: int) -> bool:
        """Make a trial that has ended wait again; False when it is no longer as it was read.

        A run that is over is open again with it, and its verdict is gone until it is sealed anew.

        Args:
            run_id: The run.
            again: The trial.
            cells: In the run.

        Raises:
            UsageError: The run is being cancelled.
        """
        booked = difference(again.change.before, again.change.after, cells)
        votes = [
            item
            for question, vote in again.votes
            for item in (f"{question}:{vote.number}", vote.model_dump_json())
        ]
        index = again.change.index
        reply = await self._run(
            "reopen", run_id, index, again.change.line, again.change.after.encode(),
            "\n".join(one.model_dump_json() for one in again.earlier),
            len(booked), len(again.turns), *booked, *(turn.model_dump_json() for turn in again.turns), *votes,
            more_keys=[keys.journal(run_id, index), keys.votes(run_id, index), *keys.behind(run_id)],
        )  # fmt: skip
        if reply < 0:
            raise UsageError(
                f"run {run_id} is being cancelled", hint="once it has ended, its trials can be retried"
            )
        return bool(reply)

    async def recount(self, run_id: str, read: Mapping[str, int], right: Mapping[str, int]) -> bool:
        """Put wrong counters right; False when something has happened to the run since they were read.

        Args:
            run_id: The run.
            read: Every counter, as read while ``right`` was counted.
            right: What they must be; those that no row remembers are left alone.
        """
        fields = (set(read) | set(right)) - HISTORY
        wrong = {field: right.get(field, 0) for field in fields if read.get(field, 0) != right.get(field, 0)}
        guards = {field: read.get(field, 0) for field in fields | HISTORY}
        arguments = [item for pair in (*guards.items(), *wrong.items()) for item in pair]
        return bool(await self._run("recount", run_id, len(guards), *arguments))

    async def restore_header(self, run_id: str, fields: Mapping[str, int]) -> None:
        """Write what the plan says of the run into its header."""
        with translated(self.manifest.address):
            await self.redis.hset(
                keys.header(run_id), mapping={name: str(number) for name, number in fields.items()}
            )

    async def tidy(self, run_id: str, index: int) -> bool:
        """Remove what an ended trial no longer needs, lease one that runs without; tell if anything was."""
        arguments = (index, round(TIDIED_LEASE_S * 1000))
        more = keys.unfinished(run_id, index)
        return bool(await self._run("tidy", run_id, *arguments, more_keys=more))

    async def reseat(
        self,
        claim: Claim,
        turns: Sequence[Turn],
        *,
        lease_s: float,
        set_aside: Mapping[str, tuple[int, int]] | None = None,
    ) -> bool | None:
        """Give a trial back to the claim that held it before Redis lost its memory, its turns too.

        The books of a run with a budget are told what those cost, and what is set aside for exchanges that
        are not booked yet: nano-dollars and tokens, by name (``Ledger``).

        Returns:
            True when it is held again; False when another attempt has it, or it is over; None
            when Redis knows no such run, or not all of it yet.
        """
        billed = nano_usd(math.fsum(turn.cost_usd or 0.0 for turn in turns), up=True)
        tokens = sum(turn.billed.total_tokens for turn in turns)
        aside = [item for name, most in (set_aside or {}).items() for item in (name, *most)]
        reply = await self._run(
            "reseat", claim.run_id, claim.index, claim.attempt, claim.worker, claim.trace_id,
            round(lease_s * 1000), billed, tokens,
            len(aside) // 3, *aside, *(turn.model_dump_json() for turn in turns),
            more_keys=[keys.journal(claim.run_id, claim.index), *keys.budget(claim.run_id)],
        )  # fmt: skip
        return None if reply < 0 else bool(reply)

    async def begin_rebuilding(self, run_id: str, worker: str, *, lock_s: float) -> bool:
        """Elect a worker to rebuild the run, for lock_s seconds; False when another one is elected."""
        with translated(self.manifest.address):
            key, lock_ms = keys.rebuilding(run_id), round(lock_s * 1000)
            return bool(await self.redis.set(key, worker, nx=True, px=lock_ms))

    async def keep_rebuilding(self, run_id: str, *, lock_s: float) -> None:
        """Let the election hold for lock_s seconds more."""
        with translated(self.manifest.address):
            await self.redis.pexpire(keys.rebuilding(run_id), round(lock_s * 1000))

    async def end_rebuilding(self, run_id: str) -> None:
        """Let others be elected."""
        with translated(self.manifest.address):
            await self.redis.delete(keys.rebuilding(run_id))

    async def look_after(self, run_id: str, created_ms: int) -> None:
        """Put the run on the list of those that sweeps look after."""
        with translated(self.manifest.address):
            await self.redis.zadd(keys.OPEN, {run_id: created_ms})

    async def _run(self, name: str, run_id: str, *arguments: Any, more_keys: Sequence[str] = ()) -> int:
        with translated(self.manifest.address):
            return int(
                await self._scripts[name](keys=[*keys.scripted(run_id), *more_keys], args=list(arguments))
            )
