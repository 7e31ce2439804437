"""Where installed servers are kept, and how two processes do not install at once."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotInstall(Exception):
    """A server could not be found, fetched or built; the text says what a person can do."""


def cache_folder() -> Path:
    """Return the cache: SALVO_TEST_CACHE, else the user's cache folder. It may not exist yet."""
    chosen = os.environ.get("SALVO_TEST_CACHE")
    if chosen:
        return Path(chosen).absolute()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "salvo-tests"


def say(text: str) -> None:
    """Print one line of progress to stderr, at once."""
    print(f"[servers] {text}", file=sys.stderr, flush=True)


@contextmanager
def install_lock() -> Iterator[Path]:
    """Hold the cache for this process alone, waiting for another to finish; gives its folder."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "install.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process installs into {folder}; waiting for it")
            started = time.monotonic()
            fcntl.flock(lock, fcntl.LOCK_EX)
            say(f"waited {time.monotonic() - started:.0f} s")
        yield folder
