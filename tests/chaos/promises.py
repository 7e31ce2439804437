"""What must hold after any faults, seen from the outside: the manifest, the store, the provider's own log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from salvo_core.manifest import keys as keys_of_run
from salvo_core.run.plan import Plan
from tests.chaos.world import World
from tests.integration.fleet import until
from tests.integration.scripts import TURNS


@dataclass(frozen=True)
class Kept:
    """One run that kept every promise, in figures.

    Attributes:
        statuses: Trials by how they ended.
        attempts: Claims, over all trials.
        answered: Answers that the provider gave and was paid for.
        twice: Of these, answers to a turn that had been answered before: in flight at a fault.
    """

    statuses: Counter[str]
    attempts: int
    answered: int
    twice: int


async def kept(world: World, plan: Plan) -> Kept:
    """Return the run in figures, having checked that it is whole.

    One terminal row per trial, each with one counted object of the row's digest (``Fleet.audit``);
    nothing of it is left in Redis but header, rows and counters; every conversation that ended well
    was asked for turn by turn, and a turn twice only where a fault met it in flight; what the
    manifest says was spent is what the provider says of the turns that were kept.
    """
    fleet = world.fleet
    traces = await fleet.audit(plan)
    rows = await fleet.rows(plan)
    assert {row.status for row in rows} <= {"passed", "infra_error"}, Counter(row.status for row in rows)
    names = Counter(name.rpartition("/")[2].split(".a")[0] for name in await fleet.stored_traces(plan))
    assert set(names) == {row.trace_id for row in rows}
    assert not await fleet.manifest.redis.exists(keys_of_run.leases(plan.run_id))
    assert not await fleet.manifest.redis.exists(keys_of_run.strikes(plan.run_id))

    async def no_journals() -> bool:
        pattern = f"salvo:{{{plan.run_id}}}:journal:*"
        return not [key async for key in fleet.manifest.redis.scan_iter(pattern, count=1000)]

    await until(no_journals, "no journal is left")
    answered = Counter(
        {turn: times for turn, times in world.answered().items() if plan.index_of(turn[0]) is not None}
    )
    for trace in traces:
        asked = {turn for trace_id, turn in answered if trace_id == trace.trace_id}
        assert {turn.index for turn in trace.turns} <= asked, "a turn that nobody was asked for"
        if trace.status == "passed":
            assert len(trace.turns) == TURNS
    kept_turns = {(trace.trace_id, turn.index) for trace in traces for turn in trace.turns}
    # Asked for and not kept: in flight when the conversation ended, which only an outage can do.
    lost = sum(times for turn, times in answered.items() if turn not in kept_turns)
    twice = sum(times - 1 for turn, times in answered.items() if turn in kept_turns)
    spent = sum(row.result.input_tokens for row in rows if row.result)
    assert spent == 100 * len(kept_turns), "the manifest counts other tokens than the provider gave"
    return Kept(
        statuses=Counter(row.status for row in rows),
        attempts=sum(row.attempt for row in rows),
        answered=sum(answered.values()),
        twice=twice + lost,
    )
