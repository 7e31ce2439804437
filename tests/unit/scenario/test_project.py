"""salvo.yaml and the project's folder: test case T70."""

from __future__ import annotations

from pathlib import Path

import pytest

from salvo_core.scenario.problems import Problem, ScenarioInvalid, rendered
from salvo_core.scenario.project import Project, find_root, load_project
from tests.unit.scenario.desk import Desk


def loaded(desk: Desk, text: str) -> Project:
    desk.write("salvo.yaml", text)
    return load_project(desk.root)


def problem(desk: Desk, text: str) -> Problem:
    with pytest.raises(ScenarioInvalid) as caught:
        loaded(desk, text)
    assert caught.value.exit_code == 64
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_t70_an_empty_file_means_all_defaults(desk: Desk, text: str) -> None:
    assert loaded(desk, text) == Project(root=desk.root)
    assert load_project(desk.root / "absent") == Project(root=desk.root / "absent")


@pytest.mark.parametrize(
    ("text", "code", "field", "line"),
    [
        ("default_modle: x", "E001", "default_modle", 1),
        ("judge:\n  modle: x", "E001", "judge.modle", 2),
        ("judge:\n  k: 22", "E003", "judge.k", 2),
        ("judge:", "E999", "judge", 1),
        ("judge: {default_threshold: 2}", "E003", "judge.default_threshold", 1),
        ("recording: {mode: some}", "E005", "recording.mode", 1),
        (
            "recording: {custom_redaction_patterns: [ok, '(']}",
            "E003",
            "recording.custom_redaction_patterns.1",
            1,
        ),
        ("- a", "E007", "<yaml>", 1),
        ("a: [1", "E006", "<yaml>", 1),
        ("concurrency: 0", "E003", "concurrency", 1),
        ("lease_s: soon", "E004", "lease_s", 1),
        ("s3: {addressing_style: odd}", "E005", "s3.addressing_style", 1),
        ("providers: {x: {adapter: gemini}}", "E005", "providers.x.adapter", 1),
        ("providers: {x: {adapter: openai, base_ulr: y}}", "E001", "providers.x.base_ulr", 1),
        (
            "prices: {m: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}}",
            "E003",
            "prices.m.input_usd_per_mtok",
            1,
        ),
        ("allow_imports: my_pkg", "E999", "allow_imports", 1),
    ],
)
def test_t70_a_bad_file_is_a_located_usage_error(
    desk: Desk, text: str, code: str, field: str, line: int
) -> None:
    found = problem(desk, text + "\n")
    assert (found.code, found.field, found.line) == (code, field, line)
    if code == "E001":
        assert found.hint.startswith("did you mean")


def test_a_file_that_is_no_file_is_refused(desk: Desk) -> None:
    (desk.root / "salvo.yaml").mkdir()
    with pytest.raises(ScenarioInvalid, match="is a folder"):
        load_project(desk.root)


def test_every_setting_arrives(desk: Desk) -> None:
    project = loaded(
        desk,
        """\
        default_adapter: local
        default_model: m
        scenarios_dir: cases
        ci_mode: true
        storage_dir: /var/salvo
        redis_url: rediss://r:6379/0
        broker_url: rediss://b:6379/0
        store_url: s3://bucket/prefix
        s3: {endpoint_url: "http://minio:9000", region: eu, addressing_style: path}
        providers: {local: {adapter: openai, base_url: "http://127.0.0.1:11434/v1/"}}
        prices: {m: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
        allow_imports: [my_pkg.*]
        concurrency: 7
        lease_s: 15
        judge: {k: 5}
        recording: {mode: metadata_only, custom_redaction_patterns: ["x+"]}
        """,
    )
    assert project.problems == ()
    assert (project.default_adapter, project.default_model, project.ci_mode) == ("local", "m", True)
    assert project.scenarios_path == desk.root / "cases"
    assert project.storage_path == Path("/var/salvo")
    assert project.providers["local"].base_url == "http://127.0.0.1:11434/v1"
    assert project.prices["m"].output_usd_per_mtok == 2
    assert (project.judge.k, project.recording.mode) == (5, "metadata_only")
    assert project.settings() == {
        "redis_url": "rediss://r:6379/0",
        "broker_url": "rediss://b:6379/0",
        "store_url": "s3://bucket/prefix",
        "s3_endpoint_url": "http://minio:9000",
        "s3_region": "eu",
        "s3_addressing_style": "path",
        "allow_imports": ("my_pkg.*",),
        "concurrency": 7,
        "lease_s": 15.0,
        "ci_mode": True,
    }


def test_what_the_file_leaves_out_is_no_setting(desk: Desk) -> None:
    assert loaded(desk, "default_model: m\n").settings() == {}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("redis_url: redis://user:hunter2@host/0", "redis_url"),
        ("broker_url: redis://host/0?password=hunter2", "broker_url"),
        ("s3: {endpoint_url: 'http://a:hunter2@host'}", "s3.endpoint_url"),
        ("providers: {x: {adapter: openai, base_url: 'http://a:hunter2@host'}}", "providers.x.base_url"),
    ],
)
def test_a_password_in_the_file_is_a_warning_that_does_not_repeat_it(
    desk: Desk, text: str, field: str
) -> None:
    project = loaded(desk, text + "\n")
    (found,) = project.problems
    assert (found.code, found.severity, found.field, found.line) == ("W007", "warning", field, 1)
    assert "hunter2" not in rendered([found])


def test_a_judges_adapter_that_the_project_does_not_know_is_warned_of(desk: Desk) -> None:
    (found,) = loaded(desk, "judge: {adapter: opnai}\n").problems
    assert (found.code, found.severity, found.field, found.line) == ("W009", "warning", "judge.adapter", 1)
    assert found.hint == "did you mean `openai`?"
    for known in ("anthropic", "my_pkg.agents.Judge"):
        assert loaded(desk, f"judge: {{adapter: {known}}}\n").problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "redis_url: [redis://u:hunter2@h]",
        "providers: {x: {adapter: openai, headers: {Authorization: [hunter2]}}}",
    ],
)
def test_an_error_does_not_repeat_a_secret(desk: Desk, text: str) -> None:
    assert "hunter2" not in rendered([problem(desk, text + "\n")])


def test_t70_the_root_is_the_nearest_folder_with_a_mark(desk: Desk) -> None:
    desk.write("outer/salvo.yaml", "")
    desk.write("outer/scenarios/deep/s.yaml", "")
    desk.write("outer/inner/.salvo", "")
    outer = desk.root / "outer"
    assert find_root(outer / "scenarios/deep/s.yaml") == outer
    assert find_root(Path("outer/scenarios/deep")) == outer
    assert find_root(outer / "scenarios/absent.yaml") == outer
    assert find_root(outer / "inner") == outer / "inner"


def test_t70_without_a_mark_the_root_is_the_current_folder(desk: Desk) -> None:
    (desk.root / "elsewhere").mkdir()
    assert find_root(desk.root / "elsewhere") == Path.cwd()
