"""How often each rule errs: by exact sums where there are few outcomes, else by simulation with stated seeds.

Every rule is asked as the product asks it; what is simulated here is only what agents do.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.change import Side, change
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.sequential import Evidence, Sequential
from salvo_core.run.stopping import Curtailment
from salvo_core.run.verdict import Tally, ruling
from salvo_core.stats.contrast import detectable_drop, difference_interval, fisher, median_ratio, stratified
from salvo_core.stats.homogeneity import homogeneity
from salvo_core.stats.intervals import Interval, mean_interval, wilson
from salvo_core.stats.planning import Seen, half_width_of_total
from salvo_core.stats.pooled import Counted, of_their_population, of_these_cells
from salvo_core.stats.reliability import pass_hat_k_interval
from salvo_core.stats.sequential import e_value


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happens.

    Attributes:
        rule: Which.
        setting: Of what, in words.
        stated: What the rule promises, in words.
        low: The figure must be at least this.
        high: And at most this.
        rounds: Simulated; 0 where it is an exact sum.
        seed: Of the simulation.
        measure: Returns the figure, a share unless ``unit`` says otherwise.
        unit: Empty for a share.
    """

    rule: str
    setting: str
    stated: str
    low: float
    high: float
    rounds: int
    seed: int
    measure: Callable[[int, int], float]
    unit: str = ""


def _binomial(n: int, rate: float) -> list[float]:
    return [math.comb(n, c) * rate**c * (1 - rate) ** (n - c) for c in range(n + 1)]


def covers(interval: Callable[[int, int], Interval], n: int, rate: float) -> float:
    """Return how often an interval holds the true rate, exactly."""
    return math.fsum(
        chance
        for passed, chance in enumerate(_binomial(n, rate))
        if interval(passed, n).low <= rate <= interval(passed, n).high
    )


def covers_power(n: int, rate: float, k: int) -> float:
    """Return how often the interval of pass^k holds it, exactly."""
    return math.fsum(
        chance
        for passed, chance in enumerate(_binomial(n, rate))
        if pass_hat_k_interval(passed, n, k).low <= rate**k <= pass_hat_k_interval(passed, n, k).high
    )


def covers_difference(n: int, rate_a: float, rate_b: float) -> float:
    """Return how often the interval of a difference holds it, n a side, exactly."""
    covered = 0.0
    for a, chance_a in enumerate(_binomial(n, rate_a)):
        for b, chance_b in enumerate(_binomial(n, rate_b)):
            low, high = difference_interval(Counted(a, n), Counted(b, n))
            if low <= rate_a - rate_b <= high:
                covered += chance_a * chance_b
    return covered


def fisher_alarms(n: int, rate_a: float, rate_b: float) -> float:
    """Return how often a fall is called at 0.05, n a side, exactly."""
    alarms = 0.0
    for a, chance_a in enumerate(_binomial(n, rate_a)):
        for b, chance_b in enumerate(_binomial(n, rate_b)):
            if chance_a * chance_b > 1e-9 and fisher(Counted(a, n), Counted(b, n)).worse < 0.05:
                alarms += chance_a * chance_b
    return alarms


def mean_scores(rounds: int, seed: int) -> float:
    """Return how often the interval of 20 scores of beta(4, 1) holds their mean, 0.8."""
    scores = np.random.default_rng(seed).beta(4, 1, (rounds, 20))
    means, sds = scores.mean(axis=1), scores.std(axis=1, ddof=1)
    found = (mean_interval(float(m), float(s), 20) for m, s in zip(means, sds, strict=True))
    return sum(low <= 0.8 <= high for low, high in found) / rounds


def these_cells(rounds: int, seed: int) -> float:
    """Return how often the interval of eight cells holds the mean of their true rates."""
    rates = np.array([0.95, 0.9, 0.7, 0.5, 0.85, 0.99, 0.8, 0.6])
    drawn = np.random.default_rng(seed).binomial(20, rates, (rounds, len(rates)))
    found = [of_these_cells([Counted(int(c), 20) for c in cells]) for cells in drawn]
    mean = float(rates.mean())
    return sum(one is not None and one.interval.low <= mean <= one.interval.high for one in found) / rounds


