"""The one place that joins core, Redis, a store and the worker package: everything a command acts on.

Also the one place of the command line that looks at the process's environment, once,
to resolve the settings. Redis, stores and Celery are imported when they are needed: a
command that reads never imports Celery.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from salvo_cli.embedded import EmbeddedServer, Places
    from salvo_core.adapters.registry import AdapterRegistry
    from salvo_core.clock import Clock
    from salvo_core.fleet.breaker import Breakers
    from salvo_core.fleet.limits import ProviderLimits
    from salvo_core.fleet.registry import WorkerRegistry
    from salvo_core.manifest.live import Manifest
    from salvo_core.observe import Observer
    from salvo_core.run.dispatch import Dispatcher
    from salvo_core.run.plan import TrialMessage
    from salvo_core.run.route import Route
    from salvo_core.run.signature import Signer
    from salvo_core.scenario.project import Project
    from salvo_core.settings import Settings
    from salvo_core.store.packed import PackedStore
    from salvo_core.store.protocol import Store


Answer = TypeVar("Answer")


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


@dataclass(frozen=True)
class Surroundings:
    """Where a command was called: the project of the current folder, and the settings in force.

    ``settings`` are as resolved: in the embedded mode their Redis and store are unset.
    """

    project: Project
    settings: Settings
    places: Places

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.project.root

    def scenario_paths(self, paths: Sequence[Path]) -> list[Path]:
        """Return the paths a person gave, or the project's scenarios folder as a person would type it."""
        if paths:
            return list(paths)
        usual = Path(os.path.relpath(self.project.scenarios_path))
        # Outside the current folder that is the whole path.
        return [self.project.scenarios_path if usual.parts[:1] == ("..",) else usual]

    def cores(self) -> int:
        """Return how many cores this machine lets us use."""
        from salvo_worker.cores import usable_cores

        return usable_cores()

    def effective(self) -> Settings:
        """Return the settings with the embedded servers' addresses where none is named."""
        settings = self.settings
        if settings.redis_url is None:
            settings = settings.with_values(redis_url=self.places.redis_url)
        if settings.store_url is None:
            settings = settings.with_values(store_url=self.places.store_url)
        return settings


def surroundings(**flags: Any) -> Surroundings:
    """Return the surroundings of this command.

    Args:
        flags: Settings given on the command line, by name; None means not given.

    Raises:
        UsageError: ``salvo.yaml`` or a variable cannot be used.
    """
    # pydantic and YAML: `salvo --help` does without.
    from salvo_cli.embedded import Places
    from salvo_core.scenario.project import find_root, load_project
    from salvo_core.settings import resolve

    project = load_project(find_root(Path.cwd()))
    settings = resolve(environment(), project=project.settings(), flags=flags)
    return Surroundings(project, settings, Places(project.storage_path.resolve()))


@dataclass
class Site:
    """Everything a command acts on, open."""

    here: Surroundings
    settings: Settings
    """Effective: Redis and store are set."""
    store: PackedStore
    manifest: Manifest
    dispatcher: Dispatcher
    observer: Observer
    registry: WorkerRegistry
    clock: Clock
    breakers: Breakers
    limits: ProviderLimits
    server: EmbeddedServer | None
    """Our hold on the embedded server; None with a fleet."""


@asynccontextmanager
async def open_site(here: Surroundings, server: EmbeddedServer | None = None) -> AsyncIterator[Site]:
    """Open everything, embedded servers included, and close it again.

    Args:
        here: From ``surroundings``.
        server: The embedded server if the caller has begun it already; the caller leaves it then.

    Raises:
        UsageError: An address cannot be used.
        RedisUnavailable: The embedded server does not start.
    """
    own = None
    if server is None and here.settings.embedded:
        from salvo_cli.embedded import EmbeddedServer  # only the embedded mode needs it

        own = server = EmbeddedServer(here.places)
        own.begin()
    try:
        if server is not None:
            await asyncio.to_thread(server.wait_ready)
        async with _opened(here, server) as site:
            yield site
    finally:
        if own is not None:
            own.leave()


@asynccontextmanager
async def _opened(here: Surroundings, server: EmbeddedServer | None) -> AsyncIterator[Site]:
    # The Redis client costs 0.1 s to import; the embedded server comes up meanwhile.
    from salvo_core.clock import SystemClock
    from salvo_core.fleet.breaker import Breakers
    from salvo_core.fleet.limits import ProviderLimits
    from salvo_core.fleet.registry import WorkerRegistry
    from salvo_core.manifest.connection import connect
    from salvo_core.manifest.live import Manifest
    from salvo_core.observe import Observer
    from salvo_core.run.signature import Signer
    from salvo_core.settings import without_password
    from salvo_core.store.opening import open_store

    settings = here.effective()
    address = without_password(settings.redis_url)
    redis = connect(settings.redis_url, connections_max=16)
    manifest = Manifest(redis, address)
    store = open_store(
        settings.store_url,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        addressing_style=settings.s3_addressing_style,
    )
    signer = Signer(settings.signing_keys)
    dispatcher = LazyDispatcher(settings.broker_url or settings.redis_url, signer, settings.queued_max)
    try:
        yield Site(
            here=here,
            settings=settings,
            store=store,
            manifest=manifest,
            dispatcher=dispatcher,
            observer=Observer(store, manifest),
            registry=WorkerRegistry(redis, address),
            clock=SystemClock(),
            breakers=Breakers(redis, address),
            limits=ProviderLimits(redis, address),
            server=server,
        )
    finally:
        await dispatcher.aclose()
        await store.aclose()
        await manifest.aclose()


