"""Folders and files that are their owner's alone, whatever the umask says: 0700 and 0600.

Traces quote what people said to an agent, logs name addresses: nobody else on the machine is
meant to read what Salvo keeps below ``.salvo``. A mode that is given when a thing is made can
only lose bits to the umask, so these modes hold from the first moment on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

FOLDER_MODE = 0o700
FILE_MODE = 0o600
UMASK = 0o077
"""For programs of others that make files for us."""


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone.

    Raises:
        OSError: It cannot be made.
    """
    for level in reversed((folder, *folder.parents)):
        if not level.is_dir():
            # Somebody else may make it at the same moment.
            level.mkdir(mode=FOLDER_MODE, exist_ok=True)


def close(folder: Path) -> None:
    """Take a folder of ours from everybody else, if it was made with more rights; another's is left."""
    with suppress(PermissionError):
        if folder.stat().st_mode & UMASK:
            folder.chmod(FOLDER_MODE)


def open_file(path: Path, mode: str) -> IO[bytes]:
    """Open a file in a binary mode; one that is new, or that others could read, becomes its owner's alone.

    Args:
        path: The file.
        mode: ``ab`` or ``wb``.

    Raises:
        OSError: It cannot be opened.
    """
    file: IO[bytes] = open(path, mode, opener=_private)  # noqa: SIM115 -- the caller closes it
    with suppress(PermissionError):
        os.fchmod(file.fileno(), FILE_MODE)
    return file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
