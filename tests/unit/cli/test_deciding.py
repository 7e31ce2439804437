"""The bar and the stop rule on a command line: what is read, what is refused, what a dry run says of it."""

import json

import pytest

from salvo_cli import exits, main
from salvo_cli.deciding import Deciding, with_rule_apart
from salvo_core.errors import UsageError
from salvo_core.evaluation.gate import Gate
from salvo_core.run.sequential import Sequential
from salvo_core.submit import make_plan
from tests.integration.site import NOW, loaded, order

SCENARIO = """description: desk
adapter: scripted
model: pretend
prompt: Be good.
script: {turns: [{text: good}]}
assertions: [{type: output_contains, value: good}]
"""


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("run x --early-stop", "run x --early-stop"),
        ("run --early-stop x", "run --early-stop x"),
        ("run --early-stop sprt x", "run --early-stop --stop-rule=sprt x"),
        ("run --early-stop ./sprt", "run --early-stop ./sprt"),
        ("submit x --early-stop=confidence", "submit x --early-stop --stop-rule=confidence"),
        ("run x --early-stop=no-such", "run x --early-stop --stop-rule=no-such"),
        ("list --early-stop sprt", "list --early-stop sprt"),
    ],
    ids=["alone", "before-a-path", "rule", "path", "equals", "unknown", "elsewhere"],
)
def test_only_the_name_of_a_rule_is_taken_from_behind_early_stop(typed, read):
    assert with_rule_apart(typed.split()) == read.split()


def test_options_become_a_gate_and_a_rule():
    deciding = Deciding(0.9, 0.99, True, "sprt", 0.01, 0.1, 0.04)
    rule = Sequential(rule="sprt", alpha=0.01, beta=0.1, indifference=0.04)
    assert deciding.fields == {
        "gate": Gate(pass_rate=0.9, confidence=0.99), "early_stop": True, "sequential": rule,
    }  # fmt: skip
    assert Deciding(early_stop=True, stop_rule="curtail").fields == Deciding(early_stop=True).fields


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"confidence": 0.9}, "none is given"),
        ({"pass_rate": 1.0}, "--pass-rate 1 is not between 0 and 1"),
        ({"pass_rate": 0.9, "confidence": 1.0}, "--confidence 1"),
        ({"stop_rule": "sprt"}, "nothing stops early"),
        ({"stop_rule": "guess", "early_stop": True}, "'guess' is no rule"),
        ({"alpha": 0.1}, "--alpha is of --early-stop sprt or confidence"),
        ({"early_stop": True, "stop_rule": "confidence", "beta": 0.1}, "--beta is of --early-stop sprt"),
        ({"early_stop": True, "stop_rule": "sprt", "alpha": 0.5}, "--alpha 0.5 is not between 0 and 0.5"),
        ({"early_stop": True, "stop_rule": "sprt", "alpha": float("nan")}, "--alpha nan"),
    ],
    ids=["confidence", "rate", "sure", "unused", "unknown", "alpha", "beta", "range", "nan"],
)
def test_what_could_have_no_effect_is_refused(given, told):
    with pytest.raises(UsageError) as refused:
        _ = Deciding(**given).fields
    assert told in refused.value.message
    assert refused.value.hint


def test_a_plan_holds_the_gate_and_the_rule_and_a_cell_that_cannot_be_decided_is_named():
    gate, rule = Gate(pass_rate=0.9), Sequential(rule="sprt")
    plan = make_plan(order(gate=gate, early_stop=True, sequential=rule), now=NOW)
    assert (plan.cells[0].gate, plan.sequential, plan.early_stop) == (gate, rule, True)
    own = loaded("own.yaml", description="own", gate={"pass_rate": 0.8})
    assert make_plan(order(scenarios=[own]), now=NOW).cells[0].gate == Gate(pass_rate=0.8)
    assert make_plan(order(scenarios=[own], gate=gate), now=NOW).cells[0].gate == gate
    with pytest.raises(UsageError, match=r"desk\.yaml: cell 'desk .*average score") as refused:
        make_plan(order(scenarios=[own, loaded("desk.yaml", description="desk")], sequential=rule), now=NOW)
    assert "--pass-rate" in refused.value.hint
    with pytest.raises(UsageError, match="no room") as refused:
        make_plan(order(gate=Gate(pass_rate=0.97), sequential=rule), now=NOW)
    assert "--indifference" in refused.value.hint


def test_a_dry_run_shows_the_bar_and_the_rule(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "desk.yaml").write_text(SCENARIO, "utf-8")
    asked = ["run", "desk.yaml", "--dry-run", "--pass-rate", "0.9", "--early-stop", "sprt", "-j", "2"]
    assert main.main(asked) == exits.OK
    text = " ".join(capsys.readouterr().out.split())
    assert "gate: pass rate above 0.9 at 95% confidence, of 1 cell" in text
    assert "a fall of a 90% pass rate by 71 points would be found in a cell; `salvo plan` tells" in text
    assert "sprt has decided its gate (alpha 0.05, beta 0.05, indifference 0.05)" in text
    assert main.main([*asked, "--json"]) == exits.OK
    document = json.loads(capsys.readouterr().out)
    assert document["stop_rule"]["rule"] == "sprt"
    assert document["cells"][0]["gate"] == {"pass_rate": 0.9, "confidence": 0.95}
