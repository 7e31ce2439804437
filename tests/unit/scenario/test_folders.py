"""Loading whatever a person points at: several files, folders, tags."""

from __future__ import annotations

import pytest

from salvo_core.errors import UsageError
from salvo_core.scenario.loading import load_paths
from salvo_core.scenario.problems import ScenarioInvalid, ci
from tests.unit.scenario.desk import MINIMAL, Desk


def test_t15_a_folder_is_searched_for_yaml_and_yml(desk: Desk) -> None:
    desk.write("scenarios/b.yml", MINIMAL)
    desk.write("scenarios/n/a.yaml", MINIMAL)
    desk.write("scenarios/readme.txt", "no")
    assert desk.load_all("scenarios") == ["scenarios/b.yml", "scenarios/n/a.yaml"]


def test_t15_an_empty_folder_and_a_missing_file_are_errors(desk: Desk) -> None:
    desk.write("a.yaml", MINIMAL)
    (desk.root / "empty").mkdir()
    with pytest.raises(UsageError, match="no scenario in empty"):
        desk.load_all("empty")
    with pytest.raises(ScenarioInvalid) as caught:
        desk.load_all("a.yaml", "none.yaml", "neither.yaml")
    assert [ci(problem) for problem in caught.value.problems] == [
        "none.yaml:0:0 -- <yaml>: does not exist (check the path)",
        "neither.yaml:0:0 -- <yaml>: does not exist (check the path)",
    ]


def test_two_scenarios_of_one_name_are_a_warning(desk: Desk) -> None:
    paths = [desk.write("a.yaml", MINIMAL), desk.write("b.yaml", MINIMAL)]
    first, second = load_paths(paths, project=desk.project)
    assert first.problems == ()
    assert [problem.code for problem in second.problems] == ["W005"]


def test_parts_of_scenarios_in_a_folder_are_no_scenarios(desk: Desk) -> None:
    desk.write("s/a.yaml", MINIMAL + "tools: [!include shared/search.yaml]\n")
    desk.write("s/shared/search.yaml", "name: search\ndescription: d\nmock_response: ''\n")
    for part in (
        "s/tools/x.yaml",
        "s/providers/x.yaml",
        "s/_parts/x.yaml",
        "s/.hidden/x.yaml",
        "s/_x.yaml",
        "s/salvo.yaml",
    ):
        desk.write(part, "- no scenario\n")
    assert desk.load_all("s") == ["s/a.yaml"]


def test_a_named_file_is_always_a_scenario(desk: Desk) -> None:
    desk.write("tools/x.yaml", MINIMAL)
    desk.write("a.yaml", "<<: !include tools/x.yaml\nprompt: other\n")
    assert desk.load_all("tools/x.yaml") == ["tools/x.yaml"]
    assert desk.load_all("tools") == ["tools/x.yaml"]
    assert desk.load_all("a.yaml", "tools/x.yaml") == ["a.yaml", "tools/x.yaml"]


def test_what_is_named_twice_is_loaded_once_and_loops_of_folders_end(desk: Desk) -> None:
    desk.write("s/a.yaml", MINIMAL)
    (desk.root / "s" / "again").symlink_to(desk.root / "s")
    assert desk.load_all("s", "s/a.yaml", "./s/a.yaml") == ["s/a.yaml"]


def test_all_problems_of_all_files_come_at_once(desk: Desk) -> None:
    desk.write("s/a.yaml", "modle: x\n")
    desk.write("s/b.yaml", MINIMAL)
    desk.write("s/c.yaml", "tools: [\n")
    with pytest.raises(ScenarioInvalid) as caught:
        desk.load_all("s")
    assert [(problem.file, problem.code) for problem in caught.value.problems] == [
        ("s/a.yaml", "E002"), ("s/a.yaml", "E002"), ("s/a.yaml", "E001"), ("s/c.yaml", "E006"),
    ]  # fmt: skip


def test_tags_choose_scenarios(desk: Desk) -> None:
    desk.write("s/a.yaml", MINIMAL + "tags: {team: x, tier: '1'}\n")
    desk.write("s/b.yaml", MINIMAL + "tags: {team: y}\n")
    assert desk.load_all("s", tags={"team": "x", "tier": "1"}) == ["s/a.yaml"]
    assert desk.load_all("s", tags={}) == ["s/a.yaml", "s/b.yaml"]
    with pytest.raises(UsageError, match="none of 2 scenarios is tagged team=z") as caught:
        desk.load_all("s", tags={"team": "z"})
    assert caught.value.hint == "their tags: team=x, team=y, tier=1"
