"""The whole thing on a laptop: real commands, a real Valkey, a real worker, files as the store."""

import contextlib
import json
import stat

import pytest

from tests.acceptance.typing_person import Person, until

pytestmark = pytest.mark.servers

GOOD, BAD = "[{text: good}]", "[{text: 'bad [/b] [red]'}]"
BROKEN = "[{error: {kind: authentication}}]"


@pytest.mark.parametrize(
    ("turns", "more", "verdict", "code", "mark"),
    [
        (GOOD, "", "PASS", 0, "✓ PASS"),
        (BAD, "", "FAIL", 1, "✗ FAIL"),
        (BAD, ", required: true", "HARD FAIL", 2, "! HARD FAIL"),
        (BROKEN, "", "INFRA_ERROR", 3, "! INFRA ERROR"),
    ],
)
def test_a_run_exits_by_its_verdict_and_reports_it(person, turns, more, verdict, code, mark):
    file = person.scenario("trial", turns, more=more)
    ran = person.types("run", file, "-n", "4")
    assert (ran.code, ran.out.split("   ")[0]) == (code, mark)
    assert "salvo trials" in ran.out
    reported = person.types("report", "--json")
    assert reported.code == 0
    assert (reported.document["verdict"], reported.document["exit_code"]) == (verdict, code)


def test_with_json_stdout_is_one_document_and_progress_is_elsewhere(person):
    ran = person.types("run", person.scenario("trial", GOOD), "-n", "3", "--json")
    assert ran.code == 0
    assert (ran.document["schema"], ran.document["verdict"]) == ("salvo.cli.run/1", "PASS")
    assert ran.document["summary"]["counts"]["passed"] == 3
    assert "3 trials" in ran.err


def test_infrastructure_errors_are_quoted_and_can_be_allowed(person):
    person.scenario("broken", BROKEN)
    ran = person.types("run", "broken.yaml", "-n", "2")
    assert ran.code == 3
    assert "2 of 2  authentication" in ran.out
    assert "the key is not accepted" in ran.out
    person.scenario("fine", GOOD)
    mixed = person.types("run", "broken.yaml", "fine.yaml", "-n", "2", "--allow-infra", "-q")
    assert mixed.code == 3  # a cell of which no trial was graded stays undecided
    assert mixed.err == ""
    assert "--allow-infra" not in mixed.out  # the code is that of the verdict


def test_the_code_of_allowed_infrastructure_errors_is_explained_beside_the_verdict(person):
    half = person.scenario("half", "[{text: good}]\n  trials: {0: [{error: {kind: permanent}}]}")
    ran = person.types("run", half, "-n", "2", "--allow-infra")
    assert (ran.code, "INFRA ERROR" in ran.out) == (0, True)
    told = "--allow-infra: the graded trials alone come to PASS, exit 0"
    assert told in ran.out
    assert told in person.types("wait", "latest", "--allow-infra").out
    assert "--allow-infra" not in person.types("wait", "latest").out


def test_t71_what_a_model_said_is_shown_verbatim_and_the_code_is_the_verdicts(person):
    ran = person.types("run", person.scenario("markup", BAD, more=", required: true"), "-n", "1", "--json")
    assert ran.code == 2
    trials = person.types("trials", "latest", "--status", "hard_fail", "--json")
    (trial,) = trials.document["trials"]
    shown = person.types("trace", trial["trace_id"])
    assert shown.code == 0
    assert "bad [/b] [red]" in shown.out
    stored = person.types("trace", trial["trace_id"], "--json")
    assert stored.document["trace"]["messages"][-1]["content"] == "bad [/b] [red]"


def test_a_run_that_was_submitted_goes_on_in_the_background_and_can_be_waited_for(person):
    file = person.scenario("slow", GOOD, latency_s=0.3)
    submitted = person.types("submit", file, "-n", "5", "--label", "commit=3f2a")
    assert submitted.code == 0
    run_id = submitted.out.strip()
    assert len(run_id) == 36
    assert person.types("wait", run_id, "--timeout", "0", "-q").code in (0, 75)
    waited = person.types("wait", run_id[:18], "--timeout", "50", "--json")
    assert (waited.code, waited.document["verdict"]) == (0, "PASS")
    status = person.types("status", run_id, "--json").document
    assert (status["state"], status["counts"]["passed"], status["ended"]) == ("sealed", 5, 5)
    assert [run["run_id"] for run in person.types("list", "--json").document["runs"]] == [run_id]
    assert len(person.types("trials", run_id, "--json").document["trials"]) == 5
    assert person.types("report", run_id, "--json").document["summary"]["labels"] == {"commit": "3f2a"}


def test_t47_ctrl_c_pauses_and_resume_finishes_the_same_run(person):
    file = person.scenario("slow", GOOD, latency_s=1.0)
    (person.folder / "salvo.yaml").write_text("concurrency: 2\n")
    running = person.start("run", file, "-n", "8")
    until(lambda: _counts(person).get("passed", 0) >= 1, "a first trial passed")
    person.interrupts(running)
    stopped = person.ended(running)
    assert stopped.code == 130
    assert "salvo resume" in stopped.err
    paused = person.types("status", "--json").document
    assert paused["state"] == "paused"
    ended = person.types("trials", "latest", "--status", "passed", "--json").document["trials"]
    assert person.types("trace", ended[0]["trace_id"]).code == 0
    assert person.types("wait", "latest", "-q").code == 75
    resumed = person.types("resume", "latest", "--json")
    assert (resumed.code, resumed.document["run_id"]) == (0, paused["run_id"])
    assert resumed.document["summary"]["counts"]["passed"] == 8


