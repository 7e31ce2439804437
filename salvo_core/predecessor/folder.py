"""The predecessor's folder: what lies in it, and each file's document, if it can be read at all.

Everything here was written by another program, and perhaps broken off half way, so every file is
bounded in size, must be a plain file inside the folder, and must hold JSON that can be written again.
Nothing is ever changed.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salvo_core.adapters.strict_json import parse
from salvo_core.errors import UsageError

STATE_NAME = ".salvo"
RUNS = "runs"
TRACES = "traces"
REEVALS = "revals"
RECORDED_ENDING = ".recorded.json"
FILE_BYTES_MAX = 64 * 1024 * 1024
NAMES_MAX = 1_000_000
"""Entries that one folder may have; a flood is refused."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not carried over, and why.

    Attributes:
        file: Relative to the folder.
        why: For a person, to stand behind the file's name.
    """

    file: str
    why: str


class Unreadable(Exception):
    """A file that yields no document; the text says why. Caught in this room."""


def find_folder(path: Path) -> Path:
    """Return the predecessor's folder that a person means, absolute.

    Args:
        path: The folder itself, whatever its name, or the project that holds it as ``.salvo``.

    Raises:
        UsageError: There is no such folder, or nothing of the predecessor's in it.
    """
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}", hint="give the `.salvo` folder of salvo-ai, or its project")
    for candidate in (path / STATE_NAME, path):
        if any((candidate / name).is_dir() for name in (RUNS, TRACES)):
            return Path(os.path.realpath(candidate))
    raise UsageError(
        f"{path} holds nothing of salvo-ai: neither it nor a {STATE_NAME} in it has {RUNS}/ or {TRACES}/",
        hint=f"with `storage_dir` in its salvo.yaml, salvo-ai kept its {RUNS}/ there",
    )


class Folder:
    """The predecessor's files, read with suspicion.

    Args:
        path: From ``find_folder``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self, inner: str) -> list[str]:
        """Return the names in one of its folders, sorted; none when there is no such folder.

        Raises:
            UsageError: It may not be read, leads elsewhere, or holds more than NAMES_MAX entries.
        """
        where = self.path / inner
        if not os.path.lexists(where):
            return []
        try:
            self._require_inside(where)
            with os.scandir(where) as entries:
                names = [entry.name for _, entry in zip(range(NAMES_MAX + 1), entries, strict=False)]
        except Unreadable as error:
            raise UsageError(
                f"{where} {error}", hint="copy the folder, without links, and try again"
            ) from None
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}") from None
        if len(names) > NAMES_MAX:
            raise UsageError(f"{where} holds more than {NAMES_MAX:,} files")
        return sorted(names)

    def document(self, name: str) -> Any:
        """Return the JSON value of a file.

        Args:
            name: Relative, made of known names and ids that were checked.

        Raises:
            FileNotFoundError: There is no such file.
            Unreadable: No plain file inside the folder, too large, or no JSON.
        """
        text = self._bytes(name)
        try:
            return parse(text.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Unreadable(f"is not UTF-8 (byte {error.start})") from None
        except ValueError as error:
            if not text.strip(b"\0 \t\r\n"):
                raise Unreadable("is empty: a write was broken off") from None
            raise Unreadable(f"holds no JSON: {str(error)[:120]}") from None

    def _bytes(self, name: str) -> bytes:
        path = self.path / name
        try:
            self._require_inside(path.parent)
            # Never through a link, never waiting for the other end of a pipe.
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise Unreadable("is a link, and links are not followed") from None
            raise Unreadable(f"cannot be read: {error.strerror}") from None
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            os.close(opened)
            raise Unreadable("is not a regular file")
        with os.fdopen(opened, "rb") as file:
            body = file.read(FILE_BYTES_MAX + 1) if found.st_size <= FILE_BYTES_MAX else b""
        if found.st_size > FILE_BYTES_MAX or len(body) > FILE_BYTES_MAX:
            raise Unreadable(f"is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
        return body

    def _require_inside(self, folder: Path) -> None:
        real = os.path.realpath(folder)
        if not Path(real).is_relative_to(self.path):
            raise Unreadable("leads out of the folder through a link")
