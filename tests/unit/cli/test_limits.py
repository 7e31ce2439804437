"""What holds a run up, in words."""

from dataclasses import replace

import pytest

from salvo_cli.providing import provider_findings
from salvo_cli.render import limits, progress
from salvo_cli.render.console import Marks
from salvo_core.fleet.breaker import Trouble
from salvo_core.manifest.budget import Spending
from tests.unit.cli.drawing import drawn
from tests.unit.cli.test_progress import counts

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
