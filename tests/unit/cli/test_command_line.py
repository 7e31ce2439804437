"""The command line itself: help, usage errors, exit codes, options."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from salvo_cli import exits, main, options
from salvo_cli.ordering import print_single_votes
from salvo_core.errors import NotFound, RedisUnavailable, SalvoError, StoreRefused, UsageError
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.run.verdict import EXIT_CODES
from salvo_core.scenario.loading import load_paths
from salvo_core.scenario.project import load_project
from salvo_core.submit import Order

COMMANDS = (
    "init",
    "validate",
    "run",
    "plan",
    "history",
    "submit",
    "status",
    "wait",
    "list",
    "trials",
    "trace",
    "report",
    "replay",
    "import",
    "cancel",
    "resume",
    "audit",
    "rebuild",
    "worker",
    "config",
    "doctor",
    "schema",
    "simulate",
    "manifest",
    "manifest show",
    "compare",
    "baseline",
    "baseline set",
    "baseline show",
    "baseline list",
    "baseline rm",
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("SALVO_REDIS_URL", "SALVO_STORE_URL", "SALVO_TRACEBACK", "CI"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_exit_codes_that_fits_80_columns(command, capsys):
    assert main.main([*command.split(), "--help"]) == exits.OK
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"salvo {command}" in text
    assert "Exit codes:" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_lists_every_command_whole(capsys):
    assert main.main(["--help"]) == exits.OK
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in COMMANDS if " " not in command)
    assert "..." not in text.partition("Commands:")[2]


def test_every_exit_code_is_in_the_one_table_and_the_help_shows_it(capsys):
    errors, found = [SalvoError], set()
    while errors:
        found.add((error := errors.pop()).exit_code)
        errors += [one for one in error.__subclasses__() if one.__module__.startswith("salvo_")]
    named = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert found | named | set(EXIT_CODES.values()) == set(exits.CODES)
    main.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{code} {means.briefly}" in text for code, means in exits.CODES.items())
    assert max(map(len, text.splitlines())) <= 80


def test_no_command_shows_the_help_and_is_a_usage_error(capsys):
    assert main.main([]) == exits.USAGE
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    from salvo_core.version import VERSION

    assert main.main(["--version"]) == exits.OK
    assert capsys.readouterr().out == f"salvo {VERSION}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "x.yaml", "-n", "0"],
        ["run", "x.yaml", "--trials", "many"],
        ["run", "x.yaml", "--threshold", "5"],
        ["run", "x.yaml", "-j", "0"],
        ["run", "x.yaml", "--no-such-option"],
        ["run", "missing.yaml"],
        ["run", ".", "--tag", "no-equals-sign"],
        ["trials", "latest", "--status", "sleeping"],
        ["list", "--verdict", "splendid"],
        ["list", "--label", "no-equals-sign"],
        ["report", "--limit", "3"],
        ["report", "--k", "0"],
        ["report", "--k", "3,x"],
        ["report", "--k", "1,2,3,4,5"],
        ["report", "--exact", "--history"],
        ["run", ".", "--stop-rule", "sprt"],
        ["plan", "missing.yaml"],
        ["plan", ".", "--detect", "1"],
        ["report", "--history", "--limit", "-1"],
        ["report", "0199c2f4", "--history"],
        ["report", "--history", "--verbose"],
        ["manifest", "nonsense"],
        ["compare"],
        ["compare", "main", "--inconclusive", "pass"],
        ["compare", "main", "--gate", "--inconclusive", "perhaps"],
        ["compare", "main", "--margin", "0"],
        ["compare", "main", "--margin", "1"],
        ["compare", "main", "--margin", "nan"],
        ["compare", "main", "--alpha", "0"],
        ["compare", "main", "--alpha", "0.5"],
        ["compare", "main", "--alpha", "nan"],
        ["compare", "main", "--alpha", "0.7"],
        ["baseline", "set"],
        ["worker", "--loglevel", "loud"],
        ["worker", "--beat", "--idle-exit-s", "60"],
        ["validate", "missing.yaml"],
        ["resume", "latest", "--dry-run", "--budget-usd", "5"],
    ],
)
def test_a_usage_error_exits_64_with_a_message_and_no_traceback(arguments, capsys):
    assert main.main(arguments) == exits.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: " in said.err or "error[" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--json"],
        ["run", "missing.yaml", "--json"],
        ["run", "missing.yaml", "--format-json"],
        ["run", "missing.yaml", "--legacy"],
        ["report", "--history", "--legacy"],
        ["report", "--legacy", "--failures"],
        ["oops", "--json"],
    ],
)
def test_with_json_a_failure_is_one_document_on_stdout(arguments, capsys):
    assert main.main(arguments) == exits.USAGE
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "salvo.cli.error/1"
    assert document["error"]["exit_code"] == exits.USAGE
    assert document["error"]["message"]


def test_a_fault_of_ours_is_one_line_and_a_file_with_the_traceback(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError("by [/b] nothing")

    monkeypatch.setattr("salvo_cli.wiring.surroundings", broken)
    assert main.main(["config"]) == exits.INTERNAL
    said = capsys.readouterr().err
    assert "Salvo broke: ZeroDivisionError: by [/b] nothing" in said
    assert "Traceback" not in said
    (kept,) = (tmp_path / ".salvo" / "crashes").iterdir()
    assert "ZeroDivisionError: by [/b] nothing" in kept.read_text("utf-8")
    assert kept.stat().st_mode & 0o077 == 0


def test_a_traceback_is_shown_to_whoever_asks_for_it(monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setenv("SALVO_TRACEBACK", "1")
    monkeypatch.setattr("salvo_cli.wiring.surroundings", broken)
    assert main.main(["config"]) == exits.INTERNAL
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, exits.OutputClosed])
def test_interruptions_have_their_own_codes(error, monkeypatch, capfd):
    def stopped(*_):
        raise error

    monkeypatch.setattr("salvo_cli.wiring.surroundings", stopped)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # a test keeps its stdout
    expected = {KeyboardInterrupt: exits.INTERRUPTED, exits.OutputClosed: exits.OUTPUT_CLOSED}
    assert main.main(["config"]) == expected[error]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UsageError, "usage_error"),
        (NotFound, "not_found"),
        (RedisUnavailable, "redis_unavailable"),
        (StoreRefused, "store_refused"),
    ],
)
def test_an_errors_kind_is_its_class_in_snake_case(error, kind):
    assert exits.kind_of(error("x")) == kind


def test_pairs_are_read_from_repeated_options():
    assert options.pairs(["team=checkout", "tier=a=b"], "--tag") == {"team": "checkout", "tier": "a=b"}
    assert options.pairs(None, "--tag") == {}
    assert options.pairs(["a=1", "a=1"], "--tag") == {"a": "1"}


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a=1", "a=2"]])
def test_a_pair_that_cannot_be_meant_is_refused(texts):
    with pytest.raises(UsageError):
        options.pairs(texts, "--tag")


def test_the_configuration_masks_passwords_and_names_sources(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SALVO_REDIS_URL", "redis://user:hunter2@example.com:6379/0")
    (tmp_path / "salvo.yaml").write_text("concurrency: 7\n")
    assert main.main(["config", "--json"]) == exits.OK
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    settings = {one["name"]: one for one in json.loads(printed)["settings"]}
    assert settings["redis_url"]["source"] == "environment"
    assert (settings["concurrency"]["value"], settings["concurrency"]["source"]) == ("7", "salvo.yaml")
    assert settings["lease_s"]["source"] == "default"


def test_t69_init_writes_four_files_refuses_to_overwrite_and_validates(tmp_path, capsys):
    (tmp_path / ".gitignore").write_text("*.pyc")
    assert main.main(["init"]) == exits.OK
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n.salvo/\n"
    assert main.main(["init"]) == exits.USAGE
    said = capsys.readouterr().err
    assert all(name in said for name in ("salvo.yaml", "scenarios/example.yaml", "tools/example_tool.yaml"))
    assert main.main(["init", "--force"]) == exits.OK
    assert (tmp_path / ".gitignore").read_text().count(".salvo/") == 1
    assert main.main(["validate"]) == exits.OK
    assert "1 scenario valid" in capsys.readouterr().out


def test_problems_are_located_on_stderr_and_one_line_each_on_stdout_for_ci(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("modle: gpt-4o\nprompt: 'hi [/b]'\n")
    assert main.main(["validate", "bad.yaml"]) == exits.USAGE
    said = capsys.readouterr()
    assert "error[E001]" in said.err
    assert "bad.yaml:1:1" in said.err
    assert said.out == ""
    assert main.main(["validate", "bad.yaml", "--ci"]) == exits.USAGE
    assert "bad.yaml:1:1 -- " in capsys.readouterr().out


def test_a_dry_run_says_how_many_calls_at_most_and_starts_nothing(tmp_path, capsys):
    main.main(["init"])
    capsys.readouterr()
    assert (
        main.main(["run", "scenarios", "-n", "10", "-m", "a", "-m", "b", "--dry-run", "--json"]) == exits.OK
    )
    document = json.loads(capsys.readouterr().out)
    assert (len(document["cells"]), document["trials"]) == (2, 20)
    assert document["calls_max"] >= 20
    assert document["cost_usd_max"] is None
    assert not (tmp_path / ".salvo").exists()


def test_the_schema_is_one_json_document(capsys):
    assert main.main(["schema"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["title"] == "Salvo scenario"


@pytest.mark.parametrize("option", ["-n", "--trials", "--epochs", "--repeat"])
def test_trials_have_the_names_that_people_know(option, capsys):
    main.main(["init"])
    capsys.readouterr()
    assert main.main(["run", "scenarios", option, "7", "--dry-run", "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["trials"] == 7


@pytest.mark.parametrize("word", ["hard fail", "HARD_FAIL", "hard-fail", " Hard Fail "])
def test_a_verdict_may_be_written_as_people_write_it(word):
    assert options.verdicts([word, "pass"]) == {"HARD FAIL", "PASS"}


def test_t46_the_predecessors_document_is_refused_for_several_cells_before_anything_is_sent(tmp_path, capsys):
    main.main(["init"])
    assert main.main(["run", "scenarios", "--legacy", "-q", "-m", "a", "-m", "b"]) == exits.USAGE
    assert "one cell, and this would be 2" in capsys.readouterr().err


def test_t57_a_judge_with_a_single_vote_is_named_for_those_who_ask_for_details(tmp_path):
    screen = Console(file=io.StringIO(), width=80)
    (tmp_path / "a.yaml").write_text(
        """
        model: m
        prompt: hi
        assertions:
          - {type: judge, criteria: [{name: polite, description: is it so}]}
          - {type: judge, k: 1, criteria: [{name: "[bold]brief", description: is it so}]}
        """
    )
    project = load_project(tmp_path)
    loaded = load_paths([tmp_path / "a.yaml"], project=project)
    print_single_votes(screen, Order(scenarios=loaded, judge=project.judge))
    assert screen.file.getvalue() == (
        f"note: {tmp_path}/a.yaml: assertions.1, judge [bold]brief: majority voting is off, k is 1\n"
    )
    print_single_votes(screen, Order(scenarios=loaded, judge=JudgeDefaults(k=1)))
    assert screen.file.getvalue().count("judge polite") == 1


def test_whoever_only_looks_at_a_run_loads_no_assertions_and_no_worker():
    # All that status, report and list import, in a process of its own: half of their time was this once.
    code = (
        "import sys, salvo_cli.wiring, salvo_cli.following, salvo_cli.reporting, salvo_core.observe, "
        "salvo_core.history, salvo_core.scenario.project; "
        "print(*{'salvo_core.scenario.model', 'salvo_core.evaluation.assertion', 'celery', 'httpx', 'boto3'}"
        " & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


HEAVY = {"scipy", "numpy", "boto3", "celery", "kombu", "httpx", "aiohttp", "genai_prices"}


@pytest.mark.parametrize(
    ("command", "without"),
    [
        # pydantic comes with Typer itself, for whoever runs a command.
        (["--help"], HEAVY | {"pydantic", "redis", "rich", "yaml", "salvo_core.settings"}),
        (["status", "--help"], HEAVY | {"redis", "rich", "yaml", "salvo_core.settings"}),
        (
            ["status"],
            HEAVY
            | {"yaml", "jmespath", "regex", "uuid6", "salvo_core.run.summary", "salvo_core.scenario.model"}
            | {"salvo_core.trace.model", "salvo_core.adapters.gate", "salvo_core.adapters.protocol"},
        ),
    ],
    ids=["the list of commands", "the help of one", "status"],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(command, without):
    # In a process of its own, without a server: status has imported all it needs when it finds none.
    code = (
        "import sys; from salvo_cli.main import main; "
        "code = main(sys.argv[1:]); print(code, *sys.modules, file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SALVO_REDIS_URL": "redis://127.0.0.1:1", "SALVO_STORE_URL": "file:///nowhere"},
    )
    left, *imported = found.stderr.splitlines()[-1].split()
    assert left == (str(exits.UNAVAILABLE) if command == ["status"] else "0")
    assert without & set(imported) == set()


def test_a_command_that_ends_has_python_look_for_no_garbage_among_all_that_was_imported():
    # Python looks several times while it ends, and took a sixth of the CPU of a short command for it.
    code = (
        "import atexit, gc, sys; from salvo_cli.main import run; sys.argv = ['salvo', '--help']; "
        "atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects()), file=sys.stderr)); run()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, looked_at = map(int, found.stderr.split())
    assert looked_at < frozen / 100


@pytest.mark.parametrize(
    "arguments",
    [["validate"], ["validate", "--ci"], ["validate", "--json"], ["run"], ["run", "--json"]],
    ids=" ".join,
)
def test_what_the_project_calls_a_secret_is_struck_out_of_what_problems_quote(arguments, capsys):
    Path("salvo.yaml").write_text("recording: {custom_redaction_patterns: ['CASE-[0-9]+']}\n")
    Path("scenarios").mkdir()
    Path("scenarios/a.yaml").write_text("description: a\nprompt: hello\nmodel: {name: CASE-4711}\n")
    assert main.main(arguments) == exits.USAGE
    told = "".join(capsys.readouterr())
    assert "model" in told
    assert "4711" not in told
