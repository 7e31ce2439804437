"""``salvo import`` by a person: into the very folder that salvo-ai used, into another, whole and damaged."""

import json

import pytest

from tests.past import SECRET, Past, past_id, snapshot, trial

pytestmark = pytest.mark.servers


@pytest.fixture
def past(person):
    """What salvo-ai left in the project's own ``.salvo``."""
    return Past(person.folder / ".salvo")


def test_t58_t70_in_its_own_folder_both_live_side_by_side_and_every_command_works_on_what_came(person, past):
    (person.folder / "salvo.yaml").write_text("default_adapter: openai\nscenarios_dir: scenarios\n")
    older = past.run(1, recorded=None)
    run_id = past.run(2, [trial(1), trial(2, "hard_fail"), trial(3, "infra_error")], verdict="INFRA_ERROR")
    before = past.everything()
    imported = person.types("import", ".")
    assert imported.code == 0, imported.err
    assert run_id[:18] in imported.out
    assert "2 runs imported" in imported.err
    assert f"salvo report {run_id[:18]}" in imported.err
    listed = person.types("list", "--json").document["runs"]
    assert [one["run_id"] for one in listed] == [run_id, older]
    report = person.types("report", run_id)
    assert (report.code, "INFRA ERROR" in report.out, "no such key" in report.out) == (0, True, True)
    trials = person.types("trials", run_id, "--json").document["trials"]
    assert [one["status"] for one in trials] == ["passed", "hard_fail", "infra_error"]
    trace_id = trials[0]["trace_id"]
    assert person.types("trace", trace_id[:-1], "--json").document["trace"]["trace_id"] == trace_id
    stepped = person.types("replay", trace_id)
    assert (stepped.code, "look_up" in stepped.out, "One moment." in stepped.out) == (0, True, True)
    whole = person.types("replay", run_id, "--json").document["summary"]
    assert (whole["verdict"], whole["counts"]["hard_fail"]) == ("INFRA_ERROR", 1)
    told = imported.out + imported.err + report.out + stepped.out
    assert SECRET not in told
    # A run of ours in the same folder, and the import again beside it.
    assert person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "1", "-q").code == 0
    again = person.types("import", ".salvo")
    assert (again.code, "2 runs already there" in again.err) == (0, True)
    assert {name: was for name, was in past.everything().items() if name in before} == before


def test_t70_what_is_damaged_is_skipped_by_name_and_the_rest_is_there(person, past):
    whole, broken, mixed = past.run(1), past.run(2), past.run(3)
    past.write(f"runs/{broken}.json", b'{"run_id": "01')
    lost = json.loads((past.folder / "runs" / f"{mixed}.json").read_text())["trials"][1]["trace_id"]
    past.write(f"traces/{lost}.recorded.json", b"")
    past.write(f"traces/{lost}.json", b"[[[")
    past.write("index.json", b"{")
    (past.folder / "runs" / f"{past_id(9)}.json").symlink_to("/etc/passwd")
    imported = person.types("import", ".")
    assert imported.code == 1
    for file in (f"runs/{broken}.json", f"traces/{lost}.json", "index.json", f"runs/{past_id(9)}.json"):
        assert f"skipped {file}: " in imported.err
    assert "skipped 2 traces that no readable run names" in imported.err
    document = person.types("import", ".", "--json").document
    assert [(one["run_id"], one["state"], one["traces"]) for one in document["runs"]] == [
        (whole, "present", 2),
        (mixed, "present", 1),
    ]
    assert (document["exit_code"], document["traces_without_a_run"]) == (1, 2)
    rows = person.types("trials", mixed, "--json").document["trials"]
    assert [one["status"] for one in rows] == ["passed", "failed"]
    gone = person.types("trace", lost)
    assert (gone.code, "there is no trace" in gone.err) == (64, True)


def test_a_dry_run_starts_and_writes_nothing_and_one_run_may_be_chosen(person, tmp_path_factory):
    past = Past(tmp_path_factory.mktemp("old") / ".salvo")
    first, second = (
        past.run(1),
        past.run(2, scenario=snapshot(description="another"), scenario_name="another"),
    )
    (person.folder / "salvo.yaml").write_text("")
    looked = person.types("import", str(past.folder), "--dry-run")
    assert looked.code == 0
    assert "2 runs readable" in looked.err
    assert "nothing was written" in looked.err
    assert not (person.folder / ".salvo").exists()
    one = person.types("import", str(past.folder.parent), "--run", second, "--json")
    assert (one.code, [run["run_id"] for run in one.document["runs"]]) == (0, [second])
    assert [run["run_id"] for run in person.types("list", "--json").document["runs"]] == [second]
    unknown = person.types("import", str(past.folder), "--run", "0199ffff")
    assert (unknown.code, first in unknown.err) == (64, True)
