"""What ``salvo doctor`` looks at: each finding is ok, warn or fail, and says what to do."""

from __future__ import annotations

import platform
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from salvo_cli.wiring import Site, Surroundings
from salvo_core.errors import SalvoError
from salvo_core.fleet.registry import WorkerCard
from salvo_core.manifest.cluster import require_every_slot, require_no_cluster
from salvo_core.manifest.connection import connect, translated
from salvo_core.manifest.memory import MESSAGES, Memory
from salvo_core.settings import without_password
from salvo_core.store.files import FileStore
from salvo_core.version import VERSION

Level = Literal["ok", "warn", "fail"]
REDIS_VERSION_MIN = (6, 2)
VALKEY_VERSION_MIN = (7, 2)
PYTHON_VERSION_MIN = (3, 11)
ROUND_TRIP_MS_HIGH = 50.0
MEMORY_SHARE_HIGH = 0.8
PINGS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: Whether it is as it should be.
        subject: What was looked at, in a word or two.
        seen: What was found; never a secret.
        advice: What to do; empty when all is well.
        server: Whether a failure means that Redis or the store cannot be used (exit 69, not 64).
    """

    level: Level
    subject: str
    seen: str
    advice: str = ""
    server: bool = False


async def redis_findings(site: Site) -> AsyncIterator[Finding]:
    """Yield what there is to say of Redis: reachable, version, persistence, memory, round trip, replicas."""
    address = site.manifest.address
    try:
        with translated(address):
            told: dict[str, Any] = await site.manifest.redis.info()
    except SalvoError as error:
        yield Finding("fail", "redis", error.message, error.hint, server=True)
        return
    yield _version(told, address)
    if told.get("role") == "slave":
        yield Finding("fail", "redis role", "a read-only replica", "name the primary", server=True)
    yield _persistence(told)
    yield _policy(told)
    yield _memory(told)
    yield await _round_trip(site)
    apart = bool(site.settings.broker_url) and site.settings.broker_url != site.settings.redis_url
    async for finding in _cluster(site.manifest.redis, address, told, queue=not apart):
        yield finding
    if apart:
        async for finding in _queue(site.settings.broker_url):
            yield finding


def _version(told: dict[str, Any], address: str) -> Finding:
    valkey = "valkey_version" in told
    name, text = ("Valkey", told["valkey_version"]) if valkey else ("Redis", told.get("redis_version", "0"))
    least = VALKEY_VERSION_MIN if valkey else REDIS_VERSION_MIN
    seen = f"{name} {text} at {address}"
    if _parts(str(text)) >= least:
        return Finding("ok", "redis", seen)
    return Finding("fail", "redis", seen, "use Redis 6.2 or later, or Valkey 7.2 or later", server=True)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _persistence(told: dict[str, Any]) -> Finding:
    if int(told.get("aof_enabled", 0)):
        return Finding("ok", "persistence", "append-only file is on")
    return Finding(
        "warn",
        "persistence",
        "append-only file is off: a restart of Redis forgets runs that are under way",
        "set `appendonly yes`; stored traces survive either way",
    )


def _policy(
    told: dict[str, Any], subject: str = "eviction", dropped: str = "rows of running trials"
) -> Finding:
    memory = Memory.told(told)
    policy = memory.policy
    if not memory.evicts:
        return Finding("ok", subject, f"maxmemory-policy {policy}")
    return Finding(
        "fail",
        subject,
        f"maxmemory-policy {policy} drops keys, and with them {dropped}",
        "set `maxmemory-policy noeviction`",
        server=True,
    )


def _memory(
    told: dict[str, Any],
    subject: str = "memory",
    refused: str = "a full Redis refuses new trials and their turns",
) -> Finding:
    used, most = int(told.get("used_memory", 0)), int(told.get("maxmemory", 0))
    mib = f"{used / 2**20:,.0f} MiB used"
    if not most:
        return Finding("ok", subject, f"{mib}, no limit set")
    seen = f"{mib} of {most / 2**20:,.0f} MiB"
    if used < MEMORY_SHARE_HIGH * most:
        return Finding("ok", subject, seen)
    return Finding("warn", subject, seen, f"raise maxmemory: {refused}")


async def _round_trip(site: Site) -> Finding:
    times_ms = []
    for _ in range(PINGS):
        began_s = site.clock.monotonic_s()
        with translated(site.manifest.address):
            await site.manifest.redis.ping()
        times_ms.append((site.clock.monotonic_s() - began_s) * 1000)
    best_ms = min(times_ms)
    seen = f"{best_ms:.1f} ms, the best of {PINGS}"
    if best_ms < ROUND_TRIP_MS_HIGH:
        return Finding("ok", "round trip", seen)
    return Finding("warn", "round trip", seen, "run workers near Redis: each turn costs a few round trips")


async def _cluster(
    client: Any, address: str, told: dict[str, Any], *, queue: bool, manifest: bool = True
) -> AsyncIterator[Finding]:
    """Say what is wrong with a server that belongs to a cluster; nothing of one that does not."""
    if not int(told.get("cluster_enabled", 0)):
        return
    try:
        if manifest:
            await require_every_slot(client, address)
        if queue:
            await require_no_cluster(client, address)
    except SalvoError as error:
        yield Finding("fail", "redis cluster", error.message, error.hint, server=True)
    else:
        yield Finding("ok", "redis cluster", f"{address} keeps every slot, and the queue is elsewhere")


async def _queue(url: str) -> AsyncIterator[Finding]:
    """Yield what there is to say of a Redis that the queue has to itself."""
    address, client = without_password(url), connect(url, connections_max=1)
    try:
        with translated(address):
            told: dict[str, Any] = await client.info()
        yield Finding("ok", "broker", f"answers at {address}")
        yield _policy(told, "broker eviction", MESSAGES)
        yield _memory(told, "broker memory", "a full queue takes no new trials")
        async for finding in _cluster(client, address, told, queue=True, manifest=False):
            yield finding
    except SalvoError as error:
        yield Finding("fail", "broker", error.message, "is SALVO_BROKER_URL right?", server=True)
    finally:
        await client.aclose()


async def store_findings(site: Site, here: Surroundings) -> AsyncIterator[Finding]:
    """Yield what there is to say of the store: write, read, conditional write."""
    try:
        probe = await site.store.probe()
    except SalvoError as error:
        yield Finding("fail", "store", error.message, error.hint, server=True)
        return
    address = site.store.address
    if not (probe.wrote and probe.read_back):
        what = "what was written is not what is read" if probe.wrote else "nothing can be written"
        yield Finding("fail", "store", f"{address}: {what}", "check the store's permissions", server=True)
        return
    yield Finding("ok", "store", f"writes and reads at {address}")
    if probe.conditional_writes:
        yield Finding("ok", "store", "conditional writes are honoured")
    else:
        yield Finding(
            "warn",
            "store",
            "conditional writes are ignored: a second defence against double results is missing",
            "results stay right without it; a server that honours If-None-Match has both",
        )
    if isinstance(site.store.objects, FileStore) and not here.settings.embedded:
        yield Finding(
            "warn",
            "store",
            "a folder of this machine, while Redis may have workers elsewhere",
            "set SALVO_STORE_URL=s3://bucket/prefix, or share that folder among all workers",
        )


async def worker_findings(site: Site, here: Surroundings) -> AsyncIterator[Finding]:
    """Yield who works: workers, how much at once, and versions that differ from ours."""
    try:
        cards = await site.registry.workers()
    except SalvoError as error:
        yield Finding("fail", "workers", error.message, error.hint, server=True)
        return
    if not cards:
        if here.settings.embedded:
            yield Finding("ok", "workers", "none now; `salvo run` brings its own")
        else:
            yield Finding("warn", "workers", "none: submitted runs would wait", "start `salvo worker`")
        return
    at_once = sum(card.concurrency for card in cards)
    busy = sum(card.running for card in cards)
    hosts = len({card.host for card in cards})
    where = f"{len(cards)} present on {hosts} machine{'' if hosts == 1 else 's'}"
    yield Finding("ok", "workers", f"{where}, {at_once:,} trials at once, {busy:,} running")
    for finding in (*core_findings(cards, here.cores()), *gate_findings(cards)):
        yield finding
    others = sorted({card.salvo_version for card in cards} - {VERSION})
    if others:
        yield Finding(
            "warn",
            "workers",
            f"some run Salvo {', '.join(others)}, this is {VERSION}",
            "upgrade them together",
        )
    without = [card.name for card in cards if not card.keys_present]
    if without:
        yield Finding(
            "warn",
            "worker keys",
            f"{len(without)} of {len(cards)} workers have no provider key, e.g. {without[0]}",
            "set OPENAI_API_KEY or ANTHROPIC_API_KEY where workers run, if their providers want one",
        )


def core_findings(cards: Sequence[WorkerCard], cores: int) -> Iterator[Finding]:
    """Yield whether workers of this machine leave cores idle, if there are any here."""
    here = sum(card.host == socket.gethostname() for card in cards)
    if 0 < here < cores:
        yield Finding(
            "ok",
            "cores",
            f"{here} worker process{'' if here == 1 else 'es'} on this machine of {cores} usable cores",
            "where the processor is what trials wait for: `salvo worker --procs auto`",
        )


STALL_S_TOLD = 0.5
"""A step of a worker's loop that took so long is told to people; shorter ones are counted on its card."""


