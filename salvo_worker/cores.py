"""How many cores this process may use: what the machine has, less what it is kept from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process can keep busy, at least one.

    The least of: the cores it is bound to, and the CPU time that its control group, or one above
    it, is given per unit of time. A fraction is left out: a process more than there is time for
    would be stopped in mid-turn again and again, while the worker's threads make use of the rest.

    Args:
        root: Of the file system.
    """
    shares = [_bound_to(), *_allowances(root)]
    return max(1, int(min(shares)))


def _bound_to() -> float:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def _allowances(root: Path) -> Iterator[float]:
    """Yield the cores' worth of time of each control group that has a limit, of either version."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, own = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            mount = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup/cpu"
        else:
            continue
        folder = mount / own.strip("/")
        # Inside a container the path may be the host's: what is mounted is then the group itself.
        for group in dict.fromkeys((folder, *folder.parents, mount)):
            if group == mount or mount in group.parents:
                yield from _allowance(group)


def _allowance(group: Path) -> Iterator[float]:
    limit, _, period = _read(group / "cpu.max").strip().partition(" ")
    if not limit:
        limit, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    try:
        allowed, each = float(limit), float(period)
    except ValueError:  # "max", or no such file
        return
    if allowed > 0 and each > 0:  # version 1 says -1 for no limit
        yield allowed / each


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
