"""Where a schedule's cells stand, from the summaries of its runs."""

from salvo_core.run.standings import PastNight, standings
from salvo_core.run.summary import summarise
from tests.unit.run.builders import plan, row


def night(passed, n, *, cut_short=0, fresh=False):
    ended = ["passed"] * passed + ["failed"] * (n - passed) + ["cancelled"] * cut_short
    rows = [row(index, status) for index, status in enumerate(ended)]
    summary = summarise(plan(trials=len(ended)), rows, {}, started_ms=1, finished_ms=2, state="sealed")
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


def test_without_nights_no_cell_stands_anywhere():
    assert standings([]) == []
