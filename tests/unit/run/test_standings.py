"""Where a schedule's cells stand, from the summaries of its runs."""

import pytest

from salvo_core.run.standings import PastNight, references_of, standings
from salvo_core.run.summary import summarise
from tests.unit.run.builders import plan, row


def night(passed, n, *, cut_short=0, fresh=False, cells=1):
    ended = ["passed"] * passed + ["failed"] * (n - passed) + ["cancelled"] * cut_short
    rows = [row(index, status) for index, status in enumerate(one for one in ended for _ in range(cells))]
    summary = summarise(
        plan(trials=len(ended), cells=cells), rows, {}, started_ms=1, finished_ms=2, state="sealed"
    )
    return PastNight(summary, fresh)


LEARNED = [night(17, 20)] * 10


def test_a_fall_that_fresh_trials_bear_out_is_found_and_named_by_its_runs():
    (stand,) = standings([*LEARNED, night(11, 20), night(60, 100, fresh=True)])
    assert (stand.phase, stand.nights) == ("fallen", 12)
    assert [event for _, event in stand.events] == ["suspicion", "alert"]


def test_a_suspicion_that_they_do_not_bear_out_is_dismissed():
    (stand,) = standings([*LEARNED, night(11, 20), night(86, 100, fresh=True)])
    assert stand.phase == "calm"


def test_a_night_that_was_cut_short_tells_nothing():
    (stand,) = standings([*LEARNED, night(1, 10, cut_short=10)])
    assert (stand.phase, stand.nights, stand.evidence) == ("calm", 10, 0)


def test_a_night_of_infrastructure_errors_alone_is_none_that_was_followed():
    rows = [row(index, "infra_error") for index in range(20)]
    lost = summarise(plan(trials=20), rows, {}, started_ms=1, finished_ms=2, state="sealed")
    (stand,) = standings([*LEARNED, PastNight(lost)])
    assert (stand.phase, stand.nights) == ("calm", 10)
    (alone,) = standings([PastNight(lost)])
    assert (alone.phase, alone.nights) == ("learning", 0)


def test_a_confirmation_of_some_cells_leaves_the_others_where_they_are():
    whole = [night(17, 20, cells=2)] * 10
    part = night(60, 100, fresh=True)._replace(part=True)
    first, second = standings([*whole, night(11, 20, cells=2), part])
    assert (first.phase, first.nights) == ("fallen", 12)
    assert (second.phase, second.nights) == ("suspected", 11)


def test_a_baseline_promises_the_lower_end_of_what_it_shows_and_nothing_where_it_was_cut_short():
    base = night(170, 200)
    ((key, rate),) = references_of(base.summary).items()
    assert rate == pytest.approx(0.8230, abs=5e-4)  # Wilson at one standard error
    assert references_of(night(9, 10, cut_short=10).summary) == {}
    (stand,) = standings([night(8, 20)], references={key: rate})
    (found,) = stand.found
    assert (stand.phase, found.event, found.passed, found.n) == ("suspected", "suspicion", 8, 20)
    assert found.reference == rate
    assert found.evidence == stand.evidence


def test_without_nights_no_cell_stands_anywhere():
    assert standings([]) == []
