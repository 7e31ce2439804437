"""A schedule of faults over one run after another, and the table of what came of it."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from salvo_core.errors import SalvoError
from salvo_core.run.plan import Plan
from salvo_core.store import keys
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.promises import Kept, kept
from tests.chaos.world import MODELS, World, open_world
from tests.integration.fleet import until

TRIALS = (100, 150, 250, 400, 1000)
"""Of each cell; a run has two."""

SEALED_S_MAX = 180.0
"""How long a run may take to end by itself once the faults are over."""


@dataclass(frozen=True)
class Submitted:
    """One run as it was ordered.

    Attributes:
        plan: What the submitter wrote first.
        share: The share of the rows that were there when the submitter was killed; None if it lived.
        whole_s: From its kill until workers had seeded the rest, seconds; None if it lived.
    """

    plan: Plan
    share: float | None = None
    whole_s: float | None = None


@dataclass
class Outcome:
    """What a campaign came to."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    runs: list[tuple[Submitted, Kept]] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)
    """From the kill of a worker until the last of its trials could be taken up by others."""
    in_flight_max: int = 0
    took_s: float = 0.0

    @property
    def twice(self) -> int:
        """Turns that were paid for a second time."""
        return sum(figures.twice for _, figures in self.runs)

    def table(self) -> str:
        """Return the outcome for people."""
        trials = sum(run.plan.total for run, _ in self.runs)
        killed = [run for run, _ in self.runs if run.share is not None]
        statuses: Counter[str] = sum((figures.statuses for _, figures in self.runs), Counter())
        answered = sum(figures.answered for _, figures in self.runs)
        kills = len(self.recovered_s)
        lines = [
            f"seed {self.seed}, {self.took_s / 60:.1f} minutes, {sum(self.faults.values())} faults",
            *(f"  {count:4}  {name}" for name, count in self.faults.most_common()),
            f"{len(self.runs)} runs, {trials:,} trials, {len(killed)} submitters killed: every promise kept",
            f"  rows: {dict(statuses)}, each with one counted object",
            f"  attempts {sum(figures.attempts for _, figures in self.runs):,}",
            f"  provider answers {answered:,}, of them {self.twice} a second time "
            f"(in flight at a fault: at most {self.in_flight_max})",
        ]
        for run in killed:
            lines.append(
                f"  submitter of {run.plan.total:,} trials killed at {run.share:.0%} of the rows: "
                f"the rest was there after {run.whole_s:.1f} s"
            )
        if kills:
            lines.append(
                f"  trials of {kills} killed workers were free again after "
                f"{statistics.median(self.recovered_s):.1f} s (median), "
                f"{max(self.recovered_s):.1f} s (worst); "
                f"{self.twice / kills:.1f} answers paid twice per kill, all faults counted"
            )
        return "\n".join(lines)


async def campaign(
    seed: int, minutes: float, say: Callable[[str], None] = print, *, faults: Sequence[Fault] = FAULTS
) -> Outcome:
    """Run campaigns of faults for so long; the same seed draws the same faults in the same order.

    Args:
        seed: Of every choice.
        minutes: At least one run is made, however short.
        say: Is told what befalls whom.
        faults: Those to draw from.

    Raises:
        AssertionError: A promise was broken; what was done until then is said.
    """
    outcome = Outcome(seed)
    began_s = time.monotonic()
    say(f"chaos: seed {seed}, {minutes:g} minutes")
    async with open_world(seed) as world:
        while not outcome.runs or time.monotonic() - began_s < minutes * 60:
            submitted = await _submitted(world, say)
            plan = submitted.plan
            await _trouble(world, plan, outcome, faults, ends_s=began_s + minutes * 60, say=say)
            await world.keep_staffed()
            await world.fleet.sealed(plan, deadline_s=SEALED_S_MAX)
            await world.settled()
            figures = await kept(world, plan)
            outcome.runs.append((submitted, figures))
            say(
                f"  run of {plan.total} trials is whole: {dict(figures.statuses)}, {figures.twice} paid twice"
            )
        outcome.recovered_s = [kill.recovered_s for kill in world.kills if kill.recovered_s is not None]
        outcome.in_flight_max = world.in_flight_max
    outcome.took_s = time.monotonic() - began_s
    assert outcome.twice <= outcome.in_flight_max, outcome.table()
    return outcome


async def _submitted(world: World, say: Callable[[str], None]) -> Submitted:
    """Order a run from a command line that, every other time, does not live to see it ordered."""
    trials = world.rng.choice(TRIALS)
    to_be_killed = world.rng.random() < 0.5
    known = {name async for name in world.fleet.store.list_folders(keys.RUNS)}
    folder = world.scenarios()
    process = world.command("submit", str(folder), "-n", str(trials), "--json")
    found: list[Plan] = []

    async def is_planned() -> bool:
        plan = await world.new_plan(known)
        if plan is not None:
            found[:] = [plan]
        return bool(found) or process.poll() not in (None, 0)

    await until(is_planned, "the plan is stored", deadline_s=60)
    assert found, process.communicate()
    (plan,) = found
    assert plan.total == trials * len(MODELS)
    world.plans.append(plan)
    if to_be_killed:
        share = world.rng.choice((0.1, 0.5, 0.9))
        await until(
            lambda: _is_seeded(world, plan, share, or_dead=process), "some of it is submitted", deadline_s=60
        )
        process.kill()
        process.communicate()
        killed_s = time.monotonic()
        say(f"  ordered {plan.total} trials; the submitter is killed with {share:.0%} of the rows there")
        await until(lambda: _is_seeded(world, plan, 1.0), "workers seed the rest", deadline_s=60)
        return Submitted(plan, share, time.monotonic() - killed_s)
    said, complained = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, (said, complained)
    say(f"  ordered {plan.total} trials")
    return Submitted(plan)


async def _is_seeded(
    world: World, plan: Plan, share: float, *, or_dead: subprocess.Popen[str] | None = None
) -> bool:
    ended = or_dead is not None and or_dead.poll() is not None
    try:
        counts = await world.fleet.manifest.counts(plan.run_id)
    except SalvoError:  # the run is not opened yet
        return ended
    return counts.seeded >= share * plan.total or ended


async def _trouble(
    world: World,
    plan: Plan,
    outcome: Outcome,
    faults: Sequence[Fault],
    *,
    ends_s: float,
    say: Callable[[str], None],
) -> None:
    """Let faults befall the run until it is sealed, or the time is over."""
    while time.monotonic() < ends_s and not await _is_sealed(world, plan):
        (fault,) = world.rng.choices(faults, weights=[fault.weight for fault in faults])
        told = await fault.befall(world)
        outcome.faults[fault.name] += 1
        say(f"    {fault.name}: {told}")
        await asyncio.sleep(world.rng.uniform(0.2, 2.0))  # faults have their own rhythm, it is not waited for


async def _is_sealed(world: World, plan: Plan) -> bool:
    try:
        return (await world.fleet.manifest.counts(plan.run_id)).state == "sealed"
    except SalvoError:
        return False
