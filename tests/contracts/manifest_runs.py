"""Runs in a manifest on a real server, of which each test states only what matters to it."""

from collections import Counter

from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim
from salvo_core.manifest.counters import NANO
from salvo_core.manifest.live import ROWS_PER_CALL
from salvo_core.manifest.rows import STATUSES, TERMINAL, Result
from salvo_core.trace.model import Turn


def result(score=1.0, **fields):
    given = {
        "score": score, "cost_usd": 0.01, "latency_s": 1.0, "duration_s": 2.0, "input_tokens": 100,
        "output_tokens": 50, "turns": 2, "retries": 1, "outcome": "completed", "error": "", "worker": "w",
        "digest": "d" * 64, "failed": (),
    }  # fmt: skip
    return Result(**(given | fields))


class Run:
    """One run: opened, and seeded and released as far as a test asks for."""

    def __init__(self, manifest, run_id=None, *, total=4, cells=2, attempts_max=2, window=None):
        self.manifest = manifest
        self.redis = manifest.redis
        self.id = run_id or new_run_id()
        self.total = total
        self.cells = cells
        self.attempts_max = attempts_max
        self.window = window

    async def open(self):
        return await self.manifest.open(
            self.id,
            total=self.total,
            cells=self.cells,
            attempts_max=self.attempts_max,
            concurrency_max=self.window,
            name="refund desk",
        )

    async def seed(self, start=0, stop=None):
        indices = range(start, self.total if stop is None else stop)
        return await self.manifest.seed(self.id, start, [self.trace_id(index) for index in indices])

    async def ready(self):
        """Return this run with every row seeded and released, in state ``running``."""
        await self.open()
        await self.seed()
        await self.manifest.submitted(self.id)
        await self.manifest.release(self.id, self.total)
        return self

    async def ready_in_windows(self):
        """As ``ready``, for runs of more rows than one call takes."""
        await self.open()
        for start in range(0, self.total, ROWS_PER_CALL):
            await self.seed(start, min(start + ROWS_PER_CALL, self.total))
        await self.manifest.submitted(self.id)
        await self.manifest.release(self.id, self.total)
        return self

    def trace_id(self, index):
        return trace_id_for(self.id, index)

    async def claim(self, index=0, worker="w1", lease_s=30.0):
        return await self.manifest.claim(self.id, index, self.trace_id(index), worker, lease_s=lease_s)

    async def claimed(self, index=0, worker="w1", lease_s=30.0):
        claim = await self.claim(index, worker, lease_s)
        assert isinstance(claim, Claim), claim
        return claim

    async def commit(self, claim, status="passed", **fields):
        score = {"passed": 1.0, "failed": 0.5, "hard_fail": 0.0}.get(status)
        ended = result(**({"score": score} | fields))
        return await self.manifest.commit(claim, claim.index % self.cells, status, ended)

    async def silence(self, *indices):
        """Let the leases of these trials end now, as if their workers had said nothing for so long."""
        for index in indices:
            await self.redis.zadd(keys.leases(self.id), {str(index): 1})

    async def lose(self, index):
        """Claim a trial, let its worker vanish, and take the trial back."""
        claim = await self.claimed(index)
        await self.silence(index)
        assert index in await self.manifest.expire(self.id)
        return claim

    async def rows(self):
        return [row async for row in self.manifest.rows(self.id)]

    async def row(self, index=0):
        return (await self.rows())[index]

    async def counts(self):
        return await self.manifest.counts(self.id)

    async def state(self):
        return (await self.counts()).state


async def check_counters(run):
    """Assert that what the counters say is what a recount of the rows comes to."""
    rows, counts = await run.rows(), await run.counts()
    found = Counter(row.status for row in rows)
    assert dict(counts.statuses) == {status: found[status] for status in STATUSES}
    assert counts.ended == sum(row.status in TERMINAL for row in rows)
    assert int(await run.redis.hget(keys.counters(run.id), "ended") or 0) == counts.ended
    assert counts.seeded == len(rows)
    results = [row.result for row in rows if row.result]
    assert counts.input_tokens == sum(one.input_tokens for one in results)
    assert counts.retries == sum(one.retries for one in results)
    assert counts.turns == sum(one.turns for one in results)
    nano = sum(round(one.cost_usd * NANO) for one in results if one.cost_usd is not None)
    assert counts.cost_usd == nano / NANO
    assert counts.cost_unknown == sum(one.cost_usd is None for one in results)
    assert counts.judge_cost_usd == sum(round((one.judge_cost_usd or 0) * NANO) for one in results) / NANO
    assert counts.judge_cost_unknown == sum(one.judge_cost_usd is None for one in results)
    for cell in range(run.cells):
        told = [row for row in rows if row.result or row.status == "skipped"]
        per_cell = Counter(row.status for row in told if row.index % run.cells == cell)
        if per_cell:
            assert dict(counts.per_cell[cell].statuses) == {status: per_cell[status] for status in STATUSES}
    leased = {int(index) for index in await run.redis.zrange(keys.leases(run.id), 0, -1)}
    assert leased == {row.index for row in rows if row.status == "running"}


def turn(index, **fields):
    return Turn(index=index, content=f"turn {index}", **fields)
