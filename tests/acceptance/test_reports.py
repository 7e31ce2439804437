"""Reports, history, lists and the predecessor's command lines, as processes against real servers."""

import json

import pytest

pytestmark = pytest.mark.servers

GOOD, BAD = "[{text: good}]", "[{text: bad}]"
BROKEN = "[{error: {kind: authentication}}]"


@pytest.mark.parametrize(
    ("turns", "more", "verdict", "code"),
    [
        (GOOD, "", "PASS", 0),
        (BAD, "", "FAIL", 1),
        (BAD, ", required: true", "HARD FAIL", 2),
        (BROKEN, "", "INFRA_ERROR", 3),
    ],
)
def test_t46_the_predecessors_document_alone_is_on_stdout_and_the_code_is_the_verdicts(
    person, turns, more, verdict, code
):
    file = person.scenario("trial", turns, more=more)
    ran = person.types("run", file, "-n", "2", "--legacy")
    assert ran.code == code
    suite = ran.document
    assert list(suite)[:6] == ["run_id", "scenario_name", "scenario_file", "model", "adapter", "trials"]
    assert (suite["verdict"], suite["n_requested"], suite["scenario_name"]) == (verdict, 2, "trial")
    reported = person.types("report", suite["run_id"], "--legacy", "--json")
    assert (reported.code, reported.document) == (0, suite)


def test_t46_the_predecessors_name_of_json_gives_one_document_and_the_code_is_the_verdicts(person):
    file = person.scenario("trial", BAD, more=", required: true")
    ran = person.types("run", file, "-n", "1", "--format-json")
    assert (ran.code, ran.document["verdict"], ran.document["exit_code"]) == (2, "HARD FAIL", 2)


@pytest.mark.parametrize("flag", ["-V", "--verbose", "--report", "--diagnose"])
def test_the_predecessors_flags_show_details_also_on_pass(person, flag):
    ran = person.types("run", person.scenario("trial", GOOD), "-n", "2", flag, "-q")
    assert ran.code == 0
    assert "Details" in ran.out
    assert "median" in ran.out


def test_without_such_a_flag_a_pass_is_short(person):
    assert "Details" not in person.types("run", person.scenario("trial", GOOD), "-n", "2", "-q").out


def test_record_names_every_trials_trace_and_each_can_be_opened(person):
    file = person.scenario("trial", GOOD)
    ran = person.types("run", file, "-n", "3", "--record", "-q")
    rows = person.types("manifest", "show", "--json").document["trials"]
    assert ran.out.count("  01") == 3
    assert all(row["trace_id"] in ran.out.partition("Recorded: 3 trials")[2] for row in rows)
    assert person.types("trace", rows[2]["trace_id"]).code == 0
    as_json = person.types("run", file, "-n", "2", "--record", "--json").document
    shown = person.types("manifest", "show", as_json["run_id"], "--json").document["trials"]
    assert [one["trace_id"] for one in as_json["recorded"]] == [row["trace_id"] for row in shown]


def test_the_manifest_has_each_trials_trace_id_index_status_and_attempt(person):
    person.types("run", person.scenario("trial", BROKEN), "-n", "2", "-q")
    document = person.types("manifest", "show", "latest", "--json").document
    assert [(row["index"], row["status"], row["attempt"], row["error"]) for row in document["trials"]] == [
        (0, "infra_error", 1, "authentication"), (1, "infra_error", 1, "authentication"),
    ]  # fmt: skip
    shown = person.types("manifest", "show")
    assert shown.code == 0
    for row in document["trials"]:
        assert f"{row['index']}  {row['trace_id']}  infra error" in shown.out


def test_t68_without_a_run_a_report_and_a_history_say_so_and_exit_0(person):
    for arguments in (("report",), ("report", "--history"), ("report", "--history", "--failures")):
        said = person.types(*arguments)
        assert said.code == 0
        assert "salvo run" in said.out
    assert person.types("report", "--json").document["run_id"] is None
    assert person.types("report", "--history", "--json").document["runs"] == []