@asynccontextmanager
async def open_only_the_store(here: Surroundings) -> AsyncIterator[Store]:
    """Open the store and no server, for who only looks; close it again.

    Raises:
        UsageError: Its address cannot be used.
    """
    from salvo_core.store.opening import open_store

    settings = here.effective()
    store = open_store(
        settings.store_url,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        addressing_style=settings.s3_addressing_style,
    )
    try:
        yield store
    finally:
        await store.aclose()


@dataclass
class LazyDispatcher:
    """A dispatcher that becomes Celery's when something is first sent: reading never pays for its import.

    Args:
        broker_url: As in the settings.
        signer: Signs what it sends.
        queued_max: As in the settings.
    """

    broker_url: str = field(repr=False)
    signer: Signer
    queued_max: int
    _real: Dispatcher | None = field(default=None, init=False)

    def _made(self) -> Dispatcher:
        if self._real is None:
            from salvo_worker.dispatch import CeleryDispatcher  # 0.3 s of imports

            self._real = CeleryDispatcher(self.broker_url, self.signer, queued_max=self.queued_max)
        return self._real

    async def publish(self, messages: Iterable[TrialMessage], route: Route | None = None) -> int:
        """Send one message per trial; return how many were sent."""
        return await (self._made().publish(messages, route) if route else self._made().publish(messages))

    async def queued(self, route: Route | None = None) -> int:
        """Return how many messages no worker has taken yet, on one route or on all."""
        return await self._made().queued(route)

    async def lanes(self) -> Sequence[int]:
        """Return how many messages no worker has taken yet, by lane."""
        return await self._made().lanes()

    async def withdraw(self, run_id: str, route: Route) -> int:
        """Take a run's messages out of the queue; return how many there were."""
        return await self._made().withdraw(run_id, route)

    async def aclose(self) -> None:
        """Let go of connections, if there ever were any."""
        if self._real is not None:
            await self._real.aclose()


def in_site(action: Callable[[Site], Awaitable[Answer]]) -> Answer:
    """Run one command's action with everything open; return what it returns, usually its exit code."""
    here = surroundings()

    async def act() -> Answer:
        async with open_site(here) as site:
            return await action(site)

    return asyncio.run(act())


def open_adapters(here: Surroundings) -> AdapterRegistry:
    """Return the adapters that a worker with this project and environment has; ``aclose`` them afterwards."""
    # httpx and the price table: few commands ask.
    from salvo_core.adapters.registry import AdapterRegistry
    from salvo_core.adapters.transport import Transport
    from salvo_core.clock import SystemClock

    return AdapterRegistry(
        profiles=here.project.providers,
        allow_imports=here.settings.allow_imports,
        secrets=here.settings,
        transport=Transport(1),
        clock=SystemClock(),
        prices=here.project.prices,
        site_secrets=here.settings.signing_keys,
    )


def work(
    here: Surroundings,
    *,
    idle_exit_s: float | None,
    loglevel: str,
    tether: str | None = None,
    hold: Callable[[], Any] | None = None,
) -> int:
    """Be a worker, or the parent of several, until told to stop; return the exit code.

    Args:
        here: From ``surroundings``.
        idle_exit_s: Leave when no run was open for so long, seconds.
        loglevel: debug, info, warning or error.
        tether: Given by a parent process: we are one of its several.
        hold: Returns a hold on the embedded server for a child to inherit; None with a fleet.

    Raises:
        UsageError: The settings cannot be used.
        RedisUnavailable: Redis cannot be reached, refuses us, or would not keep what it is given.
    """
    settings = here.effective()
    if here.settings.embedded:
        # It serves nobody but the person at this shell, who is root then already.
        settings = settings.with_values(allow_root=True)
    asyncio.run(_require_redis(settings.redis_url))
    from salvo_core.errors import UsageError
    from salvo_worker.readiness import require_readiness
    from salvo_worker.supervisor import supervise, wants_parent
    from salvo_worker.tether import Tether

    if tether is None and wants_parent(settings):
        require_readiness(settings)  # told once, and not by each of them
        # Children resolve the embedded addresses for themselves: they hold its server, too.
        return supervise(
            here.settings, "salvo_cli", environment(), idle_exit_s=idle_exit_s, loglevel=loglevel, hold=hold
        )
    from salvo_worker.main import run_worker  # Celery: this process is the worker

    try:
        tied = None if tether is None else Tether.parse(tether)
    except ValueError as error:
        raise UsageError(f"--tether {error}", hint="it is for processes that --procs starts") from None
    return run_worker(settings, here.project, idle_exit_s=idle_exit_s, loglevel=loglevel, tether=tied)


def leave(code: int) -> NoReturn:
    """End the process that ``work`` was called in: it may have threads that wait for a silent server."""
    from salvo_worker.departure import leave_process

    leave_process(code)


async def _require_redis(url: str) -> None:
    """Ask Redis once: a wrong address or password is told at once, where Celery would try for ever."""
    from salvo_core.manifest.connection import connect, translated
    from salvo_core.settings import without_password

    client = connect(url, connections_max=1)
    try:
        with translated(without_password(url)):
            await client.ping()
    finally:
        await client.aclose()
