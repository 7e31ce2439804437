"""The way into the predecessor's folder: bounded, inside, and never through a link."""

import os

import pytest

from salvo_core.errors import UsageError
from salvo_core.predecessor import folder as room
from salvo_core.predecessor.folder import Folder, Unreadable, find_folder
from tests.past import Past


@pytest.fixture
def past(tmp_path):
    return Past(tmp_path / "project" / ".salvo")


def test_the_folder_itself_or_its_project_may_be_named_and_no_name_is_needed(past, tmp_path):
    assert find_folder(past.folder) == past.folder
    assert find_folder(past.folder.parent) == past.folder
    renamed = past.folder.rename(tmp_path / "kept")
    assert find_folder(renamed) == renamed


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder"])
def test_where_nothing_of_salvo_ai_is_that_is_said(tmp_path, make):
    path = tmp_path / "x"
    if make == "a file":
        path.write_text("x")
    elif make == "an empty folder":
        (path / ".salvo" / "store").mkdir(parents=True)  # ours alone
    with pytest.raises(UsageError, match=r"does not exist|is not a folder|holds nothing of salvo-ai") as no:
        find_folder(path)
    assert no.value.hint


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is empty"),
        (b"\0\0\0\0", "is empty"),
        (b'{"run_id": "01', "holds no JSON"),
        (b'{"score": NaN}', "holds no JSON: NaN"),
        (b'{"score": 1e999}', "holds no JSON"),
        (b"\xff\xfe{\0}\0", "is not UTF-8"),
        (b"[" * 100_000, "holds no JSON: nested too deep"),
    ],
)
def test_what_is_no_document_says_why(past, body, why):
    past.write("runs/x.json", body)
    with pytest.raises(Unreadable, match=why):
        Folder(past.folder).document("runs/x.json")


def test_a_file_that_is_too_large_is_not_read(past, monkeypatch):
    monkeypatch.setattr(room, "FILE_BYTES_MAX", 1024)
    past.write("runs/x.json", b"[" + b"1," * 1024 + b"1]")
    with pytest.raises(Unreadable, match="is larger than"):
        Folder(past.folder).document("runs/x.json")


def test_links_and_pipes_are_not_followed_nor_waited_for(past, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (past.folder / "runs" / "out.json").symlink_to(secret)
    (past.folder / "runs" / "round.json").symlink_to("round.json")
    os.mkfifo(past.folder / "runs" / "pipe.json")
    (past.folder / "runs" / "folder.json").mkdir()
    files = Folder(past.folder)
    for name, why in {"out": "link", "round": "link", "pipe": "regular", "folder": "regular"}.items():
        with pytest.raises(Unreadable, match=why):
            files.document(f"runs/{name}.json")
    with pytest.raises(FileNotFoundError):
        files.document("runs/absent.json")


def test_a_folder_that_leads_out_is_refused(past, tmp_path):
    elsewhere = Past(tmp_path / "elsewhere")
    elsewhere.write("traces/x.json", {})
    (past.folder / "traces").rmdir()
    (past.folder / "traces").symlink_to(elsewhere.folder / "traces")
    files = Folder(past.folder)
    with pytest.raises(UsageError, match="leads out of the folder"):
        files.names("traces")
    with pytest.raises(Unreadable, match="leads out of the folder"):
        files.document("traces/x.json")


def test_a_flood_of_files_is_refused(past, monkeypatch):
    monkeypatch.setattr(room, "NAMES_MAX", 3)
    for number in range(4):
        past.write(f"runs/{number}.json", {})
    with pytest.raises(UsageError, match="more than 3 files"):
        Folder(past.folder).names("runs")
