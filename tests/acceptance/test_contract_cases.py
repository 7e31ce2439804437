"""Cases of the predecessor's contract, by number, as its users meet them: a command and its outcome.

Cases about one room are that room's unit tests, with the same numbers; ``python -m
tests.contract_table`` lists where each is. One Valkey and one worker serve all the runs here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.typing_person import Outcome, Person, until
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

USAGE = {"input_tokens": 100, "output_tokens": 50}
GOOD, BAD = {"text": "good", "usage": USAGE}, {"text": "bad", "usage": USAGE}
REFUSED = {"error": {"kind": "authentication"}}
YES, NO = {"contains": "good"}, {"contains": "nonesuch"}


class Contract(Person):
    """A person with a fleet, who writes a scenario and runs it."""

    def wrote(self, name: str, turns: list[dict[str, Any]], **fields: Any) -> str:
        """Write a scenario for the scripted adapter, priced as gpt-4o; return its file."""
        said = {"adapter": "scripted", "model": "gpt-4o", "prompt": f"{name}.", "assertions": [YES], **fields}
        script = {"turns": turns, **said.pop("script", {})}
        if said["adapter"] == "scripted":
            said["script"] = script
        file = f"{name}.yaml"
        (self.folder / file).write_text(json.dumps(said), "utf-8")
        return file

    def ran(self, name: str, turns: list[dict[str, Any]], *options: str, **fields: Any) -> Outcome:
        """Run such a scenario once, or as the options say; the outcome's document is the run's."""
        return self.types("run", self.wrote(name, turns, **fields), "-n", "1", "--json", "-q", *options)

    def examined(self) -> set[tuple[str, str]]:
        """Return what ``salvo doctor`` finds: (subject, level)."""
        findings = self.types("doctor", "--json").document["findings"]
        return {(one["subject"], one["level"]) for one in findings}

    def trials(self, ran: Outcome) -> list[dict[str, Any]]:
        """Return the trials of a run, as ``salvo trials`` lists them."""
        listed = self.types("trials", ran.document["run_id"], "--json").document["trials"]
        return list(listed)

    def traces(self, ran: Outcome) -> list[dict[str, Any]]:
        """Return the traces of a run, as ``salvo trace`` shows them, by trial."""
        return [self.types("trace", one["trace_id"], "--json").document["trace"] for one in self.trials(ran)]


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    """Somebody in a project of their own, for the whole module: every case has its own file and run."""
    folder: Path = tmp_path_factory.mktemp("contract")
    with RedisServer().start() as server:
        someone = Contract(folder, SALVO_REDIS_URL=server.url, SALVO_STORE_URL=f"file://{folder}/objects")
        worker = someone.start("worker", "-c", "20")
        until(lambda: ("workers", "ok") in someone.examined(), "the worker is there")
        yield someone
        worker.terminate()
        assert someone.ended(worker).code == 0
        until(lambda: not someone.processes(), "processes left behind")


def cell(ran: Outcome) -> dict[str, Any]:
    """Return the run's only cell."""
    (found,) = ran.document["summary"]["cells"]
    return dict(found)


# -- validation ------------------------------------------------------------------------------------


def test_t01_a_scenario_of_model_and_prompt_is_valid(person: Contract) -> None:
    (person.folder / "t01.yaml").write_text("model: gpt-4\nprompt: hello\n")
    said = person.types("validate", "t01.yaml")
    assert said.code == 0
    assert "1 scenario valid" in said.out


def test_t02_for_ci_every_problem_is_a_line_on_stdout(person: Contract) -> None:
    (person.folder / "t02.yaml").write_text("modle: gpt-4\npromt: hi\n")
    said = person.types("validate", "t02.yaml", "--ci")
    assert said.code == 64
    assert [line.partition(": ")[0] for line in said.out.splitlines() if " -- " in line] == [
        "t02.yaml:0:0 -- model",
        "t02.yaml:0:0 -- prompt",
        "t02.yaml:1:1 -- modle",
        "t02.yaml:2:1 -- promt",
    ]
    assert "did you mean `model`?" in said.out
    assert "did you mean `prompt`?" in said.out