def gate_findings(cards: Sequence[WorkerCard]) -> Iterator[Finding]:
    """Yield whose workers begin no trial, whose store lacks a defence, and whose loop was held up."""
    if shut := [card for card in cards if card.shut]:
        yield Finding(
            "warn",
            "workers",
            f"{len(shut)} of {len(cards)} take no new trials, e.g. {shut[0].name}: {shut[0].shut}",
            "what they run is kept, and they go on by themselves once that is mended",
        )
    if ignoring := [card for card in cards if card.conditional_writes is False]:
        yield Finding(
            "warn",
            "worker stores",
            f"{len(ignoring)} of {len(cards)} workers have a store that ignores conditional writes",
            "results stay right: every attempt writes under a name of its own, and Redis fences",
        )
    if slow := [card for card in cards if card.stall_s_longest > STALL_S_TOLD]:
        worst = max(slow, key=lambda card: card.stall_s_longest)
        yield Finding(
            "warn",
            "worker loops",
            f"{worst.name} was held up for {worst.stall_s_longest:.1f} s at a time, "
            f"and {worst.stalls:,} times for more than 5 ms",
            "its log names the step; everything else on that worker waited, leases too",
        )


def local_findings(here: Surroundings) -> Iterator[Finding]:
    """Yield what needs no server: versions, the project file, provider keys of this machine."""
    python = platform.python_version()
    if sys.version_info >= PYTHON_VERSION_MIN:
        yield Finding("ok", "versions", f"Salvo {VERSION}, Python {python}")
    else:
        yield Finding("fail", "versions", f"Python {python}", "Salvo needs Python 3.11 or later")
    yield from _project(here)
    yield from _keys(here)


