"""Packing a run and taking it elsewhere as a table, as somebody at a shell does it."""

import csv
import json

import pytest

from tests.acceptance.typing_person import Person

pytestmark = pytest.mark.servers


def objects(person: Person, folder: str):
    return sorted((person.folder / ".salvo" / "store" / "runs").glob(f"*/{folder}/*"))


def test_a_packed_run_is_listed_shown_replayed_judged_again_audited_and_exported(person: Person):
    file = person.scenario("trial", "[{text: good =1+1}]")
    assert person.types("run", file, "-n", "4", "-q").code == 0
    before = person.types("trials", "latest", "--json").document
    ids = [trial["trace_id"] for trial in before["trials"]]
    trace = person.types("trace", ids[2], "--json").document
    assert person.types("pack", "latest", "--dry-run", "--json").document["packed"] == 4
    packed = person.types("pack", "latest", "--json")
    assert (packed.code, packed.document["packed"], packed.document["removed"]) == (0, 4, 4)
    assert (len(objects(person, "traces")), len(objects(person, "packs"))) == (0, 1)
    assert "nothing to pack" in person.types("pack", "latest").out

    assert person.types("trials", "latest", "--json").document == before
    assert person.types("trace", ids[2], "--json").document == trace
    assert person.types("audit", "latest").code == 0
    replayed = person.types("replay", "latest")
    assert (replayed.code, "4 recorded traces" in replayed.err) == (0, True)
    assert person.types("reeval", before["run_id"], "-q").code == 0

    told = person.types("export", before["run_id"], "-o", "turns.csv", "--what", "turns")
    assert (told.code, told.out) == (0, "")
    assert "4 turns of 4 trials" in told.err
    with open(person.folder / "turns.csv", newline="") as table:
        assert [row["content"] for row in csv.DictReader(table)] == ["good =1+1"] * 4
    piped = person.types("export", before["run_id"], "-o", "-", "-q")
    assert piped.err == ""
    assert [json.loads(line)["trace_id"] for line in piped.out.splitlines()] == ids
    refused = person.types("export", "latest", "-o", "x.txt")
    assert (refused.code, "--format" in refused.err) == (64, True)
