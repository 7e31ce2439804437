"""Rows, counters and traces that do not say the same: what is said of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.manifest.counters import difference, recounted
from salvo_core.manifest.rows import Row
from salvo_core.run.discrepancies import differing, miscounted, mistaken, regraded
from tests.unit.run.builders import plan, result, row, rows
from tests.unit.trial.builders import trace as some_trace

CELLS = 2


def trace(**fields):
    order = plan()
    given_fields = {"run_id": order.run_id, "trace_id": order.trace_id(1), "index": 1, "attempt": 2}
    return some_trace().model_copy(update=given_fields | fields)


def said_of(one):
    return one.run_id, one.trace_id, one.index, one.attempt


def test_a_trace_is_that_of_its_name_or_it_is_said_how_not():
    assert mistaken(plan(), 1, 2, *said_of(trace())) == ""
    assert mistaken(plan(), 1, 2, *said_of(trace(index=2))) == "its index is 2, not 1"
    assert "attempt is 2, not 3" in mistaken(plan(), 1, 3, *said_of(trace()))
    assert "trace id" in mistaken(plan(), 0, 2, *said_of(trace(index=0)))


def test_a_row_that_differs_is_told_by_field_with_both_values():
    one = row(0, score=1.0)
    assert differing(one, "passed", one.result) == ""
    told = differing(one, "failed", one.result._replace(score=0.5, input_tokens=7))
    assert told == (
        "status is passed in the row, failed in its trace, score is 1.0 in the row, 0.5 in its trace, "
        "input_tokens is 100 in the row, 7 in its trace"
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"findings": (), "score": 1.0, "grade": "passed"}, ""),
        ({"findings": (), "score": 1.0 - 1e-15, "grade": "passed"}, ""),
        ({"findings": (), "score": 0.5, "grade": "passed"}, "come to passed with 1"),
        ({"findings": (), "score": 1.0, "grade": "failed"}, "its trace says failed"),
        ({"findings": (), "score": None, "grade": None}, "its trace says None"),
        ({"outcome": "cancelled", "score": None, "grade": None}, ""),
        ({"outcome": "infra_error", "score": 1.0, "grade": "passed"}, "ended as infra_error has the grade"),
    ],
)
def test_a_grade_follows_from_findings_and_threshold_or_it_is_said(fields, told):
    found = regraded(trace(outcome="completed", error=None, threshold=0.8).model_copy(update=fields))
    assert (found == "") if told == "" else (told in found)


def test_wrong_counters_are_named_and_those_that_no_row_remembers_are_not():
    right = recounted(rows(1, 0, "pending"), CELLS)
    assert miscounted(right | {"claims": 9, "expired": 3}, right) == ""
    assert miscounted(right | {"passed": 5}, right) == "passed is 5 and should be 1"
    assert miscounted({}, right).endswith("more")


results = st.builds(
    result,
    score=st.floats(0, 1),
    cost_usd=st.none() | st.floats(0, 10),
    input_tokens=st.integers(0, 1000),
    retries=st.integers(0, 3),
)
any_row = st.builds(
    lambda status, ended: Row(
        0, status, 1, plan().trace_id(0), result=ended if status != "pending" else None
    ),
    st.sampled_from(["pending", "passed", "failed", "hard_fail", "infra_error", "cancelled"]),
    results,
)


@given(st.lists(any_row, min_size=1, max_size=5), any_row, st.integers(0, 4), st.booleans())
def test_booking_the_difference_of_one_row_is_the_same_as_counting_all_again(all_rows, after, place, missing):
    placed = [replace(one, index=index) for index, one in enumerate(all_rows)]
    place %= len(placed)
    before, after = None if missing else placed[place], replace(after, index=place)
    others = [one for one in placed if one.index != place]
    counters = recounted([*others, *([before] if before else [])], CELLS)
    pairs = iter(difference(before, after, CELLS))
    for field, by in zip(pairs, pairs, strict=True):
        counters[field] = counters.get(field, 0) + by
    wanted = recounted([*others, after], CELLS)
    assert {field: number for field, number in counters.items() if number} == wanted
