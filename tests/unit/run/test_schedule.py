"""When schedules are due: over changes of the clocks, after nights off, and never by a stranger's word."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from salvo_core.errors import UsageError
from salvo_core.identity import canonical_json, digest
from salvo_core.run.schedule import (
    ADDED_LATER,
    MISSED_MAX,
    SCHEMA,
    Firing,
    Schedule,
    check,
    firing_keys,
    keep_schedule,
    note_firing,
    read_firing,
    read_schedule,
    schedule_names,
)
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.trace import codec

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def nightly(cron="0 2 * * *", timezone="UTC", **fields):
    return Schedule(
        **{"name": "nightly", "cron": cron, "timezone": timezone, "trials": 5, "since": NEW_YEAR} | fields
    )


def over_a_year(schedule):
    """Every due time of 2026 by the schedule's own calendar."""
    zone = ZoneInfo(schedule.timezone)
    begins, ends = (datetime(year, 1, 1, tzinfo=zone).astimezone(UTC) for year in (2026, 2027))
    before = begins - timedelta(seconds=1)
    return list(takewhile(lambda at: at < ends, schedule.due_after(before)))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "15 2 * * *", "45 1 * * *", "0 0 * * *"])
def test_a_year_of_nights_has_each_of_them_once_in_every_zone(zone, cron):
    due = over_a_year(nightly(cron, zone))
    nights = [at.astimezone(ZoneInfo(zone)).date() for at in due]
    assert len(nights) == len(set(nights)) == 365
    gaps = {later - earlier for earlier, later in pairwise(due)}
    assert min(gaps) >= timedelta(hours=22, minutes=30)
    assert max(gaps) <= timedelta(hours=25)


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_due_every_half_hour_is_so_by_real_time(zone):
    due = over_a_year(nightly("*/30 * * * *", zone))
    assert {later - earlier for earlier, later in pairwise(due)} == {timedelta(minutes=30)}
    assert len(due) == 365 * 48


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "45 1 * * *", "0 2,3 * * *", "*/15 * * * *", "5 */6 * * *", "* 2-5 * * *"]
)
def test_it_does_not_matter_from_when_one_looks(zone, cron):
    # A beat may begin at any moment, also within an hour that comes twice or that is left out.
    schedule, year = nightly(cron, zone), over_a_year(nightly(cron, zone))
    offsets = [at.astimezone(ZoneInfo(zone)).utcoffset() for at in year]
    changes = [year[i] for i in range(1, len(year)) if offsets[i] != offsets[i - 1]]
    assert len(changes) == 2
    for change in changes:
        for minutes in range(-26 * 60, 26 * 60, 47):
            after = change + timedelta(minutes=minutes)
            assert next(schedule.due_after(after)) == next(at for at in year if at > after)


@pytest.mark.parametrize("zone", ZONES)
def test_every_sixth_hour_is_a_time_of_day_on_every_day_of_the_year(zone):
    # Found here: the library alone skips 06:05 of the day on which Lord Howe goes back by half an hour.
    local = [at.astimezone(ZoneInfo(zone)) for at in over_a_year(nightly("5 */6 * * *", zone))]
    assert [(at.hour, at.minute) for at in local] == [(0, 5), (6, 5), (12, 5), (18, 5)] * 365


def test_the_clocks_leaving_out_a_time_of_day_make_it_due_when_they_change():
    due = nightly("30 2 * * *", "Europe/Berlin").due_after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert next(due) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert next(due) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_due_times_that_were_missed_are_run_as_far_back_as_catching_up_goes():
    schedule = nightly("0 * * * *", catchup_s=3 * 3600)
    missed, due = schedule.due(NEW_YEAR, NEW_YEAR + timedelta(hours=10, minutes=1))
    assert [at.hour for at in missed] == [1, 2, 3, 4, 5, 6, 7]
    assert [at.hour for at in due] == [8, 9, 10]


def test_without_catching_up_a_due_time_is_run_when_it_is_seen_to_soon():
    at = NEW_YEAR + timedelta(hours=2)
    assert nightly().due(NEW_YEAR, at + timedelta(seconds=60)) == ([], [at])
    assert nightly().due(NEW_YEAR, at + timedelta(seconds=600)) == ([at], [])
    assert nightly().due(at, at + timedelta(seconds=60)) == ([], [])


