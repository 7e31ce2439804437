"""The manifest of runs in Redis: every question and every transition, one method each.

Each transition is one Lua script, atomic on the server and safe to send twice. A process
that dies before a call has changed nothing; one that dies after it has changed
everything; there is no between.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from salvo_core.errors import NotFound
from salvo_core.identity import is_uuid7
from salvo_core.manifest import keys
from salvo_core.manifest.budget import read_budget
from salvo_core.manifest.claims import PURPOSES, Claim, Committed, Purpose, Refusal, Renewal
from salvo_core.manifest.connection import translated
from salvo_core.manifest.counters import RunCounts, RunState, increments, read_counts
from salvo_core.manifest.journal import VOTES_READ_MAX, readable_past, readable_turns, readable_vote
from salvo_core.manifest.releases import Skipped, released
from salvo_core.manifest.rows import Lines, Result, Row, Status
from salvo_core.manifest.submitting import Submitting

if TYPE_CHECKING:
    from salvo_core.trace.model import Turn, Vote

ROWS_PER_CALL = 1000
"""Rows per script or HMGET: about a millisecond of the server's time."""

ROWS_PER_STEP = 500
"""Rows that are read in one step of the loop: some 3 ms, for which everybody else waits."""

KEPT_AFTER_SEAL_MS = 7 * 24 * 3600 * 1000
"""Sealed runs live in the store; Redis forgets their rows after a week."""


