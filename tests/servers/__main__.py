"""``python -m tests.servers install`` or ``where``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.servers.cache import CannotInstall, say
from tests.servers.minio import find_minio, install_minio
from tests.servers.redis import find_redis, install_redis

_SERVERS: dict[str, tuple[Callable[[], Path | None], Callable[[], Path]]] = {
    "valkey": (lambda: find_redis("valkey"), lambda: install_redis("valkey")),
    "redis7": (lambda: find_redis("redis7"), lambda: install_redis("redis7")),
    "minio": (find_minio, install_minio),
}


def install() -> int:
    """Find or install every server, also after one failed. Returns the exit code."""
    failed = 0
    for name, (_, install_one) in _SERVERS.items():
        try:
            say(f"{name}: {install_one()}")
        except CannotInstall as failure:
            failed = 1
            say(f"{name}: NOT INSTALLED\n{failure}")
    return failed


def where() -> int:
    """Print where each server is. Returns 1 if one is missing."""
    found = {name: find() for name, (find, _) in _SERVERS.items()}
    for name, path in found.items():
        print(f"{name}\t{path or 'not installed: python -m tests.servers install'}")
    return 0 if all(found.values()) else 1


def main(arguments: list[str]) -> int:
    """Do what the one argument says. Returns the exit code."""
    match arguments:
        case ["install"]:
            return install()
        case ["where"]:
            return where()
    print("usage: python -m tests.servers install | where", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