def population(rounds: int, seed: int) -> float:
    """Return how often the interval of ten cells holds the mean that cells are drawn from."""
    chance = np.random.default_rng(seed)
    drawn = chance.binomial(20, chance.beta(8, 2, (rounds, 10)))
    found = [of_their_population([Counted(int(c), 20) for c in cells]) for cells in drawn]
    return sum(one is not None and one.interval.low <= 0.8 <= one.interval.high for one in found) / rounds


def ratio_of_medians(rounds: int, seed: int) -> float:
    """Return how often the bootstrap holds the true ratio, 1.2."""
    chance, covered = np.random.default_rng(seed), 0
    for _ in range(rounds):
        a, b = 1.2 * chance.lognormal(0, 0.5, 40), chance.lognormal(0, 0.5, 40)
        found = median_ratio(a.tolist(), b.tolist(), seed=seed)
        covered += found is not None and found.interval[0] <= 1.2 <= found.interval[1]
    return covered / rounds


def totals(rounds: int, seed: int) -> float:
    """Return how often twenty new trials come to a total that eight old ones foretold."""
    chance, inside = np.random.default_rng(seed), 0
    for _ in range(rounds):
        past, new = chance.normal(10, 3, 8), chance.normal(10, 3, 20)
        half = half_width_of_total(Seen(float(past.mean()), float(past.std(ddof=1)), 8), 20)
        inside += half is not None and abs(float(new.sum()) - 20 * float(past.mean())) <= half
    return inside / rounds


def workers_flagged(rounds: int, seed: int) -> float:
    """Return how often one of six equal workers is flagged."""
    drawn = np.random.default_rng(seed).binomial(50, 0.8, (rounds, 6))
    found = [homogeneity([Counted(int(c), 50) for c in counts], alpha=0.05) for counts in drawn]
    return sum(bool(one and one.flagged) for one in found) / rounds


def strata_alarms(rounds: int, seed: int) -> float:
    """Return how often five cells that did not change alarm as one."""
    rates = np.array([0.95, 0.8, 0.6, 0.9, 0.5])
    drawn = np.random.default_rng(seed).binomial(20, rates, (rounds, 2, len(rates)))
    alarms = 0
    for now, before in drawn:
        found = stratified(
            [(Counted(int(a), 20), Counted(int(b), 20)) for a, b in zip(now, before, strict=True)]
        )
        alarms += found is not None and found.exact.worse < 0.05
    return alarms / rounds


def _order(trials: int, cells: int, run_id: str) -> Plan:
    return Plan(
        run_id=run_id,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=tuple(
            Cell(
                scenario_digest=f"{n:064x}",
                scenario_name=f"s{n}",
                model="m",
                adapter="scripted",
                threshold=0.8,
            )
            for n in range(cells)
        ),
        trials=trials,
        salvo_version="0",
    )


def _side(order: Plan, passes: list[int]) -> Side:
    def rows() -> Iterator[Row]:
        for index in range(order.total):
            passed = order.trial_index(index) < passes[order.cell_index(index)]
            result = _PASSED if passed else _FAILED
            yield Row(index, "passed" if passed else "failed", 1, "", result=result)

    return Side(order, rows())


def _result(score: float) -> Result:
    # Without cost, time and tokens no ratios are drawn, which take most of a comparison's time.
    return Result(
        score=score, cost_usd=None, latency_s=0.0, duration_s=0.0, input_tokens=0, output_tokens=0, turns=1,
        retries=0, outcome="completed", error="", worker="w", digest="",
    )  # fmt: skip


_PASSED, _FAILED = _result(1.0), _result(0.0)


def compared(trials: int, now: list[float], before: list[float], verdict: str) -> Callable[[int, int], float]:
    """Return how often two runs compare as a verdict."""
    first = _order(trials, len(now), "01a20e0e-0000-7000-8000-000000000001")
    second = _order(trials, len(now), "01a20e0e-0000-7000-8000-000000000002")

    def measure(rounds: int, seed: int) -> float:
        chance, found = np.random.default_rng(seed), 0
        for _ in range(rounds):
            sides = [chance.binomial(trials, rates).tolist() for rates in (now, before)]
            found += change(_side(first, sides[0]), _side(second, sides[1])).verdict == verdict
        return found / rounds

    return measure


