"""Loading: test cases T01 to T16 of the format, warnings, folders, defaults of the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salvo_core.adapters.profile import Profile
from salvo_core.scenario.loading import load_scenario
from salvo_core.scenario.problems import Problem, ScenarioInvalid
from salvo_core.scenario.project import Project
from tests.unit.scenario.desk import MINIMAL, Desk


def canonical(desk: Desk, assertion: str) -> dict[str, Any]:
    (found,) = desk.load(f"{MINIMAL}assertions:\n  - {assertion}\n").scenario.assertions
    return found.model_dump()


def test_t01_model_and_prompt_are_enough(desk: Desk) -> None:
    loaded = desk.load("model: gpt-4\nprompt: hello\n")
    assert (loaded.scenario.model, loaded.scenario.prompt, loaded.file, loaded.problems) == (
        "gpt-4",
        "hello",
        "s.yaml",
        (),
    )
    assert loaded.scenario.name == "hello"


def test_t02_unknown_and_missing_fields_come_together_in_file_order(desk: Desk) -> None:
    assert desk.lines("modle: gpt-4\npromt: hi\n") == [
        "s.yaml:0:0 -- model: is required, and missing",
        "s.yaml:0:0 -- prompt: is required, and missing",
        "s.yaml:1:1 -- modle: there is no such field (did you mean `model`?)",
        "s.yaml:2:1 -- promt: there is no such field (did you mean `prompt`?)",
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("threshold: high", "E004"),
        ("threshold: 1.5", "E003"),
        ("threshold: -0.1", "E003"),
        ("seed: 1.5", "E999"),
        ("max_turns: 0", "E003"),
        ("max_turns: 101", "E003"),
        ("model: 5", "E004"),
        ("tags: {a: 1}", "E004"),
        ("tags: {a: true}", "E004"),
        ("tags: [a]", "E999"),
        ("tools: {}", "E999"),
        ("timeout_s: 0", "E003"),
        ("max_tokens: 0", "E003"),
        ("max_cost_usd: -1", "E003"),
        ("unknown_tool: ignore", "E005"),
        ("model: ''", "E003"),
        ("prompt: ' '", "E003"),
        ("adapter: ''", "E003"),
    ],
)
def test_t03_t04_a_wrong_value_is_located_at_its_key_with_its_code(desk: Desk, line: str, code: str) -> None:
    rest = "".join(f"{key}: x\n" for key in ("model", "prompt") if not line.startswith(key))
    problem = desk.problem(f"{rest}{line}\n")
    assert (problem.code, problem.line) == (code, rest.count("\n") + 1)
    assert problem.field == line.partition(":")[0] + (".a" if "{a" in line else "")
    assert line[problem.col - 1 :].startswith(problem.field.rpartition(".")[2])
    assert "Input should" not in problem.message


def test_t03_a_mode_in_capitals_is_refused_with_the_right_one(desk: Desk) -> None:
    problem = desk.problem(MINIMAL + "assertions:\n  - {type: tool_sequence, mode: EXACT, sequence: [a]}\n")
    assert (problem.code, problem.field, problem.hint) == (
        "E005",
        "assertions.0.mode",
        "did you mean `exact`?",
    )


def test_t04_turns_are_1_to_100_and_10_by_default(desk: Desk) -> None:
    assert [desk.load(f"{MINIMAL}max_turns: {n}\n").scenario.max_turns for n in (1, 100)] == [1, 100]
    assert desk.load(MINIMAL).scenario.max_turns == 10


def test_values_are_coerced_where_nothing_is_lost(desk: Desk) -> None:
    scenario = desk.load(
        MINIMAL + 'threshold: "0.5"\nmax_turns: 5.0\nseed: "42"\n'
        "assertions: [{contains: a, weight: true, required: 'yes'}]\n"
    ).scenario
    assert (scenario.threshold, scenario.max_turns, scenario.seed) == (0.5, 5, 42)
    assert (scenario.assertions[0].weight, scenario.assertions[0].required) == (1.0, True)


def test_t05_a_missing_field_of_a_tool_is_shown_at_tools_and_says_where_the_tool_begins(desk: Desk) -> None:
    problem = desk.problem(MINIMAL + "tools:\n  - description: x\n    mock_response: ''\n")
    assert (problem.code, problem.field, problem.line) == ("E002", "tools.0.name", 3)
    assert problem.hint == "tools.0 begins at s.yaml:4"


def test_t06_a_misspelt_field_of_a_tool_suggests_a_field_of_a_tool(desk: Desk) -> None:
    missing, misspelt = desk.problems(
        MINIMAL + "tools:\n  - nmae: x\n    description: d\n    mock_response: a\n"
    )
    assert (missing.code, missing.field) == ("E002", "tools.0.name")
    assert (misspelt.code, misspelt.field, misspelt.line, misspelt.col) == ("E001", "tools.0.nmae", 4, 5)
    assert misspelt.hint == "did you mean `name`?"


def test_t07_short_forms_mean_a_jmespath_assertion(desk: Desk) -> None:
    found = canonical(desk, "{path: response.content, contains: hi, weight: 2}")
    assert [found[key] for key in ("type", "expression", "operator", "value", "weight")] == [
        "jmespath", "response.content", "contains", "hi", 2.0,
    ]  # fmt: skip
    assert canonical(desk, "{contains: hi}")["expression"] == "response.content"
    assert canonical(desk, "{type: cost_limit, max_usd: .05}")["max_usd"] == 0.05


def test_t08_every_assertion_without_a_meaning_is_listed_with_the_other_problems(desk: Desk) -> None:
    assertions = "  - {contains: a, eq: b}\n  - {contains: fine}\n  - {contian: a}\n"
    lines = desk.lines(f"{MINIMAL}assertions:\n{assertions}threshold: 7\n")
    assert [line.partition(": ")[0] for line in lines] == [
        "s.yaml:4:5 -- assertions.0",
        "s.yaml:6:5 -- assertions.2",
        "s.yaml:7:1 -- threshold",
    ]
    assert "`contains` in place of `contian`" in desk.problem(MINIMAL + "assertions: [{contian: a}]\n").hint


def test_problems_after_a_meaningless_assertion_keep_their_own_place(desk: Desk) -> None:
    _, problem = desk.problems(MINIMAL + "assertions:\n  - {}\n  - {type: cost_limit, max_usd: much}\n")
    assert (problem.field, problem.line) == ("assertions.1.max_usd", 5)


def test_t09_an_unknown_assertion_type_is_refused_with_a_suggestion(desk: Desk) -> None:
    problem = desk.problem(MINIMAL + "assertions: [{type: tool_calld}]\n")
    assert (problem.code, problem.field, problem.hint) == (
        "E005",
        "assertions.0.type",
        "did you mean `tool_called`?",
    )


def test_t10_a_missing_parameter_of_an_assertion_is_located(desk: Desk) -> None:
    problem = desk.problem(MINIMAL + "assertions:\n  - contains: a\n  - type: tool_called\n")
    assert (problem.code, problem.field, problem.line) == ("E002", "assertions.1.tool", 3)
    assert problem.hint == "assertions.1 begins at s.yaml:5"


@pytest.mark.parametrize("start", ["type: tool_called, tool: x", "contains: x"])
def test_t11_a_misspelt_key_of_an_assertion_is_refused(desk: Desk, start: str) -> None:
    problem = desk.problem(f"{MINIMAL}assertions:\n  - {{{start}, wieght: 3}}\n")
    assert (problem.code, problem.field, problem.hint) == (
        "E001",
        "assertions.0.wieght",
        "did you mean `weight`?",
    )


def test_problems_of_a_short_form_are_located_at_the_keys_that_were_written(desk: Desk) -> None:
    assert desk.problem(MINIMAL + "assertions: [{path: 5, contains: x}]\n").field == "assertions.0.path"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "- model: x\n", "just text\n", "5\n"])
def test_t12_a_file_that_is_no_map_is_e007_and_says_what_it_is(desk: Desk, text: str) -> None:
    problem = desk.problem(text)
    assert (problem.code, problem.field) == ("E007", "<yaml>")
    assert any(word in problem.message for word in ("empty", "a list", "the text", "the number"))


@pytest.mark.parametrize(
    "text", ["tools: [", "a: b: c", "model: x\n\tprompt: y", "a: 1\n---\nb: 2", "a: *b", "'open", "- a\nb: c"]
)
def test_t13_a_syntax_error_is_e006_with_its_line_and_advice(desk: Desk, text: str) -> None:
    problem = desk.problem(text)
    assert (problem.code, problem.field) == ("E006", "<yaml>")
    assert problem.line >= 1
    assert problem.hint


@pytest.mark.parametrize("text", ["a: 1\nb: [x,\n  y\n\n", "a: 1\nb: 'x\n\n\n", "a: 1\nb: {x: 1\n"])
def test_t13_what_is_never_closed_is_shown_where_it_was_opened(desk: Desk, text: str) -> None:
    problem = desk.problem(text)
    assert (problem.line, problem.col) == (2, 4)
    assert problem.source


def test_t14_tools_come_from_included_files(desk: Desk) -> None:
    desk.write("scenarios/tools/search.yaml", "name: search\ndescription: d\nmock_response: ''\n")
    desk.write("scenarios/tools/all.yaml", "- !include search.yaml\n")
    loaded = desk.load(MINIMAL + "tools:\n  - !include tools/search.yaml\n", "scenarios/s.yaml")
    assert [tool.name for tool in loaded.scenario.tools] == ["search"]
    nested = desk.load(MINIMAL + "tools: !include tools/all.yaml\n", "scenarios/t.yaml")
    assert nested.scenario.tools == loaded.scenario.tools
    assert nested.digest == loaded.digest
    assert desk.problem(MINIMAL + "tools:\n  - !include none.yaml\n").code == "E008"


def test_what_reading_found_and_what_the_schema_found_come_together_and_only_once(desk: Desk) -> None:
    lines = desk.lines(
        MINIMAL + "threshold: 2026-01-01\nextras: {when: 2026-01-01}\nmax_turns: 0\nprompt: again\n"
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "s.yaml:3:12 -- threshold",
        "s.yaml:4:16 -- extras.when",
        "s.yaml:5:1 -- max_turns",
        "s.yaml:6:1 -- prompt",
    ]


@pytest.mark.parametrize(
    ("extras", "field"),
    [
        ("{API_KEY: x}", "extras.API_KEY"),
        ("{apikey: x}", "extras.apikey"),
        ("{a: [{my_token: x}]}", "extras.a.0.my_token"),
        ("{model: x}", "extras.model"),
        ("{Stream: true}", "extras.Stream"),
        ("{messages: []}", "extras.messages"),
        ("{" + ", ".join(f"k{n}: 1" for n in range(11)) + "}", "extras"),
        ("{v: " + "x" * 4088 + "}", "extras"),
    ],
)
def test_t16_extras_are_guarded_when_loading(desk: Desk, extras: str, field: str) -> None:
    problem = desk.problem(f"{MINIMAL}extras: {extras}\n")
    assert (problem.code, problem.field, problem.line) == ("E003", field, 3)


def test_t16_extras_within_the_limits_are_kept(desk: Desk) -> None:
    for extras in (
        "{" + ", ".join(f"k{n}: 1" for n in range(10)) + "}",
        "{v: " + "x" * 4087 + "}",
        "{max_tokens: 5}",
    ):
        assert desk.load(f"{MINIMAL}extras: {extras}\n").scenario.extras


def test_every_bad_tool_name_and_every_duplicate_is_located(desk: Desk) -> None:
    tools = "".join(
        f"  - {{name: {name}, description: d, mock_response: ''}}\n" for name in ("a", "b", "a", "b")
    )
    assert [problem.field for problem in desk.problems(f"{MINIMAL}tools:\n{tools}")] == [
        "tools.2.name",
        "tools.3.name",
    ]
    assert "letters, digits" in desk.problem(MINIMAL + "tools: [{name: a b, description: d}]\n").message


@pytest.mark.parametrize(
    ("mock", "field"),
    [
        ("mock_response: 5", "mock_response"),
        ("mock_response: true", "mock_response"),
        ("mock_response: []", "mock_response"),
        ("mock_response: [a, 5, b, null]", "mock_response.1"),
        ("mocks: [{match: {a: 1}}]", "mocks.0"),
        ("mocks: [{response: a, error: b}]", "mocks.0"),
        ("mocks: [{response: 5}]", "mocks.0.response"),
        ("mocks: [{call: 0, response: a}]", "mocks.0.call"),
        ("mocks: [{response: a, latency_s: 601}]", "mocks.0.latency_s"),
        ("mock_latency_s: -1", "mock_latency_s"),
        ("parameters: {type: array}", "parameters.type"),
        ("parameters: {additionalProperties: false}", "parameters.additionalProperties"),
    ],
)
def test_bad_mocks_and_parameters_are_located(desk: Desk, mock: str, field: str) -> None:
    problem = desk.problems(f"{MINIMAL}tools:\n  - name: a\n    description: d\n    {mock}\n")[0]
    assert (problem.field, problem.line) == (f"tools.0.{field}", 6)


@pytest.mark.parametrize("mock", ["''", "text", "{a: [1]}", "[a, {b: 1}, [1, 2]]"])
def test_mocks_are_text_maps_or_lists_of_answers(desk: Desk, mock: str) -> None:
    loaded = desk.load(f"{MINIMAL}tools: [{{name: a, description: d, mock_response: {mock}}}]\n")
    assert loaded.scenario.tools[0].has_mock
    assert not loaded.problems


def test_the_adapter_scripted_needs_a_script(desk: Desk) -> None:
    problem = desk.problem(MINIMAL + "adapter: scripted\n")
    assert (problem.code, problem.field) == ("E002", "script")
    desk.write("played.yaml", "turns: [{text: hi}]\n")
    loaded = desk.load(MINIMAL + "adapter: scripted\nscript: !include played.yaml\n")
    assert loaded.scenario.script is not None


def test_problems_of_a_script_are_located_and_suggest_its_own_fields(desk: Desk) -> None:
    found = desk.problems(MINIMAL + "script:\n  turns:\n    - {txt: hi}\n  latency_s: {fixd: 1}\n")
    assert [(problem.field, problem.hint) for problem in found] == [
        ("script.turns.0.txt", "did you mean `text`?"), ("script.latency_s.fixd", "did you mean `fixed`?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("tools: [{name: a, description: d}]", "W001", "tools.0.name"),
        ("assertions: [{path: 'a[', eq: 1}]", "W002", "assertions.0"),
        ("assertions: [{regex: '['}]", "W002", "assertions.0"),
        ("assertions: [{type: tool_called, tool: serch}]", "W003", "assertions.0.tool"),
        ("assertions: [{type: tool_sequence, sequence: [b]}]", "W003", "assertions.0.sequence.0"),
        ("assertions: [{contains: a, weight: 0}]", "W004", "assertions"),
        ("script: {turns: [{text: a}]}", "W006", "script"),
        ("max_turns: 1:0", "W008", "max_turns"),
        ("adapter: opnai", "W009", "adapter"),
        (
            "assertions: [{type: judge, judge_adapter: opnai, criteria: [{name: a, description: b}]}]",
            "W009",
            "assertions.0.judge_adapter",
        ),
        (
            "assertions: [{not: {type: judge, judge_adapter: x, criteria: [{name: a, description: b}]}}]",
            "W009",
            "assertions.0.not.judge_adapter",
        ),
    ],
)
def test_what_is_probably_a_mistake_is_a_located_warning(
    desk: Desk, text: str, code: str, field: str
) -> None:
    (problem,) = desk.load(f"{MINIMAL}{text}\n").problems
    assert (problem.code, problem.severity, problem.field, problem.line) == (code, "warning", field, 3)


def test_t48_an_adapter_that_the_project_does_not_know_is_warned_of_with_the_nearest(desk: Desk) -> None:
    (problem,) = desk.load(f"{MINIMAL}adapter: opnai\n").problems
    assert problem.hint == "did you mean `openai`?"
    for known in ("anthropic", "http", "my_pkg.agents.Agent"):
        assert desk.load(f"{MINIMAL}adapter: {known}\n").problems == ()
    desk.project = desk.project.model_copy(update={"providers": {"local": Profile(adapter="openai")}})
    assert desk.load(f"{MINIMAL}adapter: local\n").problems == ()


@pytest.mark.parametrize(
    ("text", "field", "message", "hint"),
    [
        ("k: 22", "k", "must be at most 21, not the number 22", ""),
        ("critera: []", "critera", "there is no such field", "did you mean `criteria`?"),
        (
            "judge_adapter: scripted",
            "judge_adapter",
            "the adapter scripted cannot judge: it plays the agent's script, and a judge has none",
            "`salvo simulate` plays a judge too: ask it through openai or anthropic",
        ),
    ],
)
def test_t54_what_a_judge_cannot_be_told_is_a_located_problem(
    desk: Desk, text: str, field: str, message: str, hint: str
) -> None:
    judge = f"assertions:\n  - type: judge\n    criteria: [{{name: a, description: b}}]\n    {text}\n"
    (problem,) = desk.problems(f"{MINIMAL}{judge}")
    assert (problem.field, problem.line) == (f"assertions.0.{field}", 6)
    assert (problem.message, problem.hint) == (message, hint)


@pytest.mark.parametrize(
    ("criteria", "field", "line", "code"),
    [
        ("criteria: []", "criteria", 5, "E003"),
        ("k: 3", "criteria", 3, "E002"),
        ("criteria: [{name: a, description: b}, {name: a, description: c}]", "criteria.1.name", 5, "E003"),
        ("criteria: [{name: a}]", "criteria.0.description", 5, "E002"),
        ("criteria: [{name: a, description: b, wieght: 2}]", "criteria.0.wieght", 5, "E001"),
        ("criteria: [{name: a, description: b, weight: 0}]", "criteria", 5, "E003"),
    ],
)
def test_t54_criteria_that_are_none_are_located_problems(
    desk: Desk, criteria: str, field: str, line: int, code: str
) -> None:
    (problem,) = desk.problems(f"{MINIMAL}assertions:\n  - type: judge\n    {criteria}\n")
    assert (problem.code, problem.field, problem.line) == (code, f"assertions.0.{field}", line)


def test_defaults_of_the_project_fill_in_what_a_scenario_leaves_out(desk: Desk) -> None:
    path = desk.write("s.yaml", "prompt: hi\n")
    project = Project(root=desk.root, default_model="m", default_adapter="anthropic")
    found = load_scenario(path, project=project).scenario
    assert (found.model, found.adapter) == ("m", "anthropic")
    assert load_scenario(path, project=project, default_model="flag").scenario.model == "flag"
    own = desk.write("own.yaml", "model: o\nadapter: openai\nprompt: hi\n")
    assert load_scenario(own, project=project).scenario.model == "o"
    assert desk.problem("prompt: hi\n").field == "model"


def test_a_scenario_outside_the_project_may_include_from_its_own_folder_only(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "elsewhere")
    desk.write("part.yaml", "hi\n")
    path = desk.root / desk.write("s.yaml", "model: m\nprompt: !include part.yaml\n")
    project = Project(root=tmp_path / "project")
    assert load_scenario(path, project=project).scenario.prompt == "hi"
    (tmp_path / "above.yaml").write_text("hi\n")
    desk.write("s.yaml", "model: m\nprompt: !include ../above.yaml\n")
    with pytest.raises(ScenarioInvalid, match="leads out"):
        load_scenario(path, project=project)


def test_no_message_repeats_a_huge_value(desk: Desk) -> None:
    problems = desk.problems(
        f"model: m\nprompt: m\nthreshold: {'x' * 5000}\nmax_turns: [{'y' * 5000}]\n{'z' * 900}: 1\n"
    )
    assert all(len(problem.message) <= 120 for problem in problems)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        "model",
        "prompt",
        "tools",
        "assertions",
        "extras",
        "tags",
        "script",
        "threshold",
        "adapter",
        "seed",
        "other",
    ]
)
_TOOL = st.dictionaries(
    st.sampled_from(["name", "description", "mocks", "mock_response", "parameters", "x"]), _JSON
)
_ASSERTION = st.dictionaries(
    st.sampled_from(
        ["type", "path", "contains", "eq", "weight", "tool", "sequence", "mode", "operator", "value"]
    ),
    _JSON | st.sampled_from(["jmespath", "tool_called", "tool_sequence", "cost_limit", "contains"]),
)


@given(st.dictionaries(_KEYS, _JSON | st.lists(_TOOL | _ASSERTION, max_size=3), max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mapping_loads_or_is_refused_with_located_problems(
    tmp_path: Path, mapping: dict[str, Any]
) -> None:
    import json

    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(mapping))
    problems: tuple[Problem, ...] = ()
    try:
        load_scenario(path, project=Project(root=tmp_path))
    except ScenarioInvalid as error:
        problems = error.problems
    assert all(problem.file == os.fspath(path) and len(problem.message) <= 500 for problem in problems)
