"""Tables as files: whole or not there, nothing in them acts, and every format says the same."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_cli import tables
from salvo_cli.tables import format_of, opened, writer
from salvo_core.errors import UsageError
from salvo_core.run.columns import Columns, Line

COLUMNS: Columns = {"name": "text", "n": "whole", "x": "number", "ok": "flag", "more": "list"}
LINES: list[Line] = [
    {"name": "plain", "n": 1, "x": 0.5, "ok": True, "more": [{"a": "ä"}]},
    {"name": None, "n": None, "x": None, "ok": None, "more": None},
    {"name": 'two\nlines, "quoted"', "n": -2, "x": -1.5, "ok": False, "more": []},
]


def written(kind: Any, lines: list[Line], *, at_once: int = 1) -> bytes:
    file = io.BytesIO()
    into = writer(kind, file, COLUMNS)
    for low in range(0, len(lines), at_once):
        into.write(lines[low : low + at_once])
    into.finish()
    return file.getvalue()


def test_json_lines_are_the_lines() -> None:
    body = written("jsonl", LINES)
    assert body.isascii()
    assert [json.loads(line) for line in body.decode().splitlines()] == LINES


def test_csv_has_a_head_and_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", LINES).decode())))
    assert rows == [
        list(COLUMNS),
        ["plain", "1", "0.5", "true", '[{"a":"\\u00e4"}]'],
        ["", "", "", "", ""],
        ['two\nlines, "quoted"', "-2", "-1.5", "false", "[]"],
    ]


def test_a_table_without_lines_still_has_its_head() -> None:
    assert written("csv", []) == b"name,n,x,ok,more\n"
    assert written("jsonl", []) == b""


def test_csv_of_any_text_is_no_formula_and_loses_nothing_but_zeros() -> None:
    @given(st.text(max_size=30))
    def check(text: str) -> None:
        line: Line = dict.fromkeys(COLUMNS, None) | {"name": text}
        (_, row) = csv.reader(io.StringIO(written("csv", [line]).decode(), newline=""))
        assert row[0][:1] not in tuple("=+-@\t\r\n") or row[0] == ""
        if not text.startswith(tuple("=+-@\t\r\n")):
            assert row[0] == text.replace("\0", "\\x00")
        else:
            assert row[0] == "'" + text.replace("\0", "\\x00")

    check()


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0"]
)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    line: Line = dict.fromkeys(COLUMNS, None) | {"name": text, "n": -1}
    (_, row) = csv.reader(io.StringIO(written("csv", [line]).decode(), newline=""))
    assert row[:2] == ["'" + text, "-1"]  # a number is a number


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_half_a_surrogate_pair_breaks_no_file(kind: str) -> None:
    line: Line = dict.fromkeys(COLUMNS, None) | {"name": "a\ud800b"}
    assert b"\\ud800" in written(kind, [line])


def test_parquet_has_kinds_and_groups_and_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="an extra")
    from pyarrow import parquet

    monkeypatch.setattr(tables, "_ROWS_PER_GROUP", 2)
    lines = [*LINES, dict.fromkeys(COLUMNS, None) | {"name": "a\ud800b"}]
    file = parquet.ParquetFile(io.BytesIO(written("parquet", lines, at_once=3)))
    assert file.metadata.num_row_groups == 2
    assert [str(field.type) for field in file.schema_arrow] == ["string", "int64", "double", "bool", "string"]
    expected = [
        line | {"more": None if line["more"] is None else tables._json(line["more"])} for line in lines
    ]
    expected[-1]["name"] = "a\\ud800b"
    assert file.read().to_pylist() == expected


def test_without_pyarrow_parquet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match="Parquet needs pyarrow") as refused:
        writer("parquet", io.BytesIO(), COLUMNS)
    assert "salvo[parquet]" in refused.value.hint


@pytest.mark.parametrize(
    ("output", "named", "expected"),
    [
        ("a.csv", None, "csv"), ("a.CSV", None, "csv"), ("a.jsonl", None, "jsonl"),
        ("a.ndjson", None, "jsonl"), ("a.parquet", None, "parquet"), ("-", None, "jsonl"),
        ("-", "csv", "csv"), ("a.txt", "Parquet", "parquet"),
    ],
)  # fmt: skip
def test_the_format_is_the_one_named_or_that_of_the_ending(
    output: str, named: str | None, expected: str
) -> None:
    assert format_of(output, named) == expected


@pytest.mark.parametrize(("output", "named"), [("a", None), ("a.txt", None), ("a.csv", "xml")])
def test_a_format_that_there_is_not_is_said(output: str, named: str | None) -> None:
    with pytest.raises(UsageError):
        format_of(output, named)


def test_a_file_is_there_when_it_is_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"the one before")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        with opened(str(path)) as file:
            file.write(b"half")
            assert path.read_bytes() == b"the one before"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"half"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"the one before")

    def break_off() -> None:
        with opened(str(path)) as file:
            file.write(b"half")
            raise KeyError("no more")

    with pytest.raises(KeyError):
        break_off()
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["", "missing/x.csv", "pipe"])
def test_a_place_that_takes_no_file_is_said_and_left_alone(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError), opened(str(tmp_path / place)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
