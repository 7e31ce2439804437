"""Judges as a person meets them: a command, its exit code, what it says on which stream, what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_contract_cases import Contract, cell
from tests.acceptance.typing_person import Outcome, until
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers

OUR_JUDGES = '''
import asyncio


class _Judge:
    """Answers like a provider of old: plain attributes, the votes in its model's name."""

    def __init__(self):
        pass

    async def send_turn(self, messages, tools=None, config=None):
        with open("asked.jsonl", "a") as log:
            log.write(f"{config.model}\\n")
        votes = self.votes[config.turn % len(self.votes)]
        if votes is None:
            raise RuntimeError("the judge is out")
        return self.reply(votes, config)

    async def aclose(self):
        pass

    def reply(self, votes, config):
        from salvo_core.adapters.protocol import TurnReply
        from salvo_core.trace.model import ToolCall, Usage

        usage = Usage(input_tokens=1000, output_tokens=500)
        if votes == "mute":
            return TurnReply("No comment.", usage=usage, finish_reason="stop", model=config.model)
        scores = {name: {"score": score, "reasoning": "[/b] so"} for name, score in votes.items()}
        call = ToolCall(id="c", name="score_criteria", arguments=scores)
        return TurnReply(None, (call,), usage, "tool_calls", config.model)


def votes(*given):
    return type("Judge", (_Judge,), {"votes": given})


