"""Where two tellings of one conversation part."""

import pytest

from salvo_core.trace.model import ToolCall, Turn
from salvo_core.trial.divergence import divergence


def calls(*given, text=None):
    """A turn that calls tools: (name, arguments) each, under ids that mean nothing."""
    made = tuple(
        ToolCall(id=f"id-{place}-{text}", name=name, arguments=arguments)
        for place, (name, arguments) in enumerate(given)
    )
    return Turn(index=2, content=text, tool_calls=made)


def says(text):
    return Turn(index=2, content=text)


A, B = ("look_up", {"n": 1}), ("refund", {"order": {"id": "A", "lines": [1, 2]}})


@pytest.mark.parametrize(
    ("recorded", "live"),
    [
        (calls(A, B), calls(A, B, text="Let me see.")),
        (calls(B), calls(("refund", {"order": {"lines": [1, 2], "id": "A"}}))),
        (calls(("f", {"n": 1})), calls(("f", {"n": 1.0}))),
        (calls(A, A), calls(A, A)),
        (says("All  done.\n"), says("All done.")),
        (says(None), says("")),
    ],
)
def test_turns_that_ask_and_answer_the_same_do_not_diverge(recorded, live):
    assert divergence(recorded, live) is None


@pytest.mark.parametrize(
    ("recorded", "live", "kind", "told"),
    [
        (calls(A), says("Hello."), "calls", "recorded: calls look_up; now: an answer instead"),
        (says("Hello."), calls(A), "calls", "recorded: a final answer; now: calls look_up"),
        (calls(A), calls(B), "tool", "recorded: calls look_up; now: calls refund"),
        (calls(A, B), calls(A), "tool", "recorded: calls look_up, refund; now: calls look_up"),
        (calls(A), calls(A, A), "tool", "now: calls look_up, look_up"),
        (calls(A, B), calls(B, A), "order", "now the same in another order"),
        (calls(A, B), calls(("refund", {}), A), "order", "now the same in another order"),
        (
            calls(("f", {"n": 1}), ("f", {"n": 2})),
            calls(("f", {"n": 2}), ("f", {"n": 1})),
            "order",
            "calls f, f",
        ),
        (calls(A), calls(("look_up", {"n": 2})), "arguments", "look_up is called with other arguments"),
        (calls(("f", {"n": 1})), calls(("f", {"n": True})), "arguments", "other arguments"),
        (calls(A, B), calls(A, ("refund", {})), "arguments", "refund (call 2 of 2)"),
        (says("Yes."), says("No."), "answer", "in other words"),
    ],
)
def test_the_first_difference_is_named(recorded, live, kind, told):
    found = divergence(recorded, live)
    assert found is not None
    assert found.kind == kind
    assert told in found.told
    assert (found.recorded, found.live) == (recorded, live)


def test_arguments_that_are_no_json_are_compared_as_text():
    one, other = (
        Turn(index=0, tool_calls=(ToolCall(id="x", name="f", malformed=text),)) for text in ("{n: 1", "{n: 2")
    )
    assert divergence(one, one) is None
    assert divergence(one, other).kind == "arguments"


def test_answers_in_other_words_can_be_let_pass_but_a_call_instead_cannot():
    assert divergence(says("Yes."), says("Indeed."), answers=False) is None
    assert divergence(says("Yes."), calls(A), answers=False).kind == "calls"
