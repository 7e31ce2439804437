"""``python -m benchmarks.nights``: how often nightlies cry wolf, and how soon they see a fall. Seeded."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from salvo_core.stats.nights import Night, Watch

NIGHTS, CELLS, TRIALS, CONFIRMING = 200, 20, 20, 100
GOOD, FALLEN = 0.85, 0.65
SLIDING, AFTER = 250, 50
"""Nights that a slow slide takes, and nights after it."""


class Simulated(NamedTuple):
    """What rounds of pretended nights came to.

    Attributes:
        false_alerts: Per round of NIGHTS x CELLS without any change.
        suspicions: Per round: each costs CONFIRMING trials.
        soon: Share of falls that were alerted within ``within`` nights.
    """

    false_alerts: float
    suspicions: float
    soon: float


def main() -> int:
    """Simulate and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--falls", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=20)
    chosen = parser.parse_args()
    came_to = simulate(chosen.rounds, chosen.falls, seed=chosen.seed)
    print(
        f"{chosen.rounds} rounds of {NIGHTS} nights, {CELLS} cells, {TRIALS} trials a night at {GOOD}; "
        f"{chosen.falls} falls to {FALLEN}; {CONFIRMING} trials a confirmation; seed {chosen.seed}"
    )
    print(f"  false alerts per round              {came_to.false_alerts:8.3f}")
    print(f"  falls alerted within 3 nights       {came_to.soon:8.1%}")
    extra = came_to.suspicions * CONFIRMING / (NIGHTS * CELLS * TRIALS)
    print(f"  confirmation runs per round         {came_to.suspicions:8.1f}   ({extra:.1%} more trials)")
    return 0


def simulate(rounds: int, falls: int, *, seed: int, before: int = 40, within: int = 3) -> Simulated:
    """Return what the rule came to in ``rounds`` without a change, and in ``falls`` of one cell.

    Args:
        rounds: Each of NIGHTS x CELLS.
        falls: Each after ``before`` nights without an alert or a suspicion that still stands.
        seed: Of all chance.
        before: Nights that the reference is learned from; by then cells are as they are at any time.
        within: Nights.
    """
    chance = np.random.default_rng(seed)
    alerts = suspicions = 0
    for _ in range(rounds * CELLS):
        watch = Watch()
        for _ in range(NIGHTS):
            event, suspected = one_night(watch, GOOD, chance)
            alerts += event == "alert"
            suspicions += suspected
    soon = 0
    for _ in range(falls):
        watch = Watch()
        for _ in range(before):
            one_night(watch, GOOD, chance)
        soon += any(one_night(watch, FALLEN, chance)[0] == "alert" for _ in range(within))
    return Simulated(alerts / max(1, rounds), suspicions / max(1, rounds), soon / max(1, falls))


def slides(baseline: float | None) -> Callable[[int, int], float]:
    """Return how often a slide from GOOD to FALLEN over SLIDING nights is alerted within AFTER more.

    Args:
        baseline: What nights are measured by; None learns it from the nights before.
    """

    def measure(rounds: int, seed: int) -> float:
        chance, found = np.random.default_rng(seed), 0
        for _ in range(rounds):
            watch = Watch(baseline=baseline)
            for _ in range(40):
                one_night(watch, GOOD, chance)
            rates = (
                GOOD - (GOOD - FALLEN) * min(1.0, night / SLIDING) for night in range(1, SLIDING + AFTER + 1)
            )
            found += any(one_night(watch, rate, chance)[0] == "alert" for rate in rates)
        return found / rounds

    return measure


def one_night(watch: Watch, rate: float, chance: np.random.Generator) -> tuple[str | None, bool]:
    """Run a night, and its confirmation if one is asked for; return (what came of it, was one asked for)."""
    event = watch.add(Night(int(chance.binomial(TRIALS, rate)), TRIALS))
    if event != "suspicion":
        return event, False
    return watch.add(Night(int(chance.binomial(CONFIRMING, rate)), CONFIRMING, confirmation=True)), True


if __name__ == "__main__":
    raise SystemExit(main())
