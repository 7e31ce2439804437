"""The door of whoever asks before ordering: what past runs of the same cells say that a new one will take.

Only summaries are read, and only those of the very same scenario with the same model: an edited
scenario is another one. Nothing is written.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.run.cells import CellSummary
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.spread import Spread
from salvo_core.run.summary import Summary
from salvo_core.stats.contrast import detectable_drop
from salvo_core.stats.planning import Seen, half_width_of_total, together, trials_per_arm, trials_to_tell
from salvo_core.store import keys
from salvo_core.store.homes import stored_ids
from salvo_core.store.protocol import Store

LOOKED_AT_MAX = 200
"""Past runs that are opened at most, newest first."""

RUNS_PER_CELL = 10
"""Past runs of a cell that are enough: older ones say less about today."""

RATE_ASSUMED = 0.9
"""The pass rate of a cell of which nothing is known."""

POWER = 0.8
"""Chance that a difference of the size told is found; the chance of a false alarm is 5 %, one-sided."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Amount:
    """What a number of trials will use of some one unit.

    Attributes:
        total: Expected.
        low: Of a 95 % prediction interval; None where a single trial is all that is known.
        high: As low.
    """

    total: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One cell, before it is run.

    Attributes:
        past_runs: Runs of this very cell that were found.
        past_trials: Their graded trials.
        pass_rate: Of those; None when there are none.
        calls: Provider calls of the agent, those tried again included.
        tokens: Input and output, of the agent.
        cost_usd: Of the agent; None where no past cost is known.
        judge_cost_usd: Expected, of the judges; None where none is known.
        detects: Smallest fall of the pass rate that a comparison with a baseline of the same size would
            find; None where not even a fall to zero would be.
        trials_to_detect: Of each of two runs, to find the fall that was asked for; None where none was, or
            the rate cannot fall so far.
        trials_to_pass: To tell an agent of ``rate_to_pass`` from the gate; None without a gate, and where
            more would be needed than anyone runs.
        rate_to_pass: The past pass rate where it is above the gate, else half way from the gate to 1.
    """

    past_runs: int
    past_trials: int
    pass_rate: float | None
    calls: Amount | None
    tokens: Amount | None
    cost_usd: Amount | None
    judge_cost_usd: float | None
    detects: float | None
    trials_to_detect: int | None
    trials_to_pass: int | None
    rate_to_pass: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What all cells of a run take of one unit: foreseen where past runs tell, else bounded.

    Attributes:
        foreseen: Of the cells that past runs know, together; None where they know none.
        by_past_runs: How many cells that are.
        by_worst_case: The other cells.
        worst_case: What those take at most, every turn and every retry used; None where nobody bounds it.
    """

    foreseen: Amount | None
    by_past_runs: int
    by_worst_case: int
    worst_case: float | None


def estimate(amounts: Sequence[Amount | None], worst_cases: Sequence[float | None]) -> Estimate:
    """Return what cells take together, each by its past runs where there are any, else by its worst case.

    Args:
        amounts: By cell; None where no past run tells.
        worst_cases: Of the same cells; None where nobody bounds it.
    """
    others = [bound for amount, bound in zip(amounts, worst_cases, strict=True) if amount is None]
    known = [bound for bound in others if bound is not None]
    return Estimate(
        foreseen=in_all([amount for amount in amounts if amount is not None]),
        by_past_runs=len(amounts) - len(others),
        by_worst_case=len(others),
        worst_case=math.fsum(known) if len(known) == len(others) else None,
    )


async def foresee(plan: Plan, store: Store, *, detect: float | None = None) -> list[Foreseen]:
    """Return what each cell of a plan will take and can show, in the plan's order.

    Args:
        plan: Of the run, which nobody needs to have ordered.
        store: Where past runs are; one that is damaged or not sealed is passed over.
        detect: A fall of the pass rate that somebody wants to find, 0 < detect < 1.

    Raises:
        StoreUnavailable, StoreRefused: As for any look at the store.
    """
    past = await _past_cells(plan, store)
    # A search for a number of trials may take a second: off the loop.
    return await asyncio.to_thread(
        lambda: [_foreseen(cell, past[_key(cell)], plan.trials, detect) for cell in plan.cells]
    )