@pytest.mark.parametrize(
    ("number", "assertion", "said"),
    [
        ("t08", {"contains": "a", "eq": "b"}, "contains"),
        ("t09", {"type": "tool_calld", "tool": "x"}, "did you mean `tool_called`?"),
        ("t10", {"type": "tool_called"}, "tool"),
        ("t11", {"type": "tool_called", "tool": "x", "wieght": 3}, "did you mean `weight`?"),
    ],
)
def test_t08_t09_t10_t11_a_wrong_assertion_stops_validate_and_run_alike(
    person: Contract, number: str, assertion: dict[str, Any], said: str
) -> None:
    file = person.wrote(number, [GOOD], assertions=[assertion])
    for command in ("validate", "run"):
        refused = person.types(command, file)
        assert (refused.code, refused.out) == (64, "")
        assert "assertions.0" in refused.err or said in refused.err
        assert said in refused.err


def test_t15_validate_without_paths_looks_into_the_scenarios_folder(tmp_path: Path) -> None:
    someone = Person(tmp_path)
    assert someone.types("validate").code == 64
    for name in ("b.yml", "n/a.yaml"):
        file = tmp_path / "scenarios" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"description: {name}\nmodel: m\nprompt: hi\n")
    found = someone.types("validate")
    assert found.code == 0
    assert "2 scenarios valid" in found.out
    missing = someone.types("validate", "scenarios/b.yml", "none.yaml")
    assert missing.code == 64
    assert "none.yaml" in missing.err


def test_t16_blocked_extras_are_told_before_anything_is_asked(person: Contract) -> None:
    file = person.wrote("t16", [GOOD], extras={"API_KEY": "x"})
    for command in ("validate", "run"):
        assert "extras.API_KEY" in person.types(command, file, "--json").out


# -- one trial -------------------------------------------------------------------------------------


def test_t17_an_answer_without_assertions_passes(person: Contract) -> None:
    ran = person.ran("t17", [GOOD], assertions=[])
    assert (ran.code, cell(ran)["verdict"], cell(ran)["score"]["mean"]) == (0, "PASS", 1.0)
    (trace,) = person.traces(ran)
    assert (len(trace["turns"]), trace["score"], trace["finish_reason"]) == (1, 1.0, "stop")


def test_t18_two_calls_are_answered_in_order_and_everything_is_added_up(person: Contract) -> None:
    both = {"tool_calls": [{"name": "a"}, {"name": "c"}], "usage": USAGE}
    tools = [
        {"name": "a", "description": "d", "mock_response": {"name": "é"}},
        {"name": "c", "description": "d", "mock_response": ""},
    ]
    asked = [
        {"path": "length(tool_calls)", "eq": 2},
        {"path": "metadata.input_tokens", "eq": 200},
        {"path": "metadata.output_tokens", "eq": 100},
        {"path": "metadata.total_tokens", "eq": 300},
    ]
    ran = person.ran("t18", [both, GOOD], tools=tools, assertions=asked, threshold=1)
    assert ran.code == 0
    (trace,) = person.traces(ran)
    results = [message["content"] for message in trace["messages"] if message["role"] == "tool_result"]
    assert results == ['{"name": "\\u00e9"}', ""]


def test_t19_a_trial_that_reaches_max_turns_is_graded_on_what_there_is(person: Contract) -> None:
    calling = {"tool_calls": [{"name": "a"}], "usage": USAGE}
    tools = [{"name": "a", "description": "d", "mock_response": "more"}]
    ran = person.ran("t19", [calling] * 9, tools=tools, max_turns=2, assertions=[])
    assert (ran.code, cell(ran)["outcomes"]) == (0, {"max_turns": 1})
    (trace,) = person.traces(ran)
    assert (len(trace["turns"]), trace["messages"][-1]["role"]) == (2, "tool_result")


def test_t20_a_call_that_nothing_answers_is_told_to_the_agent_and_kept(person: Contract) -> None:
    ran = person.ran("t20", [{"tool_calls": [{"name": "invented"}], "usage": USAGE}, GOOD])
    assert (ran.code, cell(ran)["retries"]) == (0, 0)
    (trace,) = person.traces(ran)
    assert [message["role"] for message in trace["messages"]] == [
        "user", "assistant", "tool_result", "assistant",
    ]  # fmt: skip
    assert trace["messages"][2]["tool_error"] is True


