"""Whether a container is around this process: its root is not the machine's."""

from __future__ import annotations

import re
from pathlib import Path

from salvo_core.settings import Settings

_MARKS = ("/.dockerenv", "/run/.containerenv")
_GROUP = re.compile(r"docker|containerd|kubepods|libpod|lxc|garden|buildkit", re.I)


def in_container(settings: Settings, root: Path = Path("/")) -> bool:
    """Tell whether this process runs in a container; errs towards no where nothing says so.

    Args:
        settings: Of this process: Kubernetes and systemd say it in the environment.
        root: Of the file system.
    """
    if settings.says_container or any((root / mark.lstrip("/")).exists() for mark in _MARKS):
        return True
    try:
        groups = (root / "proc/1/cgroup").read_text("utf-8", "replace")
    except OSError:  # no Linux
        return False
    return _GROUP.search(groups) is not None
