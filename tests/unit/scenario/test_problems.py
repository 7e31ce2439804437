"""Problems as text: what a person sees, what CI sees, and what neither may see."""

from __future__ import annotations

import pytest

from salvo_core.errors import UsageError
from salvo_core.scenario.problems import TITLES, Problem, ScenarioInvalid, ci, human, rendered
from salvo_core.scenario.secrecy import concealed, names_a_secret
from tests.unit.scenario.desk import MINIMAL, Desk

UNKNOWN = Problem(
    "E001",
    "error",
    "tools.0.nmae",
    "there is no such field",
    "s.yaml",
    12,
    5,
    "did you mean `name`?",
    "  - nmae: x",
    4,
)


def test_the_human_form_shows_the_line_with_carets_and_help() -> None:
    assert human(UNKNOWN) == (
        "error[E001]: unknown field\n"
        "   --> s.yaml:12:5\n"
        "    |\n"
        " 12 |   - nmae: x\n"
        "    |     ^^^^ tools.0.nmae: there is no such field\n"
        "    = help: did you mean `name`?"
    )


def test_the_human_form_of_a_problem_without_a_line_has_no_line() -> None:
    problem = Problem("E002", "error", "model", "is required, and missing", "s.yaml")
    assert human(problem) == (
        "error[E002]: required field missing\n  --> s.yaml\n   = model: is required, and missing"
    )


def test_the_ci_form_is_one_line_and_zero_where_unknown() -> None:
    assert ci(UNKNOWN) == "s.yaml:12:5 -- tools.0.nmae: there is no such field (did you mean `name`?)"
    assert ci(Problem("E002", "error", "model", "is missing", "s.yaml")) == "s.yaml:0:0 -- model: is missing"
    assert rendered([UNKNOWN, UNKNOWN], style="ci").count("\n\n") == 1


def test_a_long_line_is_shown_around_the_caret(desk: Desk) -> None:
    shown = human(desk.problem(f"model: gpt-4o\nextras: {{a: {'x' * 3000}, b: .nan}}\nprompt: hi\n"))
    line, carets = shown.splitlines()[3:5]
    assert len(line) < 160
    assert line[carets.index("^") :].startswith(".nan")


def test_control_characters_of_a_file_never_reach_the_terminal(desk: Desk) -> None:
    for problem in desk.problems('model: gpt-4o\nprompt: hi\n"\\e[31mred\\u202e": 1\n'):
        assert (human(problem) + ci(problem)).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "key",
    ["API_KEY", "apikey", "api-key", "ApiKey", "x-api-key", "OPENAI_API_KEY", "my_token", "myToken", "token",
     "TOKEN2", "Authorization", "client_secret", "secretKey", "access_token", "refreshtoken", "db.password",
     "ｔｏｋｅｎ"],
)  # fmt: skip
def test_names_of_secrets_are_recognised(key: str) -> None:
    assert names_a_secret(key)


@pytest.mark.parametrize(
    "key",
    ["max_completion_tokens", "tokens", "tokenizer", "stop_token_ids", "token_budget", "secretary", "key",
     "api", "passwordless", "monkey", "skip_special_tokens", "author", "top_p", "", "123"],
)  # fmt: skip
def test_names_that_only_look_like_it_are_not(key: str) -> None:
    assert not names_a_secret(key)


def test_a_shown_line_holds_no_secret() -> None:
    assert concealed("  api_key: sk-123, top_p: 1") == "  api_key: [concealed]"
    assert concealed("redis_url: redis://:pw@host/0") == "redis_url: redis://[concealed]@host/0"
    assert concealed("prompt: hello") == "prompt: hello"


def test_no_problem_of_a_file_shows_the_secret_in_it(desk: Desk) -> None:
    files = [
        MINIMAL + "extras: {nested: [{apiKey: hunter2}]}\n",
        MINIMAL + "api_key: hunter2\n",
        MINIMAL + "extras: {top_p: .nan, token: hunter2}\n",
        MINIMAL + "tags: {password: 5, token: [hunter2]}\n",
        "model: [hunter2]\nprompt: {token: hunter2}\n",
    ]
    for text in files:
        shown = rendered(desk.problems(text)) + rendered(desk.problems(text), style="ci")
        assert "hunter2" not in shown.replace("model: [hunter2]", "")


def test_the_error_says_how_much_is_wrong_and_what_first() -> None:
    error = ScenarioInvalid([UNKNOWN, UNKNOWN])
    assert isinstance(error, UsageError)
    assert str(error) == "2 problems in s.yaml; the first: tools.0.nmae: there is no such field"
    assert error.hint == "did you mean `name`?"


def test_every_code_has_a_title() -> None:
    assert all(len(code) == 4 and code[0] in "EW" for code in TITLES)
