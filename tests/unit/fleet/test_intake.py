"""The gate in front of a worker's trials: what shuts it, what opens it, who waits."""

import asyncio

import pytest

from salvo_core.errors import StoreRefused, StoreUnavailable
from salvo_core.fleet.intake import REDIS, STORE, WAIT_MAX_S, Intake
from salvo_core.store.memory import MemoryStore
from salvo_core.store.watched import WatchedStore
from tests.unit.trial.builders import StepClock


class Probe:
    """A store that is away for a number of tries."""

    def __init__(self, failures):
        self.failures = failures
        self.tried = 0

    async def __call__(self):
        self.tried += 1
        if self.tried <= self.failures:
            raise StoreUnavailable(f"away, try {self.tried}")


async def test_a_gate_that_nobody_shut_admits_at_once():
    probe = Probe(0)
    assert await Intake(probe).admits()
    assert probe.tried == 0


async def test_a_shut_gate_opens_when_the_store_works_again_and_one_of_those_who_wait_tries_for_all():
    clock, probe = StepClock(), Probe(6)
    intake = Intake(probe, clock=clock)
    intake.shut(STORE, "the store\nis away")
    assert intake.reason == "the store is away"
    assert await asyncio.gather(*(intake.admits() for _ in range(50))) == [True] * 50
    assert probe.tried == 7
    assert intake.reason == ""
    assert max(clock.slept) <= WAIT_MAX_S


async def test_what_a_try_finds_is_the_reason_from_then_on():
    intake = Intake(Probe(10**9), clock=StepClock())
    intake.shut(STORE, "away")
    waiting = asyncio.create_task(intake.admits())
    while "try 3" not in intake.reason:
        await asyncio.sleep(0)
    waiting.cancel()


async def test_a_write_that_succeeds_opens_the_gate():
    clock = StepClock()
    intake = Intake(Probe(10**9), clock=clock)
    intake.shut(STORE, "away")
    waiting = asyncio.create_task(intake.admits())
    await asyncio.sleep(0)
    intake.open(STORE)
    assert await waiting


async def test_nobody_waits_in_a_worker_that_leaves():
    leaving = []
    intake = Intake(Probe(10**9), is_leaving=lambda: bool(leaving), clock=StepClock())
    intake.shut(STORE, "away")
    waiting = asyncio.create_task(intake.admits())
    await asyncio.sleep(0)
    leaving.append(True)
    assert not await waiting


async def test_a_store_that_works_does_not_excuse_a_redis_that_evicts():
    intake = Intake(Probe(0), clock=StepClock())
    intake.shut(STORE, "away")
    intake.shut(REDIS, "evicts")
    assert intake.reason == "away; evicts"
    intake.open(STORE)
    assert intake.reason == "evicts"
    waiting = asyncio.create_task(intake.admits())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    intake.open(REDIS)
    assert await waiting


class Ailing(MemoryStore):
    """A store that fails as it is told."""

    error = None

    async def put_if_absent(self, key, body):
        if self.error:
            raise self.error
        return await super().put_if_absent(key, body)

    async def get(self, key):
        if self.error:
            raise self.error
        return await super().get(key)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreRefused("no rights")])
async def test_a_watched_store_tells_failures_of_any_call_and_success_only_of_writes(error):
    told, store = [], Ailing()
    watched = WatchedStore(store, failed=told.append, worked=lambda: told.append("worked"))
    await watched.put_if_absent("runs/a", b"x")
    assert await watched.get("runs/a") == b"x"
    assert told == ["worked"]
    store.error = error
    for call in (watched.put_if_absent("runs/b", b"x"), watched.get("runs/a")):
        with pytest.raises(type(error)):
            await call
    assert told == ["worked", str(error), str(error)]
    assert watched.address == store.address


async def test_a_watched_store_is_the_store_in_everything_else():
    watched = WatchedStore(MemoryStore(), failed=pytest.fail, worked=lambda: None)
    await watched.put("runs/a/plan.json", b"x")
    assert [key async for key in watched.list("runs/")] == ["runs/a/plan.json"]
    assert [name async for name in watched.list_folders("runs/")] == ["a"]
    assert (await watched.probe()).conditional_writes
    await watched.delete("runs/a/plan.json")
    assert [key async for key in watched.list("runs/")] == []
    await watched.aclose()