class Manifest(Submitting):
    """The state of all runs, in one Redis.

    Args:
        redis: A client with ``decode_responses`` on (``connection.connect``).
        address: The server for people, without a password.
    """

    # -- a trial ------------------------------------------------------------------------------

    async def claim(
        self, run_id: str, index: int, trace_id: str, worker: str, *, lease_s: float
    ) -> Claim | Refusal:
        """Return the right to attempt a trial, or why there is none.

        Args:
            run_id: The run's uuid7.
            index: The trial's place in the run.
            trace_id: As the message has it; another one than the row's is refused as unknown.
            worker: Who asks; no blanks.
            lease_s: How long the right lasts unless it is renewed, seconds of server time.
        """
        reply = await self._run_script("claim", run_id, index, trace_id, worker, round(lease_s * 1000))
        match reply:
            case ["claimed", attempt, purpose, strikes, past] if purpose in PURPOSES:
                mark = f"run {run_id}, trial {index}"
                return Claim(
                    run_id, index, trace_id, worker, int(attempt), cast(Purpose, purpose),
                    strikes=int(strikes), past=readable_past(past, mark),
                )  # fmt: skip
            case ["suspect"]:
                return Refusal("suspect")
            case ["cancelled", is_last]:
                return Refusal("cancelled", run_finished=bool(is_last))
            case ["skipped", is_last, *moved]:
                if is_last:
                    await self._look_after(run_id)  # as after a commit
                return Refusal("skipped", run_finished=bool(is_last), release=released(*moved))
            case ["done", *_]:
                return Refusal("done")
            case ["held", *_]:
                return Refusal("held")
            case ["paused"]:
                return Refusal("paused")
            case _:
                return Refusal("unknown")

    async def journal(self, claim: Claim, turn: Turn) -> RunState | None:
        """Keep a completed turn; return the run's state, None when the claim is lost and nothing was kept."""
        state = await self._run_script(
            "journal", claim.run_id, claim.index, claim.attempt, claim.worker,
            turn.index, turn.model_dump_json(exclude_defaults=True),
            more_keys=[keys.journal(claim.run_id, claim.index)],
        )  # fmt: skip
        return state or None

    async def vote(self, claim: Claim, question: str, vote: Vote) -> RunState | None:
        """Keep a judge's vote on a question; return the run's state, None when the claim is lost.

        The same vote given twice is kept once.
        """
        state = await self._run_script(
            "vote", claim.run_id, claim.index, claim.attempt, claim.worker,
            f"{question}:{vote.number}", vote.model_dump_json(),
            more_keys=[keys.votes(claim.run_id, claim.index)],
        )  # fmt: skip
        return state or None

    async def voted(self, run_id: str, index: int) -> dict[tuple[str, int], Vote]:
        """Return what judges have said of an unfinished trial, by question and number.

        Of more than VOTES_READ_MAX the rest is left out, and so is what cannot be read: such
        votes are asked for again.
        """
        votes: dict[tuple[str, int], Vote] = {}
        with translated(self.address):
            async for field, line in self.redis.hscan_iter(keys.votes(run_id, index), count=100):
                vote = readable_vote(line, f"run {run_id}, trial {index}")
                if vote is not None:
                    votes[field.rpartition(":")[0], vote.number] = vote
                if len(votes) == VOTES_READ_MAX:
                    break
        return votes

    async def journaled(self, run_id: str, index: int) -> tuple[Turn, ...]:
        """Return the completed turns of an unfinished trial, in order, as far as they can be read."""
        with translated(self.address):
            lines = await self.redis.lrange(keys.journal(run_id, index), 0, -1)
        return readable_turns(cast(list[str], lines), f"run {run_id}, trial {index}")

    async def commit(self, claim: Claim, cell: int, status: Status, result: Result | None) -> Committed:
        """End the trial, if the claim still holds it.

        The object that result.digest names must already be durable (I2). Without a result the row says
        the status alone, as that of a trial that never began.
        """
        reply = await self._run_script(
            "commit", claim.run_id, claim.index, claim.attempt, claim.worker, status,
            result.encode() if result else "",
            *increments(cell, status, result),
            more_keys=[keys.journal(claim.run_id, claim.index), keys.votes(claim.run_id, claim.index)],
        )  # fmt: skip
        if not reply[0]:
            return Committed(won=False)
        _, is_last, *moved = reply
        if is_last:
            await self._look_after(claim.run_id)  # until it is sealed; it may have been paused
        return Committed(won=True, run_finished=bool(is_last), release=released(*moved))

    async def give_back(self, claim: Claim) -> bool:
        """Return the trial unfinished, so that another worker may take it at once; False when it was lost."""
        arguments = (claim.index, claim.attempt, claim.worker)
        return bool(await self._run_script("give_back", claim.run_id, *arguments))

    async def renew(self, worker: str, claims: Iterable[Claim], *, lease_s: float) -> Mapping[str, Renewal]:
        """Prolong every lease the worker holds, in one round trip.

        Returns:
            Per run: its state, and the indices that this worker no longer holds.
        """
        by_run: dict[str, list[int]] = {}
        for claim in claims:
            by_run.setdefault(claim.run_id, []).extend((claim.index, claim.attempt))
        if not by_run:
            return {}
        with translated(self.address):
            # Scripts in a pipeline are loaded first if the server lost them: redis-py's Script does so.
            pipe = self.redis.pipeline(transaction=False)
            for run_id, held in by_run.items():
                await self._scripts["renew"](
                    keys=[*keys.scripted(run_id), *keys.behind(run_id)],
                    args=[worker, round(lease_s * 1000), *held],
                    client=pipe,
                )
            replies = await pipe.execute()
        return {
            run_id: Renewal(state=reply[0], lost=frozenset(int(index) for index in reply[1:]))
            for run_id, reply in zip(by_run, replies, strict=True)
        }

    async def expire(self, run_id: str, most: int = ROWS_PER_CALL, *, looked_ms: int = 0) -> list[int]:
        """Take back trials whose lease ended; return their indices, whose messages the caller publishes.

        A call that is heard long after looked_ms, server time, takes nothing: the server stood still.
        """
        return [int(index) for index in await self._run_script("expire", run_id, most, looked_ms)]

    # -- a run --------------------------------------------------------------------------------

    async def pause(self, run_id: str, why: str = "") -> bool:
        """Begin no more trials of the run until it is resumed; False when it was not running.

        Args:
            run_id: The run.
            why: What has to be mended first, for people; empty when a person wished it.
        """
        paused = bool(await self._run_script("pause", run_id, why))
        if paused:
            await self.closed(run_id)  # it needs no care, and keeps no worker waiting
        return paused

    async def unpause(self, run_id: str) -> bool:
        """Let a paused run go on; False when it was not paused."""
        await self._look_after(run_id)
        return bool(await self._run_script("unpause", run_id))

    async def extend(self, run_id: str, total: int) -> bool | None:
        """Give the run so many trials in all; False when it has them, None when it is being cancelled."""
        reply = int(await self._run_script("extend", run_id, total))
        if reply >= 0:
            await self._look_after(run_id)
        return None if reply < 0 else bool(reply)

    async def cancel(self, run_id: str, *, at_once: bool = False) -> tuple[bool, str]:
        """Stop the run: nothing is begun any more. Return (changed, the state it has now).

        Args:
            run_id: The run.
            at_once: Whoever holds a trial abandons the exchange under way too, and does not await its end.
        """
        changed, state = await self._run_script("cancel", run_id, int(at_once))
        if state == "cancelling":
            await self._look_after(run_id)  # it may have been paused
        return bool(changed), str(state)

    async def cancel_rows(self, run_id: str, start: int, stop: int) -> tuple[int, bool]:
        """End never-begun rows of a cancelled run; return (rows ended, whether the run's last row ended)."""
        ended, is_last = await self._run_script("cancel_rows", run_id, start, stop)
        return int(ended), bool(is_last)

    async def skip_rows(self, run_id: str, indices: range, reason: str) -> Skipped:
        """End the never-begun rows of one cell among these; those that run, or ran before, are left alone.

        Args:
            run_id: The run; one that is cancelled or over is left as it is.
            indices: Of one cell's trials, at least one and at most ROWS_PER_CALL.
            reason: One word, kept in the rows.
        """
        ended, is_last, seeded, *moved = await self._run_script(
            "skip_rows", run_id, indices.start, indices.stop, indices.step, reason
        )
        if is_last:
            await self._look_after(run_id)  # as after a commit
        return Skipped(int(ended), bool(is_last), int(seeded), released(*moved))

    async def sealed(self, run_id: str, verdict: str, exit_code: int) -> bool:
        """Note the verdict of a finished run and let its keys expire; False when it is not finished."""
        done = bool(await self._run_script("seal", run_id, verdict, exit_code, KEPT_AFTER_SEAL_MS))
        if done:
            await self.closed(run_id)
        return done

    async def _look_after(self, run_id: str) -> None:
        with translated(self.address):
            created_ms, state = await self.redis.hmget(keys.header(run_id), ["created_ms", "state"])
            if created_ms and state != "sealed":
                await self.redis.zadd(keys.OPEN, {run_id: int(created_ms)})

    async def closed(self, run_id: str) -> None:
        """Take the run off the list of runs that sweeps look after."""
        with translated(self.address):
            await self.redis.zrem(keys.OPEN, run_id)

    async def counts(self, run_id: str) -> RunCounts:
        """Return the run's counts: two small hashes, whatever the run's size.

        Raises:
            NotFound: Redis knows no such run (it may still be in the store).
        """
        with translated(self.address):
            pipe = self.redis.pipeline(transaction=False)
            pipe.hgetall(keys.header(run_id))
            pipe.hgetall(keys.counters(run_id))
            pipe.hgetall(keys.budget(run_id)[0])
            pipe.zcard(keys.again(run_id))
            pipe.time()
            header, counters, budget, again, (seconds, micros) = await pipe.execute()
        if not header:
            raise NotFound(f"Redis at {self.address} knows no run {run_id}")
        counts = read_counts(run_id, header, counters, seconds * 1000 + micros // 1000)
        return replace(counts, again=again, budget=read_budget(budget, closed="budget_closed" in header))

    async def rows(self, run_id: str, start: int = 0, stop: int | None = None) -> AsyncIterator[Row]:
        """Yield rows in index order; rows that were never seeded are left out."""
        async for some in self._windows(run_id, start, stop):
            for row in some:
                yield row

    async def lines(self, run_id: str, start: int = 0, stop: int | None = None) -> Lines:
        """Return rows in index order, as text; rows that were never seeded are left out."""
        indices, lines = array("L"), list[str]()
        async for some in self._windows(run_id, start, stop):
            indices.extend(some.indices)
            lines += some.lines
        return Lines(indices, lines)

    async def _windows(self, run_id: str, start: int, stop: int | None) -> AsyncIterator[Lines]:
        if stop is None:
            with translated(self.address):
                stop = int(await self.redis.hget(keys.header(run_id), "seeded") or 0)
        for low in range(start, stop, ROWS_PER_STEP):
            high = min(low + ROWS_PER_STEP, stop)
            lines = str(await self._run_script("lines", run_id, low, high)).split("\n")
            if "" in lines:
                seeded = [place for place, line in enumerate(lines) if line]
                yield Lines([low + place for place in seeded], [lines[place] for place in seeded])
            else:
                yield Lines(range(low, high), lines)

    async def rows_at(self, run_id: str, indices: Sequence[int]) -> list[Row | None]:
        """Return the rows of these indices, 1 to ROWS_PER_CALL; None for one that was never seeded."""
        with translated(self.address):
            lines = await self.redis.hmget(keys.manifest(run_id), [str(index) for index in indices])
        return [
            None if line is None else Row.decode(index, cast(str, line))
            for index, line in zip(indices, lines, strict=True)
        ]

    async def waiting_again(self, run_id: str) -> set[int]:
        """Return the indices of trials whose messages are held until there is a place for them."""
        with translated(self.address):
            return {int(cast(str, index)) for index in await self.redis.zrange(keys.again(run_id), 0, -1)}

    async def recent(self, most: int, *, reevals: bool = False) -> list[str]:
        """Return the ids of the newest runs, or of the newest re-evaluations, newest first."""
        listed = keys.REEVALS if reevals else keys.RUNS
        with translated(self.address):
            return _run_ids(await self.redis.zrevrange(listed, 0, most - 1))

    async def open_runs(self) -> list[str]:
        """Return the ids of runs that are not sealed, oldest first."""
        with translated(self.address):
            return _run_ids(await self.redis.zrange(keys.OPEN, 0, -1))

    async def aclose(self) -> None:
        """Close the connections."""
        await self.redis.aclose()


def _run_ids(found: Iterable[object]) -> list[str]:
    """Return what are run ids: whoever else writes to Redis may have put anything beside them."""
    return [str(run_id) for run_id in found if is_uuid7(run_id)]
