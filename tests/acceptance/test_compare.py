"""Baselines and comparisons, as processes against real servers: two small runs and all that reads them."""

import pytest

pytestmark = pytest.mark.servers

# The script stands for the model; a scripted scenario with another one counts as asked something else.
GOOD, BAD = "[{text: good}]", "[{text: bad}]"


def test_a_run_is_compared_with_a_baseline_and_the_gate_exits_by_it(person):
    before = person.types("run", person.scenario("trial", GOOD), "-n", "12", "--json").document["run_id"]
    assert person.types("baseline", "set", "main", "latest").code == 0
    assert person.types("baseline", "set", "../main").code == 64
    same = person.types("compare", "main")
    assert (same.code, "nothing to compare" in same.err) == (64, True)

    after = person.types("run", person.scenario("trial", BAD), "-n", "12", "--json").document["run_id"]
    refused = person.types("compare", "main")
    assert refused.code == 64
    assert "the agent is asked something else" in refused.err

    found = person.types("compare", "main", "--force", "--gate", "--json", "-o", "junit.xml")
    assert (found.code, found.document["verdict"], found.document["exit_code"]) == (1, "REGRESSED", 1)
    assert found.document["candidate"] == {"run_id": after, "baseline_name": None}
    assert found.document["baseline"] == {"run_id": before, "baseline_name": "main"}
    assert 'failures="1"' in (person.folder / "junit.xml").read_text("utf-8")
    (cell,) = found.document["change"]["cells"]
    for trace in (cell["moved"]["trace_id"], cell["moved"]["trace_id_before"]):
        assert person.types("trace", trace).code == 0

    shown = person.types("compare", before[:18], after[:18], "--force")
    assert shown.code == 0
    assert shown.out.startswith("✗ REGRESSED")
    assert person.types("compare", after, "main", "--force", "--gate").code == 0  # the other way about

    person.environ |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(person.folder / "summary.md")}
    told = person.types("compare", "main", "--force", "--gate", "--markdown")
    assert told.code == 1
    assert told.out.startswith("### ❌ REGRESSED")
    assert (person.folder / "summary.md").read_text("utf-8").endswith(" -->\n" + told.out)
    assert "::error title=trial::REGRESSED" in told.err

    assert person.types("baseline", "show", "main", "--json").document["run_id"] == before
    listed = person.types("baseline", "list", "--json").document["baselines"]
    assert [(one["name"], one["verdict"]) for one in listed] == [("main", "PASS")]
    assert person.types("baseline", "rm", "main").code == 0
    assert person.types("compare", "main").code == 64
