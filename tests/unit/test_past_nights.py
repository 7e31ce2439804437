"""A schedule of many nights: no evidence is forgotten, and what is read stays bounded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from salvo_core import past_nights
from salvo_core.alerts.folded import Folded, read_folded
from salvo_core.errors import ObjectCorrupt
from salvo_core.identity import new_run_id
from salvo_core.past_nights import past_decisions, past_firings, stands_of
from salvo_core.run.baselines import set_baseline
from salvo_core.run.schedule import MISSED
from salvo_core.store import keys
from tests.unit.test_follow import AGAIN_BAD, BAD, FIRST, GOOD, Nights, learned

DOUBTFUL = (14, 20)
NIGHTS_MAX, UNFOLDED_MIN, UNFOLDED_MAX = 40, 20, 30
"""Here; so few, that the tests are quick."""
LONG = NIGHTS_MAX + 30


@pytest.fixture
async def nights(monkeypatch):
    for name in ("NIGHTS_MAX", "UNFOLDED_MIN", "UNFOLDED_MAX"):
        assert getattr(past_nights, name) > globals()[name]
        monkeypatch.setattr(past_nights, name, globals()[name])
    made = Nights()
    await made.scheduled()
    return made


async def pass_by(nights, count, came_to, *, every=5):
    """Let nights pass, of which only some are followed as they end: the others count all the same."""
    for number in range(1, count + 1):
        await nights.night(came_to, follow=number % every == 0)


async def stand(nights):
    (one,), _ = await stands_of(nights.schedule, nights.store)
    return one


async def test_an_alert_that_nobody_mends_stands_for_good_and_its_end_is_told_once(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    await pass_by(nights, LONG, BAD)
    assert nights.kinds == ["alert"]
    assert (await stand(nights)).phase == "fallen"
    for _ in range(4):
        await nights.night(GOOD)
    assert nights.kinds == ["alert", "all clear"]
    assert nights.told[1].incident == nights.told[0].incident
    assert (await read_folded("nightly", nights.store)).events  # it was open when they were folded


async def test_evidence_that_began_before_the_newest_nights_still_counts(nights):
    await nights.scheduled(confirm_trials=0)
    await learned(nights)
    reference = (await stand(nights)).reference
    await pass_by(nights, LONG, DOUBTFUL)
    after = await stand(nights)
    assert (after.phase, after.nights, after.reference) == ("suspected", nights.number, reference)
    assert after.evidence > 50


async def test_a_trouble_that_is_not_over_is_told_once_however_long_it_lasts(nights):
    for number in range(LONG):
        await nights.not_run(f"{MISSED} nobody was there {number}")
    assert nights.kinds == ["trouble"]
    await nights.night(GOOD)
    assert len(nights.told) == 2
    assert nights.told[1].incident == nights.told[0].incident


async def test_what_is_read_of_an_old_schedule_is_bounded(nights):
    await pass_by(nights, 2 * LONG, GOOD)
    folded = await read_folded("nightly", nights.store)
    left = await past_firings("nightly", nights.store, folded=folded)
    assert UNFOLDED_MIN <= len(left) <= UNFOLDED_MAX + 5
    assert folded.firings + len(left) == nights.number
    assert len(await past_firings("nightly", nights.store)) == NIGHTS_MAX
    (cell,) = folded.cells
    assert len(cell.state.calm) <= 60


async def test_a_run_that_is_not_over_keeps_what_comes_after_it_from_being_folded_for_a_week(nights):
    every_hour = timedelta(hours=1)
    await learned(nights)
    at = nights.beat.at
    late = await nights.night(GOOD, follow=False, due=at + every_hour)
    await nights.store.delete(keys.summary(late.run_id))
    for number in range(2, UNFOLDED_MAX + 10):
        await nights.night(GOOD, due=at + number * every_hour, at=at + number * every_hour)
    assert (await read_folded("nightly", nights.store)).due_at < late.due_at
    await nights.ends(late.run_id, GOOD)
    await nights.night(GOOD, due=nights.beat.at + every_hour, at=nights.beat.at + every_hour)
    folded = await read_folded("nightly", nights.store)
    assert folded.due_at > late.due_at
    assert (await stand(nights)).nights == nights.number


async def test_by_another_measure_the_newest_nights_are_read_anew_and_what_is_open_stays_known(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    await pass_by(nights, LONG, BAD)
    base = new_run_id()
    await nights.ends(base, (190, 200))
    await set_baseline("main", base, nights.store, at=FIRST)
    await nights.scheduled(baseline="main")
    one = await stand(nights)
    assert one.nights == NIGHTS_MAX
    decided = await past_decisions("nightly", nights.store, folded=await read_folded("nightly", nights.store))
    assert [event.event for event in decided[0].events] == ["alert"]


async def test_what_is_folded_reads_back_as_it_was_and_damage_is_refused(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    await pass_by(nights, LONG, BAD)
    key = keys.folded("nightly")
    folded = await read_folded("nightly", nights.store)
    assert isinstance(folded, Folded)
    assert folded.encode() == await nights.store.get(key)
    await nights.store.put(key, b"{half")
    with pytest.raises(ObjectCorrupt, match="nightly"):
        await read_folded("nightly", nights.store)
