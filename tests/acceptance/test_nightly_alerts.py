"""A nightly as a person has it whose agent gets worse: suspected, confirmed, told, and well again."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.typing_person import until

pytestmark = pytest.mark.servers

AGENT = """
import pathlib
from salvo_core.adapters.protocol import TurnReply

class Moody:
    name = "moody"

    async def send_turn(self, messages, tools, config):
        return TurnReply(pathlib.Path(__file__).with_name("mood.txt").read_text(), finish_reason="stop")

    async def aclose(self):
        pass
"""

BEAT = """
import asyncio, pathlib
from datetime import datetime
from salvo_cli.timekeeping import beat_of, follower_of
from salvo_cli.wiring import open_site, surroundings

class Wall:
    def now(self):
        return datetime.fromisoformat(pathlib.Path("time.txt").read_text())

async def main():
    async with open_site(surroundings()) as site:
        beat = beat_of(site)
        beat.clock = Wall()
        follower = follower_of(site, beat)
        while True:
            await beat.tick()
            await follower.tick()
            await asyncio.sleep(0.2)

asyncio.run(main())
"""
"""The beat of ``salvo beat`` with a clock that the test sets: nobody waits for nights."""


def at_once(file, text):
    """Write a file so that no reader sees half of it."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


@contextmanager
def beating(person):
    (person.folder / "beat.py").write_text(BEAT)
    process = subprocess.Popen([sys.executable, "-P", "beat.py"], cwd=person.folder, env=person.environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_an_agent_that_gets_worse_is_suspected_confirmed_told_and_well_again(person):
    (person.folder / "moods.py").write_text(AGENT)
    (person.folder / "salvo.yaml").write_text("notify:\n  log: {file: alerts.jsonl}\n")
    (person.folder / "trial.yaml").write_text(
        "description: the desk\nadapter: moods.Moody\nmodel: pretend\nprompt: Be good.\n"
        "assertions:\n  - {type: output_contains, value: good}\n"
    )
    person.environ |= {
        "SALVO_ALLOW_IMPORTS": "moods.*",
        "PYTHONPATH": f"{person.environ['PYTHONPATH']}:{person.folder}",
    }
    # As much of a repository as git itself would read a commit from.
    (person.folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (person.folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (person.folder / ".git" / "config").write_text("")
    (person.folder / ".git" / "refs" / "heads" / "main").write_text(f"{'c0ffee42' * 5}\n")
    log = person.folder / "alerts.jsonl"

    def mood(text):
        at_once(person.folder / "mood.txt", text)

    def time(hours):
        at = now.replace(minute=0, second=5) + timedelta(hours=hours)
        at_once(person.folder / "time.txt", at.isoformat())

    def told():
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]

    now = datetime.now(UTC)
    mood("good")
    time(0)
    worker = person.start("worker")
    try:
        assert person.types("run", "trial.yaml", "-n", "30", "-q").code == 0
        assert person.types("baseline", "set", "main", "latest").code == 0
        added = person.types(
            "schedule", "add", "nightly", "trial.yaml", "--cron", "0 * * * *", "-n", "20", "--from-store",
            "--baseline", "main", "--confirm-trials", "15", "--notify", "log",
        )  # fmt: skip
        assert (added.code, added.err) == (0, "")
        (person.folder / "trial.yaml").unlink()  # nothing of the folder is needed from now on
        mood("bad")
        time(1)
        with beating(person):
            until(lambda: len(told()) == 1, "an alert", 90)
            mood("good")
            time(2)
            until(lambda: len(told()) == 2, "an all clear", 90)
            of_commit = person.types("list", "--label", "commit=c0ffee42c0ff", "--json").document["runs"]
            looked = person.types("schedule", "history", "nightly", "--json").document
    finally:
        person.interrupts(worker)
        person.ended(worker)

    alert, all_clear = told()
    assert (alert["kind"], all_clear["kind"]) == ("alert", "all clear")
    assert alert["incident"] == all_clear["incident"]
    assert alert["cells"][0] | {"reference": 0, "evidence": 0} == {
        "scenario": "the desk", "model": "pretend", "rate": 0.0, "reference": 0, "n": 15, "evidence": 0,
    }  # fmt: skip
    assert [one["kind"] for one in looked["firings"]] == ["due", "confirm", "due"]
    assert len(of_commit) == 4  # the baseline's run, both nights, and the confirmation
    events = [event["event"] for one in looked["followed"] for event in one["events"]]
    assert events == ["suspicion", "alert", "all clear"]
    sent = [alert for one in looked["followed"] for alert in one["alerts"]]
    assert [(one["channel"], one["state"]) for alert in sent for one in alert["told"]] == [
        ("log", "told")
    ] * 2
    shown = person.types("schedule", "history", "nightly").out
    for word in ("suspicion", "ALERT", "all clear", "told log"):
        assert word in shown
