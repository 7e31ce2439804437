"""Evidence over nights: an agent that got worse is told, once, and nights of noise are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.nights import one_night, simulate
from salvo_core.stats.nights import DEFAULT, Night, Rule, Watch, followed

LEARNED = [Night(17, 20)] * 10


def after(nights, rule=DEFAULT, **given_rate):
    watch = Watch(rule, **given_rate)
    return watch, [watch.add(night) for night in nights]


def test_nights_of_noise_are_quiet_and_a_fall_is_told_within_three_nights():
    # 6 x 200 nights of 20 cells at 0.85, and 800 falls of one cell to 0.65, n = 20, seeded.
    came_to = simulate(6, 800, seed=6)
    assert came_to.false_alerts <= 1.0
    assert came_to.soon >= 0.90


def test_before_enough_trials_are_known_no_night_is_evidence():
    watch, events = after([Night(20, 20)] * 9 + [Night(0, 19)])
    assert (watch.phase, watch.reference, set(events)) == ("learning", None, {None})


def test_the_reference_is_the_lower_end_of_what_the_calm_nights_show():
    watch, _ = after(LEARNED)
    assert watch.phase == "calm"
    # Wilson at one standard error, 170 of 200.
    assert watch.reference == pytest.approx(0.8230, abs=5e-4)


def test_the_evidence_of_a_night_is_its_log_likelihood_ratio():
    # 10 of 20, 0.85 against 0.70: 10 ln(0.70/0.85) + 10 ln(0.30/0.15) = 4.9899.
    watch, events = after([Night(10, 20)], baseline=0.85)
    assert watch.evidence == pytest.approx(4.98992, abs=1e-4)
    assert events == ["suspicion"]


def test_a_suspicion_that_fresh_trials_do_not_bear_out_is_dismissed_without_an_alert():
    watch, events = after([*LEARNED, Night(11, 20), Night(85, 100, confirmation=True)])
    assert events[-2:] == ["suspicion", "dismissed"]
    assert watch.phase == "calm"


def test_a_fall_is_told_once_and_its_end_once():
    bad = [Night(12, 20), Night(60, 100, confirmation=True), *[Night(12, 20)] * 5]
    watch, events = after([*LEARNED, *bad])
    assert [event for event in events if event] == ["suspicion", "alert"]
    assert watch.phase == "fallen"
    events = [watch.add(Night(17, 20)) for _ in range(10)]
    assert [event for event in events if event] == ["all clear"]
    assert watch.phase == "calm"


def test_without_a_confirmation_nobody_is_woken():
    _, events = after([*LEARNED, *[Night(10, 20)] * 4])
    assert events[-4:] == ["suspicion"] * 4


def test_a_slide_that_no_single_night_shows_is_found():
    chance, found = np.random.default_rng(8), 0
    for _ in range(60):
        watch = Watch()
        for _ in range(60):
            one_night(watch, 0.85, chance)
        # Half a point a night, from 0.85 to 0.65.
        slide = (max(0.65, 0.85 - 0.005 * night) for night in range(60))
        found += any(one_night(watch, rate, chance)[0] == "alert" for rate in slide)
    assert found >= 57


def test_where_calm_nights_differ_by_more_than_chance_one_bad_night_says_less():
    steady, _ = after([Night(16, 20)] * 10)
    restless, _ = after([Night(20, 20), Night(12, 20)] * 5)
    for watch in (steady, restless):
        watch.add(Night(12, 20))
    assert restless.reference == steady.reference
    assert 0 < restless.evidence < steady.evidence / 3


def test_nights_without_a_graded_trial_change_nothing():
    watch = followed([*LEARNED, Night(11, 20)])
    stood = watch.evidence
    assert watch.add(Night(0, 0)) is None
    assert (watch.phase, watch.evidence) == ("suspected", stood)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.integers(0, 30).flatmap(lambda n: st.builds(Night, st.integers(0, n), st.just(n), st.booleans())),
        max_size=60,
    )
)
def test_alerts_and_all_clears_take_turns_whatever_the_nights_bring(nights):
    watch, events = after(nights, Rule(reference_trials_min=20))
    told = [event for event in events if event in ("alert", "all clear")]
    assert told == (["alert", "all clear"] * len(told))[: len(told)]
    assert watch.evidence >= 0
    assert (watch.phase == "fallen") == bool(len(told) % 2)


@pytest.mark.parametrize("rate", [0.0, 1.0], ids=["never", "always"])
def test_an_agent_that_never_or_always_passes_has_finite_evidence(rate):
    watch, _ = after([Night(round(20 * rate), 20)] * 20)
    watch.add(Night(0, 20))
    assert 0 <= watch.evidence < 100


@pytest.mark.parametrize(
    "bounds",
    [{"fall": 0.0}, {"fall": 1.0}, {"suspicion": 9.0}, {"recovery": 0.0}, {"window_nights": 0}],
    ids=["no fall", "whole fall", "suspicion above alert", "no recovery", "no window"],
)
def test_bounds_that_cannot_be_meant_are_refused(bounds):
    with pytest.raises(ValueError, match=r"fall|bounds|reference"):
        Rule(**bounds)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="21 of 20"):
        Watch().add(Night(21, 20))
    with pytest.raises(ValueError, match="baseline"):
        Watch(baseline=1.5)