def test_t22_an_unknown_price_fails_a_cost_limit_and_says_so(person: Contract) -> None:
    ran = person.ran("t22", [GOOD], model="nobody-knows", assertions=[{"type": "cost_limit", "max_usd": 5}])
    assert (ran.code, cell(ran)["cost"]["total_usd"]) == (1, None)
    assert "unknown" in person.traces(ran)[0]["findings"][0]["details"]


def test_t36_a_query_that_goes_wrong_fails_its_assertion_and_the_trace_is_kept(person: Contract) -> None:
    wrong = [
        {"type": "jmespath", "expression": expression, "operator": "exists"}
        for expression in ("length(metadata.turn_count)", "frobnicate(@)", "")
    ]
    ran = person.ran("t36", [GOOD], assertions=wrong)
    assert (ran.code, cell(ran)["verdict"], cell(ran)["counts"]["infra_error"]) == (1, "FAIL", 0)
    (trace,) = person.traces(ran)
    assert trace["messages"][-1]["content"] == "good"
    assert [finding["passed"] for finding in trace["findings"]] == [False, False, False]
    assert all("cannot be checked" in finding["details"] for finding in trace["findings"])


# -- several trials --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "assertions", "threshold", "verdict", "code"),
    [
        ("t24", [YES | {"weight": 4}, NO], 0.8, "PASS", 0),
        ("t25", [YES | {"weight": 0.7}, YES | {"weight": 0.1}, NO | {"weight": 0.2}], 0.8, "PASS", 0),
        ("t26", [YES | {"weight": 7}, NO | {"weight": 3}], 0.7, "PASS", 0),
        ("t28", [YES | {"weight": 9}, NO | {"required": True}], 0.8, "HARD FAIL", 2),
        ("t29", [YES | {"weight": 0}], 0.8, "FAIL", 1),
        ("t29-at-0", [YES | {"weight": 0}], 0, "FAIL", 1),
        ("t35", [{"path": "tool_calls[", "eq": 1}], 0.8, "FAIL", 1),
    ],
)
def test_t24_t25_t26_t28_t29_t35_three_trials_come_to_their_verdict_and_exit_code(
    person: Contract, number: str, assertions: list[Any], threshold: float, verdict: str, code: int
) -> None:
    ran = person.ran(number, [GOOD], "-n", "3", assertions=assertions, threshold=threshold)
    assert (ran.code, cell(ran)["verdict"], ran.document["exit_code"]) == (code, verdict, code)
    assert cell(ran)["score"]["p95"] <= 1


def test_t27_the_average_decides_and_not_the_share_that_passed(person: Contract) -> None:
    script = {"trials": [[GOOD], [GOOD], [{"text": "go", "usage": USAGE}]]}
    ran = person.ran("t27", [GOOD], "-n", "3", script=script, assertions=[{"contains": "go"}, YES])
    assert (ran.code, cell(ran)["verdict"]) == (0, "PASS")
    assert (cell(ran)["counts"]["passed"], cell(ran)["counts"]["failed"]) == (2, 1)
    assert cell(ran)["pass_rate"] == pytest.approx(2 / 3)


def test_t39_a_failed_exchange_is_tried_again_and_counted_once(person: Contract) -> None:
    failing = {**GOOD, "error": {"kind": "timeout", "times": 1}}
    ran = person.ran("t39", [GOOD], "-n", "2", script={"trials": [[failing], [GOOD]]})
    assert (ran.code, cell(ran)["retries"], cell(ran)["trials_with_retries"]) == (0, 1, 1)
    retried, _ = person.traces(ran)
    assert [retry["status_code"] for retry in retried["turns"][0]["retries"]] == [504]


_MIXED = {"trials": [[BAD], [REFUSED], [GOOD]]}


