"""The question put to a judge: what it sees, and what it does not."""

import json

import pytest

from salvo_core.evaluation.judge.assertion import Terms
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.prompt import ANSWER_CHARS_MAX, ENTRIES_MAX, Brief, question
from salvo_core.trace.model import Message
from tests.unit.evaluation.builders import trace
from tests.unit.evaluation.judge.court import BRIEF, judge


def asked(one=None, subject=None, brief=BRIEF, **terms):
    one = one or judge()
    return question(one, one.terms(JudgeDefaults(**terms)), subject or trace(), brief)


def record_of(put):
    """The record inside the user's message, parsed."""
    lines = put.messages[1].content.split("\n")
    (begin,) = (n for n, line in enumerate(lines) if line.startswith("===== BEGIN RECORD "))
    (end,) = (n for n, line in enumerate(lines) if line.startswith("===== END RECORD "))
    assert lines[begin].split()[3] == lines[end].split()[3]
    return json.loads("\n".join(lines[begin + 1 : end]))


def test_the_system_text_names_the_criteria_with_weights_the_anchors_and_the_tool():
    put = asked(judge("polite", ("correct", 2.5)))
    text = put.messages[0].content
    assert "- polite (1): is it polite?" in text
    assert "- correct (2.5): is it correct?" in text
    assert all(f"\n{anchor} " in text for anchor in ("0.0 ", "0.25", "0.5 ", "0.75", "1.0 "))
    assert "score_criteria" in text
    assert [message.role for message in put.messages] == ["system", "user"]


def test_the_tool_demands_a_score_and_a_reasoning_for_every_criterion():
    tool = asked(judge("polite", "correct")).tool
    assert tool.name == "score_criteria"
    assert tool.parameters["required"] == ["polite", "correct"]
    for one in tool.parameters["properties"].values():
        assert one["required"] == ["score", "reasoning"]
        assert one["properties"]["score"]["type"] == "number"
        assert one["properties"]["reasoning"]["type"] == "string"


def test_names_that_a_provider_would_refuse_get_a_key_of_their_own():
    put = asked(judge("kind & fair", "criterion_1", "ehrlich", "größe"))
    assert put.names == {
        "criterion_1_": "kind & fair",
        "criterion_1": "criterion_1",
        "ehrlich": "ehrlich",
        "criterion_4": "größe",
    }
    assert "- kind & fair, written as criterion_1_ (1):" in put.messages[0].content


def test_a_custom_prompt_replaces_the_role_and_leaves_criteria_rules_and_tool():
    own = asked(judge("polite", custom_prompt="You are a strict examiner of Norwegian."))
    usual = asked(judge("polite"))
    text = own.messages[0].content
    assert text.startswith("You are a strict examiner of Norwegian.\n\nThe criteria")
    assert "0.25" not in text
    assert text.partition("The criteria")[2] == usual.messages[0].content.partition("The criteria")[2]
    assert asked(judge("polite", custom_prompt="  ")).messages == usual.messages


def test_t56_by_default_the_judge_sees_calls_and_the_answer_and_no_prompt_at_all():
    said = trace(answer="Refunded.", calls=[("refund", {"order": "A-1"})])
    put = asked(subject=said, brief=Brief("SYSTEM-CANARY", "USER-CANARY", (("t", "TOOL-CANARY"),)))
    assert record_of(put) == {
        "tool_calls": [{"call": 1, "tool": "refund", "arguments": '{"order": "A-1"}'}],
        "final_answer": "Refunded.",
    }
    assert not any("CANARY" in message.content for message in put.messages)


def test_t56_a_long_system_prompt_and_long_arguments_are_cut_visibly():
    said = trace(calls=[("search", {"q": "x" * 300}), ("search", {"q": "y" * 80})])
    brief = Brief("s" * 3000, "", (("search", "finds things"),))
    record = record_of(asked(judge(include_system_prompt=True), said, brief))
    assert record["system_prompt_of_the_agent"] == "s" * 2000 + "..."
    assert record["tools_of_the_agent"] == ["search: finds things"]
    assert [len(call["arguments"]) for call in record["tool_calls"]] == [103, 89]
    assert record["tool_calls"][0]["arguments"].endswith("xxx...")


@pytest.mark.parametrize("answer", [None, ""])
def test_t56_an_agent_that_said_nothing_is_shown_as_empty(answer):
    record = record_of(asked(subject=trace(answer=answer)))
    assert record == {"tool_calls": "none were made", "final_answer": "(empty)"}


def test_what_is_asked_for_is_included_and_cut():
    said = trace(calls=["lookup"])
    result = Message(role="tool_result", content="r" * 5000, tool_name="lookup", tool_error=True)
    said = said.model_copy(update={"messages": (*said.messages, result)})
    both = judge(include_user_prompt=True, include_tool_results=True)
    record = record_of(asked(both, said, Brief(prompt="Where is my order?")))
    assert record["prompt_of_the_user"] == "Where is my order?"
    assert record["tool_results"] == [
        {"result": 1, "tool": "lookup", "content": "ok"},
        {"result": 2, "tool": "lookup", "error": True, "content": "r" * 2000 + "..."},
    ]


def test_everything_is_bounded_and_says_so():
    said = trace(answer="a" * (ANSWER_CHARS_MAX + 7), calls=["t"] * (ENTRIES_MAX + 3))
    record = record_of(asked(subject=said))
    assert record["final_answer"].endswith("aaa... (cut: 7 more characters)")
    assert record["tool_calls"][-1] == "... and 3 more"


def test_a_brief_may_be_taken_from_a_recording():
    assert Brief.of(trace(), [("t", "d")]) == Brief("be brief", "go", (("t", "d"),))


def test_a_digest_names_everything_that_is_sent_and_nothing_else():
    usual = asked().request
    assert asked().request == usual
    same = [
        judge(k=5),
        judge(threshold=0.1),
        judge(weight=3),
        judge(required=True),
        judge(judge_model="gpt-4o-mini"),
    ]
    assert {asked(one).request for one in same} == {usual}
    other = [
        judge("better"),
        judge(("good", 2)),
        judge(judge_model="gpt-4o"),
        judge(judge_adapter="anthropic"),
        judge(temperature=0.5),
        judge(max_tokens=99),
        judge(custom_prompt="Be strict."),
        judge(include_user_prompt=True),
    ]
    digests = {asked(one).request for one in other} | {asked(subject=trace(answer="other")).request}
    assert len(digests) == len(other) + 1
    assert usual not in digests


def test_the_assertions_terms_go_before_the_projects():
    project = JudgeDefaults(adapter="a", model="m", k=7, temperature=1, max_tokens=9, default_threshold=0.5)
    assert judge().terms(project) == Terms("a", "m", 7, 1, 9, 0.5)
    own = judge(judge_adapter="b", judge_model="n", k=1, temperature=0, max_tokens=8, threshold=0)
    assert own.terms(project) == Terms("b", "n", 1, 0, 8, 0)
    assert judge().terms(JudgeDefaults()) == Terms("openai", "gpt-4o-mini", 3, 0.0, 1024, 0.8)
