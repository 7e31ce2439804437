"""What holds a run up, in words."""

from dataclasses import replace

import pytest

from salvo_cli.providing import provider_findings
from salvo_cli.render import limits, progress
from salvo_cli.render.console import Marks
from salvo_core.fleet.breaker import Trouble
from salvo_core.fleet.limits import Queue
from salvo_core.manifest.budget import Spending
from tests.unit.cli.drawing import drawn
from tests.unit.cli.test_progress import counts
from tests.unit.run.builders import RUN_ID

AWAY = Trouble("openai", "open", "transient", "answered 503: [b]overloaded[/b]", open_s=65.0, due_s=20.0)
REFUSED = replace(AWAY, kind="authentication", reason="answered 401")


def spending(**fields):
    given = {
        "usd_max": 5.0,
        "tokens_max": None,
        "agent_usd": 1.25,
        "judge_usd": 0.0,
        "agent_tokens": 4000,
        "judge_tokens": 0,
        "reserved_usd": 0.0,
        "reserved_tokens": 0,
        "closed": False,
    }
    return Spending(**(given | fields))


def test_a_budget_is_told_as_what_is_spent_of_how_much():
    assert limits.budget(spending()) == "$1.2500 spent of $5.0000"


def test_what_judges_spent_what_is_set_aside_and_tokens_are_told_where_there_are_any():
    told = limits.budget(
        spending(judge_usd=0.25, reserved_usd=0.5, tokens_max=9000, judge_tokens=10, closed=True)
    )
    assert told == (
        "$1.5000 spent of $5.0000, $0.2500 of it on judges, $0.5000 reserved; "
        "4,010 tokens used of 9,000, 10 of it by judges; used up"
    )


def test_a_provider_that_is_away_is_named_with_the_time_to_the_next_probe():
    assert limits.waiting([AWAY]) == "provider openai (open, probing in 20.0 s)"
    assert (
        limits.waiting([replace(AWAY, state="probing", due_s=0)]) == "provider openai (probing, probing now)"
    )
    assert limits.waiting([]) == ""


def test_progress_says_what_the_run_waits_for_and_what_paused_it():
    moving = counts(passed=8)
    assert "waiting: provider openai (open, probing in 20.0 s)" in progress.terse(moving, [AWAY])
    shown = drawn(progress.live(moving, (), signs=Marks(), troubles=[AWAY]))
    assert "waiting: provider openai (open, probing in 20.0 s)" in shown
    assert "[b]overloaded[/b]" in shown, "what a provider says is no markup"
    paused = replace(counts(state="paused", passed=8), paused_by="provider openai refuses: 401")
    assert "paused: provider openai refuses: 401" in drawn(progress.live(paused, (), signs=Marks()))
    assert "refuses: 401" in progress.terse(paused)
    assert "budget $1.2500 spent" in progress.terse(replace(moving, budget=spending()))


class _Site:
    def __init__(self, *troubles):
        self.breakers = self
        self._troubles = troubles

    async def troubles(self):
        return self._troubles


@pytest.mark.parametrize(("trouble", "advice"), [(AWAY, "go on by themselves"), (REFUSED, "fix the key")])
async def test_the_doctor_names_each_provider_that_is_not_asked_and_says_what_to_do(trouble, advice):
    (finding,) = [finding async for finding in provider_findings(_Site(trouble))]
    assert (finding.level, finding.subject) == ("warn", "providers")
    assert trouble.reason in finding.seen
    assert advice in finding.advice


async def test_the_doctor_says_nothing_of_providers_that_are_well():
    assert [finding async for finding in provider_findings(_Site())] == []


def queue(**fields):
    given = {
        "provider": "openai",
        "waiting": 37,
        "runs": {RUN_ID: 37},
        "why": "requests",
        "requests_per_min": 600.0,
        "tokens_per_min": 90_000.0,
        "concurrency_max": 8,
        "learned_per_min": None,
        "pause_s": 0.0,
    }
    return Queue(**(given | fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({}, "37 trials for provider openai (600 requests/min)", id="requests"),
        pytest.param({"why": "tokens"}, "37 trials for provider openai (90,000 tokens/min)", id="tokens"),
        pytest.param({"why": "concurrency"}, "37 trials for provider openai (8 at once)", id="concurrency"),
        pytest.param(
            {"learned_per_min": 480.2},
            "37 trials for provider openai (480 of 600 requests/min, for it refused more)",
            id="below-the-stated",
        ),
        pytest.param(
            {"learned_per_min": 480.2, "requests_per_min": None},
            "37 trials for provider openai (480 requests/min, for it refused more)",
            id="learned",
        ),
        pytest.param(
            {"why": "pause", "pause_s": 12.0},
            "37 trials for provider openai (it asks to be left alone for 12.0 s)",
            id="pause",
        ),
        pytest.param(
            {"waiting": 200, "runs": {RUN_ID: 1, "other": 199}},
            "1 trial for provider openai (600 requests/min), with 199 of other runs",
            id="other-runs",
        ),
    ],
)
def test_who_waits_for_what_is_told_with_the_limit(fields, told):
    assert limits.queued([queue(**fields)], RUN_ID) == told


def test_progress_says_whose_turn_has_not_come_while_the_run_moves():
    told = "waiting: 37 trials for provider openai (600 requests/min)"
    assert told in progress.terse(counts(passed=8), [], [queue()])
    assert told in drawn(progress.live(counts(passed=8), (), signs=Marks(), queues=[queue()]))
    assert told not in progress.terse(counts(state="paused", passed=8), [], [queue()])
    assert limits.queued([], RUN_ID) == ""