Kind = votes({"a": 1.0}, {"a": 1.0}, {"a": 1.0})
Mostly = votes({"a": 0.9}, {"a": 0.9}, {"a": 0.1})
Hardly = votes({"a": 0.9}, {"a": 0.1}, {"a": 0.1})
Torn = votes({"a": 0.9}, {"a": 0.1})
Mumbling = votes({"a": 0.9}, "mute", "mute")
Out = votes(None)
Middling = votes({"a": 0.65})
Divided = votes({"a": 1.0, "b": 0.5}, {"a": 0.5, "b": 1.0}, {"a": 1.0, "b": 1.0})
Failing = votes({"a": 1.0}, "mute", None)
'''
SAYS_GOOD = [{"text": "good", "usage": {"input_tokens": 100, "output_tokens": 50}}]


class Judged(Contract):
    """A person whose scenarios are put before judges of their own making."""

    def judged(
        self,
        name: str,
        judge: str,
        *options: str,
        criteria: str = "a",
        agent: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Outcome:
        """Run a scenario whose answer is good, before the judge of that name."""
        assertion = {
            "type": "judge",
            "criteria": [{"name": one, "description": f"Is it {one}?"} for one in criteria.split()],
            "judge_adapter": f"our_judges.{judge}",
            **fields,
        }
        asserted = [{"contains": "good"}, assertion]
        return self.ran(name, SAYS_GOOD, *options, assertions=asserted, **(agent or {}))

    def asked(self) -> list[str]:
        """Return the models that judges were asked as since this was called last."""
        log = self.folder / "asked.jsonl"
        models = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return models


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Somebody in a project of their own, for the whole module, whose worker may import their judges."""
    folder: Path = tmp_path_factory.mktemp("judged")
    (folder / "our_judges.py").write_text(OUR_JUDGES)
    with RedisServer().start() as server:
        someone = Judged(
            folder,
            SALVO_REDIS_URL=server.url,
            SALVO_STORE_URL=f"file://{folder}/objects",
            SALVO_ALLOW_IMPORTS="our_judges.*",
        )
        someone.environ["PYTHONPATH"] += f":{folder}"
        worker = someone.start("worker", "-c", "20")
        until(lambda: ("workers", "ok") in someone.examined(), "the worker is there")
        yield someone
        worker.terminate()
        assert someone.ended(worker).code == 0
        until(lambda: not someone.processes(), "processes left behind")


@pytest.mark.parametrize(
    ("judge", "k", "code", "heard"),
    [("Mostly", 3, 0, 3), ("Hardly", 3, 2, 3), ("Torn", 2, 2, 2), ("Mumbling", 3, 3, 1), ("Out", 3, 3, 0)],
)
def test_t49_a_required_judge_decides_by_majority_or_not_at_all(person, judge, k, code, heard):
    ran = person.judged(f"t49-{judge}", judge, k=k, required=True)
    assert ran.code == code
    (told,) = cell(ran)["judges"]
    assert (told["votes"], told["votes_heard"]) == (k, heard)
    assert cell(ran)["outcomes"] == {"completed": 1}
    assert [errors["kind"] for errors in cell(ran)["infra_errors"]] == (["judge"] if code == 3 else [])


def test_t49_without_its_optional_judge_a_trial_is_graded_and_the_report_says_so(person):
    ran = person.judged("t49-optional", "Mumbling", weight=9)
    assert ran.code == 0
    (judge,) = cell(ran)["judges"]
    assert (judge["votes"], judge["votes_heard"], judge["graded_without"]) == (3, 1, 1)
    assert cell(ran)["failures"] == []
    report = person.types("report", ran.document["run_id"])
    assert "1 trial of 1 graded without `judge a`" in report.out
    (trace,) = person.traces(ran)
    shown = person.types("trace", trace["trace_id"])
    assert shown.out.count("not counted:") == 2
    assert "[/b] so" in shown.out


@pytest.mark.parametrize(("required", "code"), [(False, 0), (True, 2)])
def test_t50_perfect_medians_without_a_majority(person, required, code):
    ran = person.judged(f"t50-{required}", "Divided", criteria="a b", required=required)
    assert (ran.code, cell(ran)["score"]["mean"]) == (code, 1.0)
    (failure,) = cell(ran)["failures"]
    assert (failure["label"], failure["weight_lost"]) == ("judge a, b", 0.0)


def test_t53_the_assertions_word_goes_before_the_projects(person):
    project = person.folder / "salvo.yaml"
    judge = {"adapter": "our_judges.Middling", "model": "model-x", "k": 7, "default_threshold": 0.5}
    project.write_text(json.dumps({"judge": judge}))
    try:
        person.asked()
        lenient = person.judged("t53-lenient", "Middling", required=True)
        assert (lenient.code, person.asked()) == (0, ["model-x"] * 7)
        strict = person.judged(
            "t53-strict", "Middling", k=1, judge_model="model-y", threshold=0.9, required=True
        )
        assert (strict.code, person.asked()) == (2, ["model-y"])
    finally:
        project.unlink()


def test_t55_what_judges_cost_is_told_apart_and_a_vote_that_nobody_gave_costs_nothing(person):
    ran = person.judged("t55", "Kind")
    summary = ran.document["summary"]
    assert summary["judge_cost"]["total_usd"] == pytest.approx(0.00135)
    agent = summary["cost"]["total_usd"]
    assert agent == pytest.approx(0.00075)
    report = person.types("report", ran.document["run_id"])
    assert "cost $0.00210 ($0.00075 agent + $0.00135 judge)" in report.out
    legacy = person.types("report", ran.document["run_id"], "--legacy").document
    assert (legacy["judge_cost_total"], legacy["cost_total"]) == (pytest.approx(0.00135), agent)
    assert legacy["trials"][0]["eval_results"][1]["metadata"]["judge_k"] == 3
    some = person.judged("t55-some", "Failing")  # one vote, one answer that is none, nobody
    assert some.document["summary"]["judge_cost"]["total_usd"] == pytest.approx(2 * 0.00045)
    status = person.types("status", some.document["run_id"], "--json").document
    assert "judge_cost_usd" in json.dumps(status)


def test_t55_the_cost_of_a_model_without_a_price_is_unknown_and_never_zero(person):
    ran = person.judged("t55-unknown", "Kind", judge_model="nobody-knows-1")
    cost = ran.document["summary"]["judge_cost"]
    assert (ran.code, cost["total_usd"], cost["unknown"]) == (0, None, 1)


def test_a_limit_on_cost_is_on_what_the_agent_costs(person):
    ran = person.judged("limited", "Kind", agent={"max_cost_usd": 0.001})
    assert ran.code == 0
    assert ran.document["summary"]["judge_cost"]["total_usd"] > 0.001


def test_a_dry_run_counts_the_judges_calls(person):
    asking = {"type": "judge", "judge_adapter": "our_judges.Kind", "k": 5}
    asking["criteria"] = [{"name": "a", "description": "a"}]
    file = person.wrote("dry", SAYS_GOOD, max_turns=1, assertions=[asking])
    dry = person.types("run", file, "-n", "2", "--dry-run", "--json").document
    assert dry["judge_calls_max"] == 2 * 5 * 4
    assert dry["calls_max"] == 2 * 1 * 4 + dry["judge_calls_max"]
    (judge,) = dry["cells"][0]["judges"]
    assert (judge["model"], judge["votes"], judge["price_known"]) == ("gpt-4o-mini", 5, True)
    told = person.types("run", file, "-n", "2", "--dry-run")
    assert "of these, 40 calls to judges, whose cost is told apart" in told.out


def test_t57_a_single_vote_is_remarked_upon_with_verbose_alone(person):
    quiet = person.judged("t57", "Kind", k=1)
    told = person.judged("t57", "Kind", "-V", k=1)
    assert (quiet.code, told.code) == (0, 0)
    assert "majority voting is off" not in quiet.err
    assert told.err.count("majority voting is off") == 1
    assert "t57.yaml" in told.err
