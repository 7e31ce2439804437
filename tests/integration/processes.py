"""A worker of several processes: the parent is what a test starts, its children are who works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import redis

from salvo_core.fleet.registry import WORKERS, WorkerCard
from tests.integration.fleet import Fleet, Worker


class SupervisedWorker(Worker):
    """One ``python -m salvo_worker --procs``; ready when every process has a card.

    Args:
        fleet: Which it belongs to.
        processes: How many.
        concurrency: Trials at once in each.
        arguments: More of the command line.
        environ: On top of the fleet's.
    """

    def __init__(
        self,
        fleet: Fleet,
        processes: int,
        *,
        concurrency: int = 8,
        arguments: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        folder = fleet.folder / f"w{len(fleet.workers) + 1}"
        folder.mkdir()
        url = fleet.redis_server.url
        super().__init__(folder, url, concurrency, "info", {**fleet.environ, **(environ or {})})
        self._processes = processes
        self._command += ["--procs", str(processes), *arguments]
        self._ready_s = 60.0
        fleet.workers.append(self)

    def children(self) -> set[int]:
        """Return the ids of the processes that have a card and are children of ours."""
        with redis.Redis.from_url(self._redis_url) as client:
            names = list(client.scan_iter(f"{WORKERS}:*"))
            cards = client.mget(names) if names else []
        pids = {WorkerCard.model_validate_json(card).pid for card in cards if card}
        return {pid for pid in pids if parent_of(pid) == self.pid}

    def _has_a_card(self) -> bool:
        return len(self.children()) == self._processes


def parent_of(pid: int) -> int | None:
    """Return the id of a process's parent; None if there is no such process."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(told.rpartition(")")[2].split()[1])


def is_there(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
