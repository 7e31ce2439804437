"""The predecessor's suite document: its keys, in its order, with the meaning they had."""

from datetime import UTC, datetime

import pytest

from salvo_cli.render.legacy import suite
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.summary import summarise
from salvo_core.trace.model import (
    Finding,
    Judged,
    Judgement,
    Provenance,
    Retry,
    ScenarioRef,
    Trace,
    TrialError,
    Turn,
    Usage,
    Vote,
)
from tests.unit.run.builders import RUN_ID, plan, row, rows

SUITE_KEYS = [
    "run_id",
    "scenario_name",
    "scenario_file",
    "model",
    "adapter",
    "trials",
    "trials_total",
    "trials_passed",
    "trials_failed",
    "trials_hard_fail",
    "trials_infra_error",
    "verdict",
    "pass_rate",
    "score_avg",
    "score_min",
    "score_p50",
    "score_p95",
    "threshold",
    "cost_total",
    "cost_avg_per_trial",
    "judge_cost_total",
    "latency_p50",
    "latency_p95",
    "total_retries",
    "trials_with_retries",
    "early_stopped",
    "early_stop_reason",
    "n_requested",
    "assertion_failures",
]
TRIAL_KEYS = [
    "trial_number",
    "status",
    "score",
    "passed",
    "eval_results",
    "latency_seconds",
    "cost_usd",
    "retries_used",
    "transient_error_types",
    "error_message",
    "trace_id",
]
RESULT_KEYS = ["assertion_type", "score", "passed", "weight", "required", "details", "metadata"]
FAILURE_KEYS = [
    "assertion_type",
    "expression",
    "fail_count",
    "total_weight_lost",
    "sample_details",
    "fail_rate",
]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def finding(assertion=0, *, passed=True, type="output_contains", **more):
    return Finding(
        assertion=assertion, type=type, label="says so", score=float(passed), passed=passed,
        weight=1.0, required=False, details="what was said", **more,
    )  # fmt: skip


def trace(of, findings=(), **more):
    return Trace(
        trace_id=of.trace_id, run_id=RUN_ID, index=of.index, cell=0, trial=of.index, attempt=1,
        scenario=ScenarioRef(digest="0" * 64, name="scenario 0"), model="gpt-4o", adapter="openai",
        threshold=0.8, started_at=NOON, ended_at=NOON, messages=(), usage=Usage(), cost_usd=None,
        latency_s=1.0, duration_s=2.0, finish_reason="stop", findings=tuple(findings),
        provenance=Provenance(salvo_version="0", python_version="3", host="h", worker="w"),
        **({"outcome": "completed", "turns": ()} | more),
    )  # fmt: skip


def document(given, traces=(), *, trials=None, facts=()):
    order = plan(trials=trials or len(given))
    one = summarise(order, given, {0: facts} if facts else {}, started_ms=0, finished_ms=1, state="sealed")
    return suite(RUN_ID, one.cells[0], order, given, {found.trace_id: found for found in traces})


def test_t46_the_keys_are_the_predecessors_in_its_order():
    given = rows(1, 0)
    failing = [row(1, "failed", 0.0, failed=((0, 0.0),))]
    told = document(
        [given[0], *failing], [trace(given[0], [finding()]), trace(failing[0], [finding(passed=False)])]
    )
    assert list(told) == SUITE_KEYS
    assert [list(trial) for trial in told["trials"]] == [TRIAL_KEYS] * 2
    assert list(told["trials"][0]["eval_results"][0]) == RESULT_KEYS
    assert list(told["assertion_failures"][0]) == FAILURE_KEYS


def test_t27_counts_verdict_and_numbers_are_those_of_the_summary():
    told = document(rows(1, 1, 0.5))
    assert (told["verdict"], told["trials_total"], told["trials_passed"], told["trials_failed"]) == (
        "PASS",
        3,
        2,
        1,
    )
    assert told["pass_rate"] == pytest.approx(0.667, abs=1e-3)
    assert [trial["trial_number"] for trial in told["trials"]] == [1, 2, 3]
    assert [trial["passed"] for trial in told["trials"]] == [True, True, False]
    assert (told["latency_p50"], told["trials"][0]["latency_seconds"]) == (2.0, 2.0)  # retries included


def test_t30_no_trial_graded_gives_zeros_and_nulls():
    told = document(rows("infra_error"))
    assert [told[key] for key in ("score_avg", "score_min", "score_p50", "score_p95", "pass_rate")] == [
        0.0
    ] * 5
    assert [told[key] for key in ("latency_p50", "latency_p95", "cost_total", "cost_avg_per_trial")] == [
        None
    ] * 4


def test_t31_an_unknown_cost_counts_in_the_average_and_not_in_the_sum():
    told = document([row(0, cost_usd=0.05), row(1, cost_usd=None), row(2, cost_usd=0.03)])
    assert told["cost_total"] == pytest.approx(0.08)
    assert told["cost_avg_per_trial"] == pytest.approx(0.08 / 3)


def test_t32_the_failure_that_cost_most_comes_first_with_at_most_three_samples_and_80_characters():
    light = [row(index, "failed", failed=((1, 0.0),)) for index in range(4)]
    heavy = row(4, "failed", failed=((0, 0.0),))
    facts = (AssertionFacts("h" * 200, 10), AssertionFacts("light"))
    traces = [trace(one, [finding(1, passed=False, type="cost_limit")]) for one in light]
    first, second = document([*light, heavy], traces, facts=facts)["assertion_failures"]
    assert (first["expression"], first["total_weight_lost"], first["assertion_type"]) == (
        "h" * 80,
        10,
        "unknown",
    )
    assert (second["assertion_type"], second["fail_count"], second["fail_rate"]) == ("cost_limit", 4, 0.8)
    assert second["sample_details"] == ["what was said"] * 3


