"""Votes that were given on the whole of a conversation of which the record has only a part.

What a judge would be asked about such a record is another question than the one it answered, because
something in it is struck out. Its votes then are worth more than new ones on a text with holes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.panel import Key, judges_in
from salvo_core.evaluation.judge.prompt import Brief, question
from salvo_core.trace.model import Judgement, Trace, Vote


def recalled(
    trace: Trace,
    asked: Sequence[AssertionSpec],
    recorded: Sequence[AssertionSpec | None],
    brief: Brief,
    past: Mapping[Key, Vote],
    *,
    defaults: JudgeDefaults,
    same_task: bool,
) -> dict[Key, Vote]:
    """Return the votes of a recording under the questions that its judges would be asked now.

    Only judges that ask the same are told apart from all others: how many votes they want, from which
    score a vote is in favour, and how much they count may differ.

    Args:
        trace: The record, with something struck out.
        asked: The assertions that are checked again.
        recorded: Those of the recording, by place; None where one is not known any more.
        brief: What judges would be told of the task now.
        past: The recording's votes that may be used again, under the questions of then.
        defaults: How judges are asked where an assertion does not say.
        same_task: Whether the agent was told then what the scenario in force tells it.
    """
    then = [
        (place, judge)
        for place, one in enumerate(recorded)
        if one is not None
        for _, judge in judges_in([one])
    ]
    found: dict[Key, Vote] = {}
    for _, judge in judges_in(asked):
        if not same_task and (judge.include_system_prompt or judge.include_user_prompt):
            continue
        answered = list(_answers(judge, then, trace.judgements, defaults))
        if len(answered) != 1:  # nobody could say which
            continue
        now = question(judge, judge.terms(defaults), trace, brief).request
        for vote in answered[0].votes:
            if (answered[0].request, vote.number) in past:
                found[now, vote.number] = vote
    return found


def _answers(
    judge: Judge, then: Sequence[tuple[int, Judge]], judgements: Sequence[Judgement], defaults: JudgeDefaults
) -> Iterator[Judgement]:
    terms = judge.terms(defaults)
    manner = (terms.adapter, terms.model, terms.temperature, terms.max_tokens)
    places = {place for place, before in then if _words(before) == _words(judge)}
    for one in judgements:
        if (
            not places.isdisjoint(one.assertions)
            and (one.adapter, one.model, one.temperature, one.max_tokens) == manner
            and one.weights == judge.weights
        ):
            yield one


def _words(judge: Judge) -> tuple[object, ...]:
    """Return what a judge is told besides the conversation and the task."""
    prompt = (judge.custom_prompt or "").strip() and judge.custom_prompt
    shown = (judge.include_system_prompt, judge.include_user_prompt, judge.include_tool_results)
    return (judge.criteria, prompt, shown)
