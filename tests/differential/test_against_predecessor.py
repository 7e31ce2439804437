"""The differential test: what the predecessor's users have comes to the same here, or differs on purpose."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.differential.arena import Arena
from tests.differential.cases import KINDS, PRICED, Case, generated, priced_scripts
from tests.differential.deliberate import ONE_BY_ONE, TABLE, Deliberate, corrected
from tests.differential.known import KNOWN
from tests.differential.observed import Observed, differences
from tests.differential.predecessor import install_predecessor
from tests.servers.cache import CannotInstall

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

SEED = 20_261_122
GENERATED = tuple(generated(SEED, 75))
EQUAL = (*(known.case for known in KNOWN), *GENERATED)

Results = dict[str, tuple[Observed, Observed]]


@pytest.fixture(scope="module")
def results() -> Results:
    """What every case came to, (predecessor, we) by name: all are run at once, before the first test."""
    try:
        python = install_predecessor()
    except CannotInstall as failure:
        pytest.skip(f"the predecessor cannot be installed, so nothing was compared with it: {failure}")
    scripts = priced_scripts(random.Random(SEED))
    with Arena(python, scripts, [*EQUAL, *(line.case for line in ONE_BY_ONE if line.case)]) as arena:
        return arena.run()


@pytest.mark.parametrize("case", EQUAL, ids=str)
def test_a_scenario_comes_to_the_same(results: Results, case: Case) -> None:
    old, new = results[case.name]
    want, _ = corrected(case, old)
    assert differences(want, new) == [], f"{case}\n{old.told[-1500:]}\n{new.told[-1500:]}"


@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_the_contracts_own_cases_come_to_what_it_says(results: Results, known: Any) -> None:
    assert results[known.case.name][1].outline == known.comes_to


@pytest.mark.parametrize("line", ONE_BY_ONE, ids=str)
def test_a_difference_is_the_one_that_is_meant(results: Results, line: Deliberate) -> None:
    assert line.case is not None
    old, new = results[line.case.name]
    assert old.outline == line.predecessor, old.told[-1500:]
    assert new.outline == line.ours, new.told[-1500:]


def test_every_rule_of_the_table_is_needed(results: Results) -> None:
    everything = (*EQUAL, *(line.case for line in ONE_BY_ONE if line.case))
    used = {rule for case in everything for rule in corrected(case, results[case.name][0])[1]}
    assert used == {line for line in TABLE if line.case is None}


def test_enough_was_compared_and_all_of_it_occurred(results: Results) -> None:
    assert len(GENERATED) >= 60
    kinds = Counter(kind for case in GENERATED for kind in map(_kind, case.scenario["assertions"]))
    assert set(kinds) == set(KINDS)
    assert {case.trials for case in GENERATED} == {1, 2, 3, 4, 5}
    assert {case.scenario["model"] for case in GENERATED} >= set(PRICED)
    seen = [results[case.name][1] for case in GENERATED]
    assert {one.verdict for one in seen} == {"PASS", "PARTIAL", "FAIL", "HARD FAIL", "INFRA_ERROR"}
    assert {one.exit_code for one in seen} == {0, 1, 2, 3}
    trials = [trial for one in seen for trial in one.trials]
    assert {trial.status for trial in trials} == {"passed", "failed", "hard_fail", "infra_error"}
    assert any(trial.finish_reason == "tool_calls" for trial in trials), "nobody reached max_turns"
    bars = [(trial.score, case.threshold) for case in GENERATED for trial in results[case.name][1].trials]
    assert any(score == bar and 0 < bar < 1 for score, bar in bars), "no score lies on its threshold"


def _kind(assertion: dict[str, Any]) -> str:
    match assertion:
        case {"type": "jmespath", "operator": operator}:
            return f"jmespath {operator}"
        case {"type": "tool_sequence", "mode": mode}:
            return f"tool_sequence {mode}"
        case {"type": kind}:
            return str(kind)
    return next(f"short {key}" for key in assertion if f"short {key}" in KINDS)
