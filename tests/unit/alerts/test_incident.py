"""What is decided after a firing, as a function of what was decided before and where cells stand."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.alerts.incident import Followed, decide, not_ordered, open_incidents, open_trouble
from salvo_core.identity import new_run_id
from salvo_core.run.schedule import Firing, Schedule
from salvo_core.run.standings import CellKey, Found, Standing

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
SCHEDULE = Schedule(name="nightly", cron="0 2 * * *", timezone="UTC", trials=20, since=NOW)


def firing(number, **fields):
    return Firing(
        **{"schedule": "nightly", "due_at": NOW + number * timedelta(days=1), "run_id": new_run_id()} | fields
    )


def stand(number, phase, *found):
    key = CellKey(f"{number:064x}", "gpt-4o")
    return Standing(f"scenario {number}", "gpt-4o", 12, phase, 0.5, 0.82, tuple(found), key)


def found(one, event, passed=8, n=20):
    return Found(one.run_id, event, 9.5, 0.82, passed, n)


def after(before, one, *stands, verdict="FAIL", **fields):
    at = one.due_at + timedelta(hours=1)
    return decide(SCHEDULE.model_copy(update=fields), one, verdict, stands, before, at)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.tuples(*[st.sampled_from(["calm", "fallen", "suspected", "gone"])] * 3),
            st.sampled_from(["FAIL", "INFRA_ERROR"]),
        ),
        max_size=14,
    )
)
def test_each_incident_is_told_once_and_its_end_once_whatever_the_nights_bring(nights):
    before: list[Followed] = []
    told: Counter[tuple[str, str]] = Counter()
    for number, (phases, verdict) in enumerate(nights):
        stands = [stand(cell, phase) for cell, phase in enumerate(phases) if phase != "gone"]
        decided = after(before, firing(number), *stands, verdict=verdict)
        before.append(Followed.decode(decided.encode(), "here"))
        told.update((alert.incident, alert.kind) for alert in decided.alerts)
        fallen = {one.key for one in stands if one.phase == "fallen"}
        assert set(open_incidents(before)) == fallen
        assert bool(open_trouble(before)) == (verdict == "INFRA_ERROR")
    assert set(told.values()) <= {1}
    open_now = {event.incident for event in open_incidents(before).values()} | {open_trouble(before)}
    for incident in {incident for incident, _ in told}:
        ends = told[incident, "all clear"]
        assert told[incident, "alert"] + told[incident, "trouble"] == 1
        assert ends == (incident not in open_now)


def test_the_same_firing_is_decided_in_the_same_words_by_whoever_decides():
    one = firing(1)
    fallen = stand(0, "fallen", found(one, "alert"))
    assert after([], one, fallen) == after([], one, fallen)
    other = firing(2)
    first, second = after([], one, fallen).alerts[0], after([], other, fallen).alerts[0]
    assert first.id != second.id


def test_a_fall_rests_on_the_night_it_was_found_on():
    night, late = firing(1), firing(2)
    (event,) = after(
        [], late, stand(0, "fallen", found(night, "suspicion"), found(night, "alert", 45, 100))
    ).events
    assert (event.passed, event.n, event.evidence, event.reference) == (45, 100, 9.5, 0.82)


def test_a_confirmation_that_runs_for_a_week_keeps_no_other_waiting():
    first = firing(0)
    suspected = after([], first, stand(0, "suspected", found(first, "suspicion")))
    assert len(suspected.confirm) == 1
    for number, asks in ((1, False), (6, False), (8, True)):
        one = firing(number)
        decided = after([suspected], one, stand(0, "suspected", found(one, "suspicion")))
        assert bool(decided.confirm) == asks
        assert ("not over yet" in decided.note) != asks


def test_a_confirmation_that_is_over_lets_the_next_suspicion_ask():
    first = firing(0)
    before = [after([], first, stand(0, "suspected", found(first, "suspicion")))]
    confirming = firing(0, confirms=first.run_id)
    before.append(after(before, confirming, stand(0, "suspected")))
    assert "settled nothing" in before[-1].note
    one = firing(1)
    assert after(before, one, stand(0, "suspected", found(one, "suspicion"))).confirm


def test_what_a_person_triggers_asks_for_no_confirmation_and_is_no_trouble():
    one = firing(1, by_hand=True)
    decided = after([], one, stand(0, "suspected", found(one, "suspicion")), verdict="INFRA_ERROR")
    assert (decided.confirm, decided.alerts, decided.works) == ((), (), None)


def test_of_a_run_that_cannot_be_read_nothing_is_said_about_cells():
    one = firing(1)
    decided = decide(SCHEDULE, one, "", None, [], NOW, note="the summary is damaged")
    assert (decided.events, decided.alerts, decided.works) == ((), (), None)
    assert decided.note == "the summary is damaged"


def test_names_are_shown_on_one_line_and_cut():
    hostile = Standing(
        "first\nsecond\x1b[31m\u202e" + "x" * 500,
        "m\r\nodel",
        12,
        "fallen",
        0,
        0.8,
        (),
        CellKey("0" * 64, "m"),
    )
    (alert,) = after([], firing(1), hostile).alerts
    for text in (alert.title, *alert.lines):
        assert text.isprintable()
        assert len(text) < 400
    decided = not_ordered(SCHEDULE, NOW, "line one\nline two " + "y" * 1000, [], NOW)
    assert all(line.isprintable() for line in decided.alerts[0].lines)


def test_a_thousand_cells_that_fall_are_one_alert_of_a_bounded_length():
    (alert,) = after([], firing(1), *(stand(number, "fallen") for number in range(1200))).alerts
    assert alert.title == "nightly: 1200 cells got worse"
    assert len(alert.lines) < 60
    assert "and 1150 more" in alert.lines
