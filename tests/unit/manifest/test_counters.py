"""Counters: what one row is worth, and what all of them say."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.manifest.counters import NANO, increments, read_counts
from salvo_core.manifest.rows import STATUSES, TERMINAL, Result
from tests.unit.manifest.test_rows import results

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
HEADER = {
    "state": "running", "total": "10", "cells": "2", "seeded": "10", "released": "10", "created_ms": "1000",
    "attempts_max": "3", "concurrency_max": "0", "name": "refund desk",
}  # fmt: skip


def booked(*ended):
    """The counters hash after these (cell, status, result), as the commit script leaves it."""
    counters = {}
    for cell, status, result in ended:
        fields = increments(cell, status, result)
        pairs = [*zip(fields[::2], fields[1::2], strict=True), (status, 1)]
        for name, by in pairs:
            counters[name] = counters.get(name, 0) + int(by)
    return {name: str(value) for name, value in counters.items()}


def read(counters=None, **header):
    return read_counts(RUN_ID, HEADER | header, counters or {}, 61_000)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(sorted(TERMINAL)), results), max_size=20))
def test_counts_are_the_sum_of_the_rows(ended):
    counts = read(booked(*ended))
    assert counts.input_tokens == sum(result.input_tokens for _, _, result in ended)
    assert counts.output_tokens == sum(result.output_tokens for _, _, result in ended)
    assert counts.turns == sum(result.turns for _, _, result in ended)
    assert counts.retries == sum(result.retries for _, _, result in ended)
    known = [result.cost_usd for _, _, result in ended if result.cost_usd is not None]
    assert counts.cost_usd == float(sum(Fraction(round(cost * NANO), NANO) for cost in known))
    assert counts.cost_unknown == len(ended) - len(known)
    judges = [result.judge_cost_usd for _, _, result in ended if result.judge_cost_usd is not None]
    assert counts.judge_cost_usd == float(sum(Fraction(round(cost * NANO), NANO) for cost in judges))
    assert counts.judge_cost_unknown == len(ended) - len(judges)
    for cell, per_cell in counts.per_cell.items():
        for status in STATUSES:
            assert per_cell.statuses[status] == sum((c, s) == (cell, status) for c, s, _ in ended)


def test_ten_thousand_small_costs_add_up_to_the_last_digit():
    one = Result(1.0, 0.000001, 0, 0, 0, 0, 0, 0, "completed", "", "w", "")
    assert read(booked(*[(0, "passed", one)] * 10_000)).cost_usd == 0.01
    third = Result(1.0, 0.1, 0, 0, 0, 0, 0, 0, "completed", "", "w", "")
    assert read(booked(*[(0, "passed", third)] * 10_000)).cost_usd == 1000.0


def test_what_is_nothing_is_not_sent():
    nothing = Result(None, 0.0, 0, 0, 0, 0, 0, 0, "infra_error", "transient", "w", "")
    assert increments(4, "infra_error", nothing) == ["cell:4:infra_error", 1]


def test_a_fresh_run_has_no_times_no_rate_and_no_verdict():
    counts = read()
    assert (counts.started_ms, counts.finished_ms, counts.rate_per_s, counts.eta_s) == (None,) * 4
    assert (counts.verdict, counts.exit_code, counts.concurrency_max) == (None, None, None)
    assert counts.name == "refund desk"


def test_rate_and_eta_are_of_ended_trials_since_the_first_claim():
    counts = read({"pending": "5", "running": "1", "passed": "4"}, started_ms="41000")
    assert counts.ended == 4
    assert counts.rate_per_s == 4 / 20
    assert counts.eta_s == 6 / (4 / 20)


def test_a_finished_run_stops_the_clock():
    counts = read({"passed": "10"}, started_ms="41000", finished_ms="43000", state="finished")
    assert counts.rate_per_s == 5.0
    assert counts.eta_s == 0.0


def test_waiting_is_what_messages_should_stand_for():
    assert read({"pending": "7", "running": "2", "passed": "1"}, released="6").waiting == 3
    # Rows that a cancellation ended were never released.
    assert read({"cancelled": "9", "running": "1"}, released="4").waiting == 0


def test_a_state_that_this_salvo_does_not_know_is_refused():
    with pytest.raises(ValueError, match="unknown state 'dancing'"):
        read(state="dancing")


def test_numbers_are_not_read_out_of_thin_air():
    with pytest.raises(KeyError):
        read_counts(RUN_ID, {"state": "running"}, {}, 0)
