"""What one worker process opens, keeps alive and closes, all on the pool's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property, partial

from redis.asyncio import Redis

from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.adapters.transport import Transport
from salvo_core.attempt import Bench, attempt
from salvo_core.clock import Clock, SystemClock
from salvo_core.errors import RedisUnavailable, SalvoError
from salvo_core.evaluation.functions import FunctionHosts
from salvo_core.fire import Beat
from salvo_core.fleet.election import BEAT, SWEEPER, elected
from salvo_core.fleet.intake import BROKER, REDIS, STORE, Intake
from salvo_core.fleet.registry import SILENT_AFTER_S, WorkerCard, WorkerRegistry
from salvo_core.follow import Follower, over_channels
from salvo_core.imports import ImportGate
from salvo_core.manifest.connection import connect
from salvo_core.manifest.leases import RENEWALS_PER_LEASE, LeaseKeeper
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.memory import MESSAGES, Memory, read_memory
from salvo_core.manifest.pulse import pulse, silence_s
from salvo_core.rebuild import Rebuilder
from salvo_core.reorder import order_of
from salvo_core.run.orders import Orders
from salvo_core.run.plan import TrialMessage
from salvo_core.run.signature import Signer
from salvo_core.scenario.project import Project
from salvo_core.settings import Settings, without_password
from salvo_core.store.opening import open_store
from salvo_core.store.protocol import Store
from salvo_core.store.watched import WatchedStore
from salvo_core.sweep import Sweeper
from salvo_core.version import VERSION
from salvo_worker.dispatch import CeleryDispatcher
from salvo_worker.stalls import Stalls

logger = logging.getLogger(__name__)

BEAT_S = 10.0
"""How often schedules are looked at."""
AGAIN_AFTER_S = 1.0
"""How soon a duty that a server's outage kept from being done is tried again, at most."""

PROVIDER_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


