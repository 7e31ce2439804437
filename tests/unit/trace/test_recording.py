"""A trace without content: what was said is gone, what it was like is not."""

from typing import get_args

import pytest

from salvo_core.trace.exclusion import without_content
from salvo_core.trace.model import (
    ErrorKind,
    Finding,
    Judgement,
    Message,
    Retry,
    ToolCall,
    Trace,
    TrialError,
    Turn,
    Usage,
    Vote,
)
from salvo_core.trace.recording import EXCLUDED
from tests.unit.evaluation.builders import trace

WORD = "canary"
SAID = f"the {WORD} sings"


def talkative() -> Trace:
    """A trace with the word in every text that somebody wrote, but in names."""
    call = ToolCall(id="call_1", name="look_up", arguments={WORD: [SAID, {"n": SAID}]})
    broken = ToolCall(id=SAID, name=SAID, malformed=SAID)
    retry = Retry(kind="transient", message=SAID, status_code=503, waited_s=1.5)
    judged = Judgement(
        request="0" * 64,
        assertions=(1,),
        adapter="openai",
        model="judge",
        temperature=0.0,
        max_tokens=10,
        weights={SAID: 2.0, "politeness": 1.0},
        votes=(
            Vote(number=0, scores={SAID: 0.5, "politeness": 1.0}, reasoning={SAID: SAID}, raw=SAID),
            Vote(number=1, error=SAID, error_kind="unreadable", raw=SAID),
            Vote(number=2, error=SAID, error_kind="transient", retries=(retry,)),
        ),
    )
    return trace(
        messages=(
            Message(role="system", content=SAID),
            Message(role="user", content=SAID),
            Message(role="assistant", content=None, tool_calls=(call, broken)),
            Message(
                role="tool_result", content=SAID, tool_call_id="call_1", tool_name="look_up", latency_s=1.0
            ),
            Message(role="tool_result", content=SAID, tool_call_id=SAID, tool_name=SAID, tool_error=True),
            Message(role="assistant", content=SAID),
        ),
        turns=(
            Turn(index=0, tool_calls=(call, broken), finish_reason="tool_calls", retries=(retry,)),
            Turn(index=1, content=SAID, finish_reason=SAID, model=SAID, usage=Usage(output_tokens=7)),
        ),
        finish_reason=SAID,
        extras={"user": SAID, "top_p": 0.5},
        findings=(
            Finding(
                assertion=0, type="output_contains", label=SAID, score=0, passed=False, weight=2,
                required=True, details=SAID, error=SAID, redaction_affected=True,
            ),
        ),
        judgements=(judged,),
        outcome="infra_error",
        error=TrialError(kind="permanent", message=SAID, error_class="Refused", hint=SAID, turn=2),
    )  # fmt: skip


def test_t59_no_word_of_what_was_said_stays():
    bare = without_content(talkative())
    assert WORD not in bare.model_dump_json()
    assert bare.recording == "metadata_only"


def test_t59_roles_names_figures_and_scores_stay():
    given = talkative()
    bare = without_content(given)
    assert [m.role for m in bare.messages] == [m.role for m in given.messages]
    assert [m.content for m in bare.messages] == [EXCLUDED, EXCLUDED, None, EXCLUDED, EXCLUDED, EXCLUDED]
    assert [call.name for call in bare.tool_calls] == ["look_up", EXCLUDED]
    assert [call.arguments for call in bare.tool_calls] == [{}, {}]
    assert [call.malformed for call in bare.tool_calls] == [None, EXCLUDED]
    assert (bare.messages[3].tool_call_id, bare.messages[3].latency_s) == ("call_1", 1)
    assert bare.final_content == EXCLUDED
    assert [turn.finish_reason for turn in bare.turns] == ["tool_calls", EXCLUDED]
    assert (bare.turns[0].retries[0].status_code, bare.turns[0].retries[0].waited_s) == (503, 1.5)
    assert (bare.turns[1].usage, bare.usage, bare.cost_usd) == (
        given.turns[1].usage, given.usage, given.cost_usd,
    )  # fmt: skip
    assert bare.extras == {"user": EXCLUDED, "top_p": EXCLUDED}
    (finding,) = bare.findings
    assert (finding.label, finding.details, finding.weight, finding.required, finding.score) == (
        "output_contains", "", 2, True, 0,
    )  # fmt: skip
    assert finding.error == "the reason is not kept"
    assert finding.redaction_affected
    (judged,) = bare.judgements
    assert judged.weights == {"criterion 1": 2.0, "criterion 2": 1.0}
    assert judged.votes[0].scores == {"criterion 1": 0.5, "criterion 2": 1.0}
    assert [vote.heard for vote in judged.votes] == [True, False, False]
    assert (bare.error.kind, bare.error.error_class, bare.error.turn) == ("permanent", "Refused", 2)
    assert bare.error.message == "the provider refused the request"


def test_t59_stripping_twice_changes_nothing_more():
    bare = without_content(talkative())
    assert without_content(bare) == bare
    assert Trace.model_validate(bare.model_dump(mode="json")) == bare


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_an_error_of_any_kind_is_told_without_its_words_unless_they_are_ours(kind):
    given = trace(outcome="infra_error", error=TrialError(kind=kind, message=SAID, hint=SAID))
    told = without_content(given).error
    assert told.message
    assert (WORD in told.message) == (kind in ("scenario", "store", "worker_lost", "abandoned", "budget"))
