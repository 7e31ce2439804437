"""How a comparison with a live model is shown, and which options go together."""

import json

import pytest

from salvo_cli import main
from salvo_cli.render.console import Marks
from salvo_cli.render.replay import comparison, comparison_document, recording
from salvo_core.trace.model import ToolCall, TrialError, Turn, Usage
from salvo_core.trial.comparison import Comparison
from salvo_core.trial.divergence import divergence
from tests.unit.cli.drawing import drawn
from tests.unit.cli.test_conversation import trace

SPENT = Usage(input_tokens=120, output_tokens=30)
WHO = {"model": "other [/b]", "adapter": "openai"}


def compared(turns, **fields):
    given = {"divergence": None, "error": None, "limit": None, "usage": SPENT, "cost_usd": 0.002}
    return Comparison(tuple(turns), **(given | fields))


def shown(found, width=80):
    text = drawn(comparison(trace(), found, signs=Marks(), **WHO), width)
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", [80, 160])
def test_a_divergence_is_shown_with_both_turns_verbatim(width):
    was = trace().turns[1]
    live = Turn(index=1, tool_calls=(ToolCall(id="x", name="refund[/b]", arguments={"to": "\x1b[2J"}),))
    found = compared([trace().turns[0], live], divergence=divergence(was, live))
    text = shown(found, width)
    for part in (
        "✗ DIVERGED at turn 2 of 2",
        "gpt-4o via openai, trial 0199c2f4-7b1e-7000-8000-00520a4be1f0",
        "other [/b] via openai",
        "✓ turn 1  calls lookup_order, refund",
        "✗ turn 2  recorded: a final answer; now: calls refund[/b]",
        "  Done",
        'calls refund[/b] {"to": "\\u001b[2J"}',
        "120 tokens in, 30 out · cost $0.00200",
        "nothing: the recording is as it was",
    ):
        assert part in text
    assert "\x1b" not in text


def test_no_difference_says_over_how_many_turns():
    text = shown(compared(trace().turns))
    assert "✓ NO DIFFERENCE in 2 turns" in text
    assert "✓ turn 2  answers" in text


def test_a_provider_that_failed_is_no_divergence():
    error = TrialError(kind="authentication", message="401 [/b]", hint="set OPENAI_API_KEY")
    text = shown(compared(trace().turns[:1], error=error, cost_usd=None))
    for part in (
        "! NOT FINISHED: no difference in 1 of 2 turns",
        "! turn 2  did not come back: 401 [/b]",
        "hint: set OPENAI_API_KEY",
        "cost unknown",
    ):
        assert part in text


def test_a_limit_of_the_scenario_is_named():
    assert "stopped by a limit of the scenario: max cost" in shown(
        compared(trace().turns[:1], limit="max_cost")
    )


def test_the_document_of_a_comparison_holds_both_turns():
    was, live = trace().turns[1], Turn(index=1, content="Other")
    found = compared([trace().turns[0], live], divergence=divergence(was, live))
    document = json.loads(json.dumps(comparison_document(trace(), found, exit_code=1, **WHO)))
    assert (document["schema"], document["exit_code"]) == ("salvo.cli.replay-against/1", 1)
    assert (document["divergence"]["turn"], document["divergence"]["kind"]) == (1, "answer")
    assert document["divergence"]["live"]["content"] == "Other"
    assert (document["turns_recorded"], len(document["turns"]), document["complete"]) == (2, 2, True)


def test_a_recording_says_that_it_is_one():
    text = drawn(recording(trace(), signs=Marks()))
    assert text.startswith("Recorded 2026-11-22 00:00:00Z as salvo.trace/1; no model was asked.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "--json"], "--step cannot be combined with --json"),
        (["--step", "--against", "m"], "--step cannot be combined with --against"),
        (["--against", "m", "--allow-partial"], "nothing to compare without the recording"),
        (["-y"], "-y goes with --against"),
        (["--tools-only"], "--tools-only goes with --against"),
    ],
)
def test_options_that_say_nothing_together_are_refused_before_anything_starts(
    options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main.main(["replay", *options]) == 64
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