def test_t68_report_by_latest_by_id_and_by_scenario(person):
    files = [person.scenario("alpha", GOOD), person.scenario("beta", BAD)]
    run_id = person.types("run", *files, "-n", "2", "--json").document["run_id"]
    assert run_id in person.types("report").out
    assert run_id in person.types("report", run_id[:18]).out
    assert person.types("report", "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111").code == 64
    alpha = person.types("report", "--scenario", "alpha")
    assert alpha.code == 0
    assert "beta" not in alpha.out.partition("shown: 1 of 2 cells")[2]
    (cell,) = person.types("report", "-s", "alpha", "--json").document["summary"]["cells"]
    assert cell["scenario_name"] == "alpha"
    document = person.types("report", "-s", "alpha", "--json", "--html", "alpha.html").document
    told = (document["verdict"], document["cells_total"], document["cells_by"])
    assert told == ("FAIL", 2, "--scenario alpha")
    assert len(document["reliability"]["cells"]) == 1
    page = (person.folder / "alpha.html").read_text("utf-8")
    assert "Shown: 1 of 2 cells, by --scenario alpha; the verdict is the whole run&#x27;s" in page
    assert '<td class="t">beta' not in page
    bad = person.types("report", "--failures", "--json", "--html", "bad.html").document
    assert [cell["scenario_name"] for cell in bad["summary"]["cells"]] == ["beta"]
    assert '<td class="t">alpha' not in (person.folder / "bad.html").read_text("utf-8")
    nothing = person.types("report", "--scenario", "gamma")
    assert (nothing.code, "alpha (pretend), beta (pretend)" in nothing.out) == (0, True)
    assert person.types("report", "--model", "other").code == 0
    failures = person.types("report", "--failures")
    assert "2 of 2  output_contains 'good'" in failures.out
    assert "pass rate" not in failures.out
    (failed,) = person.types("report", "--failures", "--json").document["summary"]["cells"]
    assert failed["scenario_name"] == "beta"
    assert person.types("report", "--legacy").code == 64
    assert person.types("report", "--legacy", "-s", "beta").document["trials_failed"] == 2


def test_t68_the_history_of_five_runs_limited_filtered_and_with_one_damaged(person):
    ids = []
    for turns in (BAD, BAD, GOOD, BAD, GOOD):
        ids.append(
            person.types("run", person.scenario("alpha", turns), "-n", "1", "--json").document["run_id"]
        )
    two = person.types("report", "--history", "--limit", "2")
    assert two.code == 0
    assert "2 runs shown · pass rate 0% → 100%" in two.out
    assert ids[2][:18] not in two.out
    assert two.out.index(ids[3][:18]) < two.out.index(ids[4][:18])
    failing = person.types("report", "--history", "--failures")
    assert "3 runs shown, 2 that passed left out" in failing.out
    assert "✓ PASS" not in failing.out
    assert (
        "no run with scenario 'zebra' has ended yet" in person.types("report", "--history", "-s", "zebra").out
    )
    (summary,) = (person.folder / ".salvo").rglob(f"{ids[1]}/summary.json")
    summary.write_text("{half a file")
    rest = person.types("report", "--history", "--json")
    assert rest.code == 0
    assert [run["run_id"] for run in rest.document["runs"]] == [ids[0], *ids[2:]]
    assert [one["run_id"] for one in rest.document["damaged"]] == [ids[1]]
    assert "warning: left out: " in rest.err
    assert rest.document["trends"][0]["pass_rates"] == [0, 1, 0, 1]
    page = person.folder / "history.html"
    same = person.types("history", "--last", "10", "--html", str(page), "--json")
    assert (same.code, same.document) == (0, rest.document)
    assert page.read_text("utf-8").count("<circle") == 4
    assert (
        "no run with schedule 'nightly' has ended yet" in person.types("history", "--schedule", "nightly").out
    )


def test_a_list_is_narrowed_by_scenario_model_label_and_verdict(person):
    person.types("run", person.scenario("alpha", GOOD), "-n", "1", "-q", "--label", "commit=3f2a")
    person.types("run", person.scenario("beta", BAD), "-n", "1", "-q", "-m", "other")

    def names(*arguments):
        return [run["name"] for run in json.loads(person.types("list", "--json", *arguments).out)["runs"]]

    assert names() == ["beta", "alpha"]
    assert names("--verdict", "fail") == names("-s", "beta") == names("-m", "other") == ["beta"]
    assert names("--label", "commit=3f2a") == ["alpha"]
    nothing = person.types("list", "--label", "commit=none")
    assert (nothing.code, "no run is like that" in nothing.out) == (0, True)


def test_a_cell_is_decided_early_reported_with_what_it_proves_and_planned_from_what_it_took(person):
    file = person.scenario("alpha", GOOD)
    asked = ("--pass-rate", "0.9", "--early-stop", "sprt", "-j", "2")
    ran = person.types("run", file, "-n", "200", *asked, "--json")
    (cell,), (known,) = ran.document["summary"]["cells"], ran.document["reliability"]["cells"]
    assert (ran.code, cell["verdict"], cell["early_stop"]["after"]) == (0, "PASS", 27)
    assert (known["interval"], known["saved_trials"]) == ("always_valid", cell["skipped"]["decided"])
    shown = person.types("report", "--k", "3,5", "--exact")
    assert shown.code == 0
    assert "k=3 100%  k=5 100%  all of k pass" in shown.out
    planned = person.types("plan", file, "-n", "50", "--detect", "0.1", "--json")
    assert planned.code == 0
    (foreseen,) = planned.document["cells"]
    assert foreseen["expected"]["past_trials"] == cell["scored"]
    assert planned.document["expected"]["calls"]["total"] == 50
