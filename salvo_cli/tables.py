"""Tables as files: JSON lines, CSV and Parquet, written a piece at a time, and there whole or not at all."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, Protocol
from uuid import uuid4

from salvo_cli.exits import OutputClosed
from salvo_core.errors import UsageError
from salvo_core.run.columns import Columns, Line, Value

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
STDOUT = "-"

_ROWS_PER_GROUP = 10_000
_CHARACTERS_PER_GROUP = 16 * 1024 * 1024  # what is held in memory before a group is written
_FORMULA = frozenset("=+-@\t\r\n")
_QUOTED = re.compile(r'[",\r\n]')
_FILE_MODE = 0o600


class Writer(Protocol):
    """Puts lines of a table into a file; blocking."""

    def write(self, lines: Sequence[Line]) -> None:
        """Add lines, each with a value for every column."""
        ...

    def finish(self) -> None:
        """Write what is still held back, and the end that the format has."""
        ...


def format_of(output: str, named: str | None) -> Format:
    """Return the format that a table is written in.

    Args:
        output: A path, or ``-``.
        named: What ``--format`` said; it wins over the path's ending.

    Raises:
        UsageError: There is no such format, or the ending tells of none.
    """
    shown = ", ".join(FORMATS)
    if named is not None:
        for known in FORMATS:
            if known == named.strip().lower():
                return known
        raise UsageError(f"{named[:40]!r} is not a format", hint=f"one of {shown}")
    if output == STDOUT:
        return "jsonl"
    found = SUFFIXES.get(Path(output).suffix.lower())
    if found is None:
        raise UsageError(
            f"{output[:80]!r} does not say what to write",
            hint=f"end it in .jsonl, .csv or .parquet, or add --format: {shown}",
        )
    return found


def writer(kind: Format, file: IO[bytes], columns: Columns) -> Writer:
    """Return who writes a table of these columns into a file, which it does not close.

    Raises:
        UsageError: Parquet is wanted and pyarrow is not installed.
    """
    if kind == "jsonl":
        return _JsonLines(file)
    return _Csv(file, columns) if kind == "csv" else _Parquet(file, columns)


@contextmanager
def opened(output: str) -> Iterator[IO[bytes]]:
    """Yield the file to write into; it has its name when the block has ended well, and else there is none.

    A file that was there is replaced at that moment, so that no reader sees half a table. It is the
    owner's alone (0600): it may quote what people said to an agent.

    Args:
        output: A path, or ``-`` for stdout, which is as it is.

    Raises:
        UsageError: Nothing can be written there.
        OutputClosed: Nobody reads stdout any more.
    """
    if output == STDOUT:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        return
    path = Path(output)
    draft = path.parent / f".{path.name[:100]}.{uuid4().hex}"
    try:
        if (path.exists() or path.is_symlink()) and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{output[:200]} is not a file", hint="name a file, or - for stdout")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as refused:
        raise UsageError(
            f"cannot write {output[:200]}: {refused.strerror or type(refused).__name__}",
            hint="name a place that you may write to and that has room",
        ) from refused


class _JsonLines:
    """One JSON object a line. Pure ASCII: any tool reads it, and nothing in it acts on a terminal."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, lines: Sequence[Line]) -> None:
        self._file.write("".join(f"{_json(line)}\n" for line in lines).encode())

    def finish(self) -> None:
        """See ``Writer.finish``: there is nothing more to it."""


class _Csv:
    """UTF-8 with a head, lines end in LF; nothing in it is taken for a formula by a spreadsheet.

    Not by the standard library's writer: with such line ends it leaves a lone CR unquoted, at which readers
    then end the line.
    """

    def __init__(self, file: IO[bytes], columns: Columns) -> None:
        self._file = file
        self._file.write(f"{','.join(columns)}\n".encode())

    def write(self, lines: Sequence[Line]) -> None:
        rows = (",".join(map(_csv_cell, line.values())) for line in lines)
        self._file.write("".join(f"{row}\n" for row in rows).encode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """See ``Writer.finish``: there is nothing more to it."""


class _Parquet:
    """Parquet with zstd; lists as JSON text, because their parts differ from line to line."""

    def __init__(self, file: IO[bytes], columns: Columns) -> None:
        try:
            import pyarrow  # an extra, and large: only who wants Parquet
            from pyarrow import parquet
        except ImportError:
            raise UsageError(
                "Parquet needs pyarrow, which is not installed",
                hint="pip install 'salvo[parquet]', or write .csv or .jsonl",
            ) from None
        kinds = {
            "text": pyarrow.string(),
            "list": pyarrow.string(),
            "whole": pyarrow.int64(),
            "number": pyarrow.float64(),
            "flag": pyarrow.bool_(),
        }
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._arrow: Any = pyarrow
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._held: list[Line] = []
        self._characters = 0

    def write(self, lines: Sequence[Line]) -> None:
        for line in lines:
            held = {name: _arrow_cell(value) for name, value in line.items()}
            self._held.append(held)
            self._characters += sum(len(value) for value in held.values() if isinstance(value, str))
            if len(self._held) >= _ROWS_PER_GROUP or self._characters >= _CHARACTERS_PER_GROUP:
                self._write_group()

    def finish(self) -> None:
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if self._held:
            self._writer.write_table(self._arrow.Table.from_pylist(self._held, schema=self._schema))
            self._held, self._characters = [], 0


def _csv_cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = _json(value) if isinstance(value, list) else value.replace("\0", "\\x00")
    if text[:1] in _FORMULA:
        # What a model said may be =HYPERLINK(...): after an apostrophe, spreadsheets show it as it stands.
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _arrow_cell(value: Value) -> Value:
    if isinstance(value, list):
        return _json(value)
    # Half a surrogate pair is no UTF-8, and no reader of Parquet takes it.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