@pytest.mark.parametrize(
    ("number", "script", "required", "options", "code"),
    [
        ("t41-first", _MIXED, True, (), 3),
        ("t41-hard", _MIXED, True, ("--allow-infra",), 2),
        ("t41-fail", {"trials": [[GOOD], [REFUSED], [BAD]]}, False, ("--allow-infra",), 1),
        ("t41-pass", {"trials": [[GOOD], [REFUSED], [GOOD]]}, False, ("--allow-infra",), 0),
        ("t41-none", {"trials": [[REFUSED]] * 3}, False, ("--allow-infra",), 3),
    ],
)
def test_t41_infrastructure_comes_first_unless_it_is_allowed_and_the_verdict_stays(
    person: Contract, number: str, script: dict[str, Any], required: bool, options: tuple[str, ...], code: int
) -> None:
    asked = [YES | {"required": required}]
    ran = person.ran(number, [GOOD], "-n", "3", *options, script=script, assertions=asked)
    assert (ran.code, cell(ran)["verdict"]) == (code, "INFRA_ERROR")


def test_t44_trials_that_end_in_reverse_are_listed_in_order_and_come_to_the_same(person: Contract) -> None:
    trials = [[{**(BAD if n == 3 else GOOD), "latency_s": 1.0 - 0.2 * n}] for n in range(5)]
    found = {}
    for many in ("5", "1"):
        ran = person.ran(
            f"t44-{many}", [GOOD], "-n", "5", "--parallel", many,
            script={"trials": trials}, assertions=[YES | {"required": True}],
        )  # fmt: skip
        assert ran.code == 2
        found[many] = ran
    at_once, one_by_one = person.traces(found["5"]), person.trials(found["1"])
    assert [trace["trial"] for trace in at_once] == [0, 1, 2, 3, 4]
    ends = [trace["ended_at"] for trace in at_once]
    assert ends == sorted(ends, reverse=True)
    assert [trace["grade"] for trace in at_once] == [trial["status"] for trial in one_by_one]
    same = ("verdict", "counts", "score", "tokens", "pass_rate", "outcomes")
    assert [cell(found["5"])[key] for key in same] == [cell(found["1"])[key] for key in same]


@pytest.mark.parametrize(
    ("number", "trials", "required", "n", "ran", "reason", "code"),
    [
        ("t42", [[BAD]], False, 10, 3, "threshold unreachable: perfect scores in all others", 1),
        ("t42-three", [[BAD]], False, 3, 1, "threshold unreachable: perfect scores in all others", 1),
        ("t42-hard", [[GOOD], [BAD], [GOOD]], True, 5, 2, "hard fail in trial 2", 2),
        ("t42-last", [[GOOD], [GOOD], [BAD]], True, 3, 3, None, 2),
        ("t43", [[REFUSED], [GOOD]], False, 3, 3, None, 3),
    ],
)
def test_t42_t43_a_cell_stops_once_nothing_could_change_it_and_says_so(
    person: Contract, number: str, trials: list[Any], required: bool, n: int, ran: int, reason: str | None,
    code: int,
) -> None:  # fmt: skip
    file = person.wrote(number, [], script={"turns": trials[-1], "trials": trials},
                        assertions=[YES | {"required": required}])  # fmt: skip
    said = person.types("run", file, "-n", str(n), "-j", "1", "--early-stop", "--legacy", "-q")
    document = said.document
    assert (said.code, document["trials_total"], document["n_requested"]) == (code, ran, n)
    assert document["early_stopped"] == (reason is not None)
    assert (document["early_stop_reason"] or "").startswith(reason or "")
    listed = person.types("trials", document["run_id"], "--json").document["trials"]
    assert [one["reason"] for one in listed] == [""] * ran + ["decided"] * (n - ran)
    shown = person.types("report", document["run_id"]).out
    told = " ".join(shown.split())
    assert (f"early stop after {ran} of {n} trials" in told) == (reason is not None)
    assert (f"{n - ran} skipped" in told) == (reason is not None)


def test_t43_a_cell_with_an_infrastructure_error_that_is_allowed_is_judged_by_the_rest(
    person: Contract,
) -> None:
    script = {"turns": [GOOD], "trials": [[REFUSED], [GOOD]]}
    ran = person.ran("t43-allowed", [], "-n", "3", "-j", "1", "--early-stop", "--allow-infra", script=script)
    assert (ran.code, cell(ran)["verdict"], cell(ran)["early_stop"]) == (0, "INFRA_ERROR", None)


