"""Recorded runs judged again, as somebody at a shell does it."""

import signal

import pytest

from tests.acceptance.typing_person import Person, until

pytestmark = pytest.mark.servers

UNKNOWN = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


def ran(person: Person, file: str, *options: str, code: int = 0) -> list[str]:
    """Run a scenario; return the trace ids of its trials."""
    done = person.types("run", file, "--record", "--json", "-q", *options)
    assert done.code == code, done.err
    return [trial["trace_id"] for trial in done.document["recorded"]]


def written(
    person: Person, name: str, assertions: str, *, turns: str = "[{text: good}]", more: str = ""
) -> str:
    """Write a scripted scenario; return its path."""
    (person.folder / f"{name}.yaml").write_text(
        f"description: {name}\nadapter: scripted\nmodel: pretend\nprompt: Be good.\n"
        f"script: {{turns: {turns}}}\nassertions: {assertions}\n{more}"
    )
    return f"{name}.yaml"


def reevals(person: Person) -> list[str]:
    return sorted(path.name for path in (person.folder / ".salvo" / "store" / "reevals").glob("*"))


def test_t61_an_answer_whose_secret_was_struck_out_passes_again_and_says_so(person):
    answer = "token=999999"
    file = written(
        person, "token", f"[{{type: output_contains, value: '{answer}'}}]", turns=f"[{{text: ok {answer}}}]"
    )
    (trace_id,) = ran(person, file, "-n", "1")
    again = person.types("reeval", trace_id)
    assert again.code == 0, again.err
    assert "has been struck out" in again.out


def test_t63_a_snapshot_that_passes_is_0_and_leaves_one_re_evaluation_beside_an_unchanged_list(person):
    file = written(person, "trial", "[{type: output_contains, value: good}]")
    (trace_id, _) = ran(person, file, "-n", "2")
    again = person.types("reeval", trace_id, "--json")
    assert again.code == 0
    assert again.document["comparison"]["cells"][0]["after"]["verdict"] == "PASS"
    assert again.document["trial"]["source"]["trace_id"] == trace_id
    assert reevals(person) == [again.document["run_id"]]
    (run,) = person.types("list", "--json").document["runs"]
    (told,) = person.types("list", "--reevals", "--json").document["reevals"]
    assert (told["run_id"], told["of"]) == (again.document["run_id"], run["run_id"])
    # A failure is 1, a required one 2 like a run's, and what is not known is 1.
    written(person, "trial", "[{type: output_contains, value: bad}]")
    assert person.types("reeval", trace_id, "-s", file, "-q").code == 1
    written(person, "trial", "[{type: output_contains, value: bad, required: true}]")
    hard = person.types("reeval", trace_id, "-s", file, "-q")
    assert hard.code == 2
    assert "HARD FAIL" in hard.out
    unknown = person.types("reeval", UNKNOWN)
    assert (unknown.code, unknown.out) == (1, "")
    assert UNKNOWN in unknown.err


def test_t64_strict_scenario_minds_what_the_agent_saw_and_not_how_it_is_judged(person):
    file = written(person, "trial", "[{type: latency_limit, max_seconds: 60}]")
    (trace_id,) = ran(person, file, "-n", "1")
    same = person.types("reeval", trace_id, "-s", file, "--strict-scenario")
    assert same.code == 0
    assert "note:" not in same.err
    written(person, "trial", "[{type: latency_limit, max_seconds: 50}]")
    bound = person.types("reeval", trace_id, "-s", file, "--strict-scenario")
    assert bound.code == 0
    assert "note: trial" in bound.err
    path = person.folder / file
    path.write_text(path.read_text().replace("Be good.", "Be better."))
    warned = person.types("reeval", trace_id, "-s", file)
    assert warned.code == 0
    assert "warning: trial" in warned.err
    assert "(prompt)" in warned.err
    before = reevals(person)
    refused = person.types("reeval", trace_id, "-s", file, "--strict-scenario")
    assert (refused.code, refused.out) == (1, "")
    assert "prompt" in refused.err
    assert reevals(person) == before


def test_t65_a_recording_of_metadata_is_judged_by_what_needs_no_content(person):
    spoken = "{type: jmespath, expression: response.content, operator: contains, value: good}"
    both = written(person, "both", f"[{spoken}, {{type: latency_limit, max_seconds: 60}}]")
    (trace_id,) = ran(person, both, "-n", "1", "--recording", "metadata_only")
    refused = person.types("reeval", trace_id)
    assert (refused.code, refused.out) == (1, "")
    assert "`jmespath`" in refused.err
    assert "--allow-partial-reeval" in refused.err
    allowed = person.types("reeval", trace_id, "--allow-partial-reeval")
    assert allowed.code == 0
    assert "1 skipped" in allowed.out
    (only,) = ran(person, written(person, "only", f"[{spoken}]"), "-n", "1", "--recording", "metadata_only")
    assert person.types("reeval", only, "--allow-partial-reeval").code == 1
    (bare,) = ran(person, written(person, "bare", "[]"), "-n", "1", "--recording", "metadata_only")
    assert person.types("reeval", bare, "-q").code == 0


