"""How often a comparison errs where its runs stopped when they liked what they saw.

Asked as ``salvo compare`` asks it, of cells that ``--early-stop`` stopped; and, beside it, what a test of
fixed numbers would have said of the same trials.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.rows import Result, Row
from salvo_core.run.change import Side, change
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.sequential import Evidence, Sequential
from salvo_core.run.stopping import DECIDED

TRIALS = 100
GATE = Gate(pass_rate=0.8)
RULE = Sequential(rule="sprt", indifference=0.05)


class Stopped(NamedTuple):
    """One cell of a run: how many of so many trials passed, before a rule stopped it or all had ended."""

    passed: int
    ended: int


def stopped_calls(
    now: float, before: float, verdict: str, *, both: bool = False, as_if_fixed: bool = False
) -> Callable[[int, int], float]:
    """Return how often a candidate that may stop early compares as a verdict.

    Args:
        now: Its true pass rate.
        before: The baseline's.
        verdict: Which.
        both: Whether the baseline may stop early, too; else all its trials end.
        as_if_fixed: Judge as if just so many trials had been ordered as ended.
    """

    def measure(rounds: int, seed: int) -> float:
        chance, found = random.Random(seed), 0
        for _ in range(rounds):
            candidate, baseline = _run(chance, now, stops=True), _run(chance, before, stops=both)
            found += _verdict(candidate, baseline, as_if_fixed) == verdict
        return found / rounds

    return measure


def _run(chance: random.Random, rate: float, *, stops: bool) -> Stopped:
    evidence, passed = Evidence(RULE, GATE), 0
    for ended in range(1, TRIALS + 1):
        ok = chance.random() < rate
        passed += ok
        if stops and evidence.add("passed" if ok else "failed") is not None:
            return Stopped(passed, ended)
    return Stopped(passed, TRIALS)


@functools.cache
def _verdict(now: Stopped, before: Stopped, as_if_fixed: bool) -> str:
    sides = (
        _side(one, one.ended if as_if_fixed else TRIALS, place) for place, one in enumerate((now, before))
    )
    return change(*sides).verdict


def _side(one: Stopped, ordered: int, place: int) -> Side:
    cell = Cell(
        scenario_digest="0" * 64, scenario_name="s", model="m", adapter="scripted", threshold=GATE.pass_rate
    )
    order = Plan(
        run_id=f"01a20e0e-0000-7000-8000-00000000000{place}",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=(cell,),
        trials=ordered,
        salvo_version="0",
    )

    def rows() -> Iterator[Row]:
        for index in range(ordered):
            if index >= one.ended:
                yield Row(index, "skipped", 0, "", reason=DECIDED)
            else:
                passed = index < one.passed
                yield Row(index, "passed" if passed else "failed", 1, "", result=_result(float(passed)))

    return Side(order, rows())


@functools.cache
def _result(score: float) -> Result:
    return Result(
        score=score, cost_usd=None, latency_s=0.0, duration_s=0.0, input_tokens=0, output_tokens=0, turns=1,
        retries=0, outcome="completed", error="", worker="w", digest="",
    )  # fmt: skip
