"""What may befall a fleet: each fault happens, and is over when its coroutine returns."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from salvo_core.errors import SalvoError
from tests.chaos.world import LEASE_S, World, stormy, well
from tests.integration.fleet import Worker, until


@dataclass(frozen=True)
class Fault:
    """A fault and how often it is drawn, relative to the others."""

    name: str
    weight: float
    befall: Callable[[World], Awaitable[str]]
    """Does it; returns in a few words what was done."""


async def _kill_worker(world: World) -> str:
    worker = world.rng.choice(world.living)
    name, held = await world.held_by(worker)
    worker.kill9()
    world.note_kill(name, held)
    await world.keep_staffed()
    return f"it held {len(held)} trials"


async def _kill_all_workers(world: World) -> str:
    doomed = world.living
    told = [(worker, *await world.held_by(worker)) for worker in doomed]
    for worker, name, held in told:
        worker.kill9()
        world.note_kill(name, held)
    await world.keep_staffed()
    return f"{len(doomed)} of them"


async def _stop_worker(world: World) -> str:
    worker = world.rng.choice(world.living)
    worker.signal(signal.SIGTERM)
    await _left(worker)
    await world.keep_staffed()
    return "it left"


async def _stop_worker_twice(world: World) -> str:
    worker = world.rng.choice(world.living)
    world.in_flight_max += 12  # the second signal abandons what is in flight
    worker.signal(signal.SIGTERM)
    await until(lambda: "Warm shutdown" in worker.log() or not worker.is_alive, "it was told")
    if worker.is_alive:
        worker.signal(signal.SIGTERM)
    await _left(worker)
    await world.keep_staffed()
    return "it left"


async def _left(worker: Worker) -> None:
    """Return once a worker that was told to leave has done so, in peace."""
    code = await worker.ended(deadline_s=40)
    assert code == 0, f"{worker.name} ended with {code}:\n{worker.log()[-6000:]}"


async def _freeze_worker(world: World) -> str:
    worker = world.rng.choice(world.living)
    _, held = await world.held_by(worker)
    world.in_flight_max += 12  # what it has in flight is answered twice: to it, and to who goes on
    worker.signal(signal.SIGSTOP)
    frozen_s = LEASE_S * world.rng.uniform(1.5, 2.5)
    await asyncio.sleep(frozen_s)  # the length of the fault is the fault
    worker.signal(signal.SIGCONT)
    return f"for {frozen_s:.1f} s, it held {len(held)} trials"


async def _kill_redis(world: World) -> str:
    down_s = world.rng.choice((0.0, 0.2, 1.0, 3.0))
    world.in_flight_max += 12 * len(world.living)  # turns that came back while nobody could note them
    world.redis.kill9()
    await asyncio.sleep(down_s)
    await asyncio.to_thread(world.redis.start)
    return f"away for {down_s:g} s"


async def _kill_minio(world: World) -> str:
    down_s = world.rng.choice((0.5, 2.0, 6.0))
    world.minio.kill9()
    await asyncio.sleep(down_s)
    await asyncio.to_thread(world.minio.start)
    return f"away for {down_s:g} s"


async def _storm(world: World) -> str:
    kind = world.rng.choice(("rate_limited", "transient", "reset", "half_body"))
    length_s = world.rng.uniform(0.3, 1.2)
    world.follow(stormy(kind, world.latency_s))
    await asyncio.sleep(length_s)
    world.follow(well(world.latency_s))
    return f"{kind} for {length_s:.1f} s"


async def _duplicates(world: World) -> str:
    plan = world.rng.choice(world.plans)
    indices = world.rng.sample(range(plan.total), min(50, plan.total))
    times = world.rng.choice((2, 10))
    try:
        await world.fleet.dispatcher.publish(plan.message(index) for index in indices for _ in range(times))
    except SalvoError:
        return "Redis was away"
    return f"{len(indices)} messages {times} times"


FAULTS: tuple[Fault, ...] = (
    Fault("kill -9 a worker", 4, _kill_worker),
    Fault("kill -9 every worker", 1, _kill_all_workers),
    Fault("SIGTERM a worker", 3, _stop_worker),
    Fault("SIGTERM a worker twice", 1, _stop_worker_twice),
    Fault("freeze a worker past its leases", 2, _freeze_worker),
    Fault("kill -9 Redis", 2, _kill_redis),
    Fault("kill -9 MinIO", 2, _kill_minio),
    Fault("a storm at the provider", 2, _storm),
    Fault("duplicate deliveries", 2, _duplicates),
)