def test_t66_an_infrastructure_error_is_refused_alone_and_stays_one_in_its_run(person):
    broken = written(person, "broken", "[]", turns="[{error: {kind: authentication}}]")
    (trace_id,) = ran(person, broken, "-n", "1", code=3)
    refused = person.types("reeval", trace_id)
    assert (refused.code, refused.out) == (3, "")
    assert "nothing to judge" in refused.err
    whole = person.types("reeval", "latest", "-q")
    assert whole.code == 3
    assert "0 of 1 trial flipped" in whole.out


def test_t67_the_threshold_of_the_run_counts_unless_told_otherwise(person):
    two = "[{type: output_contains, value: good}, {type: output_contains, value: bad}]"
    file = written(person, "half", two)
    ran(person, file, "-n", "1", "--threshold", "0")
    assert person.types("reeval", "latest", "-q").code == 0
    stricter = person.types("reeval", "latest", "-q", "--threshold", "0.8")
    assert stricter.code == 1
    assert "threshold: 0 → 0.8" in stricter.out


def test_a_re_evaluation_is_asked_about_and_reported_like_a_run(person):
    file = written(person, "trial", "[{type: output_contains, value: good}]")
    trace_ids = ran(person, file, "-n", "3")
    written(person, "trial", "[{type: output_contains, value: 'bad [/b]'}]")
    detached = person.types("reeval", "latest", "-s", file, "--detach")
    assert detached.code == 0
    reeval_id = detached.out.strip()
    assert person.types("wait", reeval_id, "-q").code == 1
    told = person.types("report", reeval_id)
    assert told.code == 0
    for part in ("PASS → ✗ FAIL", "3 of 3 trials flipped", "newly failing: output_contains 'bad [/b]'"):
        assert part in told.out
    assert all(trace_id in told.out for trace_id in trace_ids)
    document = person.types("report", reeval_id, "--json").document
    assert [flip["trial"] for flip in document["comparison"]["flips"]] == [0, 1, 2]
    assert person.types("status", reeval_id, "--json").document["verdict"] == "FAIL"
    assert len(person.types("trials", reeval_id, "--json").document["trials"]) == 3


def test_what_cannot_be_meant_is_a_usage_error_and_leaves_nothing(person):
    file = written(person, "trial", "[{type: output_contains, value: good}]")
    ran(person, file, "-n", "1")
    assert person.types("reeval", "latest", "--no-judge", "--fresh-votes").code == 64
    assert person.types("reeval", "latest", "-s", "nowhere.yaml").code == 64
    assert person.types("list", "--reevals", "--scenario", "x").code == 64
    assert not reevals(person)


def test_a_worker_killed_half_way_loses_nothing_and_scores_nothing_twice(person):
    """The worker of a detached re-evaluation is killed; `resume` brings another."""
    (person.folder / "checks.py").write_text(
        "import pathlib, time\n\n\ndef seen(trace, assertion):\n"
        "    time.sleep(0.2)\n"
        "    with pathlib.Path(__file__).with_name('seen.txt').open('a') as log:\n"
        "        log.write(trace.trace_id + '\\n')\n"
        "    return {'score': 1.0, 'passed': True}\n"
    )
    person.environ |= {
        "SALVO_ALLOW_IMPORTS": "checks.*",
        "SALVO_LEASE_S": "2",
        "SALVO_SWEEP_S": "0.2",
        "PYTHONPATH": f"{person.environ['PYTHONPATH']}:{person.folder}",
    }
    file = written(person, "trial", "[{type: output_contains, value: good}]")
    trace_ids = ran(person, file, "-n", "12")
    written(person, "trial", "[{type: output_contains, value: good}, {type: custom, function: checks.seen}]")
    reeval_id = person.types("reeval", "latest", "-s", file, "--detach").out.strip()
    log = person.folder / "seen.txt"
    until(lambda: log.exists() and len(log.read_text().split()) >= 7, "some trials are scored")
    kill_worker(person)
    trials = person.types("trials", reeval_id, "--json").document["trials"]
    committed = [trial["trace_id"] for trial in trials if trial["status"] == "passed"]
    assert committed
    resumed = person.types("resume", reeval_id, "--json", "-q")
    assert resumed.code == 0, resumed.err
    assert resumed.document["comparison"]["flipped"] == 0
    assert resumed.document["summary"]["counts"]["passed"] == 12
    scored = log.read_text().split()
    assert set(scored) == set(trace_ids)
    assert all(scored.count(trace_id) == 1 for trace_id in committed)


def kill_worker(person: Person) -> None:
    """Kill -9 every worker of the project; its server goes on."""
    import os
    from pathlib import Path

    for pid in person.processes():
        if b"worker" in (Path("/proc") / str(pid) / "cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
