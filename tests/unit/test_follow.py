"""What follows after nights: suspicions are confirmed once, somebody is told once, whoever dies."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from salvo_core.alerts.incident import Followed
from salvo_core.errors import StoreUnavailable, UsageError
from salvo_core.fire import Failing
from salvo_core.follow import FAILED_TIMES, TOLD_FOR, Follower
from salvo_core.identity import new_run_id
from salvo_core.past_nights import past_decisions, past_firings, stands_of
from salvo_core.run.baselines import set_baseline
from salvo_core.run.schedule import (
    MISSED,
    SKIPPED,
    CellName,
    Firing,
    Schedule,
    keep_schedule,
    note_firing,
    read_firing,
)
from salvo_core.run.signature import UNSIGNED
from salvo_core.run.summary import summarise
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.unit.run.builders import plan, row

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
GOOD, BAD, AGAIN_GOOD, AGAIN_BAD = (17, 20), (8, 20), (86, 100), (45, 100)


class FakeBeat:
    """A beat whose runs are over when the test says so."""

    def __init__(self, store):
        self.store = store
        self.dispatcher = SimpleNamespace(signer=UNSIGNED)
        self.clock = SimpleNamespace(now=lambda: self.at)
        self.manifest = SimpleNamespace(counts=self.counts)
        self.stands = {"state": "running", "paused_by": "", "ended": 3, "total": 20}
        self.at = FIRST
        self.failing = {}
        self.refuses = None
        self.ordered = []

    async def counts(self, run_id):
        return SimpleNamespace(**self.stands)

    async def see_to(self, schedule, asked):
        if self.refuses:
            raise self.refuses
        firing = await note_firing(asked.model_copy(update={"run_id": new_run_id()}), self.store)
        if firing.run_id and firing.run_id not in self.ordered:
            self.ordered.append(firing.run_id)
        return firing


class Nights:
    """A schedule, its nights, and whom it tells."""

    def __init__(self):
        self.store = MemoryStore()
        self.beat = FakeBeat(self.store)
        self.told = []
        self.deaf = None
        self.cells = 1
        self.number = 0

    async def tell(self, schedule, alert):
        if self.deaf:
            raise self.deaf
        if alert.id not in [one.id for one in self.told]:
            self.told.append(alert)
        return True

    def follower(self):
        return Follower(self.beat, self.tell)

    async def scheduled(self, **fields):
        self.schedule = await keep_schedule(
            Schedule(
                **{"name": "nightly", "cron": "0 2 * * *", "timezone": "UTC", "trials": 20, "since": FIRST}
                | fields
            ),
            self.store,
            UNSIGNED,
        )

    async def ends(self, run_id, *came_to, infra=0, edited=0):
        """Let a run end: (passed, n) of each cell."""
        trials = max(n for _, n in came_to) + infra
        ordered = plan(trials=trials, cells=len(came_to)).model_copy(update={"run_id": run_id})
        moved = [
            cell.model_copy(update={"scenario_digest": f"{int(cell.scenario_digest, 16) + edited:064x}"})
            for cell in ordered.cells
        ]
        ordered = ordered.model_copy(update={"cells": tuple(moved)})
        rows = []
        for number, (passed, n) in enumerate(came_to):
            ended = ["passed"] * passed + ["failed"] * (n - passed) + ["infra_error"] * (trials - n)
            rows += [row(index * len(came_to) + number, status) for index, status in enumerate(ended)]
        summary = summarise(ordered, rows, {}, started_ms=1, finished_ms=2, state="sealed")
        await self.store.put(keys.summary(run_id), summary.encode()[0])

    async def night(self, *came_to, follow=True, due=None, at=None, **more):
        """Have a night at the next due time."""
        self.number += 1
        self.beat.at = at or FIRST + self.number * DAY
        run_id = new_run_id()
        firing = Firing(schedule="nightly", due_at=due or self.beat.at, run_id=run_id)
        await note_firing(firing, self.store)
        await self.ends(run_id, *came_to, **more)
        return await self.follower().tick() if follow else firing

    async def not_run(self, why):
        self.number += 1
        self.beat.at = FIRST + self.number * DAY
        await note_firing(Firing(schedule="nightly", due_at=self.beat.at, why=why), self.store)
        return await self.follower().tick()

    async def confirmed(self, *came_to):
        """Let the confirmation that runs end, an hour later."""
        self.beat.at += timedelta(hours=1)
        await self.ends(self.beat.ordered[-1], *came_to)
        return await self.follower().tick()

    @property
    def kinds(self):
        return [alert.kind for alert in self.told]


@pytest.fixture
async def nights():
    made = Nights()
    await made.scheduled()
    return made


async def learned(nights, *came_to):
    for _ in range(10):
        await nights.night(*(came_to or (GOOD,)))
    assert (nights.told, nights.beat.ordered) == ([], [])


async def test_a_fall_is_suspected_confirmed_told_once_and_its_end_once(nights):
    await learned(nights)
    (suspected,) = await nights.night(BAD)
    assert [one.event for one in suspected.events] == ["suspicion"]
    assert (nights.told, len(nights.beat.ordered)) == ([], 1)
    firing = await read_firing(keys.firing("nightly", nights.beat.at, "confirm"), nights.store)
    assert (firing.confirms, firing.fresh) == (suspected.run_id, True)
    assert firing.cells == (CellName(scenario_digest=f"{0:064x}", model="gpt-4o"),)
    await nights.confirmed(AGAIN_BAD)
    (alert,) = nights.told
    assert (alert.kind, alert.run_id, alert.title) == (
        "alert",
        firing.model_copy(update={"run_id": nights.beat.ordered[0]}).run_id,
        "nightly: scenario 0 · gpt-4o got worse",
    )
    (cell,) = alert.cells
    assert (cell.rate, cell.n, cell.evidence > 8) == (0.45, 100, True)
    assert cell.reference == pytest.approx(0.823, abs=1e-3)
    for _ in range(3):
        await nights.night(BAD)
    assert nights.kinds == ["alert"]
    while nights.kinds == ["alert"]:
        await nights.night(GOOD)
    assert nights.kinds == ["alert", "all clear"]
    assert nights.told[1].incident == alert.incident
    assert nights.told[1].id != alert.id
    assert len(nights.beat.ordered) == 1


async def test_a_suspicion_that_fresh_trials_do_not_bear_out_wakes_nobody(nights):
    await learned(nights)
    await nights.night(BAD)
    (dismissed,) = await nights.confirmed((97, 100))
    assert [one.event for one in dismissed.events] == ["dismissed"]
    assert nights.told == []


async def test_a_suspicion_while_a_confirmation_runs_starts_no_second(nights):
    await learned(nights)
    await nights.night(BAD)
    (second,) = await nights.night(BAD)
    assert [one.event for one in second.events] == ["suspicion"]
    assert "not over yet" in second.note
    assert len(nights.beat.ordered) == 1
    # It ends behind the night after: told all the same, and once.
    await nights.confirmed(AGAIN_BAD)
    await nights.night(BAD)
    assert nights.kinds == ["alert"]
    assert len(nights.beat.ordered) == 1


async def test_a_confirmation_that_settles_nothing_is_followed_by_another(nights):
    await learned(nights)
    await nights.night((11, 20))
    await nights.confirmed((78, 100))
    assert nights.told == []
    await nights.night((11, 20))
    assert len(nights.beat.ordered) == 2


async def test_cells_that_fall_in_one_night_are_one_alert_and_one_all_clear(nights):
    await learned(nights, GOOD, GOOD, GOOD)
    await nights.night(BAD, GOOD, BAD)
    firing = await read_firing(keys.firing("nightly", nights.beat.at, "confirm"), nights.store)
    assert [int(cell.scenario_digest, 16) for cell in firing.cells] == [0, 2]
    # The fake's cells are numbered from 0: the confirmation of the first and the last has all three here.
    await nights.confirmed(AGAIN_BAD, AGAIN_GOOD, AGAIN_BAD)
    (alert,) = nights.told
    assert alert.title == "nightly: 2 cells got worse"
    assert [cell.scenario for cell in alert.cells] == ["scenario 0", "scenario 2"]
    for _ in range(6):
        await nights.night(GOOD, GOOD, BAD)  # one of them is well again: the incident goes on
    assert nights.kinds == ["alert"]
    for _ in range(8):
        await nights.night(GOOD, GOOD, GOOD)
    assert nights.kinds == ["alert", "all clear"]
    assert {cell.scenario for cell in nights.told[1].cells} == {"scenario 0", "scenario 2"}


async def test_an_alert_of_a_scenario_that_was_edited_is_withdrawn(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    (decided,) = await nights.night(GOOD, edited=7)
    assert [one.event for one in decided.events] == ["withdrawn"]
    assert nights.kinds == ["alert", "all clear"]
    assert "withdrawn" in nights.told[1].lines[0]
    await nights.night(GOOD, edited=7)
    assert len(nights.told) == 2


async def test_without_confirmations_nobody_is_woken_and_it_is_said(nights):
    await nights.scheduled(confirm_trials=0)
    await learned(nights)
    for _ in range(3):
        (decided,) = await nights.night(BAD)
    assert "switched off" in decided.note
    assert (nights.told, nights.beat.ordered) == ([], [])


async def test_a_confirmation_that_cannot_be_ordered_is_over_and_the_next_suspicion_asks_again(nights):
    await learned(nights)
    nights.beat.refuses = UsageError("the scenario is gone")
    await nights.night(BAD)
    await nights.follower().tick()
    noted = (await past_decisions("nightly", nights.store))[-1]
    assert (noted.kind, noted.works, "the scenario is gone" in noted.note) == ("confirm", None, True)
    nights.beat.refuses = None
    await nights.night(BAD)
    assert len(nights.beat.ordered) == 1


async def test_two_beats_at_once_decide_confirm_and_tell_once(nights):
    await learned(nights)
    await nights.night(BAD, follow=False)
    both = [nights.follower(), nights.follower()]
    first, second = await asyncio.gather(*(one.tick() for one in both))
    assert first == second
    assert len({key async for key in nights.store.list(keys.firings("nightly")) if "confirm" in key}) == 1
    (firing,) = [one for one in await past_firings("nightly", nights.store) if one.confirms]
    await nights.ends(firing.run_id, AGAIN_BAD)
    await asyncio.gather(*(one.tick() for one in both))
    await asyncio.gather(*(one.tick() for one in both))
    assert nights.kinds == ["alert"]


async def test_a_beat_that_dies_before_it_tells_is_followed_by_one_that_does_once(nights):
    await learned(nights)
    await nights.night(BAD)
    nights.deaf = StoreUnavailable("the beat died here")
    await nights.confirmed(AGAIN_BAD)
    assert nights.told == []
    nights.deaf = None
    nights.beat.at += timedelta(minutes=10)
    for _ in range(3):
        await nights.follower().tick()
    assert nights.kinds == ["alert"]


async def test_what_could_not_be_told_for_a_day_is_tried_no_more(nights):
    await learned(nights)
    await nights.night(BAD)
    nights.deaf = StoreUnavailable("no channel answers")
    await nights.confirmed(AGAIN_BAD)
    nights.deaf = None
    nights.beat.at += TOLD_FOR + timedelta(seconds=1)
    await nights.follower().tick()
    assert nights.told == []


class DyingStore(MemoryStore):
    """A store that stops working before or right after its n-th write."""

    writes_left = 10**6
    takes_the_last = False

    async def put_if_absent(self, key, body):
        self.writes_left -= 1
        if self.writes_left < 0:
            if self.takes_the_last and self.writes_left == -1:
                await super().put_if_absent(key, body)
            raise StoreUnavailable("the beat died here")
        return await super().put_if_absent(key, body)


@pytest.mark.parametrize("takes_the_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("writes", [0, 1], ids=["decision", "confirmation"])
async def test_a_beat_may_die_at_every_write_and_confirms_once(nights, writes, takes_the_last):
    store = DyingStore()
    nights.store = nights.beat.store = store
    await nights.scheduled()
    await learned(nights)
    await nights.night(BAD, follow=False)
    store.writes_left, store.takes_the_last = writes, takes_the_last
    await nights.follower().tick()
    store.writes_left = 10**6
    await nights.follower().tick()
    await nights.follower().tick()
    assert len([one for one in await past_firings("nightly", store) if one.confirms]) == 1
    assert len(nights.beat.ordered) == 1


async def test_nights_that_cannot_be_judged_are_told_once_and_never_as_a_worse_agent(nights):
    await learned(nights)
    for _ in range(3):
        await nights.night((0, 0), infra=20)
    (alert,) = nights.told
    assert (alert.kind, alert.cells) == ("trouble", ())
    assert "nothing about the agent" in " ".join(alert.lines)
    assert "worse" not in alert.title
    await nights.night(GOOD)
    assert nights.kinds == ["trouble", "all clear"]
    assert nights.told[1].incident == alert.incident
    await nights.night((0, 0), infra=20)
    assert nights.kinds == ["trouble", "all clear", "trouble"]
    assert nights.told[2].incident != alert.incident


async def test_missed_due_times_are_trouble_and_one_that_is_skipped_is_not(nights):
    await nights.not_run(f"{SKIPPED} run x was not over")
    assert nights.told == []
    await nights.not_run(f"{SKIPPED} run x was not over")  # it does not end
    assert nights.kinds == ["trouble"]
    await nights.night(GOOD)
    await nights.not_run(f"{MISSED} nobody fired it in time (1 due times)")
    assert nights.kinds == ["trouble", "all clear", "trouble"]


async def test_a_due_time_whose_run_cannot_be_ordered_is_told_while_it_is_tried(nights):
    due = FIRST + timedelta(minutes=1)
    nights.beat.failing["nightly"] = Failing(due, FAILED_TIMES - 1, "refund.yaml is broken")
    await nights.follower().tick()
    assert nights.told == []
    nights.beat.failing["nightly"] = Failing(due, FAILED_TIMES, "refund.yaml is broken")
    for _ in range(3):
        await nights.follower().tick()
    assert nights.kinds == ["trouble"]
    assert "refund.yaml is broken" in nights.told[0].lines[0]
    # Once it is too late for that due time, the miss is no second trouble.
    await nights.not_run(f"{MISSED} nobody fired it in time (1 due times)")
    assert nights.kinds == ["trouble"]


async def test_a_run_that_a_provider_keeps_from_ending_is_told_at_once_and_its_end_once(nights):
    await learned(nights)
    run_id = new_run_id()
    nights.beat.at += DAY
    await note_firing(Firing(schedule="nightly", due_at=nights.beat.at, run_id=run_id), nights.store)
    await nights.follower().tick()
    assert nights.told == []
    nights.beat.stands |= {"state": "paused", "paused_by": "provider openai refuses: 401; fix the key"}
    for _ in range(3):
        await nights.follower().tick()
    assert nights.kinds == ["trouble"]
    assert "provider openai refuses: 401" in nights.told[0].lines[0]
    assert nights.told[0].run_id == run_id
    await nights.ends(run_id, GOOD)
    await nights.follower().tick()
    assert nights.kinds == ["trouble", "all clear"]
    assert nights.told[1].incident == nights.told[0].incident


async def test_a_run_that_is_not_over_a_day_later_is_told_of_once(nights):
    due = nights.beat.at + DAY
    firing = Firing(schedule="nightly", due_at=due, run_id=new_run_id())
    await note_firing(firing, nights.store)
    await note_firing(firing.model_copy(update={"due_at": due - DAY / 2, "by_hand": True}), nights.store)
    nights.beat.at = due + DAY - timedelta(minutes=1)
    await nights.follower().tick()
    assert nights.told == []
    nights.beat.at = due + DAY
    for _ in range(3):
        await nights.follower().tick()
    assert nights.kinds == ["trouble"]
    assert "3 of its 20 trials have ended" in nights.told[0].lines[0]


async def test_with_a_baseline_the_first_night_is_measured_already(nights):
    base = new_run_id()
    await nights.ends(base, (170, 200))
    await set_baseline("main", base, nights.store, at=FIRST)
    await nights.scheduled(baseline="main")
    (decided,) = await nights.night(BAD)
    (event,) = decided.events
    assert event.event == "suspicion"
    assert event.reference == pytest.approx(0.8230, abs=5e-4)  # Wilson at one standard error
    await nights.store.delete(keys.baseline("main"))
    (decided,) = await nights.night(GOOD)
    assert "no baseline" in decided.note


async def test_measured_by_nothing_only_trouble_is_told(nights):
    await nights.scheduled(baseline="none")
    await learned(nights)
    (decided,) = await nights.night((0, 20))
    assert (decided.events, decided.works) == ((), True)
    await nights.night((0, 0), infra=20)
    assert nights.kinds == ["trouble"]


async def test_looking_back_says_what_was_decided_and_changes_nothing(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    stored = {key: await nights.store.get(key) async for key in nights.store.list("")}
    (stand,), note = await stands_of(nights.schedule, nights.store)
    assert (stand.phase, [event for _, event in stand.events], note) == (
        "fallen",
        ["suspicion", "alert"],
        "",
    )
    decided = await past_decisions("nightly", nights.store)
    assert [event.event for one in decided for event in one.events] == ["suspicion", "alert"]
    await nights.follower().tick()
    assert {key: await nights.store.get(key) async for key in nights.store.list("")} == stored
    assert Followed.decode(decided[-1].encode(), "here") == decided[-1]


async def test_names_cannot_break_out_of_a_line(nights):
    await learned(nights)
    await nights.night(BAD)
    await nights.confirmed(AGAIN_BAD)
    for text in (nights.told[0].title, *nights.told[0].lines):
        assert "\n" not in text
        assert text.isprintable()
