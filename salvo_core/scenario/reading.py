"""Bytes from disk, with bounds: which file may be read, how large it may be, and its text."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

FILE_BYTES_MAX = 1024 * 1024
DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
"""A scenario together with everything it includes, every inclusion counted."""

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Unreadable(Exception):
    """A file that yields no text. Caught inside this room, where it becomes a located problem.

    Args:
        message: What is wrong, for a person.
        hint: What to do.
        line: 1-based, when the fault is inside the file, else 0.
        col: As ``line``.
    """

    def __init__(self, message: str, hint: str = "", *, line: int = 0, col: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.line = line
        self.col = col


def read_text(path: Path, *, bytes_left: int = DOCUMENT_BYTES_MAX) -> tuple[str, int]:
    """Return a file's text and its size in bytes.

    The size is looked at before anything is read, and at most one byte more than allowed is
    read after that, so a huge or growing file costs nothing.

    Args:
        path: The file; symlinks are followed.
        bytes_left: What is left of ``DOCUMENT_BYTES_MAX``.

    Raises:
        Unreadable: Absent, a folder, no regular file, not permitted, too large or not UTF-8.
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise Unreadable("is a folder, not a file")
        if not stat.S_ISREG(found.st_mode):  # a pipe or device may never end
            raise Unreadable("is not a regular file", "save it as a file first")
        _require_size(found.st_size, bytes_left)
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise Unreadable(*_why(error)) from None
    _require_size(len(raw), bytes_left)
    return _decoded(raw), len(raw)


def confined(wanted: str, folder: Path, boundary: Path) -> Path:
    """Return where an include leads, after symlinks, if that is inside the boundary.

    Args:
        wanted: The path as written in the file.
        folder: Of the including file.
        boundary: The folder that includes may not leave.

    Raises:
        Unreadable: Empty, absolute or leading out of the boundary.
    """
    if not wanted.strip() or "\0" in wanted:
        raise Unreadable("is not the path of a file")
    if os.path.isabs(wanted):
        raise Unreadable("is an absolute path", "write it relative to the file that includes it")
    real = Path(os.path.realpath(folder / wanted))
    if not real.is_relative_to(os.path.realpath(boundary)):
        raise Unreadable(
            "leads out of the project folder",
            "copy the file into the project: only files inside it can be included",
        )
    return real


def _require_size(size: int, bytes_left: int) -> None:
    if size > FILE_BYTES_MAX:
        raise Unreadable(
            f"is {size / 1024 / 1024:.1f} MiB large; at most {FILE_BYTES_MAX // 1024 // 1024} MiB is read",
            "is this the right file? Scenarios are a few kilobytes",
        )
    if size > bytes_left:
        raise Unreadable(
            f"brings the scenario with its includes above {DOCUMENT_BYTES_MAX // 1024 // 1024} MiB"
        )


def _why(error: OSError | ValueError) -> tuple[str, str]:
    number = error.errno if isinstance(error, OSError) else None
    match number:
        case errno.ENOENT | errno.ENOTDIR:
            return "does not exist", "check the path"
        case errno.ELOOP:
            return "is a symlink that leads back to itself", "remove the loop of symlinks"
        case errno.EACCES | errno.EPERM:
            return "may not be read", "check the permissions of the file and its folders"
        case errno.ENAMETOOLONG:
            return "has a name that is too long", "check the path"
        case _:
            return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}", ""


def _decoded(raw: bytes) -> str:
    try:
        return raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (len(_BOM) if raw.startswith(_BOM) else 0)
    line_start = raw.rfind(b"\n", 0, offset) + 1
    looks = "UTF-16" if raw.startswith(_UTF16_MARKS) else "another encoding"
    raise Unreadable(
        f"is not UTF-8 but {looks}: byte 0x{raw[offset]:02X} at offset {offset} cannot be read",
        "save the file as UTF-8",
        line=raw.count(b"\n", 0, offset) + 1,
        col=len(raw[line_start:offset].decode("utf-8", "replace")) + 1,
    )