def test_what_the_predecessor_turned_into_jmespath_is_called_so():
    one = row(0)
    kinds = ("tool_called", "output_contains", "tool_sequence", "jmespath")
    told = document([one], [trace(one, [finding(place, type=kind) for place, kind in enumerate(kinds)])])
    results = told["trials"][0]["eval_results"]
    assert [result["assertion_type"] for result in results] == [
        "jmespath",
        "jmespath",
        "tool_sequence",
        "jmespath",
    ]


def test_t20_an_error_that_was_not_tried_again_is_no_retry_and_not_transient():
    one = row(0, "infra_error", error="authentication", retries=1)
    error = TrialError(
        kind="authentication", message="no key", retries=(Retry(kind="authentication", message="no key"),)
    )
    told = document([one], [trace(one, outcome="infra_error", error=error)])
    (trial,) = told["trials"]
    assert (trial["status"], trial["retries_used"], trial["transient_error_types"]) == ("infra_error", 0, [])
    assert trial["error_message"] == "no key"
    assert (told["total_retries"], told["trials_with_retries"]) == (0, 0)


def test_t39_retries_that_helped_are_counted_with_their_kinds():
    one = row(0, retries=1)
    turn = Turn(index=0, retries=(Retry(kind="transient", message="timed out"),))
    told = document([one, row(1)], [trace(one, turns=(turn,))])
    assert (told["total_retries"], told["trials_with_retries"]) == (1, 1)
    assert told["trials"][0]["transient_error_types"] == ["transient"]


def test_t40_four_calls_that_were_all_refused_are_three_retries():
    one = row(0, "infra_error", error="rate_limited", retries=4)
    error = TrialError(
        kind="rate_limited", message="slow", retries=(Retry(kind="rate_limited", message="slow"),) * 4
    )
    told = document([one], [trace(one, outcome="infra_error", error=error)])
    assert told["total_retries"] == 3
    assert document([one])["total_retries"] == 3  # also without its trace


def test_trials_without_a_result_are_left_out_and_do_not_leave_the_verdict_open():
    told = document([row(0), row(1, "cancelled"), row(2, "pending")])
    assert (told["trials_total"], told["n_requested"], told["verdict"]) == (1, 3, "PASS")
    assert document([row(0, "cancelled")])["verdict"] == "FAIL"


def judged_trace(of, *scores, k=None, error=None):
    votes = [Vote(number=number, scores=one, cost_usd=0.00045) for number, one in enumerate(scores)]
    votes += [Vote(number=len(votes), error=error, error_kind="unreadable", cost_usd=0.0)] if error else []
    judgement = Judgement(
        request="a" * 64, assertions=(0,), adapter="openai", model="gpt-4o-mini", temperature=0.0,
        max_tokens=1024, weights={"kind": 2.0, "true": 1.0}, votes=tuple(votes),
    )  # fmt: skip
    told = Judged(
        assertion=0, request="a" * 64, k=k or len(votes), threshold=0.8, heard=len(scores), in_favour=0
    )
    return trace(of, [finding(type="judge")], judgements=(judgement,), judged=(told,))


def test_t55_judges_have_their_own_cost_and_their_votes_by_criterion():
    given = [row(0, judged=((0, 3, 3, 3),), judge_cost_usd=0.00135), row(1)]
    votes = ({"kind": 0.9, "true": 1.0}, {"kind": 0.5}, {"kind": 0.7, "true": 0.5})
    told = document(given, [judged_trace(given[0], *votes)])
    assert (told["judge_cost_total"], told["cost_total"]) == (0.00135, 0.02)
    (result,) = told["trials"][0]["eval_results"]
    assert list(result["metadata"]) == ["judge_model", "judge_k", "judge_cost_usd", "per_criterion"]
    assert result["metadata"]["judge_model"] == "gpt-4o-mini"
    assert (result["metadata"]["judge_k"], result["metadata"]["judge_cost_usd"]) == (
        3,
        pytest.approx(0.00135),
    )
    assert result["metadata"]["per_criterion"] == [
        {"name": "kind", "median_score": 0.7, "all_scores": [0.9, 0.5, 0.7], "weight": 2.0},
        {"name": "true", "median_score": 0.75, "all_scores": [1.0, 0.5], "weight": 1.0},
    ]


def test_a_judge_whose_votes_others_share_tells_of_its_own_alone():
    given = [row(0, judged=((0, 1, 1, 1),), judge_cost_usd=0.0009)]
    told = document(
        given, [judged_trace(given[0], {"kind": 0.9, "true": 0.9}, {"kind": 0.1, "true": 0.1}, k=1)]
    )
    metadata = told["trials"][0]["eval_results"][0]["metadata"]
    assert (metadata["judge_k"], metadata["judge_cost_usd"]) == (1, 0.00045)
    assert metadata["per_criterion"][0]["all_scores"] == [0.9]


def test_without_a_vote_that_could_be_read_there_is_no_metadata_and_without_judges_no_judge_cost():
    given = [row(0, judged=((0, 1, 0, 0),), judge_cost_usd=0.0)]
    told = document(given, [judged_trace(given[0], error="no scores")])
    assert told["trials"][0]["eval_results"][0]["metadata"] is None
    assert told["judge_cost_total"] == 0.0
    assert document(rows(1))["judge_cost_total"] is None


def test_a_trial_that_only_lacks_its_judge_retried_what_it_retried():
    given = [row(0, "infra_error", outcome="completed", error="judge", retries=2)]
    assert document(given)["trials"][0]["retries_used"] == 2