def gated(n: int, rate: float, verdict: str) -> float:
    """Return how often a gate of 0.9 at 95 % comes to a verdict, exactly."""
    gate = Gate(pass_rate=0.9, confidence=0.95)
    return math.fsum(
        chance
        for passed, chance in enumerate(_binomial(n, rate))
        if ruling(
            Tally(
                trials=n,
                scores=[1.0] * passed + [0.0] * (n - passed),
                passed=passed,
                hard_fail=0,
                infra_error=0,
            ),
            0.8,
            gate=gate,
        ).verdict
        == verdict
    )


def called(
    rule: Sequential, bar: float, rate: float, wanted: str, n_max: int = 1000
) -> Callable[[int, int], float]:
    """Return how often a rule calls an agent good, bad or either; ``length`` is the mean number of trials."""
    gate = Gate(pass_rate=bar)

    def measure(rounds: int, seed: int) -> float:
        chance, total = random.Random(seed), 0
        for _ in range(rounds):
            evidence, used = Evidence(rule, gate), 0
            while evidence.decision is None and used < n_max:
                evidence.add("passed" if chance.random() < rate else "failed")
                used += 1
            if wanted == "length":
                total += used
            else:
                total += evidence.decision is not None if wanted == "either" else evidence.decision == wanted
        return total / rounds

    return measure


def slow_failures(in_index_order: bool) -> Callable[[int, int], float]:
    """Return how often the SPRT calls an agent of 0.7 good when failures take twice as long."""
    rule, gate = Sequential(rule="sprt", indifference=0.1), Gate(pass_rate=0.8)

    def measure(rounds: int, seed: int) -> float:
        chance, wrong = random.Random(seed), 0
        for _ in range(rounds):
            passes = [chance.random() < 0.7 for _ in range(200)]
            free, ends = [0.0] * 50, []
            for index, passed in enumerate(passes):
                end = heapq.heappop(free) + chance.expovariate(1.0) * (1 if passed else 2)
                heapq.heappush(free, end)
                ends.append((end, index))
            order = range(200) if in_index_order else [index for _, index in sorted(ends)]
            evidence = Evidence(rule, gate)
            for index in order:
                if evidence.add("passed" if passes[index] else "failed") is not None:
                    break
            wrong += evidence.decision == "good"
        return wrong / rounds

    return measure


def curtailed(saved: bool) -> Callable[[int, int], float]:
    """Return how often a curtailed cell came to something else than the whole one; or the trials saved."""

    def measure(rounds: int, seed: int) -> float:
        chance, other, spared = random.Random(seed), 0, 0
        for _ in range(rounds):
            rate = chance.uniform(0.5, 0.95)
            passes = [chance.random() < rate for _ in range(50)]
            rule = Curtailment(50, 0.8)
            stop = next(
                (found for p in passes if (found := rule.add("passed" if p else "failed", float(p)))), None
            )
            if stop is not None:
                other += sum(passes) / 50 >= 0.8
                spared += 50 - stop.after
        return (spared / (50 * rounds)) if saved else other / rounds

    return measure


def looked_at(by: str) -> Callable[[int, int], float]:
    """Return how often an interval that is looked at after each of 200 trials ever misses 0.8."""
    if by == "wilson":
        inside = [[wilson(c, n).low <= 0.8 <= wilson(c, n).high for c in range(n + 1)] for n in range(201)]
    else:
        inside = [[e_value(c, n, 0.8) < 20 for c in range(n + 1)] for n in range(201)]

    def measure(rounds: int, seed: int) -> float:
        passed = np.cumsum(np.random.default_rng(seed).random((rounds, 200)) < 0.8, axis=1)
        return sum(not all(inside[n][c] for n, c in enumerate(row, 1)) for row in passed.tolist()) / rounds

    return measure


def exact(figure: Callable[[], float]) -> Callable[[int, int], float]:
    """Return a measure that is a sum and needs no chance."""
    return lambda rounds, seed: figure()


def drop_found() -> float:
    """Return how often the smallest fall that 100 trials a side are said to show is called, exactly."""
    fall = detectable_drop(100, 100, 0.9)
    return fisher_alarms(100, 0.9 - fall, 0.9) if fall else 0.0
