"""What users of the first Salvo type and have in salvo.yaml: known here, and alive."""

import json

import pytest
import typer

from salvo_cli import exits, main

OPTIONS = {
    "init": ("--force", "-f"),
    "validate": ("--ci",),
    "run": (
        "--trials", "-n", "--parallel", "--json", "--format-json", "--verbose", "-V", "--report",
        "--diagnose", "--allow-infra", "--threshold", "--record",
    ),
    "report": ("--history", "--limit", "-l", "--scenario", "-s", "--failures"),
    "replay": ("--allow-partial",),
}  # fmt: skip
"""By command; those of reeval and early stop are with their own tests."""


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("SALVO_REDIS_URL", raising=False)
    (tmp_path / "broken.yaml").write_text("model: gpt-4o\nprompt: Hi.\nmodle: x\n")


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_of_the_predecessor_is_one_here(command):
    commands = typer.main.get_command(main.command_line()).commands
    known = {name for one in commands[command].params for name in (*one.opts, *one.secondary_opts)}
    assert set(OPTIONS[command]) <= known


def lines(printed):
    return [line for line in printed.splitlines() if line]


@pytest.mark.parametrize(
    ("file", "variable", "terse"),
    [
        ("", None, False),
        ("ci_mode: true", None, True),
        ("", "true", True),
        ("", "woodpecker", True),
        ("", "false", False),
        ("ci_mode: true", "0", False),
        ("ci_mode: false", "1", True),
    ],
)
def test_ci_mode_and_the_variable_that_ci_systems_set_print_a_problem_on_a_line(
    tmp_path, monkeypatch, capsys, file, variable, terse
):
    (tmp_path / "salvo.yaml").write_text(file)
    if variable is not None:
        monkeypatch.setenv("CI", variable)
    assert main.main(["validate", "broken.yaml"]) == exits.USAGE
    told = capsys.readouterr()
    first = lines(told.out if terse else told.err)[0]
    assert first.startswith("broken.yaml:3:1 -- modle: " if terse else "error[E001]")
    assert main.main(["run", "broken.yaml"]) == exits.USAGE
    first = lines(capsys.readouterr().err)[0]
    assert first.startswith("broken.yaml:3:1 -- modle: " if terse else "error[E001]")


def test_a_broken_project_file_is_told_one_problem_a_line_where_the_variable_says_so(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "salvo.yaml").write_text("judge: {k: 22}\n")
    monkeypatch.setenv("CI", "1")
    assert main.main(["validate"]) == exits.USAGE
    assert lines(capsys.readouterr().err)[0].startswith(f"{tmp_path}/salvo.yaml:1:9 -- judge.k: ")


def test_dead_settings_are_alive(tmp_path, capsys):
    (tmp_path / "salvo.yaml").write_text(
        "default_adapter: scripted\ndefault_model: pretend\nscenarios_dir: cases\nci_mode: false\n"
    )
    (tmp_path / "cases").mkdir()
    scenario = {"prompt": "Hi.", "script": {"turns": [{"text": "hello"}]}}
    (tmp_path / "cases" / "one.yaml").write_text(json.dumps(scenario))
    assert main.main(["validate", "--json"]) == exits.OK
    (found,) = json.loads(capsys.readouterr().out)["scenarios"]
    assert found["file"] == "cases/one.yaml"
    assert main.main(["run", "--dry-run", "--json"]) == exits.OK
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert (cell["adapter"], cell["model"]) == ("scripted", "pretend")


def test_import_where_nothing_is_to_be_imported_is_a_usage_error(tmp_path, capsys):
    for path in ("nowhere", "broken.yaml", "."):
        assert main.main(["import", path]) == exits.USAGE
        told = capsys.readouterr()
        assert told.out == ""
        assert "error: " in told.err
        assert "hint: " in told.err
    assert main.main(["import", ".", "--json"]) == exits.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage_error"