def test_t44_a_hard_fail_while_all_are_under_way_stops_nothing(person: Contract) -> None:
    trials = [[{**(BAD if n == 0 else GOOD), "latency_s": 0.5}] for n in range(5)]
    ran = person.ran(
        "t44-stop", [], "-n", "5", "--parallel", "5", "--early-stop",
        script={"turns": [GOOD], "trials": trials}, assertions=[YES | {"required": True}],
    )  # fmt: skip
    assert (ran.code, cell(ran)["early_stop"], cell(ran)["counts"]["skipped"]) == (2, None, 0)
    assert (cell(ran)["verdict"], cell(ran)["scored"]) == ("HARD FAIL", 5)


def test_early_stop_is_named_by_a_dry_run_and_submitted_with_a_run(person: Contract) -> None:
    file = person.wrote("early", [], script={"turns": [BAD]})
    dry = person.types("run", file, "--early-stop", "--dry-run")
    assert "early stop" in dry.out
    assert "without -j" in dry.err
    assert person.types("run", file, "--dry-run", "--json").document["early_stop"] is False
    run_id = person.types("submit", file, "-n", "10", "-j", "1", "--early-stop", "-q").out.strip()
    assert person.types("wait", run_id, "-q").code == 1
    assert person.types("status", run_id, "--json").document["counts"]["skipped"] == 7


@pytest.mark.parametrize("options", [("-n", "0"), ("-n", "-1"), ("--threshold", "5"), ("--parallel", "0")])
def test_t45_a_run_of_nothing_is_a_usage_error_and_leaves_no_run(
    person: Contract, options: tuple[str, ...]
) -> None:
    def runs() -> list[str]:
        return [run["run_id"] for run in person.types("list", "--json", "--limit", "1").document["runs"]]

    before = runs()
    assert person.ran("t45", [GOOD], *options).code == 64
    assert runs() == before


def test_t46_with_json_stdout_is_one_document_and_the_code_is_the_verdicts(person: Contract) -> None:
    for name, turns, code in (("t46", [GOOD], 0), ("t46-bad", [BAD], 1), ("t46-infra", [REFUSED], 3)):
        ran = person.ran(name, turns)
        assert (ran.code, ran.document["exit_code"], ran.err) == (code, code, "")


# -- adapters and projects -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "adapter", "told"),
    [
        ("t48-unknown", "opnai", "Did you mean 'openai'?"),
        ("t48-module", "no_such_module.Agent", "no_such_module"),
        ("t48-no-key", "openai", "OPENAI_API_KEY"),
    ],
)
def test_t48_an_adapter_that_cannot_be_used_says_why_and_is_no_failure_of_the_agent(
    person: Contract, number: str, adapter: str, told: str
) -> None:
    ran = person.ran(number, [], adapter=adapter)
    assert (ran.code, cell(ran)["verdict"], cell(ran)["cost"]["total_usd"]) == (3, "INFRA_ERROR", 0.0)
    (trace,) = person.traces(ran)
    error = trace["error"]
    assert told in error["message"] + error["hint"]
    assert (number == "t48-unknown") == ("W009" in ran.err)  # what can be told before the run, is


@pytest.mark.parametrize("text", ["modle: x\n", "judge: {k: 22}\n", "judge:\n", "- a\n"])
def test_t70_a_wrong_project_file_stops_a_run_before_anything_is_started(tmp_path: Path, text: str) -> None:
    someone = Person(tmp_path)
    (tmp_path / "salvo.yaml").write_text(text)
    refused = someone.types("run", someone.scenario("trial", "[{text: good}]"))
    assert (refused.code, refused.out) == (64, "")
    assert "salvo.yaml" in refused.err
    assert not (tmp_path / ".salvo").exists()


def test_t70_a_run_from_a_folder_below_keeps_its_records_where_the_project_says(tmp_path: Path) -> None:
    (tmp_path / "salvo.yaml").write_text("storage_dir: kept/here\n")
    below = tmp_path / "scenarios" / "deep"
    below.mkdir(parents=True)
    someone = Person(below)
    assert someone.types("run", someone.scenario("trial", "[{text: good}]"), "-n", "1", "-q").code == 0
    assert list((tmp_path / "kept" / "here").rglob("summary.json"))
    assert not list(tmp_path.rglob(".salvo"))
    someone.folder = tmp_path
    until(lambda: not someone.processes(), "processes left behind")
