"""Which trials of a plan a beginning of a trace id may mean."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from salvo_core.run.plan import Cell, Plan

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


def plan(trials):
    cell = Cell(scenario_digest="0" * 64, scenario_name="n", model="m", adapter="a", threshold=0.8)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Plan(run_id=RUN_ID, created_at=now, cells=(cell,), trials=trials, salvo_version="0")


@given(st.integers(1, 300), st.data())
def test_the_trials_whose_ids_begin_so_are_found_whatever_the_length(trials, data):
    made = plan(trials)
    ids = [made.trace_id(index) for index in range(trials)]
    beginning = data.draw(st.sampled_from(ids))[: data.draw(st.integers(0, 36))]
    assert list(made.indices_of(beginning)) == [i for i, one in enumerate(ids) if one.startswith(beginning)]


def test_a_beginning_of_another_runs_ids_means_no_trial():
    made = plan(50)
    assert not made.indices_of("0199c2f4-7b1f")
    assert not made.indices_of("zzz")
    assert not made.indices_of("0199c2f4-7b1e-7000-8000-02zz")


def test_a_million_trials_are_searched_without_being_listed():
    made = plan(1_000_000)
    wanted = made.trace_id(765_432)
    assert list(made.indices_of(wanted)) == [765_432]
