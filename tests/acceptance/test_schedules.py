"""Nightlies as a person has them: add, see it fire by itself, trigger, look back, forget."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from salvo_core.run.schedule import keep_schedule, read_schedule
from salvo_core.run.signature import UNSIGNED
from salvo_core.store.opening import open_store
from tests.acceptance.typing_person import until

pytestmark = pytest.mark.servers


async def as_if_added_earlier(person, name, since):
    """Move a schedule's beginning, because nobody waits for the next minute."""
    store = open_store(f"file://{person.folder}/.salvo/store")
    schedule = await read_schedule(name, store, UNSIGNED)
    await keep_schedule(schedule.model_copy(update={"since": since}), store, UNSIGNED)
    await store.aclose()


def history(person):
    return person.types("schedule", "history", "nightly", "--json").document


def test_a_schedule_fires_by_itself_once_and_a_person_may_trigger_it(person):
    file = person.scenario("trial", "[{text: good}]")
    at = datetime.now(UTC).replace(second=0, microsecond=0)
    cron = f"{at.minute} {at.hour} * * *"
    added = person.types("schedule", "add", "nightly", file, "--cron", cron, "-n", "3", "--catchup", "1h")
    assert (added.code, added.err) == (0, "")
    asyncio.run(as_if_added_earlier(person, "nightly", at - timedelta(seconds=1)))

    worker = person.start("worker", "--beat")
    try:
        until(lambda: [one["verdict"] for one in history(person)["firings"]] == ["PASS"], "a firing", 90)
        triggered = person.types("schedule", "trigger", "nightly", "-n", "5")
        assert triggered.code == 0
        assert person.types("wait", triggered.out.strip()).code == 0
        # The worker's beat looks at what is over, too.
        until(lambda: len(history(person)["followed"]) == 2, "both are followed", 90)
    finally:
        person.interrupts(worker)
        person.ended(worker)

    past = history(person)
    assert [(one["works"], one["events"], one["alerts"]) for one in past["followed"]] == [(True, [], [])] * 2
    by_hand = {one["by_hand"]: one for one in past["firings"]}
    assert set(by_hand) == {False, True}
    assert datetime.fromisoformat(by_hand[False]["due_at"]) == at
    assert by_hand[True]["run_id"] == triggered.out.strip()
    assert [(cell["nights"], cell["phase"]) for cell in past["cells"]] == [(2, "learning")]
    (listed,) = person.types("schedule", "list", "--json").document["schedules"]
    assert listed["verdicts"] == ["PASS", "PASS"]
    assert person.types("schedule", "pause", "nightly").code == 0
    assert "paused" in person.types("schedule", "list").out
    assert person.types("schedule", "rm", "nightly").code == 0
    assert person.types("schedule", "show", "nightly").code == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cron", "0 25 * * *"], "cron"),
        (["--timezone", "Europe/Atlantis"], "timezone"),
        (["--catchup", "9d"], "catch up"),
        (["--overlap", "both"], "overlap"),
        (["/"], "project"),
        (["missing.yaml"], "missing.yaml"),
        (["--model", ""], "a model has a name"),
        (
            ["trial.yaml", "--budget-usd", "5", "--model", "priceless"],
            "the price of 'priceless' is not known",
        ),
        (["trial.yaml", "--confirm-budget-usd", "5", "--model", "priceless"], "is not known"),
    ],
    ids=["cron", "timezone", "catchup", "overlap", "outside", "missing", "model", "budget", "confirmations"],
)
def test_what_cannot_be_meant_is_told_when_it_is_added(person, arguments, said):
    person.scenario("trial", "[{text: good}]")
    refused = person.types("schedule", "add", "nightly", *arguments)
    assert refused.code == 64
    assert said in refused.err


def test_a_person_says_whom_to_tell_and_tries_whether_it_arrives(person):
    file = person.scenario("trial", "[{text: good}]")
    secret = "https://hooks.slack.com/services/T0/B0/canarycanarycanary012"
    (person.folder / "salvo.yaml").write_text(
        "notify:\n  log: {file: kept/alerts.jsonl}\n  chat: {slack_url_env: CHAT_URL}\n", "utf-8"
    )
    refused = person.types("schedule", "add", "nightly", file, "--notify", "log", "--notify", secret)
    assert refused.code == 64
    assert "holds a secret" in refused.err
    assert "canary" not in refused.err

    added = person.types("schedule", "add", "nightly", file, "--notify", "log", "--notify", "chat")
    assert (added.code, "log, chat" in added.out) == (0, True)
    tried = person.types("schedule", "test-alert", "nightly", "--json")
    assert tried.code == 1
    assert [(one["channel"], one["told"], one["said"]) for one in tried.document["channels"]] == [
        ("log", True, "written"),
        ("chat", False, "CHAT_URL is not set here"),
    ]
    (line,) = (person.folder / "kept" / "alerts.jsonl").read_text("utf-8").splitlines()
    assert (json.loads(line)["schedule"], json.loads(line)["test"]) == ("nightly", True)
    assert not (person.folder / ".salvo" / "store" / "alerts").exists()
    config = person.types("config", "--json").document
    assert [(one["name"], one["leads_to"], one["unset"]) for one in config["channels"]] == [
        ("log", "kept/alerts.jsonl", []),
        ("chat", "$CHAT_URL", ["CHAT_URL"]),
    ]
