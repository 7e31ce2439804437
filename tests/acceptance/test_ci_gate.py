"""What CI runs of deploy/ci: the script as it stands there, and that both systems run that script."""

import os
import subprocess
import sys

import pytest
import yaml

from tests.acceptance.typing_person import DEADLINE_S, ROOT

CI = ROOT / "deploy" / "ci"


def test_the_gitlab_template_runs_the_script_word_for_word():
    job = yaml.safe_load((CI / "gitlab.yml").read_text("utf-8"))[".salvo-gate"]
    assert job["script"] == [(CI / "gate.sh").read_text("utf-8")]
    assert job["artifacts"]["reports"]["junit"] == "salvo-reports/junit.xml"


def test_the_github_action_hands_every_input_over_by_the_environment_and_none_in_a_script():
    action = yaml.safe_load((CI / "action.yml").read_text("utf-8"))
    (step,) = action["runs"]["steps"]
    assert step["run"] == 'sh "$GITHUB_ACTION_PATH/gate.sh"'
    assert set(step["env"].values()) == {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]}
    script = (CI / "gate.sh").read_text("utf-8")
    assert all(f"${{{name}:" in script or f'"${name}"' in script for name in step["env"])


def test_the_script_is_one_that_any_shell_can_read():
    subprocess.run(["sh", "-n", str(CI / "gate.sh")], check=True, timeout=DEADLINE_S)


@pytest.mark.servers
def test_the_gate_keeps_a_good_run_as_the_baseline_and_fails_a_worse_one(person):
    shim = person.folder / "bin" / "salvo"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m salvo_cli "$@"\n', "utf-8")
    shim.chmod(0o755)
    told = {"PATH": f"{shim.parent}{os.pathsep}{person.environ['PATH']}", "SALVO_CI_TRIALS": "12"}
    told |= {"SALVO_CI_SCENARIOS": "trial.yaml", "SALVO_CI_BASELINE": "main", "SALVO_CI_FORCE": "1"}

    def gate(turns, **more):
        person.scenario("trial", turns)
        return subprocess.run(
            ["sh", str(CI / "gate.sh")],
            cwd=person.folder,
            env=person.environ | told | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
        )

    reports, step = person.folder / "salvo-reports", person.folder / "step.md"
    told |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(step)}
    first = gate("[{text: good}]", SALVO_CI_KEEP_AS="main")
    assert first.returncode == 0, first.stderr
    assert "no baseline main: the run's own verdict counts" in first.stdout
    assert not (reports / "junit.xml").exists()
    worse = gate("[{text: bad}]", SALVO_CI_KEEP_AS="main")
    assert worse.returncode == 1, worse.stderr
    assert "### ❌ REGRESSED" in worse.stdout
    # A run and its report say the same, and a step hears it once; what `wait` adds, it has heard, too.
    person.environ |= {name: told[name] for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")}
    assert person.types("wait", "latest", "-q").code == 1
    heads = [line for line in step.read_text("utf-8").splitlines() if line.startswith("### ")]
    assert heads == ["### ✅ PASS: 1 cell", "### ❌ FAIL: 1 cell", "### ❌ REGRESSED: 1 cell compared"]
    # Beside a baseline only the comparison fails the step; the run's own verdict is a warning.
    assert "::error title=trial::FAIL" not in worse.stderr
    assert worse.stderr.count("::warning title=trial::FAIL") == 1
    assert "::error title=trial::REGRESSED" in worse.stderr
    written = {"run.json", "report.html", "junit.xml", "compare.html", "compare.md"}
    assert {path.name for path in reports.iterdir()} == written
    assert "<svg" in (reports / "report.html").read_text("utf-8")
    assert "<svg" in (reports / "compare.html").read_text("utf-8")
    assert person.types("baseline", "list", "--json").document["baselines"][0]["verdict"] == "PASS"