def test_years_of_missed_minutes_are_counted_up_to_a_bound():
    missed, due = nightly("* * * * *").due(NEW_YEAR, NEW_YEAR + timedelta(days=800))
    assert (len(missed), len(due)) == (MISSED_MAX, 5)


@pytest.mark.parametrize(
    "cron", ["", "0 2 * *", "61 2 * * *", "0 2 * * * *", "0 0 31 2 *", "@daily"], ids=range(6)
)
def test_an_expression_that_is_none_or_never_due_is_refused(cron):
    with pytest.raises(UsageError, match=r"cron|never"):
        check(nightly(cron))


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", "", "a\0b"], ids=range(4))
def test_a_timezone_that_nobody_knows_is_refused(zone):
    with pytest.raises(UsageError, match="timezone"):
        check(nightly(timezone=zone))


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "a b", "x" * 65, "a\n"], ids=range(7))
def test_a_name_that_would_lead_elsewhere_is_refused(name):
    with pytest.raises(ValidationError):
        nightly(name=name)
    with pytest.raises(UsageError, match="name"):
        keys.schedule(name)


async def test_a_schedule_that_nobody_of_the_site_wrote_is_none():
    store, ours = MemoryStore(), Signer(("k" * 32,))
    await keep_schedule(nightly(), store, ours)
    assert (await read_schedule("nightly", store, ours)).trials == 5
    await keep_schedule(nightly(trials=9), store, Signer(("x" * 32,)))
    with pytest.raises(UsageError, match="signature"):
        await read_schedule("nightly", store, ours)
    assert await schedule_names(store) == ["nightly"]


async def test_whom_a_schedule_tells_is_signed_with_it_and_is_never_a_secret():
    store, ours = MemoryStore(), Signer(("k" * 32,))
    await keep_schedule(nightly(notify=("ops", "https://host.example/a")), store, ours)
    assert (await read_schedule("nightly", store, ours)).notify == ("ops", "https://host.example/a")
    with pytest.raises(ValidationError) as caught:
        nightly(notify=("https://hooks.slack.com/services/T/B/canary",))
    assert "holds a secret" in str(caught.value)


async def test_a_schedule_that_was_signed_before_it_could_say_more_is_still_ours():
    store, ours = MemoryStore(), Signer(("k" * 32,))
    document = nightly().model_dump(mode="json", exclude=set(ADDED_LATER))
    mark = digest(canonical_json({key: value for key, value in document.items() if key != "signature"}))
    document["signature"] = ours.sign(SCHEMA, mark)
    stored = codec.encode(SCHEMA, document, compress=False)[0]
    await store.put(keys.schedule("nightly"), stored)
    read = await read_schedule("nightly", store, ours)
    assert (read.baseline, read.confirm_trials, read.stored) == ("previous", 100, None)


@pytest.mark.parametrize(
    "changed", [{"baseline": "main"}, {"confirm_trials": 7}, {"confirm_budget_usd": 1e6}], ids=range(3)
)
async def test_what_a_schedule_came_to_say_later_is_signed_too(changed):
    store, ours = MemoryStore(), Signer(("k" * 32,))
    signed = await keep_schedule(nightly(), store, ours)
    forged = signed.model_copy(update=changed)
    await store.put(
        keys.schedule("nightly"), codec.encode(SCHEMA, forged.model_dump(mode="json"), compress=False)[0]
    )
    with pytest.raises(UsageError, match="signature"):
        await read_schedule("nightly", store, ours)


async def test_firings_are_read_in_the_order_of_their_times_a_confirmation_after_its_night():
    store, later = MemoryStore(), NEW_YEAR + timedelta(days=1)
    made = [
        Firing(schedule="nightly", due_at=NEW_YEAR),
        Firing(schedule="nightly", due_at=NEW_YEAR, confirms="0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"),
        Firing(schedule="nightly", due_at=NEW_YEAR, by_hand=True),
        Firing(schedule="nightly", due_at=later),
    ]
    for one in reversed(made):
        await note_firing(one, store)
    found = [await read_firing(key, store) for key in await firing_keys("nightly", store)]
    assert found == made
    assert [one.kind for one in found] == ["due", "confirm", "hand", "due"]
    assert [one.fresh for one in found] == [False, True, True, False]
