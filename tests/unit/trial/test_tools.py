"""Mock tools: which answer a call gets, and how mistakes are told to the agent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.scenario.model import ToolDef
from salvo_core.trace.model import ToolCall, Turn, Usage
from salvo_core.trial.limits import Limits
from salvo_core.trial.tools import ARGUMENTS_DEPTH_MAX, MockTools, journalable
from tests.unit.trial.builders import StepClock


def tools(*definitions, clock=None):
    return MockTools(
        [ToolDef.model_validate({"description": "", **one}) for one in definitions], clock or StepClock()
    )


async def answers(mock, *arguments, name="t"):
    """What a tool answers to calls with these arguments, one after the other."""
    found = []
    for number, given_arguments in enumerate(arguments):
        found.append(await mock.answer(ToolCall(id=str(number), name=name, arguments=given_arguments)))
    return [(message.content, message.tool_error) for message in found]


async def test_text_is_answered_as_it_is_and_a_map_as_json():
    assert await answers(tools({"name": "t", "mock_response": "plain é"}), {}) == [("plain é", False)]
    assert await answers(tools({"name": "t", "mock_response": {"a": [1, "é"]}}), {}) == [
        ('{"a": [1, "\\u00e9"]}', False)
    ]


async def test_an_empty_text_is_an_answer():
    assert await answers(tools({"name": "t", "mock_response": ""}), {}) == [("", False)]


async def test_a_list_answers_call_by_call_and_its_last_answer_for_ever():
    mock = tools({"name": "t", "mock_response": ["one", {"n": 2}]})
    assert await answers(mock, {}, {}, {}, {}) == [
        ("one", False),
        ('{"n": 2}', False),
        ('{"n": 2}', False),
        ('{"n": 2}', False),
    ]


async def test_each_tool_counts_its_own_calls_and_each_trial_has_its_own_count():
    definitions = {"name": "a", "mock_response": ["1", "2"]}, {"name": "b", "mock_response": ["1", "2"]}
    mock = tools(*definitions)
    assert await answers(mock, {}, name="a") == [("1", False)]
    assert await answers(mock, {}, name="b") == [("1", False)]
    assert await answers(mock, {}, name="a") == [("2", False)]
    assert await answers(tools(*definitions), {}, name="a") == [("1", False)]


async def test_the_first_rule_that_fits_answers():
    mock = tools(
        {
            "name": "t",
            "mock_response": "otherwise",
            "mocks": [
                {"match": {"id": "A"}, "call": 2, "response": "A again"},
                {"match": {"id": "A"}, "response": {"found": "A"}},
                {"call": 4, "response": "the fourth"},
            ],
        }
    )
    assert await answers(mock, {"id": "A"}, {"id": "A"}, {"id": "B"}, {"id": "B"}, {"id": "B"}) == [
        ('{"found": "A"}', False),
        ("A again", False),
        ("otherwise", False),
        ("the fourth", False),
        ("otherwise", False),
    ]


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({"q": {"a": 1, "b": [1, 2]}}, True),
        ({"q": {"a": 1, "b": [1, 2], "more": True}, "else": 0}, True),  # maps match in part
        ({"q": {"a": 1, "b": [1, 2, 3]}}, False),  # lists as a whole
        ({"q": {"a": 1}}, False),
        ({"q": "a"}, False),
        ({}, False),
    ],
)
async def test_a_match_asks_for_some_arguments_and_lets_others_be(arguments, fits):
    mock = tools(
        {
            "name": "t",
            "mocks": [{"match": {"q": {"a": 1, "b": [1, 2]}}, "response": "yes"}],
            "mock_response": "no",
        }
    )
    assert await answers(mock, arguments) == [("yes" if fits else "no", False)]


async def test_true_is_not_the_number_one():
    for wanted, others in ((1, True), ([{"deep": 0}], [{"deep": False}]), (True, 1), (False, 0)):
        mock = tools(
            {"name": "t", "mocks": [{"match": {"n": wanted}, "response": "yes"}], "mock_response": "no"}
        )
        assert await answers(mock, {"n": others}, {"n": wanted}) == [("no", False), ("yes", False)]


async def test_one_is_the_number_one_point_nought():
    mock = tools({"name": "t", "mocks": [{"match": {"n": [1]}, "response": "yes"}], "mock_response": "no"})
    assert await answers(mock, {"n": [1.0]}, {"n": [1, 1]}, {"n": [2]}) == [
        ("yes", False),
        ("no", False),
        ("no", False),
    ]


async def test_an_injected_error_is_a_tool_error_with_its_text():
    mock = tools({"name": "t", "mocks": [{"call": 1, "error": 'database "down"'}], "mock_response": "up"})
    first, second = await answers(mock, {}, {})
    assert (json.loads(first[0]), first[1]) == ({"error": 'database "down"'}, True)
    assert second == ("up", False)


async def test_injected_latency_is_waited_out_and_recorded():
    clock = StepClock()
    mock = tools(
        {
            "name": "t",
            "mock_response": "slow",
            "mock_latency_s": 2.5,
            "mocks": [{"call": 2, "response": "quick"}, {"call": 3, "error": "late", "latency_s": 7.0}],
        },
        clock=clock,
    )
    said = [await mock.answer(ToolCall(id="1", name="t")) for _ in range(3)]
    assert [message.latency_s for message in said] == [2.5, None, 7.0]
    assert clock.slept == [2.5, 7.0]


async def test_a_replayed_call_counts_and_does_not_wait_again():
    clock = StepClock()
    mock = tools({"name": "t", "mock_response": ["one", "two"], "mock_latency_s": 5.0}, clock=clock)
    replayed = await mock.answer(ToolCall(id="1", name="t"), replayed=True)
    assert (replayed.content, replayed.latency_s, clock.slept) == ("one", 5.0, [])
    assert await answers(mock, {}) == [("two", False)]


async def test_a_tool_without_an_answer_says_that_the_scenario_gives_none():
    ((content, is_error),) = await answers(tools({"name": "t"}), {})
    assert is_error
    assert "the scenario gives it no answer" in json.loads(content)["error"]


async def test_a_call_that_is_the_agents_mistake_is_not_counted():
    mock = tools({"name": "t", "mock_response": ["one", "two"]})
    await mock.answer(ToolCall(id="1", name="t", malformed="["))
    assert await answers(mock, {}) == [("one", False)]


async def test_the_names_of_the_tools_are_told_to_an_agent_that_invents_one():
    ((content, is_error),) = await answers(tools({"name": "a"}, {"name": "b"}), {}, name="x\n\x1b[31m")
    assert is_error
    assert "the tools are: a, b" in json.loads(content)["error"]


def test_what_the_model_is_told_is_the_scenarios_words_and_not_its_mocks():
    definition = {
        "name": "t",
        "description": "Looks.",
        "parameters": {"properties": {"q": {"type": "string", "enum": None}}, "required": ["q"]},
        "mock_response": "secret answer",
    }
    (spec,) = tools(definition).specs()
    assert (spec.name, spec.description) == ("t", "Looks.")
    assert spec.parameters["required"] == ["q"]
    assert "secret answer" not in str(spec)
    assert tools().specs() is None


def nested(depth, *, as_list=False):
    value = "bottom"
    for _ in range(depth):
        value = [value] if as_list else {"d": value}
    return value


@given(st.integers(1, 300), st.booleans())
def test_arguments_that_nest_beyond_the_bound_become_text_and_every_call_can_be_journaled(depth, as_list):
    arguments = {"n": nested(depth - 1, as_list=as_list)} if depth > 1 else {"n": 1}
    call = ToolCall(id="1", name="t", arguments=arguments)
    kept = journalable(call)
    if depth <= ARGUMENTS_DEPTH_MAX:
        assert kept is call
    else:
        assert (kept.id, kept.name, kept.arguments, json.loads(kept.malformed)) == ("1", "t", {}, arguments)
    turn = Turn(index=0, tool_calls=(kept,))
    assert Turn.model_validate_json(turn.model_dump_json()) == turn


@given(
    st.integers(0, 100), st.integers(1, 100), st.none() | st.floats(0, 10), st.none() | st.floats(0.01, 10)
)
def test_a_spending_limit_is_reached_exactly_when_it_is_used_up(used, most, cost_usd, cost_usd_max):
    usage = Usage(input_tokens=used // 2, output_tokens=used - used // 2)
    found = Limits(1, tokens_max=most, cost_usd_max=cost_usd_max).reached(usage, cost_usd)
    if used >= most:
        assert found == "max_tokens"
    elif cost_usd is not None and cost_usd_max is not None and cost_usd >= cost_usd_max:
        assert found == "max_cost"
    else:
        assert found is None
    assert Limits(1).reached(usage, cost_usd) is None