def new_worker_name() -> str:
    """Return a name no other worker has: host, process, and four bytes of chance; no blanks."""
    host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Lifespan:
    """A worker's bench and the tasks that run beside its trials: leases, card, sweep, idleness.

    Args:
        settings: Of this process; redis_url and store_url are set.
        project: Provider profiles and prices of this worker's own project file.
        idle_exit_s: Stop when no run was open for so long; None means stay.
        stop: Asks Celery for a warm stop; called at most once.
        learned: Is told the exact secrets that this worker holds, again and again: keys may change.
    """

    def __init__(
        self,
        settings: Settings,
        project: Project,
        *,
        idle_exit_s: float | None,
        stop: Callable[[], None],
        learned: Callable[[frozenset[str]], None],
    ) -> None:
        self.settings = settings
        self.project = project
        self.name = new_worker_name()
        self._idle_exit_s = idle_exit_s
        self._stop = stop
        self._learned = learned
        self._bench: Bench | None = None
        self._intake = Intake(self._probe, is_leaving=lambda: self.leaving)
        self._conditional_writes: bool | None = None
        self._started_ms = round(time.time() * 1000)
        self._stalls = Stalls()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open connections, keep the leases alive until the last trial is over, close."""
        settings, clock = self.settings, SystemClock()
        redis = connect(settings.redis_url, connections_max=settings.concurrency + 16)
        manifest = Manifest(redis, without_password(settings.redis_url))
        store = self._opened_store()
        adapters = self._opened_adapters(clock)
        signer = Signer(settings.signing_keys)
        dispatcher = CeleryDispatcher(
            settings.broker_url or settings.redis_url, signer, queued_max=settings.queued_max
        )
        leases = LeaseKeeper(manifest, self.name, lease_s=settings.lease_s, clock=clock)
        renewal_s = settings.lease_s / RENEWALS_PER_LEASE
        self._rebuilder = Rebuilder(
            store, manifest, dispatcher, clock, self.name, lease_s=settings.lease_s, settle_s=renewal_s + 1
        )
        leases.reseat = self._rebuilder.reseat
        functions = FunctionHosts(ImportGate(settings.allow_imports))
        self._stalls.watch(asyncio.get_running_loop())
        self._bench = Bench(
            store,
            manifest,
            dispatcher,
            adapters,
            leases,
            Orders(store, signer),
            clock,
            functions=functions,
            redaction_patterns=tuple(self.project.recording.custom_redaction_patterns),
            rebuilder=self._rebuilder,
            intake=self._intake,
        )
        self._workers = WorkerRegistry(redis, manifest.address)
        self._sweeper = Sweeper(
            store, manifest, dispatcher, clock, still_s=settings.sweep_s, rebuilder=self._rebuilder
        )
        beside = self._duties(leases)
        queue: Redis | None = None
        if settings.broker_url not in (None, settings.redis_url):  # looked at here, used by Celery
            queue = connect(settings.broker_url, connections_max=1, retries_max=0)
            look = partial(self._mind_queue, queue, without_password(settings.broker_url))
            beside.append(asyncio.create_task(self._every(SILENT_AFTER_S / 3, look), name="queue"))
        logger.info("worker %s is ready: %d trials at once", self.name, settings.concurrency)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(SalvoError):
                await self._workers.gone(self.name)
            await self._bench.turnstiles.aclose()
            functions.close()
            await adapters.aclose()
            await dispatcher.aclose()
            await store.aclose()
            await manifest.aclose()
            if queue is not None:
                await queue.aclose()

    def _duties(self, leases: LeaseKeeper) -> list[asyncio.Task[None]]:
        """Begin what a worker does beside its trials."""
        settings = self.settings
        duties = [
            asyncio.create_task(leases.run(), name="leases"),
            asyncio.create_task(self._every(SILENT_AFTER_S / 3, self._beat), name="card"),
            asyncio.create_task(self._every(settings.sweep_s, self._sweep), name="sweep"),
            asyncio.create_task(self._probe_at_first(), name="probe"),
        ]
        if settings.beat:
            duties.append(asyncio.create_task(self._every(BEAT_S, self._fire), name="beat"))
        return duties

    def _opened_adapters(self, clock: Clock) -> AdapterRegistry:
        """Return the adapters of this worker's profiles; their secrets are struck out of the log."""
        settings = self.settings
        adapters = AdapterRegistry(
            profiles=self.project.providers,
            allow_imports=settings.allow_imports,
            secrets=settings,
            transport=Transport(settings.concurrency),
            clock=clock,
            prices=self.project.prices,
            site_secrets=settings.signing_keys,
        )
        self._learned(adapters.known_secrets())
        return adapters

    def _opened_store(self) -> Store:
        """Return the store, watched: the first write that fails shuts the gate in front of new trials."""
        settings = self.settings
        self._store = WatchedStore(
            open_store(
                settings.store_url,
                endpoint_url=settings.s3_endpoint_url,
                region=settings.s3_region,
                addressing_style=settings.s3_addressing_style,
            ),
            failed=lambda reason: self._intake.shut(STORE, reason),
            worked=lambda: self._intake.open(STORE),
        )
        return self._store

    async def _probe_at_first(self) -> None:
        """Find out, before the first trial ends, whether the store works; and once, what it does."""
        with contextlib.suppress(SalvoError):  # told by the gate, which goes on trying
            await self._probe()

    async def _probe(self) -> None:
        probed = await self._store.probe()
        if self._conditional_writes is None and not probed.conditional_writes:
            logger.warning("%s ignores conditional writes: fencing alone guards results", self._store.address)
        self._conditional_writes = probed.conditional_writes

    async def _mind_eviction(self, bench: Bench) -> None:
        memory = await read_memory(bench.manifest.redis, bench.manifest.address)
        self._heed(REDIS, memory, "rows of running trials")

    async def _mind_queue(self, redis: Redis, address: str) -> None:
        with contextlib.suppress(RedisUnavailable):  # Celery says so, and waits
            self._heed(BROKER, await read_memory(redis, address), f"{MESSAGES}, on the queue's Redis")

    def _heed(self, subject: str, memory: Memory, dropped: str) -> None:
        if memory.evicts:
            self._intake.shut(subject, f"maxmemory-policy {memory.policy} would drop {dropped}")
        else:
            self._intake.open(subject)

    @property
    def leaving(self) -> bool:
        """Whether this worker was told to leave."""
        return self._bench is not None and self._bench.leases.leaving

    def leave(self) -> None:
        """Begin no more turns: running trials are given back at their next boundary."""
        if self._bench is not None:
            self._bench.leases.leaving = True

    async def attempt(self, message: TrialMessage) -> None:
        """Attempt the trial that a message names."""
        assert self._bench is not None
        await attempt(message, self._bench)

    async def _every(self, interval_s: float, act: Callable[[], Awaitable[None]]) -> None:
        """Act for ever, at once first; a fault of ours is logged and must not end the worker's care."""
        while True:
            wait_s = interval_s
            try:
                await act()
            except SalvoError as error:
                logger.warning("%s", error)
                wait_s = min(interval_s, AGAIN_AFTER_S)
            except Exception:
                logger.exception("a worker's regular duty failed")
            await asyncio.sleep(wait_s)

    async def _beat(self) -> None:
        bench = self._bench
        assert bench is not None
        await self._mind_eviction(bench)
        self._learned(bench.adapters.known_secrets())
        self._stalls.tell()
        await self._workers.beat(
            WorkerCard(
                name=self.name,
                host=socket.gethostname(),
                pid=os.getpid(),
                concurrency=self.settings.concurrency,
                running=len(bench.leases),
                started_ms=self._started_ms,
                salvo_version=VERSION,
                keys_present=tuple(name for name in self._key_names() if self.settings.secret(name)),
                signing=Signer(self.settings.signing_keys).fingerprints,
                shut=self._intake.reason,
                conditional_writes=self._conditional_writes,
                stalls=self._stalls.count,
                stall_s_longest=round(self._stalls.longest_s, 4),
            )
        )

    def _key_names(self) -> list[str]:
        named = (profile.key_env for profile in self.project.providers.values())
        return list(dict.fromkeys((*PROVIDER_KEYS, *filter(None, named))))

    async def _sweep(self) -> None:
        """Sweep if no other worker does; then see whether anything is left to do at all."""
        bench = self._bench
        assert bench is not None
        lease_s, sweep_s = self.settings.lease_s, self.settings.sweep_s
        mercy_s = await pulse(bench.manifest, silence_s=silence_s(lease_s, sweep_s), mercy_s=lease_s)
        if await self._elected(SWEEPER, sweep_s):
            open_runs = await self._sweeper.sweep(merciful=mercy_s > 0)
        else:
            open_runs = len(await bench.manifest.open_runs())
        await self._rebuilder.watch(await bench.manifest.open_runs())
        self._note_idleness(busy=bool(open_runs or len(bench.leases)))

    async def _fire(self) -> None:
        """Fire schedules, and do what comes after their runs, if no other beat does."""
        if await self._elected(BEAT, BEAT_S):
            await self._clockwork.beat.tick()
            await self._clockwork.tick()

    @cached_property
    def _clockwork(self) -> Follower:
        bench = self._bench
        assert bench is not None
        secrets = bench.adapters.known_secrets
        beat = Beat(
            bench.store,
            bench.manifest,
            bench.dispatcher,
            bench.clock,
            lambda schedule: order_of(schedule, self.project, secrets()),
            secrets,
        )
        return Follower(beat, over_channels(self.project, self.settings, bench.store, bench.clock))

    async def _elected(self, office: str, interval_s: float) -> bool:
        assert self._bench is not None
        manifest, term_ms = self._bench.manifest, round(interval_s * 3000)
        return await elected(manifest.redis, manifest.address, office, self.name, term_ms=term_ms)

    _idle_since_s: float | None = None

    def _note_idleness(self, *, busy: bool) -> None:
        now_s = time.monotonic()
        if busy or self._idle_exit_s is None:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s >= self._idle_exit_s:
            logger.info("worker %s has had nothing to do for %g s: leaving", self.name, self._idle_exit_s)
            self._idle_exit_s = None
            self._stop()