def in_all(amounts: Sequence[Amount | None]) -> Amount | None:
    """Return what all cells use together; None where that of any is not known.

    Cells are independent of each other: the squares of their widths add up.
    """
    known = [amount for amount in amounts if amount is not None]
    if not known or len(known) < len(amounts):
        return None
    total = math.fsum(amount.total for amount in known)
    halves = [amount.high - amount.total for amount in known if amount.high is not None]
    if len(halves) < len(known):
        return Amount(total, None, None)
    half = math.hypot(*halves)
    return Amount(total, max(0.0, total - half), total + half)


_Key = tuple[str, str, str]


def _key(cell: Cell | CellSummary) -> _Key:
    return cell.scenario_digest, cell.model, cell.adapter


async def _past_cells(plan: Plan, store: Store) -> dict[_Key, list[CellSummary]]:
    found: dict[_Key, list[CellSummary]] = {_key(cell): [] for cell in plan.cells}
    run_ids = (await stored_ids(store))[:LOOKED_AT_MAX]
    for start in range(0, len(run_ids), _AT_ONCE):
        some = run_ids[start : start + _AT_ONCE]
        for summary in await asyncio.gather(*(_summary(run_id, store) for run_id in some)):
            for cell in summary.cells if summary is not None else ():
                past = found.get(_key(cell))
                if past is not None and cell.scored and len(past) < RUNS_PER_CELL:
                    past.append(cell)
        if all(len(past) >= RUNS_PER_CELL for past in found.values()):
            break
    return found


async def _summary(run_id: str, store: Store) -> Summary | None:
    key = keys.summary(run_id)
    try:
        return Summary.decode(await store.get(key), key)
    except (ObjectMissing, ObjectCorrupt):
        return None


def _foreseen(cell: Cell, past: Sequence[CellSummary], trials: int, detect: float | None) -> Foreseen:
    scored = sum(one.scored for one in past)
    rate = sum(one.counts["passed"] for one in past) / scored if scored else None
    # An unbroken row of passes is not certainty: drawn in by a trial.
    likely = RATE_ASSUMED if rate is None else min(max(rate, 1 / (scored + 2)), 1 - 1 / (scored + 2))
    judged = [one.judge_cost.mean_usd for one in past if one.judge_cost.mean_usd is not None]
    needed = None
    if detect is not None and likely > detect:
        needed = trials_per_arm(likely - detect, likely, power=POWER)
    to_pass = above = None
    if cell.gate is not None:
        bar = cell.gate.pass_rate
        above = rate if rate is not None and bar < rate < 1 else (1 + bar) / 2
        design = trials_to_tell(bar, above, alpha=(1 - cell.gate.confidence) / 2, beta=1 - POWER)
        to_pass = None if design is None else design.n
    return Foreseen(
        past_runs=len(past),
        past_trials=scored,
        pass_rate=rate,
        calls=_calls(past, trials),
        tokens=_amount([(one.tokens, one.scored) for one in past], trials),
        cost_usd=_amount([(one.cost_usd, one.cost.known) for one in past], trials),
        judge_cost_usd=trials * math.fsum(judged) / len(judged) if judged else None,
        detects=detectable_drop(trials, trials, likely, power=POWER),
        trials_to_detect=needed,
        trials_to_pass=to_pass,
        rate_to_pass=above,
    )


def _calls(past: Sequence[CellSummary], trials: int) -> Amount | None:
    """Return exchanges that come back, and on top of them those that will have to be tried again."""
    turns = _amount([(one.turns, one.scored) for one in past], trials)
    ended = sum(sum(one.outcomes.values()) for one in past)
    if turns is None or not ended:
        return turns
    again = trials * sum(one.retries for one in past) / ended
    low, high = turns.low, turns.high
    return Amount(
        turns.total + again, None if low is None else low + again, None if high is None else high + again
    )


def _amount(parts: Sequence[tuple[Spread | None, int]], trials: int) -> Amount | None:
    """Return what trials will use, by the spreads of past ones; an older Salvo's tell no deviation."""
    seen = together(
        [
            Seen(spread.mean, spread.sd or 0.0, n)
            for spread, n in parts
            if spread is not None and n and (spread.sd is not None or n == 1)
        ]
    )
    if seen is None:
        return None
    total, half = seen.mean * trials, half_width_of_total(seen, trials)
    if half is None:
        return Amount(total, None, None)
    return Amount(total, max(0.0, total - half), total + half)
