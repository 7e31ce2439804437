"""What docs/scale.md says follows from what was measured."""

from __future__ import annotations

from statistics import mean

import pytest

from benchmarks.plan import ARCHIVE_LINE_BYTES, PAGE, SIZES, by_rate, by_size, constants, with_tables
from benchmarks.submission import finished_row
from salvo_core.manifest.memory import MESSAGE_BYTES
from tests.unit.run.builders import plan


def test_the_page_says_what_the_constants_come_to() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page, "python -m benchmarks.plan writes its tables"


def test_the_wall_of_redis_is_told_by_what_a_trial_costs_it() -> None:
    per_s = round(1000 / constants().redis_cpu.value, -2)
    assert f"some {per_s:,.0f} trials a second" in PAGE.read_text("utf-8")


def test_every_constant_says_where_it_comes_from() -> None:
    for one in constants().all():
        assert one.value > 0
        assert one.unit
        assert one.source


def test_a_million_trials_are_worked_out_by_hand() -> None:
    known = constants()
    million = {row[0]: row[1 + SIZES.index(1_000_000)] for row in by_size(known)}
    assert million["Redis: rows when all have ended"] == f"{known.row_finished.value:.0f} MB"
    assert million["Redis: messages, at most 200,000 at once"] == f"{200_000 * MESSAGE_BYTES / 1e6:.0f} MB"
    assert million["S3: dollars for them"] == "$5.00"
    assert million["S3: LIST requests of an audit or a rebuild"] == "1,000"
    assert million["S3: dollars a month for those"] == "$0.46"
    rates = {row[0]: row[2] for row in by_rate(known)}
    assert rates["trials at once"] == "800"
    assert rates["provider requests a minute"] == "24,000"


def test_a_line_of_the_archive_has_the_length_that_the_plan_counts_with() -> None:
    order = plan(trials=1_000_000)
    lines = [f'[{index},"{finished_row(order, index).encode()}"],' for index in range(999_000, 1_000_000)]
    assert mean(map(len, lines)) == pytest.approx(ARCHIVE_LINE_BYTES, rel=0.05)


def test_a_page_without_its_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        with_tables("# Scale\n")