def _project(here: Surroundings) -> Iterator[Finding]:
    file = here.root / "salvo.yaml"
    seen = f"{file}" if file.exists() else f"{here.root}, no salvo.yaml (all defaults)"
    yield Finding("ok", "project", seen)
    for problem in here.project.problems:
        yield Finding("warn", "project", f"{problem.field}: {problem.message}", problem.hint)


_USUAL_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def _keys(here: Surroundings) -> Iterator[Finding]:
    """Say which keys this machine has, by name; with a fleet the workers' keys count, not ours."""
    wanted = {variable: f"adapter {adapter}" for adapter, variable in _USUAL_KEYS.items()}
    for name, profile in here.project.providers.items():
        if profile.key_file:
            there = (here.root / profile.key_file).is_file()
            seen = f"key file of provider {name} is {'there' if there else 'missing'}"
            yield Finding(
                "ok" if there else "warn", "keys", seen, "" if there else f"make {profile.key_file}"
            )
        elif variable := profile.key_env or _USUAL_KEYS.get(profile.adapter, ""):
            wanted[variable] = f"provider {name}"
    for variable, user in wanted.items():
        if here.settings.secret(variable):
            yield Finding("ok", "keys", f"{variable} is set ({user})")
        else:
            advice = f"export {variable}, if you use {user}"
            advice += "" if here.settings.embedded else "; on a fleet, where the workers run"
            yield Finding("warn", "keys", f"{variable} is not set", advice)
