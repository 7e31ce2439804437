"""What docs/statistics.md says is what was computed, and what was computed comes out the same again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.known_answers import KNOWN, Known
from benchmarks.promises import RATES
from benchmarks.statistics import PAGE, RESULTS, known_line, rate_line, tables, with_tables

WRITE = "python -m benchmarks.statistics writes both"
DRAWN_BY_PYTHON = ("the same, failures take twice as long", "curtailment changes what a cell comes to")


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def test_the_page_says_what_was_computed() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page, results()) == page, WRITE
    assert all(table in page for table in tables(results()).values())


@pytest.mark.parametrize("one", KNOWN, ids=lambda one: f"{one.rule}: {one.given}")
def test_every_formula_gives_the_answer_that_is_known(one: Known) -> None:
    assert one.ours() == pytest.approx(one.expected, abs=one.within, rel=0)


def test_known_answers_were_computed_with_these_formulas() -> None:
    assert [line | {"ours": ()} for line in results()["known_answers"]] == [
        known_line(place) | {"ours": ()} for place in range(len(KNOWN))
    ], WRITE
    for place, line in enumerate(results()["known_answers"]):
        assert line["ours"] == pytest.approx(known_line(place)["ours"], rel=1e-9, abs=1e-12)


def test_every_promise_was_measured_as_it_stands_and_is_kept() -> None:
    told = [
        (
            line["rule"],
            line["setting"],
            line["stated"],
            line["low"],
            line["high"],
            line["rounds"],
            line["seed"],
        )
        for line in results()["error_rates"]
    ]
    assert told == [
        (one.rule, one.setting, one.stated, one.low, one.high, one.rounds, one.seed) for one in RATES
    ], WRITE
    for line in results()["error_rates"]:
        assert line["low"] <= line["figure"] <= line["high"], line


@pytest.mark.parametrize(
    "place",
    [place for place, one in enumerate(RATES) if not one.rounds or one.rule in DRAWN_BY_PYTHON],
    ids=lambda place: f"{RATES[place].rule}: {RATES[place].setting}",
)
def test_a_figure_comes_out_the_same_again(place: int) -> None:
    # The others take longer, or are drawn by a library that may draw otherwise in its next version.
    assert rate_line(place)["figure"] == pytest.approx(results()["error_rates"][place]["figure"], rel=1e-9)


def test_a_page_without_its_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        with_tables("# Statistics\n", results())