def test_a_cancelled_run_keeps_what_ended_and_cancelling_again_changes_nothing(person):
    file = person.scenario("slow", GOOD, latency_s=1.0)
    (person.folder / "salvo.yaml").write_text("concurrency: 2\n")
    person.types("submit", file, "-n", "50")
    until(lambda: _counts(person).get("passed", 0) >= 1, "a first trial passed")
    first = person.types("cancel", "latest", "--json")
    assert (first.code, first.document["changed"]) == (0, True)
    waited = person.types("wait", "latest", "--json", "--timeout", "40")
    assert (waited.code, waited.document["verdict"]) == (4, "INCONCLUSIVE")
    counts = person.types("status", "--json").document["counts"]
    assert counts["cancelled"] > 0
    assert counts["passed"] >= 1
    assert sum(counts.values()) == 50
    assert person.types("cancel", "latest", "--json").document["changed"] is False


def test_two_runs_at_once_share_one_server_and_leave_nothing_behind(person):
    files = [person.scenario(name, GOOD, latency_s=0.5) for name in ("one", "two")]
    running = [person.start("run", file, "-n", "5", "--json") for file in files]
    outcomes = [person.ended(process) for process in running]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert len({outcome.document["run_id"] for outcome in outcomes}) == 2
    assert person.processes() == []
    assert len(person.types("list", "--json").document["runs"]) == 2


def test_a_killed_command_leaves_a_worker_that_finishes_and_cleans_up(person):
    running = person.start("run", person.scenario("slow", GOOD, latency_s=5.0), "-n", "3")
    until(lambda: _counts(person).get("running", 0) >= 1, "a trial runs")
    running.kill()
    running.communicate()
    assert person.types("wait", "latest", "--timeout", "40", "-q").code == 0
    until(lambda: not person.processes(), "the worker and the server leave by themselves", 40)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_the_embedded_mode_keeps_is_for_its_owner_alone(person, umask):
    person.umask = umask
    state = person.folder / ".salvo"
    state.mkdir(mode=0o755)  # made by another program, or by an older Salvo
    running = person.start("run", person.scenario("trial", GOOD, latency_s=0.5), "-n", "2", "-q")
    until(lambda: (state / "worker.log").exists() and _modes(state), "the run is under way")
    sockets = [path for path in state.rglob("*") if path.is_socket()]
    assert [path for path in sockets if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert person.ended(running).code == 0
    assert (state / ".gitignore").read_text() == "*\n"
    modes = _modes(state)
    assert {path.relative_to(state).parts[0] for path in modes if path != state} >= {
        "store", "valkey", "worker.log", ".gitignore",
    }  # fmt: skip
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert {path.name for path in modes} >= {"users.lock", "valkey.log", "plan.json", "appendonlydir"}


def _modes(state):
    """Return the rights of all that lies below a folder; what vanishes meanwhile is left out."""
    found = {}
    for path in (state, *state.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if not path.is_socket():
                found[path] = stat.S_IMODE(path.stat().st_mode)
    return found


def test_a_deep_folder_gets_its_socket_elsewhere(tmp_path):
    deep = tmp_path / ("deep" * 20) / "project"
    deep.mkdir(parents=True)
    someone = Person(deep)
    ran = someone.types("run", someone.scenario("trial", GOOD), "-n", "1", "-q")
    assert ran.code == 0
    assert someone.processes() == []


def test_a_stale_socket_and_a_dead_server_do_no_harm(person):
    file = person.scenario("trial", GOOD)
    assert person.types("run", file, "-n", "1", "-q").code == 0
    (person.folder / ".salvo" / "valkey" / "valkey.sock").touch()
    assert person.types("run", file, "-n", "1", "-q").code == 0


def test_a_worker_that_cannot_start_is_told_with_its_words(person):
    (person.folder / "salvo.yaml").write_text("providers:\n  bad name!: {adapter: openai}\n")
    ran = person.types("run", person.scenario("trial", GOOD), "-n", "1", "-q")
    assert ran.code in (64, 70)
    assert "bad name!" in ran.err


def test_the_doctor_finds_the_embedded_servers_well(person):
    examined = person.types("doctor", "--json")
    assert examined.code == 0
    levels = {(finding["subject"], finding["level"]) for finding in examined.document["findings"]}
    assert {("redis", "ok"), ("store", "ok"), ("persistence", "ok"), ("eviction", "ok")} <= levels
    assert ("keys", "warn") in levels


def test_a_reader_that_leaves_early_is_no_error_of_ours(person):
    person.types("run", person.scenario("trial", GOOD), "-n", "50", "-q")
    listing = person.start("trials", "latest", "--json")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.wait(30) in (0, 141)
    assert listing.stderr is not None
    assert "Traceback" not in listing.stderr.read()
    listing.stderr.close()


def _counts(person: Person) -> dict[str, int]:
    looked = person.types("status", "--json")
    return json.loads(looked.out)["counts"] if looked.code == 0 else {}
