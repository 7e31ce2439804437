"""Budgets as somebody at a shell meets them."""

import json

import pytest

pytestmark = pytest.mark.servers

TURNS = "[{text: good, usage: {input_tokens: 1000, output_tokens: 500}}]"


def test_a_budget_ends_a_run_early_says_so_and_is_raised(person):
    file = person.scenario("trial", TURNS)
    path = person.folder / file
    path.write_text(
        path.read_text().replace("model: pretend", "model: gpt-4o-mini") + "\nextras: {max_tokens: 500}\n"
    )
    ran = person.types("run", file, "-n", "12", "-j", "2", "--budget-usd", "0.003", "--json", "-q")
    assert (ran.code, ran.document["verdict"]) == (4, "INCONCLUSIVE")
    summary = ran.document["summary"]
    assert summary["budget"]["closed"]
    assert summary["budget"]["agent_usd"] <= 0.003
    skipped = summary["counts"]["skipped"]
    assert 0 < skipped < 12
    told = person.types("status", "latest")
    assert "used up" in told.out
    assert json.loads(person.types("status", "latest", "--json").out)["budget"]["usd_max"] == 0.003
    again = person.types("resume", "latest", "--budget-usd", "0.002")
    assert (again.code, "used up" in again.err) == (64, True)
    raised = person.types("resume", "latest", "--budget-usd", "1")
    assert raised.code == 0
    assert "spent of $1.0000" in raised.out
    assert person.types("audit", "latest").code == 0


def test_a_budget_that_nobody_can_keep_is_refused_before_anything_is_sent(person):
    file = person.scenario("trial", TURNS)
    refused = person.types("run", file, "--budget-usd", "1")
    assert refused.code == 64
    assert "--allow-unpriced" in refused.err
    assert person.types("run", file, "-n", "1", "--budget-usd", "1", "--allow-unpriced", "-q").code == 0
    assert person.types("run", file, "--allow-unpriced").code == 64


def test_an_agent_that_may_spend_unseen_is_refused_until_somebody_says_what_it_takes_at_most(person):
    file = person.scenario("trial", TURNS)
    path = person.folder / file
    path.write_text(path.read_text().replace("adapter: scripted", "adapter: agent").split("script:")[0])
    with path.open("a") as more:
        more.write("assertions: [{type: output_contains, value: good}]\n")
    profile = "providers:\n  agent: {adapter: http, base_url: 'http://127.0.0.1:9/turn'"
    (person.folder / "salvo.yaml").write_text(profile + "}\n")
    refused = person.types("run", file, "--budget-usd", "1")
    assert (refused.code, "turn_cost_usd_max" in refused.err) == (64, True)
    (person.folder / "salvo.yaml").write_text(profile + ", turn_cost_usd_max: 0.1}\n")
    assert person.types("run", file, "--budget-usd", "1", "--dry-run").code == 0
    refused = person.types("run", file, "--budget-tokens", "1000", "--dry-run")
    assert (refused.code, "turn_tokens_max" in refused.err) == (64, True)


def test_a_re_evaluation_has_a_budget_of_its_own_and_tells_its_own_cost(person):
    file = person.scenario("trial", TURNS)
    path = person.folder / file
    path.write_text(path.read_text().replace("model: pretend", "model: gpt-4o-mini"))
    assert person.types("run", file, "-n", "2", "-q").code == 0
    again = person.types("reeval", "latest", "--budget-usd", "0.5", "--json", "-q")
    assert again.code == 0, again.err
    told = person.types("status", again.document["run_id"], "--json").document
    assert (told["kind"], told["budget"]["usd_max"], told["budget"]["agent_usd"]) == ("reeval", 0.5, 0.0)
    assert "cost $0\n" in person.types("status", again.document["run_id"]).out
    assert person.types("status", "latest", "--json").document["kind"] == "run"
    refused = person.types("reeval", "latest", "--no-judge", "--budget-usd", "1")
    assert (refused.code, "--no-judge" in refused.err) == (64, True)
