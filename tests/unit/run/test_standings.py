"""Where a schedule's cells stand, from the summaries of its runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.run.standings import CellKey, PastNight, fold, references_of, standings
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


def one_of(past):
    """Return a night, a confirmation, or one that was cut short, of the first so many cells."""
    passed, kind, cells = past
    if kind == "confirmation":
        return night(passed * 5, 100, fresh=True, cells=cells)._replace(part=True)
    return night(passed, 20, cut_short=kind == "cut short", cells=cells)


def shape(stands):
    """Return all that is known of cells, of what was found the newest of each kind."""
    return [(
        stand.scenario, stand.model, stand.nights, stand.phase, stand.evidence, stand.reference, stand.key,
        sorted({one.event: one for one in stand.found}.values()),
    ) for stand in stands]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(4, 20),
            st.sampled_from(["due", "due", "due", "confirmation", "cut short"]),
            st.integers(1, 3),
        ),
        max_size=15,
    ),
    st.data(),
)
def test_nights_that_were_folded_count_as_if_they_were_read(past, data):
    nights = [*LEARNED, *map(one_of, past)]
    first = data.draw(st.integers(0, len(nights)))
    second = data.draw(st.integers(first, len(nights)))
    given_rates = {next(iter(references_of(LEARNED[0].summary))): 0.9} if data.draw(st.booleans()) else {}
    kept = fold(nights[:first], references=given_rates, absent_max=99)
    kept = fold(nights[first:second], references=given_rates, folded=kept, absent_max=99)
    folded = standings(nights[second:], references=given_rates, folded=kept)
    assert shape(folded) == shape(standings(nights, references=given_rates))


def test_a_cell_that_no_night_had_for_long_is_forgotten():
    kept = fold([night(17, 20, cells=2), *LEARNED], absent_max=11)
    assert [(one.nights, one.absent) for one in kept] == [(11, 0), (1, 10)]
    assert len(fold([night(17, 20)], folded=kept, absent_max=11)) == 1
    assert isinstance(kept[0].key, CellKey)
