"""Schedules on a screen: whom they tell, and nothing of an address but its host."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from io import StringIO

import pytest

from salvo_cli.render.console import console, marks
from salvo_cli.render.nights import nights
from salvo_cli.render.schedules import cells_standing, schedule_document, schedule_facts, schedules
from salvo_core.alerts.incident import Followed
from salvo_core.run.schedule import CellName, Schedule
from salvo_core.run.standings import standings
from tests.unit.run.test_standings import night

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def nightly(*notify: str) -> Schedule:
    return Schedule(name="nightly", cron="0 2 * * *", timezone="UTC", trials=5, since=NOON, notify=notify)


def drawn(*listed: Schedule) -> tuple[str, str]:
    screen = console(file=StringIO(), width=120)
    screen.print(schedules([(one, ["PASS"]) for one in listed], NOON, marks(screen)))
    many = screen.file.getvalue()  # type: ignore[attr-defined]
    screen.print(schedule_facts(listed[0], NOON))
    return many, screen.file.getvalue()[len(many) :]  # type: ignore[attr-defined]


def test_whom_a_schedule_tells_is_shown_with_addresses_masked() -> None:
    one = nightly("ops", "https://host.example/alerts")
    for text in drawn(one, nightly()):
        assert "ops, https://host.example/***" in text
        assert "/alerts" not in text
    assert schedule_document(one, NOON)["notify"] == ["ops", "https://host.example/***"]


@pytest.mark.parametrize(
    ("catchup_s", "told"), [(0, "none"), (21_600, "6h"), (5_400, "90m"), (172_800, "2d"), (45, "45s")]
)
def test_a_span_to_catch_up_is_shown_as_it_is_given(catchup_s: float, told: str) -> None:
    _, one = drawn(nightly().model_copy(update={"catchup_s": catchup_s}))
    assert re.search(rf"^catch-up +{told} *$", one, re.MULTILINE)


def test_it_is_said_how_long_a_cell_is_learned_before_it_is_watched() -> None:
    _, one = drawn(nightly())
    told = " ".join(one.split())
    assert "the nights before: a cell is watched once 200 of its trials are graded, after 40 nights" in told
    _, given = drawn(nightly().model_copy(update={"baseline": "main"}))
    assert "200" not in given
    screen = console(file=StringIO(), width=80)
    screen.print(cells_standing(standings([night(17, 20)])))
    assert "learning: a cell is watched once 200" in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cells", "told"), [(1, "1 cell, with fresh trials"), (2, "2 cells, with fresh trials")]
)
def test_a_confirmation_is_told_with_how_many_cells_it_has(cells: int, told: str) -> None:
    asked = tuple(CellName(scenario_digest=f"{number:064x}", model="m") for number in range(cells))
    one = Followed(schedule="nightly", due_at=NOON, kind="due", at=NOON, confirm=asked)
    screen = console(file=StringIO(), width=80)
    screen.print(nights([one], {}, nightly()))
    assert told in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cron", "told"), [("0 2 * * *", "Wed 25 Nov 02:00 UTC"), ("30 2 29 2 *", "Tue 29 Feb 2028 02:30 UTC")]
)
def test_when_it_is_due_next_has_the_year_where_that_is_another_one(cron: str, told: str) -> None:
    many, one = drawn(nightly().model_copy(update={"cron": cron}))
    assert told in many
    assert told in one


def test_where_nobody_is_told_the_list_has_no_column_for_it() -> None:
    many, one = drawn(nightly())
    assert "tells" not in many
    assert "nobody" in one
