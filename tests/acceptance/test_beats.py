"""Two ``salvo beat`` processes on one Redis: the elected one dies, and no due time is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from salvo_core.fleet.election import BEAT
from salvo_core.run.plan import Plan
from salvo_core.run.schedule import keep_schedule, read_schedule
from salvo_core.run.signature import UNSIGNED
from salvo_core.store import keys
from salvo_core.store.opening import open_store
from tests.acceptance.typing_person import Person, until

pytestmark = pytest.mark.servers

MINUTE = timedelta(minutes=1)


@pytest.fixture
def fleet(person: Person, redis_url: str) -> Person:
    person.environ |= {
        "SALVO_REDIS_URL": redis_url,
        "SALVO_STORE_URL": f"file://{person.folder}/objects",
    }
    return person


def elected(redis_url: str) -> int:
    """Return the id of the process that is elected; 0 while none is."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        name = client.get(BEAT)
    return int(name.split("-")[-2]) if name else 0


def firings(fleet: Person) -> dict[datetime, str]:
    """Return the run of each due time that was seen to."""
    found = fleet.types("schedule", "history", "minutely", "--json").document["firings"]
    assert all(one["run_id"] and not one["by_hand"] for one in found), found
    return {datetime.fromisoformat(one["due_at"]): one["run_id"] for one in found}


async def begun_earlier(folder: Path, since: datetime) -> None:
    store = open_store(f"file://{folder}/objects")
    schedule = await read_schedule("minutely", store, UNSIGNED)
    await keep_schedule(schedule.model_copy(update={"since": since}), store, UNSIGNED)
    await store.aclose()


async def ordered(folder: Path) -> dict[str, str]:
    """Return the due time that each run in the store was ordered for, by its id."""
    store = open_store(f"file://{folder}/objects")
    found = {}
    async for name in store.list_folders(keys.RUNS):
        key = keys.plan(name)
        found[name] = Plan.decode(await store.get(key), key).labels["due"]
    await store.aclose()
    return found


def test_the_elected_beat_is_killed_and_every_due_time_is_one_run(fleet: Person, redis_url: str) -> None:
    file = fleet.scenario("trial", "[{text: good}]")
    added = fleet.types(
        "schedule", "add", "minutely", file, "--cron", "* * * * *", "-n", "1", "--overlap", "queue"
    )
    assert (added.code, added.err) == (0, "")
    first = datetime.now(UTC).replace(second=0, microsecond=0)
    asyncio.run(begun_earlier(fleet.folder, first - timedelta(seconds=1)))

    beats = {process.pid: process for process in (fleet.start("beat"), fleet.start("beat"))}
    for process in beats.values():
        assert process.stderr is not None
        assert process.stderr.readline() == "firing schedules\n"
    until(lambda: first in firings(fleet), "the due time that has come is fired")
    killed = elected(redis_url)
    assert killed in beats
    beats[killed].send_signal(signal.SIGKILL)
    beats.pop(killed).wait(timeout=30)
    seen = max(firings(fleet))
    (left,) = beats
    until(lambda: elected(redis_url) == left, "the other is elected", 60)
    until(lambda: max(firings(fleet)) > seen, "it fires the next due time", 100)
    fleet.interrupts(beats[left])
    assert fleet.ended(beats[left]).code == 0

    found = firings(fleet)
    assert list(found) == [first + number * MINUTE for number in range(len(found))]
    assert asyncio.run(ordered(fleet.folder)) == {run_id: at.isoformat() for at, run_id in found.items()}
